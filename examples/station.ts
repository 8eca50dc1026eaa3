/**
 * A station's day: it boots, charges a car for a customer, and answers what the CSMS asks. For csms.ts.
 * Run it: npx tsx examples/station.ts ws://localhost:3000 CP001
 */
import { DateTime, Effect } from "effect"
import { Client, Handlers, Ocpp16 } from "effect-ocpp"
import { main } from "./main.ts"

const now = Effect.map(DateTime.now, DateTime.formatIso)

const ChargePoint = Handlers.make(Ocpp16, {
  RemoteStartTransaction: ({ connectorId }) =>
    Effect.succeed({ status: connectorId === undefined || connectorId === 1 ? "Accepted" : "Rejected" }),
  GetConfiguration: () =>
    Effect.succeed({ configurationKey: [{ key: "HeartbeatInterval", readonly: false, value: "300" }] }),
  Reset: () => Effect.succeed({ status: "Accepted" }),
})

/** A station that is connected as long as its Scope is open. */
export const connect = (endpoint: string, identity: string) =>
  Client.make({ endpoint, identity, protocols: [Ocpp16], handlers: [ChargePoint], strictMode: true })

/** What a station does in a day, in short. */
export const session = Effect.fn("session")(function* (station: Client.Client) {
  const idTag = "04E3A2B1"
  const connectorId = 1

  yield* station.call(Ocpp16.BootNotification, { chargePointVendor: "Example", chargePointModel: "One" })
  yield* station.call(Ocpp16.Heartbeat, {})
  yield* station.call(Ocpp16.StatusNotification, { connectorId, errorCode: "NoError", status: "Available" })

  const { idTagInfo } = yield* station.call(Ocpp16.Authorize, { idTag })
  if (idTagInfo.status !== "Accepted") return

  const meterStart = 12_000
  const { transactionId } = yield* station.call(Ocpp16.StartTransaction, {
    connectorId,
    idTag,
    meterStart,
    timestamp: yield* now,
  })
  yield* station.call(Ocpp16.StatusNotification, { connectorId, errorCode: "NoError", status: "Charging" })
  for (const wattHours of [500, 1_000]) {
    const sampledValue = [{ value: `${meterStart + wattHours}`, unit: "Wh" }] as const
    const meterValue = [{ timestamp: yield* now, sampledValue }]
    yield* station.call(Ocpp16.MeterValues, { connectorId, transactionId, meterValue })
  }
  yield* station.call(Ocpp16.StopTransaction, {
    transactionId,
    idTag,
    meterStop: meterStart + 1_000,
    timestamp: yield* now,
    reason: "Local",
  })
  yield* station.call(Ocpp16.StatusNotification, { connectorId, errorCode: "NoError", status: "Available" })
})

main(import.meta.url, (endpoint = "ws://localhost:3000", identity = "CP001") =>
  Effect.scoped(Effect.flatMap(connect(endpoint, identity), session)),
)

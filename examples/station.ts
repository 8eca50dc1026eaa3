/**
 * A simulated OCPP 1.6 charging station: it boots, charges a car for a customer, and answers a remote command.
 */
import { DateTime, Effect } from "effect"
import { Client, Handlers, Ocpp16 } from "effect-ocpp"

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
    yield* station.call(Ocpp16.MeterValues, {
      connectorId,
      transactionId,
      meterValue: [
        {
          timestamp: yield* now,
          sampledValue: [
            { value: `${meterStart + wattHours}`, measurand: "Energy.Active.Import.Register", unit: "Wh" },
            { value: "11.1", measurand: "Power.Active.Import", unit: "kW" },
          ],
        },
      ],
    })
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

/**
 * The smallest station that is of use, for smallCsms.ts: it boots, beats as it is told to, and can be reset.
 * Run it: npx tsx examples/smallStation.ts ws://localhost:3000 CP001
 */
import { Duration, Effect, Schedule } from "effect"
import { Client, Handlers, Ocpp16 } from "effect-ocpp"
import { main } from "./main.ts"

const ChargePoint = Handlers.make(Ocpp16, {
  Reset: ({ type }) => Effect.as(Effect.log(`${type} reset`), { status: "Accepted" }),
})

/** Runs until it is interrupted; a lost connection comes back by itself. */
export const run = Effect.fn("station")(function* (endpoint: string, identity: string) {
  const client = yield* Client.make({
    endpoint,
    identity,
    password: "secret",
    protocols: [Ocpp16],
    handlers: [ChargePoint],
    strictMode: true,
  })
  const boot = yield* client.call(Ocpp16.BootNotification, { chargePointVendor: "Example", chargePointModel: "Small" })
  yield* Effect.log(`The CSMS has answered: ${boot.status}`)
  const beat = Effect.ignore(client.call(Ocpp16.Heartbeat, {}))
  return yield* Effect.repeat(beat, Schedule.spaced(Duration.seconds(boot.interval)))
}, Effect.scoped)

main(import.meta.url, (endpoint = "ws://localhost:3000", identity = "CP001") => run(endpoint, identity))

/**
 * A subprotocol of your own, with your own Schemas: barriers of a car park, and OCPP beside them on the same endpoint.
 * Run it: npx tsx examples/ownProtocol.ts
 */
import { Effect, Layer, Schema } from "effect"
import { Action, Client, Handlers, Ocpp16, Protocol, Server } from "effect-ocpp"
import { main } from "./main.ts"

const Plate = Schema.String.check(Schema.isPattern(/^[A-Z0-9-]{1,12}$/))
const Verdict = Schema.Literals(["Open", "Wait", "Full"])

export const Barrier = Protocol.make("barrier1.0", [
  Action.make("CarArrived", {
    sender: "station",
    request: Schema.Struct({ plate: Plate }),
    response: Schema.Struct({ verdict: Verdict }),
  }),
  Action.make("SetSign", {
    sender: "csms",
    request: Schema.Struct({ free: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)) }),
    response: Schema.Struct({}),
  }),
])

const Gate = Handlers.make(Barrier, {
  CarArrived: ({ plate }) => Effect.succeed({ verdict: plate.startsWith("EV") ? "Open" : "Full" }),
})

export const layer = (port: number) =>
  Server.layer({ port, protocols: [Barrier, Ocpp16], handlers: [Gate], strictMode: true })

const Sign = Handlers.make(Barrier, {
  SetSign: ({ free }) => Effect.as(Effect.log(`${free} places are free`), {}),
})

/** A car arrives at a barrier, then the sign beside it is set. */
export const visit = Effect.fn("visit")(function* (plate: string) {
  const server = yield* Server.Server
  const endpoint = `ws://localhost:${server.port}`
  const options = { endpoint, protocols: [Barrier], handlers: [Sign], strictMode: true }
  const barrier = yield* Client.make({ ...options, identity: "GATE-1" })
  const { verdict } = yield* barrier.call(Barrier.CarArrived, { plate })
  yield* Effect.log(`${plate}: ${verdict}`)
  const gate = yield* server.station("GATE-1")
  yield* gate.call(Barrier.SetSign, { free: 41 })
  return verdict
}, Effect.scoped)

main(import.meta.url, (plate = "EV-1000") => Effect.provide(visit(plate), Layer.orDie(layer(0))))

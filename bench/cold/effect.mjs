import * as Effect from "effect/Effect"
import * as Client from "effect-ocpp/Client"
import * as Handlers from "effect-ocpp/Handlers"
import * as Server from "effect-ocpp/Server"
import { Ocpp16 } from "effect-ocpp/schemas/ocpp16"
import { done } from "./done.mjs"

const handlers = [
  Handlers.make(Ocpp16, {
    BootNotification: () =>
      Effect.succeed({ status: "Accepted", currentTime: new Date().toISOString(), interval: 300 }),
  }),
]

const program = Effect.gen(function* () {
  const options = { protocols: [Ocpp16], strictMode: true }
  const server = yield* Server.make({ ...options, handlers })
  yield* server.listen({ host: "127.0.0.1" })
  const client = yield* Client.make({ ...options, endpoint: `ws://127.0.0.1:${server.port}`, identity: "CP001" })
  yield* client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
  done()
})

await Effect.runPromise(Effect.scoped(program))

import * as Effect from "effect/Effect"
import * as Client from "../../dist/Client.js"
import * as Handlers from "../../dist/Handlers.js"
import * as Server from "../../dist/Server.js"
import { Ocpp16 } from "../../dist/schemas/ocpp16.js"

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
  process.exit(0)
})

await Effect.runPromise(Effect.scoped(program))

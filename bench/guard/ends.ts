/** Two ends of a connection in memory, made by one face: a call without socket and kernel. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Connection from "../../src/Connection.ts"
import type { Side } from "../../src/connection/Connection.ts"
import { OpenConnection } from "../../src/connection/OpenConnection.ts"
import { settings } from "../../src/connection/Settings.ts"
import * as Handlers from "../../src/Handlers.ts"
import { environment, protocolNamed, toCoreWithDefaults } from "../../src/promise/options.ts"
import { RPCClient } from "../../src/promise/RPCClient.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { makePair, type Transport } from "../../src/Transport.ts"
import { measurement } from "../peers/Peer.ts"

/** Makes `count` strict calls, one after the other. */
export type Calls = (count: number) => Promise<unknown>

const { action, payload, response } = measurement["ocpp1.6"]

const effect = (): Effect.Effect<Calls> =>
  Effect.gen(function* () {
    const [near, far] = makePair(Ocpp16.name)
    const options = { protocol: Ocpp16, strictMode: true }
    const handlers = [Handlers.make(Ocpp16, { MeterValues: () => Effect.succeed(response) })]
    yield* Connection.make(far, { ...options, side: "csms", handlers })
    const station = yield* Connection.make(near, { ...options, side: "station" })
    return (count: number) => {
      let left = count
      const call = () => station.call(Ocpp16.MeterValues, payload)
      return Effect.runPromise(Effect.whileLoop({ while: () => left-- > 0, body: call, step: () => {} }))
    }
  }).pipe(Effect.provideService(Scope.Scope, Scope.makeUnsafe()))

class MemoryClient extends RPCClient<"ocpp1.6"> {
  constructor(side: Side, transport: Transport) {
    const options = { identity: "CP001", protocols: ["ocpp1.6"], strictMode: true }
    super(options)
    const core = toCoreWithDefaults(options)
    const subprotocol = protocolNamed("ocpp1.6")
    const router = Handlers.route([this.handlers()], subprotocol)
    const own = { side, identity: options.identity, transport, subprotocol, router }
    const shared = { options: core, settings: settings(core), environment, root: Scope.makeUnsafe() }
    const connection = new OpenConnection<Side>({ ...own, ...shared }, Context.empty())
    this.attach(connection)
    connection.start()
  }
}

const promise = (): Calls => {
  const [near, far] = makePair("ocpp1.6")
  new MemoryClient("csms", far).handle(action, () => response)
  const station = new MemoryClient("station", near)
  return async (count) => {
    for (let left = count; left > 0; left--) await station.call(action, payload)
  }
}

/** Makes the ends, by face. */
export const faces = {
  promise: async () => promise(),
  effect: () => Effect.runPromise(effect()),
} as const

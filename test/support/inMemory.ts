/** A server of one subprotocol with stations in memory: nothing listens, and time is the test's. */
import * as Effect from "effect/Effect"
import type * as Handlers from "../../src/Handlers.ts"
import type * as Protocol from "../../src/Protocol.ts"
import type * as Server from "../../src/Server.ts"
import * as Network from "../../src/testing/Network.ts"

type StationOptions<R> = Partial<Network.StationOptions<R>>

/** Connects a station to an existing server. */
export const connectTo = (server: Server.Server, identity: string, protocol: Protocol.Protocol) =>
  Effect.flatMap(Network.of(server), (network) =>
    network.station({ identity, protocols: [protocol], reconnect: false }),
  )

/** A server, and a way to connect to it as some station. */
export const serve = Effect.fnUntraced(function* <R = never>(
  protocol: Protocol.Protocol,
  handlers: ReadonlyArray<Handlers.Handlers<"station", R>> = [],
  options: Server.Options<R> = {},
) {
  const network = yield* Network.make<R>({ protocols: [protocol], handlers, ...options })
  const connect = <R2 = never>(identity: string, more: StationOptions<R2> = {}) =>
    network.station<R2>({ identity, protocols: [protocol], reconnect: false, ...more })
  return { server: network.csms, connect }
})

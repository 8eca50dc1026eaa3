/** Servers that speak Echo, and the ways to connect to them. */
import * as Effect from "effect/Effect"
import * as Client from "../../src/Client.ts"
import * as Handlers from "../../src/Handlers.ts"
import * as Server from "../../src/Server.ts"
import * as Network from "../../src/testing/Network.ts"
import { Echo } from "./rawPeer.ts"

export { upgradeLines, upgradeOf } from "./handshake.ts"

/** The options of a server, unless a test gives others. */
const csms = { protocols: [Echo], handlers: [Handlers.make(Echo, { Echo: Effect.succeed })] }

/** The options of a station, unless a test gives others. */
const station = { protocols: [Echo], reconnect: false } as const

/** A server on a free port, and a way to connect to it as some station. */
export const serve = Effect.fnUntraced(function* <R = never>(options: Server.Options<R> = {}) {
  const server = yield* Server.make({ ...csms, ...options } as Server.Options<R>)
  yield* server.listen({ port: 0, host: "127.0.0.1" })
  const endpoint = `ws://127.0.0.1:${server.port}`
  const connect = (identity: string, more: Partial<Client.WebSocketOptions> = {}) =>
    Client.make({ endpoint, identity, ...station, ...more })
  return { server, endpoint, connect }
})

/** A server, and a way to connect to it through memory: where time is the point, and the sockets are not. */
export const serveInMemory = Effect.fnUntraced(function* <R = never>(options: Server.Options<R> = {}) {
  const server = yield* Server.make({ ...csms, ...options } as Server.Options<R>)
  const network = yield* Network.of(server)
  const connect = (identity: string, more: Partial<Network.StationOptions> = {}) =>
    network.station({ identity, ...station, ...more })
  return { server, network, connect }
})

/** The first event of a kind that a server tells from now on. */
export const next = <Tag extends Server.Event["_tag"]>(server: Server.Server, tag: Tag) =>
  Effect.callback<Extract<Server.Event, { readonly _tag: Tag }>>((resume) => {
    const unsubscribe = server.subscribe((event) => {
      if (event._tag === tag) resume(Effect.succeed(event as Extract<Server.Event, { readonly _tag: Tag }>))
    })
    return Effect.sync(unsubscribe)
  })

/** The same, but it listens at once. */
export const soon = <Tag extends Server.Event["_tag"]>(server: Server.Server, tag: Tag) =>
  Effect.forkChild(next(server, tag), { startImmediately: true })

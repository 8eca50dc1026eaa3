/** A server whose stations connect in memory: time is the test's, and nothing listens. */
import type { IncomingMessage } from "node:http"
import { Duplex } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Connection from "../../src/Connection.ts"
import type * as Handlers from "../../src/Handlers.ts"
import type * as Protocol from "../../src/Protocol.ts"
import * as Server from "../../src/Server.ts"
import { StationServer } from "../../src/server/StationServer.ts"
import * as Transport from "../../src/Transport.ts"

/** What of an upgrade request is read. */
const requestOf = (identity: string, protocol: string) =>
  ({
    url: `/${identity}`,
    headers: { "sec-websocket-protocol": protocol },
    socket: { remoteAddress: "192.0.2.1" },
  }) as unknown as IncomingMessage

/** What a station may say of itself. */
interface StationOptions<R> extends Connection.Options {
  readonly handlers?: ReadonlyArray<Handlers.Handlers<"csms", R>>
}

/** Connects a station to a server, and gives the station's end. */
export const connectTo = <R = never>(
  server: Server.Server,
  identity: string,
  protocol: Protocol.Protocol,
  options: StationOptions<R> = {},
): Effect.Effect<Connection.Connection<"station">, never, Scope.Scope | R> =>
  Effect.suspend(() => {
    if (!(server instanceof StationServer)) return Effect.die("a server of another make")
    const [near, far] = Transport.makePair(protocol.name)
    server.receive({
      request: requestOf(identity, protocol.name),
      socket: new Duplex(),
      watch: () => () => {},
      accept: () => far,
      refuse: () => far.terminate(),
    })
    return Connection.make(near, { ...options, side: "station", protocol, identity })
  })

/** A server, and a way to connect to it as some station. */
export const serve = Effect.fnUntraced(function* <R = never>(
  protocol: Protocol.Protocol,
  handlers: ReadonlyArray<Handlers.Handlers<"station", R>> = [],
  options: Server.Options<R> = {},
) {
  const server = yield* Server.make<R>({ protocols: [protocol], handlers, ...options })
  const connect = <R2 = never>(identity: string, more: StationOptions<R2> = {}) =>
    connectTo(server, identity, protocol, more)
  return { server, connect }
})

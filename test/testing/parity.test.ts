/** The network in memory and real sockets, asked the same. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Client, Protocol, Server } from "effect-ocpp"
import { Echo } from "../support/rawPeer.ts"
import { serve, serveInMemory } from "../support/serve.ts"

const Other = Protocol.make("other1.0", [])

type Says = Partial<Client.WebSocketOptions>

/** The outcomes of some stations that connect one after the other. */
const cases: Readonly<Record<string, readonly [Server.Options, ...ReadonlyArray<Says>]>> = {
  "is let in": [{}, {}],
  "asks for another subprotocol": [{}, { protocols: [Other] }],
  "asks for none where some are served": [{}, { protocols: [] }],
  "asks for none, which is allowed": [{ allowNoProtocol: true }, { protocols: [] }],
  "asks where none are served": [{ protocols: [] }, {}],
  "asks in its own order": [{ protocols: [Other, Echo] }, { protocols: [Echo, Other] }],
  "gets a subprotocol that auth chose": [
    { auth: () => Effect.succeed(Server.accept(1, Other)) },
    { protocols: [Echo, Other] },
  ],
  "gets one that it has not offered": [{ auth: () => Effect.succeed(Server.accept(1, Other)) }, {}],
  "is rejected": [{ auth: () => Server.reject(404, "who?") }, {}],
  "meets an auth that dies": [{ auth: () => Effect.die("bug") }, {}],
  "is the second of its name": [{ duplicateIdentity: "reject" }, {}, {}],
  "is one too many": [{ maxConnections: 1 }, {}, { identity: "CP002" }],
  "has a strange name": [{}, { identity: "a/b" }],
  "has a name that is too long": [{}, { identity: "x".repeat(300) }],
  "brings everything": [
    {},
    {
      identity: "a b:ü",
      password: Buffer.from([0xff, 0x3a, 0]),
      query: "q=5&r=%20",
      headers: { "X-Serial": "7", Authorization: "Basic b64" },
    },
    { identity: "a b:ü", password: "p:w" },
  ],
}

/** The part of an outcome that does not depend on the way. */
const outcome = (exit: Client.Client | Client.ConnectFailure) => {
  if (!("_tag" in exit)) return { state: exit.state, protocol: exit.protocol }
  const { _tag, message } = exit
  return exit._tag === "ConnectError"
    ? { _tag, message, retryable: exit.retryable }
    : { _tag, message, code: exit.code }
}

const seenOf = ({ endpoint, headers, identity, password, protocols, query, request }: Server.Handshake) => ({
  ...{ endpoint, identity, password, protocols: [...protocols], query: String(query), url: request.url },
  headers: { ...headers, "sec-websocket-key": "" },
})

describe("in memory as over sockets, a station that", () => {
  for (const [name, [options, ...stations]] of Object.entries(cases)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const run = Effect.fnUntraced(function* (
          server: Server.Server,
          connect: (says: Says) => Effect.Effect<Client.Client, Client.ConnectFailure, Scope.Scope>,
        ) {
          const seen: Array<unknown> = []
          server.subscribe((event) => {
            if (event._tag === "Connected") seen.push(seenOf(event.station.handshake))
            if (event._tag === "UpgradeAborted") seen.push([event.error.message, event.identity, event.request.url])
          })
          const outcomes = yield* Effect.forEach(stations, (says) =>
            connect(says).pipe(Effect.catch(Effect.succeed), Effect.map(outcome)),
          )
          return { seen, outcomes }
        })
        const sockets = yield* serve(options)
        const memory = yield* serveInMemory(options)
        const overSockets = yield* run(sockets.server, ({ identity = "CP001", ...says }) =>
          sockets.connect(identity, says),
        )
        const inMemory = yield* run(memory.server, ({ identity = "CP001", ...says }) =>
          memory.connect(identity, { ...says, endpoint: sockets.endpoint }),
        )
        expect(inMemory).toEqual(overSockets)
        expect(inMemory.seen).toHaveLength(stations.length)
      }),
    )
  }
})

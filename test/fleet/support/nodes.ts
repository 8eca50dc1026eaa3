/** Nodes of one fleet on a memory engine: stations connect in memory, and all time is the test's. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Action from "../../../src/Action.ts"
import * as Fleet from "../../../src/Fleet.ts"
import type { EngineError } from "../../../src/fleet/EngineError.ts"
import * as Handlers from "../../../src/Handlers.ts"
import * as Protocol from "../../../src/Protocol.ts"
import * as Server from "../../../src/Server.ts"
import * as Network from "../../../src/testing/Network.ts"
import { settled } from "../../../src/testing/settled.ts"

const Text = Schema.Struct({ text: Schema.String })

/** A subprotocol with everything that a fleet carries. */
export const Echo = Protocol.make(
  "echo1.0",
  [Action.make("Echo", { request: Text, response: Text }), Action.makeSend("Note", { request: Text })],
  { extendedFrames: true },
)

export const Other = Protocol.make("other1.0", [Action.make("Echo", { request: Text, response: Text })])

/** Handlers of a station that answers with its own name. */
export const answering = (name: string) => [
  Handlers.make(Echo, { Echo: ({ text }) => Effect.succeed({ text: `${name}: ${text}` }) }),
]

/** Handlers of a station that never answers, and notes what it has got. */
export const silent = (got: Array<string>) => [
  Handlers.make(Echo, {
    Echo: ({ text }) =>
      Effect.andThen(
        Effect.sync(() => got.push(text)),
        Effect.never,
      ),
  }),
]

export interface Node {
  readonly fleet: Fleet.Fleet
  readonly network: Network.Network
  /** Its id on the hub. */
  readonly id: string
  /** A station of this node, connected, and known to the fleet. */
  readonly connect: (
    identity: string,
    options?: Partial<Network.StationOptions>,
  ) => Effect.Effect<Effect.Success<ReturnType<Network.Network["station"]>>, never, Scope.Scope>
}

/** A node of the fleet. */
export const makeNode = Effect.fnUntraced(function* (
  hub: Fleet.MemoryHub,
  name: string,
  options: Fleet.Options = {},
  serverOptions: Server.Options = {},
): Effect.fn.Return<Node, EngineError, Scope.Scope> {
  const network = yield* Network.make({ protocols: [Echo], ...serverOptions })
  const fleet = yield* Fleet.make({ node: name, ...options }).pipe(
    Effect.provideService(Server.Server, network.csms),
    Effect.provideService(Fleet.Engine.Engine, hub),
  )
  const id = hub.nodes.findLast((node) => node.startsWith(`${name}~`)) as string
  const connect = (identity: string, more: Partial<Network.StationOptions> = {}) =>
    Effect.gen(function* () {
      const station = yield* Effect.orDie(
        network.station({ identity, protocols: [Echo], reconnect: false, handlers: answering(identity), ...more }),
      )
      yield* pass(20)
      return station
    })
  return { fleet, network, id, connect }
})

/** Time passes, in steps in which everything happens that can. */
export const pass = (millis: number, step = 10) =>
  Effect.gen(function* () {
    for (let left = millis; left > 0; left -= step) {
      yield* settled
      yield* TestClock.adjust(Math.min(step, left))
    }
    yield* settled
  })

/** Three nodes on one engine. */
export const makeFleet = Effect.gen(function* () {
  const hub = yield* Fleet.MemoryHub.make
  const a = yield* makeNode(hub, "a")
  const b = yield* makeNode(hub, "b")
  const c = yield* makeNode(hub, "c")
  return { hub, a, b, c }
})

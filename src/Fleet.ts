/**
 * Many nodes, one fleet: any node calls any station by its identity.
 *
 * Each node is a `Server` to which stations connect, behind a load balancer of any kind. {@link layer} stands beside `Server.layer`
 * and needs an {@link Engine}: Redis (`effect-ocpp/fleet/redis`), NATS (`effect-ocpp/fleet/nats`), or the one inside this process
 * (`Engine.layerMemory`). A station that is connected here is called directly, and goes on being called when the engine is away.
 *
 * ```ts
 * const Node = Fleet.layer({ node: "csms-1" }).pipe(
 *   Layer.provideMerge(Server.layer({ port: 3000, protocols: [Ocpp201, Ocpp16], handlers: [CentralSystem] })),
 *   Layer.provide(Redis.layer({ connection: "redis://localhost" })),
 * )
 * const reset = Effect.gen(function* () {
 *   const fleet = yield* Fleet.Fleet
 *   return yield* fleet.call("CP001", Ocpp16.Reset, { type: "Soft" })
 * })
 * ```
 *
 * A call has one outcome. Beside those of a local call there are two, and neither has sent anything: `NotConnectedError`, the station
 * is connected nowhere; {@link UnreachableError}, nobody can say or get there. A `TimeoutError` or `DisconnectedError` says with
 * `sent` whether the station may have got the call; what is not known counts as `true`.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Action from "./Action.ts"
import type { CallOptions as ConnectionCallOptions } from "./Connection.ts"
import { type Checks, checkOptions, detachable, flag, millis, whenRead } from "./fleet/core.ts"
import * as Engines from "./fleet/Engine.ts"
import type { EngineError } from "./fleet/EngineError.ts"
import { type CallLocally, type FleetNode, make as makeNode } from "./fleet/FleetNode.ts"
import { Follower, type Step } from "./fleet/Follower.ts"
import type { FleetFailure } from "./fleet/failures.ts"
import { type Host, isDialects } from "./fleet/Host.ts"
import { nameOf } from "./fleet/nodeIds.ts"
import { type Options as NodeOptions, settings } from "./fleet/Settings.ts"
import type { UnreachableError } from "./fleet/UnreachableError.ts"
import * as Server from "./Server.ts"
import type { Subprotocol } from "./Subprotocol.ts"

export * as Engine from "./fleet/Engine.ts"
export { EngineError } from "./fleet/EngineError.ts"
export type { FleetFailure } from "./fleet/failures.ts"
export { MemoryHub } from "./fleet/memory.ts"
export { UnreachableError } from "./fleet/UnreachableError.ts"

/** The options of one call. What judges a result stays on its node, so `refuse` is not among them. */
export type CallOptions = Omit<ConnectionCallOptions, "refuse">

/** Calls a station, wherever it is connected. */
export interface Caller {
  /**
   * Calls the station and waits for its response. An action as a value types the request and the response.
   *
   * Interrupting the Effect takes the call back: what waits for its turn at the station is never sent.
   */
  readonly call: {
    (action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, FleetFailure>
    <A extends Action.Call<string, "csms" | "both">>(
      action: A,
      request: Action.Request<A>,
      options?: CallOptions,
    ): Effect.Effect<Action.Response<A>, FleetFailure>
  }
  /** Sends an unconfirmed message (OCPP 2.1): done when it is on its way to the station. */
  readonly send: {
    (action: string, request?: unknown): Effect.Effect<void, FleetFailure>
    <A extends Action.Send<string, "csms" | "both">>(
      action: A,
      request: Action.Request<A>,
    ): Effect.Effect<void, FleetFailure>
  }
}

/** A station that is connected somewhere in the fleet. */
export interface Station extends Caller {
  readonly identity: string
  /** The subprotocol that it speaks, `""` for none. */
  readonly protocol: string
  /** The name of the node to which it was connected when it was looked up. Calls find it wherever it is then. */
  readonly node: string
  /** Whether that is this node. */
  readonly isLocal: boolean
}

/** A station has connected to a node, maybe from another one; or it is connected nowhere any more. */
export interface Change {
  readonly _tag: "Connected" | "Disconnected"
  readonly station: Station
}

/** The fleet, as seen from one node. */
export interface Fleet {
  /** This node's name. */
  readonly node: string
  /** Whether the engine can be reached. If not, only the stations of this node can be called. */
  readonly isUp: Effect.Effect<boolean>
  /** {@link Caller.call} of the station of an identity. */
  readonly call: {
    (identity: string, action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, FleetFailure>
    <A extends Action.Call<string, "csms" | "both">>(
      identity: string,
      action: A,
      request: Action.Request<A>,
      options?: CallOptions,
    ): Effect.Effect<Action.Response<A>, FleetFailure>
  }
  /** {@link Caller.send} to the station of an identity. */
  readonly send: {
    (identity: string, action: string, request?: unknown): Effect.Effect<void, FleetFailure>
    <A extends Action.Send<string, "csms" | "both">>(
      identity: string,
      action: A,
      request: Action.Request<A>,
    ): Effect.Effect<void, FleetFailure>
  }
  /** The station of an identity, wherever it is connected. */
  readonly station: (identity: string) => Effect.Effect<Station, Server.NotConnectedError | UnreachableError>
  /** All stations that are connected now, on all nodes. Reads the whole directory. Fails when the engine cannot be reached. */
  readonly stations: Effect.Effect<ReadonlyArray<Station>, EngineError>
  /**
   * First the stations that are connected now, as `"Connected"`, then whoever comes, moves and goes. Of each station a slow reader gets
   * the latest only. While the engine is away nothing is told; then what is different.
   */
  readonly changes: Stream.Stream<Change>
  /**
   * Calls every station of the fleet, `concurrency` (default 16) at a time, and tells what came of each call. A station that speaks
   * another subprotocol than the action's is not called, nor is one that `where` says no to.
   */
  readonly broadcast: <A extends Action.Call<string, "csms" | "both">>(
    action: A,
    request: Action.Request<A>,
    options?: CallOptions & { readonly concurrency?: number; readonly where?: (station: Station) => boolean },
  ) => Effect.Effect<ReadonlyArray<readonly [Station, Exit.Exit<Action.Response<A>, FleetFailure>]>, EngineError>
  /**
   * Closes the stations of this node, evenly spread over a time (default 30 seconds), so that they do not all connect elsewhere at
   * once; each when its calls have ended. For a node that is to be stopped, once the load balancer sends it no more stations.
   */
  readonly drain: (options?: { readonly over?: Duration.Input }) => Effect.Effect<void>
}

/** The fleet, for programs that call stations. */
export const Fleet = Context.Service<Fleet>("effect-ocpp/Fleet")

/** What a node can be told. */
export interface Options extends NodeOptions {
  /** The subprotocols that the nodes serve. Default: those of this node's server. */
  readonly protocols?: ReadonlyArray<Subprotocol>
}

/** This node's place in the fleet. Closing the Scope lets calls of others end, and leaves. */
export const make = Effect.fnUntraced(function* (
  options: Options = {},
): Effect.fn.Return<Fleet, EngineError, Scope.Scope | Server.Server | Engines.Engine> {
  const server = yield* Server.Server
  const { protocols = protocolsOf(server), ...nodeOptions } = options
  const host: Host<Server.Station> = {
    protocols,
    stations: server.stations,
    subscribe: (observer) =>
      server.subscribe((event) => {
        if (event._tag === "Connected" || event._tag === "Disconnected") {
          observer({ _tag: event._tag, station: event.station })
        }
      }),
  }
  const node = yield* makeNode(host, yield* Engines.Engine, settings(nodeOptions), callLocally)
  return new StreamingFleet(node)
})

/** This node's place in the fleet, as long as the Layer lives. Fails when the engine cannot be reached at first. */
export const layer = (options: Options = {}): Layer.Layer<Fleet, EngineError, Server.Server | Engines.Engine> =>
  Layer.effect(Fleet, make(options))

/** Servers know their subprotocols, though their interface does not say so. */
const protocolsOf = (server: object): ReadonlyArray<Subprotocol> => {
  const protocols: unknown = "protocols" in server ? server.protocols : undefined
  return isDialects(protocols) ? protocols : []
}

/** What the types of {@link Fleet} have already held callers to: this node calls, so it is the CSMS that sends. */
type Called = Action.Call<string, "csms" | "both">
type Sent = Action.Send<string, "csms" | "both">

const callLocally: CallLocally<Server.Station> = (
  station,
  { action, declaration, kind, noReply, payload, timeout },
) => {
  if (kind === "Send")
    return declaration === undefined ? station.send(action, payload) : station.send(declaration as Sent, payload)
  const options = { noReply, ...(timeout === undefined ? undefined : { timeout }) }
  if (declaration === undefined) return station.call(action, payload, options)
  return station.call(declaration as Called, payload, options)
}

const callOptions: Checks<CallOptions> = { timeout: whenRead, noReply: flag }

const drainOptions = { over: whenRead }

/** Why a station is asked to leave. */
const leaving = { code: 1001, reason: "this node is going away", awaitPending: true }

class StreamingFleet implements Fleet {
  readonly #node: FleetNode<Server.Station>

  constructor(node: FleetNode<Server.Station>) {
    this.#node = node
    detachable<StreamingFleet>(this, ["call", "send", "station", "broadcast", "drain"])
  }

  get node(): string {
    return this.#node.name
  }

  get isUp(): Effect.Effect<boolean> {
    return Effect.sync(() => this.#node.isUp)
  }

  call(identity: string, action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, FleetFailure>
  call<A extends Called>(
    identity: string,
    action: A,
    request: Action.Request<A>,
    options?: CallOptions,
  ): Effect.Effect<Action.Response<A>, FleetFailure>
  call(
    identity: string,
    action: Action.Call | string,
    payload?: unknown,
    options: CallOptions = {},
  ): Effect.Effect<unknown, FleetFailure> {
    checkOptions(options, callOptions)
    const timeout = options.timeout === undefined ? undefined : millis("timeout", options.timeout)
    return this.#node.call({ kind: "Call", identity, action, payload, timeout, noReply: options.noReply })
  }

  send(identity: string, action: string, request?: unknown): Effect.Effect<void, FleetFailure>
  send<A extends Sent>(identity: string, action: A, request: Action.Request<A>): Effect.Effect<void, FleetFailure>
  send(identity: string, action: Action.Send | string, payload?: unknown): Effect.Effect<void, FleetFailure> {
    return Effect.asVoid(this.#node.call({ kind: "Send", identity, action, payload }))
  }

  station(identity: string): Effect.Effect<Station, Server.NotConnectedError | UnreachableError> {
    return Effect.map(this.#node.entry(identity), (entry) => this.#stationOf(entry))
  }

  get stations(): Effect.Effect<ReadonlyArray<Station>, EngineError> {
    return Effect.map(this.#node.entries, (entries) => entries.map((entry) => this.#stationOf(entry)))
  }

  #stationOf(entry: Engines.Entry): Station {
    return new FleetStation(this, entry, entry.node === this.#node.id)
  }

  get changes(): Stream.Stream<Change> {
    const changeOf = ({ _tag, entry }: Step): Change => ({ _tag, station: this.#stationOf(entry) })
    const follow = Effect.gen({ self: this }, function* () {
      const follower = new Follower(this.#node)
      yield* follower.start
      return Stream.fromIterableEffectRepeat(Effect.map(follower.take, (steps) => steps.map(changeOf)))
    })
    return Stream.unwrap(follow)
  }

  broadcast<A extends Called>(
    action: A,
    request: Action.Request<A>,
    options: CallOptions & { readonly concurrency?: number; readonly where?: (station: Station) => boolean } = {},
  ): Effect.Effect<ReadonlyArray<readonly [Station, Exit.Exit<Action.Response<A>, FleetFailure>]>, EngineError> {
    const { concurrency = 16, where = () => true, ...callOptions } = options
    const speaks = (protocol: string) => {
      const subprotocol = this.#node.protocols.find(({ name }) => name === protocol)
      return subprotocol === undefined || subprotocol.actions.get(action.name) === action
    }
    return Effect.flatMap(this.stations, (stations) =>
      Effect.forEach(
        stations.filter((station) => speaks(station.protocol) && where(station)),
        (station) =>
          Effect.map(
            Effect.exit(this.call(station.identity, action, request, callOptions)),
            (exit) => [station, exit] as const,
          ),
        { concurrency },
      ),
    )
  }

  drain(options: { readonly over?: Duration.Input } = {}): Effect.Effect<void> {
    checkOptions(options, drainOptions)
    const over = millis("over", options.over ?? 30_000)
    return Effect.suspend(() => {
      const { stations } = this.#node.holdings
      return Effect.forEach(
        stations,
        (station, i) => Effect.andThen(Effect.sleep((over * i) / stations.length), station.close(leaving)),
        { concurrency: "unbounded", discard: true },
      )
    })
  }
}

class FleetStation implements Station {
  readonly identity: string
  readonly protocol: string
  readonly node: string
  readonly isLocal: boolean
  readonly #fleet: Fleet

  constructor(fleet: Fleet, { identity, node, protocol }: Engines.Entry, isLocal: boolean) {
    this.#fleet = fleet
    this.identity = identity
    this.protocol = protocol
    this.node = nameOf(node)
    this.isLocal = isLocal
    detachable<FleetStation>(this, ["call", "send"])
  }

  call(action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, FleetFailure>
  call<A extends Called>(
    action: A,
    request: Action.Request<A>,
    options?: CallOptions,
  ): Effect.Effect<Action.Response<A>, FleetFailure>
  call(action: Called | string, payload?: unknown, options?: CallOptions): Effect.Effect<unknown, FleetFailure> {
    if (typeof action === "string") return this.#fleet.call(this.identity, action, payload, options)
    return this.#fleet.call(this.identity, action, payload, options)
  }

  send(action: string, request?: unknown): Effect.Effect<void, FleetFailure>
  send<A extends Sent>(action: A, request: Action.Request<A>): Effect.Effect<void, FleetFailure>
  send(action: Sent | string, payload?: unknown): Effect.Effect<void, FleetFailure> {
    if (typeof action === "string") return this.#fleet.send(this.identity, action, payload)
    return this.#fleet.send(this.identity, action, payload)
  }
}

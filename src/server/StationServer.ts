/**
 * Who is connected: the registry of stations, from their upgrade requests to their last close event.
 */

import type { Server as HttpServer, IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { type CloseInfo, type CloseOptions, sendable } from "../connection/Closing.ts"
import type { Environment } from "../connection/Environment.ts"
import { Hub, type Observer } from "../connection/Event.ts"
import { OpenConnection, type Parts } from "../connection/OpenConnection.ts"
import {
  type Checks,
  callback,
  checkOptions,
  flag,
  handlers,
  record,
  subprotocols,
  whenRead,
} from "../connection/OptionChecks.ts"
import { State } from "../connection/Peer.ts"
import {
  type Options as ConnectionOptions,
  checkStrictMode,
  connectionOptions,
  count,
  millis,
  oneOf,
  type Settings,
  settings,
  socketOptions,
} from "../connection/Settings.ts"
import * as Tracing from "../connection/Tracing.ts"
import * as Handlers from "../Handlers.ts"
import * as Handshake from "../Handshake.ts"
import * as Subprotocol from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import * as WebSocket from "../WebSocket.ts"
import * as HttpServers from "./HttpServer.ts"
import * as Upgrades from "./Upgrade.ts"
import { type Rejected, reject, type Upgrade } from "./Upgrade.ts"

/** What can be observed of a server. */
export type Event<Station> =
  /** A station was accepted. */
  | { readonly _tag: "Connected"; readonly station: Station }
  /** A station's connection has closed. */
  | { readonly _tag: "Disconnected"; readonly station: Station; readonly code: number; readonly reason: string }
  /** An upgrade request came to nothing; `identity` is `undefined` when the request has none that can be read. */
  | {
      readonly _tag: "UpgradeAborted"
      readonly error: Error
      readonly request: IncomingMessage
      readonly socket: Duplex
      readonly identity: string | undefined
    }
  /** An HTTP server that listens for us has a fault. */
  | { readonly _tag: "ServerError"; readonly error: Error }
  | { readonly _tag: "Closing" }
  | { readonly _tag: "Close" }

/** What a server can be told. */
export interface Options<R = never, Station = unknown> extends ConnectionOptions, WebSocket.SocketOptions {
  /** The subprotocols that are served; a station gets the first of them that it offers. Default none. */
  readonly protocols?: ReadonlyArray<Subprotocol.Subprotocol>
  /** What answers the calls of the stations: the same for all, or chosen by station when it first calls. */
  readonly handlers?:
    | ReadonlyArray<Handlers.Handlers<"station", R>>
    | ((station: Station) => ReadonlyArray<Handlers.Handlers<"station", R>>)
  /**
   * Who may connect. Succeeds with a session, any value of yours, or with {@link accept}; fails with {@link reject}.
   * Default: everyone.
   */
  readonly auth?: (handshake: Handshake.Handshake) => Effect.Effect<unknown, Rejected, R>
  /** How long `auth` may take; then the station gets 503. Default 10 seconds. */
  readonly authTimeout?: Duration.Input
  /**
   * What happens when a station connects whose identity is connected already, once it is authenticated: it replaces the
   * older connection, which is closed with 1008; it is rejected with 409; or both stay. Default `"replace"`.
   */
  readonly duplicateIdentity?: "replace" | "reject" | "allow"
  /** How many stations may be connected; one more gets 503. Default no limit. */
  readonly maxConnections?: number
  /** How many upgrade requests may wait for `auth`; one more gets 503. Default 256. */
  readonly maxPendingUpgrades?: number
  /** Whether a station that offers no subprotocol is let in, without one, though some are served. Default `false`. */
  readonly allowNoProtocol?: boolean
  /** When the Scope closes: how long calls in flight may go on before the connections close. Default 5 seconds. */
  readonly shutdownGrace?: Duration.Input
  /** Anything else that `ws` takes. */
  readonly webSocket?: NonNullable<Parameters<typeof WebSocket.makeAcceptor>[0]>["webSocket"] & {}
}

/** No station of that identity is connected. */
export class NotConnectedError extends Data.TaggedError("NotConnectedError")<{
  readonly message: string
  readonly identity: string
}> {}

/** What a station needs of the server that has accepted it. */
interface Registry {
  readonly protocols: ReadonlyArray<Subprotocol.Subprotocol>
  readonly handlerContext: (station: AcceptedStation) => Context.Context<never>
  readonly remove: (station: AcceptedStation, info: CloseInfo) => void
}

/** A connected station, without the Streams of the Effect face. */
export class AcceptedStation extends OpenConnection<"csms"> {
  /** What the station said of itself when it connected. */
  readonly handshake: Handshake.Handshake
  /** What `auth` succeeded with. */
  readonly session: unknown
  readonly #registry: Registry

  constructor(parts: Parts, handshake: Handshake.Handshake, session: unknown, registry: Registry) {
    super(parts)
    this.handshake = handshake
    this.session = session
    this.#registry = registry
  }

  override reconfigure(options: ConnectionOptions): void {
    checkStrictMode(options.strictMode, [this.rpc.subprotocol, ...this.#registry.protocols])
    super.reconfigure(options)
  }

  handlerContext(): Context.Context<never> {
    return this.#registry.handlerContext(this)
  }

  protected onClosed(info: CloseInfo): void {
    this.#registry.remove(this, info)
  }
}

/** What makes the stations of a server, and what their handlers are given. */
export interface Face<S extends AcceptedStation> {
  readonly Station: new (...parts: ConstructorParameters<typeof AcceptedStation>) => S
  readonly context: (station: S) => Context.Context<never>
}

/** A server without the Streams of the Effect face. */
export class StationServer<S extends AcceptedStation> implements Registry {
  protected readonly hub = new Hub<Event<S>>()
  #options: Options<never, S>
  readonly #face: Face<S>
  readonly #context: Context.Context<never>
  readonly #environment: Environment
  #limits: Limits
  /** What all stations have that connect from now on; one that is reconfigured gets its own. */
  #settings: Settings
  #acceptor: WebSocket.Acceptor
  #routers = new WeakMap<Subprotocol.Subprotocol, Handlers.Router>()
  readonly #connected = new Set<S>()
  /** By identity, the newest last. */
  readonly #registry = new Map<string, ReadonlyArray<S>>()
  /** Connections that are being closed, and never were stations. */
  readonly #turnedAway = new Set<Transport>()
  readonly #upgrades = new Set<Fiber.Fiber<unknown, unknown>>()
  readonly #httpServers = new Set<HttpServer>()
  readonly #closed = Deferred.makeUnsafe<void>()
  #closing = false
  #port: number | undefined

  /** @param context what `auth` is given */
  constructor(options: Options<never, S>, face: Face<S>, environment: Environment, context: Context.Context<never>) {
    this.#options = options
    this.#face = face
    this.#limits = limitsOf(options)
    this.#settings = settings(options)
    this.#context = context
    this.#environment = environment
    this.#acceptor = WebSocket.makeAcceptor(options)
  }

  reconfigure(options: Options<never, S>): void {
    const changed = { ...this.#options, ...options }
    const limits = limitsOf(changed)
    const acceptor = WebSocket.makeAcceptor(changed)
    this.#settings = settings(changed)
    this.#limits = limits
    this.#acceptor = acceptor
    this.#options = changed
    this.#routers = new WeakMap()
  }

  get protocols(): ReadonlyArray<Subprotocol.Subprotocol> {
    return this.#options.protocols ?? []
  }

  station(identity: string): Effect.Effect<S, NotConnectedError> {
    return Effect.suspend(() => {
      const station = this.#registry.get(identity)?.findLast(({ state }) => state === State.OPEN)
      if (station !== undefined) return Effect.succeed(station)
      return new NotConnectedError({ message: `${JSON.stringify(identity)} is not connected`, identity })
    })
  }

  get stations(): Effect.Effect<ReadonlyArray<S>> {
    return Effect.sync(() => [...this.#connected])
  }

  subscribe(observer: Observer<Event<S>>): () => void {
    return this.hub.subscribe(observer)
  }

  get port(): number | undefined {
    return this.#port
  }

  listen(options: HttpServers.ListenOptions = {}): Effect.Effect<HttpServer, HttpServers.ListenError> {
    return Effect.suspend(() =>
      this.#closing
        ? HttpServers.cannotListen(options, new Error("the server is closed"))
        : Effect.map(HttpServers.listen(options, this.handleUpgrade), (httpServer) => this.#adopt(httpServer)),
    )
  }

  #adopt(httpServer: HttpServer): HttpServer {
    httpServer.on("error", (error) => this.hub.emit({ _tag: "ServerError", error }))
    this.#httpServers.add(httpServer)
    this.#port = (httpServer.address() as AddressInfo).port
    if (this.#closing) httpServer.close()
    return httpServer
  }

  readonly handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Uint8Array): void => {
    const upgrade = new Upgrades.HttpUpgrade(request, socket, head, this.#acceptor)
    if (request.method !== "GET" || request.headers.upgrade?.toLowerCase() !== "websocket") {
      return this.#abort(upgrade, reject(400, "this is a WebSocket endpoint"))
    }
    this.receive(upgrade)
  }

  /** Whether nobody is let in. */
  get #isFull(): boolean {
    return this.#closing || this.#connected.size >= this.#limits.maxConnections
  }

  /** Lets a station in, or refuses it. */
  receive(upgrade: Upgrade): void {
    if (this.#isFull) return this.#abort(upgrade, reject(503))
    const handshake = Handshake.read(upgrade.request)
    if (handshake === undefined) {
      return this.#abort(upgrade, reject(400, Handshake.faultOf(upgrade.request)))
    }
    const { auth } = this.#options
    if (auth === undefined) return this.#admit(upgrade, handshake, undefined)
    if (this.#upgrades.size >= this.#limits.maxPendingUpgrades) return this.#abort(upgrade, reject(503), handshake)
    this.#authenticate(upgrade, handshake, auth)
  }

  #authenticate(upgrade: Upgrade, handshake: Handshake.Handshake, auth: NonNullable<Options<never, S>["auth"]>): void {
    const verdict = Effect.timeoutOrElse(
      Effect.suspend(() => auth(handshake)),
      { duration: this.#limits.authTimeout, orElse: () => reject(503, "authentication took too long") },
    )
    const fiber = Effect.runForkWith(this.#context)(verdict)
    const unwatch = upgrade.watch(() => fiber.interruptUnsafe())
    this.#upgrades.add(fiber)
    fiber.addObserver((exit) => {
      this.#upgrades.delete(fiber)
      unwatch()
      if (exit._tag === "Success") return this.#admit(upgrade, handshake, exit.value)
      const rejected = exit.cause.reasons.find(Cause.isFailReason)?.error
      if (rejected !== undefined) return this.#abort(upgrade, rejected, handshake)
      if (Cause.hasInterruptsOnly(exit.cause)) return this.#abort(upgrade, reject(503), handshake)
      this.#run(Effect.logError("auth failed", exit.cause))
      this.#abort(upgrade, reject(500), handshake)
    })
  }

  /** Completes the handshake of a station that may connect. */
  #admit(upgrade: Upgrade, handshake: Handshake.Handshake, verdict: unknown): void {
    const { duplicateIdentity = "replace" } = this.#options
    const older = this.#registry.get(handshake.identity) ?? []
    if (this.#isFull) return this.#abort(upgrade, reject(503), handshake)
    if (older.some(({ state }) => state === State.OPEN) && duplicateIdentity === "reject") {
      return this.#abort(upgrade, reject(409, "this identity is connected"), handshake)
    }
    const { protocol, session } = this.#choose(handshake, verdict)
    const agreed = protocol === undefined || protocol.name === "" ? undefined : protocol.name
    const transport = upgrade.accept(agreed)
    if (transport === undefined) {
      return this.#tellAborted(upgrade, new Error("the request is no WebSocket handshake"), handshake)
    }
    if (protocol === undefined) {
      // OCPP-J 1.6 §3.1.2, 2.x part 4: the handshake is completed without a subprotocol, then the connection is closed.
      this.#turnAway(transport, { code: 1002, reason: "no common subprotocol" })
      return this.#tellAborted(upgrade, this.#noCommonProtocol(handshake), handshake)
    }
    const station = this.#makeStation(transport, protocol, handshake, session)
    this.#connected.add(station)
    this.#registry.set(handshake.identity, [...older, station])
    if (duplicateIdentity === "replace") {
      for (const replaced of older) replaced.startClose({ code: 1008, reason: "replaced by a newer connection" })
    }
    this.hub.emit({ _tag: "Connected", station })
    this.hub.afterwards(() => station.start())
  }

  #noCommonProtocol({ protocols }: Handshake.Handshake): Error {
    const named = (names: Iterable<string>) => Tracing.clip([...names].join(", ") || "none")
    const served = named(this.protocols.map(({ name }) => name))
    return new Error(`no common subprotocol (offered: ${named(protocols)}; served: ${served})`)
  }

  /** Closes a connection that nobody will use. */
  #turnAway(transport: Transport, { code, reason }: CloseInfo): void {
    this.#turnedAway.add(transport)
    transport.listen({ ...deaf, onClose: () => this.#turnedAway.delete(transport) })
    transport.close(code, reason)
  }

  #choose(handshake: Handshake.Handshake, verdict: unknown) {
    if (verdict instanceof Upgrades.Accepted) {
      const { protocol, session } = verdict
      return { protocol: handshake.protocols.has(protocol.name) ? protocol : undefined, session }
    }
    const { allowNoProtocol = false, protocols = [] } = this.#options
    const mayBeNone = protocols.length === 0 || (allowNoProtocol && handshake.protocols.size === 0)
    const none = mayBeNone ? noProtocol : undefined
    const common = protocols.find(({ name }) => handshake.protocols.has(name))
    return { protocol: common ?? none, session: verdict }
  }

  #makeStation(
    transport: Transport,
    subprotocol: Subprotocol.Subprotocol,
    handshake: Handshake.Handshake,
    session: unknown,
  ): S {
    const station: S = new this.#face.Station(
      {
        side: "csms",
        identity: handshake.identity,
        transport,
        subprotocol,
        router: this.#routerOf(subprotocol, () => station),
        options: this.#options,
        settings: this.#settings,
        environment: this.#environment,
      },
      handshake,
      session,
      this,
    )
    return station
  }

  handlerContext(station: AcceptedStation): Context.Context<never> {
    // All stations of ours are made by our face.
    return this.#face.context(station as S)
  }

  /** What all stations share is made once; what is chosen by station, when that first calls. */
  #routerOf(protocol: Subprotocol.Subprotocol, station: () => S): Handlers.Router {
    const { handlers = [] } = this.#options
    if (typeof handlers === "function") {
      let own: Handlers.Router | undefined
      return (action) => {
        own ??= Handlers.route(handlers(station()), protocol)
        return own(action)
      }
    }
    let shared = this.#routers.get(protocol)
    if (shared === undefined) {
      shared = Handlers.route(handlers, protocol)
      this.#routers.set(protocol, shared)
    }
    return shared
  }

  /** Only a connection itself ends its entry: the late close of a replaced one removes nothing of its successor. */
  remove(accepted: AcceptedStation, info: CloseInfo): void {
    const station = accepted as S
    this.#connected.delete(station)
    const others = (this.#registry.get(station.identity) ?? []).filter((other) => other !== station)
    if (others.length === 0) this.#registry.delete(station.identity)
    else this.#registry.set(station.identity, others)
    this.hub.emit({ _tag: "Disconnected", station, ...info })
  }

  #abort(upgrade: Upgrade, rejected: Rejected, handshake?: Handshake.Handshake): void {
    upgrade.refuse(rejected)
    this.#tellAborted(upgrade, rejected, handshake)
  }

  #tellAborted({ request, socket }: Upgrade, error: Error, handshake?: Handshake.Handshake): void {
    if (!this.hub.active) return
    this.hub.emit({ _tag: "UpgradeAborted", error, request, socket, identity: handshake?.identity })
  }

  #run(effect: Effect.Effect<void>): void {
    Effect.runForkWith(this.#context)(effect)
  }

  close(options: CloseOptions = {}): Effect.Effect<void> {
    return Effect.suspend(() => {
      const how = sendable(options)
      if (!this.#closing) {
        this.#closing = true
        this.hub.emit({ _tag: "Closing" })
        for (const fiber of this.#upgrades) fiber.interruptUnsafe()
        for (const httpServer of this.#httpServers) {
          httpServer.close()
          httpServer.closeIdleConnections()
        }
        this.#run(this.#finishClosing)
      }
      for (const station of this.#connected) station.startClose(how)
      return Deferred.await(this.#closed)
    })
  }

  get #finishClosing(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (this.#connected.size > 0) {
        yield* Effect.forEach(this.#connected, (station) => station.closed, { concurrency: "unbounded", discard: true })
      }
      for (const transport of this.#turnedAway) transport.terminate()
      for (const httpServer of this.#httpServers) yield* HttpServers.close(httpServer)
      this.hub.emit({ _tag: "Close" })
      Deferred.doneUnsafe(this.#closed, Exit.void)
    })
  }

  /** Drains for the time of grace, then closes, then drops what is left. */
  get shutdown(): Effect.Effect<void> {
    const code = 1001
    const within = (duration: number) => Effect.timeoutOption(Deferred.await(this.#closed), duration)
    return Effect.gen({ self: this }, function* () {
      const stations = [...this.#connected]
      yield* Effect.forkDetach(this.close({ code, awaitPending: true }))
      if ((yield* within(this.#limits.shutdownGrace))._tag === "None") {
        yield* Effect.forkDetach(this.close({ code }))
        if ((yield* within(1_000))._tag === "None") yield* this.close({ code, force: true })
      }
      // A handler that cannot be interrupted must not hold up the end.
      const ended = Effect.forEach(stations, (station) => station.ended, { concurrency: "unbounded", discard: true })
      yield* Effect.timeoutOption(ended, 1_000)
    })
  }
}

interface Limits {
  readonly authTimeout: number
  readonly maxConnections: number
  readonly maxPendingUpgrades: number
  readonly shutdownGrace: number
}

const serverOptions: Checks<Options> = {
  ...connectionOptions,
  ...socketOptions,
  protocols: subprotocols,
  handlers,
  auth: callback,
  authTimeout: whenRead,
  duplicateIdentity: whenRead,
  maxConnections: whenRead,
  maxPendingUpgrades: whenRead,
  allowNoProtocol: flag,
  shutdownGrace: whenRead,
  webSocket: record,
}

/** Checks all options: nonsense is refused now, not when the first station connects. */
const limitsOf = (options: Omit<Options, "handlers">): Limits => {
  checkOptions(options, serverOptions)
  settings(options)
  checkStrictMode(options.strictMode, options.protocols ?? [])
  oneOf("duplicateIdentity", options.duplicateIdentity ?? "replace", ["replace", "reject", "allow"])
  return {
    authTimeout: millis("authTimeout", options.authTimeout ?? 10_000),
    maxConnections: count("maxConnections", options.maxConnections ?? Number.POSITIVE_INFINITY, 1),
    maxPendingUpgrades: count("maxPendingUpgrades", options.maxPendingUpgrades ?? 256, 1),
    shutdownGrace: millis("shutdownGrace", options.shutdownGrace ?? 5_000),
  }
}

const noProtocol = Subprotocol.unknown()

const ignore = () => {}

const deaf = { onMessage: ignore, onPing: ignore, onPong: ignore, onError: ignore }

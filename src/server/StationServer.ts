/**
 * Accepts stations: from their upgrade requests to their last close event, and its own shutdown.
 */
import type { Server as HttpServer, IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Close, type CloseInfo, type CloseOptions, closeOf } from "../connection/Closing.ts"
import type { Deadlines } from "../connection/Deadlines.ts"
import type { Environment } from "../connection/Environment.ts"
import { Hub, type Observer } from "../connection/Hub.ts"
import { changedBy } from "../connection/OptionChecks.ts"
import { type Settings, settings } from "../connection/Settings.ts"
import * as supervised from "../connection/supervised.ts"
import * as Tracing from "../connection/Tracing.ts"
import * as Handlers from "../Handlers.ts"
import * as Handshake from "../Handshake.ts"
import * as Subprotocol from "../Subprotocol.ts"
import { surface, type Transport } from "../Transport.ts"
import * as WebSocket from "../WebSocket.ts"
import { AcceptedStation, type Acceptor } from "./AcceptedStation.ts"
import * as HttpServers from "./HttpServer.ts"
import { type Limits, limitsOf, type ServerOptions } from "./options.ts"
import { type Doorkeeper, PendingUpgrade } from "./PendingUpgrade.ts"
import { Registry } from "./Registry.ts"
import * as Upgrades from "./Upgrade.ts"
import { type Rejected, reject, type Upgrade } from "./Upgrade.ts"

/** The events of a server. */
export type ServerEvent<Station> =
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

/** No station of that identity is connected. */
export class NotConnectedError extends Data.TaggedError("NotConnectedError")<{
  readonly message: string
  readonly identity: string
}> {}

type Options = ServerOptions<never, AcceptedStation>

export class StationServer implements Acceptor, Doorkeeper {
  protected readonly hub = new Hub<ServerEvent<AcceptedStation>>()
  /** Holds everything that the server and its stations have started. */
  readonly root = Scope.makeUnsafe()
  /** The services of `auth`. */
  readonly context: Context.Context<never>
  readonly contextOf: (station: AcceptedStation) => Context.Context<never>
  #options: Options
  readonly #environment: Environment
  #limits: Limits
  /** Those of all stations that connect from now on; one that is reconfigured gets its own. */
  #settings: Settings
  #acceptor: WebSocket.Acceptor
  #routers = new WeakMap<Subprotocol.Subprotocol, Handlers.Router>()
  readonly #registry = new Registry()
  /** Connections that are being closed, and never were stations. */
  readonly #turnedAway = new Set<Transport>()
  readonly #pending = new Set<PendingUpgrade>()
  readonly #httpServers = new Set<HttpServer>()
  readonly #closed = Deferred.makeUnsafe<void>()
  #isClosing = false
  #port: number | undefined

  /**
   * @param context the services of `auth`
   * @param contextOf the services of a station's handlers
   */
  constructor(
    options: Options,
    environment: Environment,
    context: Context.Context<never>,
    contextOf: (station: AcceptedStation) => Context.Context<never>,
  ) {
    this.#options = options
    this.#limits = limitsOf(options)
    this.#settings = settings(options)
    this.context = context
    this.contextOf = contextOf
    this.#environment = environment
    this.#acceptor = WebSocket.makeAcceptor(options)
  }

  reconfigure(options: Options): void {
    const changed = changedBy(this.#options, options)
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

  get deadlines(): Deadlines {
    return this.#environment.deadlines
  }

  station(identity: string): Effect.Effect<AcceptedStation, NotConnectedError> {
    return Effect.suspend(() => {
      const station = this.#registry.open(identity)
      if (station !== undefined) return Effect.succeed(station)
      return new NotConnectedError({ message: `${JSON.stringify(identity)} is not connected`, identity })
    })
  }

  get stations(): Effect.Effect<ReadonlyArray<AcceptedStation>> {
    return Effect.sync(() => this.#registry.all)
  }

  subscribe(observer: Observer<ServerEvent<AcceptedStation>>): () => void {
    return this.hub.subscribe(observer)
  }

  get port(): number | undefined {
    return this.#port
  }

  listen(options: HttpServers.ListenOptions = {}): Effect.Effect<HttpServer, HttpServers.ListenError> {
    return Effect.suspend(() =>
      this.#isClosing
        ? HttpServers.cannotListen(options, new Error("the server is closed"))
        : Effect.map(HttpServers.listen(options, this.handleUpgrade), (httpServer) => this.#adopt(httpServer)),
    )
  }

  #adopt(httpServer: HttpServer): HttpServer {
    httpServer.on("error", (error) => this.hub.emit({ _tag: "ServerError", error }))
    this.#httpServers.add(httpServer)
    this.#port = (httpServer.address() as AddressInfo).port
    if (this.#isClosing) httpServer.close()
    return httpServer
  }

  readonly handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Uint8Array): void => {
    const upgrade = new Upgrades.HttpUpgrade(request, socket, head, this.#acceptor)
    if (request.method !== "GET" || request.headers.upgrade?.toLowerCase() !== "websocket") {
      return this.#refuse(upgrade, reject(400, "this is a WebSocket endpoint"))
    }
    this.receive(upgrade)
  }

  /** Whether nobody is let in. */
  get #isFull(): boolean {
    return this.#isClosing || this.#registry.size >= this.#limits.maxConnections
  }

  /** Lets a station in, or refuses it. */
  receive(upgrade: Upgrade): void {
    if (this.#isFull) return this.#refuse(upgrade, reject(503))
    const handshake = this.#read(upgrade)
    if (handshake === undefined) return
    const { auth } = this.#options
    if (auth === undefined) return this.#admit(upgrade, handshake, undefined)
    const { authTimeout, maxPendingUpgrades } = this.#limits
    if (this.#pending.size >= maxPendingUpgrades) return this.#refuse(upgrade, reject(503), handshake)
    const pending = new PendingUpgrade(this, upgrade, handshake)
    this.#pending.add(pending)
    pending.start(
      Effect.suspend(() => auth(handshake)),
      authTimeout,
    )
  }

  /** Reads an upgrade request, or refuses it. */
  #read(upgrade: Upgrade): Handshake.Handshake | undefined {
    const { allowSlash = false, identify } = this.#options
    const options = { allowSlash, identify, resolve: this.#limits.resolve }
    try {
      const handshake = Handshake.read(upgrade.request, options)
      return handshake ?? this.#refuse(upgrade, reject(400, Handshake.faultOf(upgrade.request, options)))
    } catch (defect) {
      // A program's own `identify` may throw.
      surface(defect)
      return this.#refuse(upgrade, reject(500))
    }
  }

  #keyOf(handshake: Handshake.Handshake): string {
    return this.#options.registryKey?.(handshake) ?? handshake.identity
  }

  onAccepted({ handshake, upgrade }: PendingUpgrade, verdict: unknown, scope: Scope.Closeable): void {
    this.#admit(upgrade, handshake, verdict, scope)
  }

  onRefused({ handshake, upgrade }: PendingUpgrade, refusal: Rejected, defect?: Cause.Cause<unknown>): void {
    if (defect !== undefined) supervised.fork(this.root, this.context, Effect.logError("auth failed", defect))
    this.#refuse(upgrade, refusal, handshake)
  }

  onDecided(pending: PendingUpgrade): void {
    this.#pending.delete(pending)
  }

  /** Completes the handshake of a station that may connect. A Scope that does not become the station's is closed. */
  #admit(upgrade: Upgrade, handshake: Handshake.Handshake, verdict: unknown, scope?: Scope.Closeable): void {
    const station = this.#accept(upgrade, handshake, verdict)
    if (station === undefined) {
      if (scope !== undefined) supervised.close(scope, this.root, this.context)
      return
    }
    const { duplicateIdentity = "replace", onConnected } = this.#options
    const key = this.#keyOf(handshake)
    const older = this.#registry.of(key)
    this.#registry.add(key, station)
    if (scope !== undefined) station.adopt(scope)
    if (duplicateIdentity === "replace") {
      const how = { code: 1008, reason: "replaced by a newer connection", awaitPending: false, force: false }
      for (const replaced of older) replaced.beginClose(how)
    }
    this.hub.emit({ _tag: "Connected", station })
    if (onConnected !== undefined) station.run(() => onConnected(station), "onConnected")
    this.hub.afterwards(() => station.start())
  }

  /** Makes the station of an upgrade request, unless that comes to nothing. */
  #accept(upgrade: Upgrade, handshake: Handshake.Handshake, verdict: unknown): AcceptedStation | undefined {
    const { duplicateIdentity } = this.#options
    if (this.#isFull) return this.#refuse(upgrade, reject(503), handshake)
    if (duplicateIdentity === "reject" && this.#registry.open(this.#keyOf(handshake)) !== undefined) {
      return this.#refuse(upgrade, reject(409, "this identity is connected"), handshake)
    }
    const { protocol, session } = this.#choose(handshake, verdict)
    if (protocol === undefined && this.#options.onNoProtocol === "reject") {
      return this.#refuse(upgrade, reject(400, this.#noCommonProtocol(handshake).message), handshake)
    }
    // Of a default that the station does not offer the response says nothing.
    const agreed = protocol !== undefined && handshake.protocols.has(protocol.name) ? protocol.name : undefined
    const transport = upgrade.accept(agreed)
    if (Upgrades.isRejected(transport)) return this.#refuse(upgrade, transport, handshake)
    if (protocol === undefined) {
      // OCPP-J 1.6 §3.1.2, 2.x part 4: the handshake is completed without a subprotocol, then the connection is closed.
      this.#turnAway(transport, { code: 1002, reason: "no common subprotocol" })
      return this.#tellAborted(upgrade, this.#noCommonProtocol(handshake), handshake)
    }
    return this.#makeStation(transport, protocol, handshake, session)
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
    if (Upgrades.isAccepted(verdict)) {
      const { protocol, session } = verdict
      return { protocol: handshake.protocols.has(protocol.name) ? protocol : undefined, session }
    }
    const { allowNoProtocol = false, defaultProtocol, protocols = [] } = this.#options
    const offersNone = handshake.protocols.size === 0
    if (offersNone && defaultProtocol !== undefined) return { protocol: defaultProtocol, session: verdict }
    const mayBeNone = protocols.length === 0 || (allowNoProtocol && offersNone)
    const none = mayBeNone ? noProtocol : undefined
    const common = protocols.find(({ name }) => handshake.protocols.has(name))
    return { protocol: common ?? none, session: verdict }
  }

  #makeStation(
    transport: Transport,
    subprotocol: Subprotocol.Subprotocol,
    handshake: Handshake.Handshake,
    session: unknown,
  ): AcceptedStation {
    const station: AcceptedStation = new AcceptedStation(
      {
        side: "csms",
        identity: handshake.identity,
        transport,
        subprotocol,
        router: this.#routerOf(subprotocol, () => station),
        options: this.#options,
        settings: this.#settings,
        environment: this.#environment,
        root: this.root,
      },
      handshake,
      session,
      this,
    )
    return station
  }

  /** The router of all stations is made once; one that is chosen by station, when that first calls. */
  #routerOf(protocol: Subprotocol.Subprotocol, station: () => AcceptedStation): Handlers.Router {
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

  remove(station: AcceptedStation, info: CloseInfo): void {
    this.#registry.remove(station)
    this.hub.emit({ _tag: "Disconnected", station, ...info })
  }

  #refuse(upgrade: Upgrade, rejected: Rejected, handshake?: Handshake.Handshake): undefined {
    upgrade.refuse(rejected)
    return this.#tellAborted(upgrade, rejected, handshake)
  }

  #tellAborted({ request, socket }: Upgrade, error: Error, handshake?: Handshake.Handshake): undefined {
    if (this.hub.active) {
      this.hub.emit({ _tag: "UpgradeAborted", error, request, socket, identity: handshake?.identity })
    }
    return undefined
  }

  close(options: CloseOptions = {}): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#beginClose(closeOf(options))
      return Deferred.await(this.#closed)
    })
  }

  #beginClose(how: Close): void {
    if (!this.#isClosing) {
      this.#isClosing = true
      this.hub.emit({ _tag: "Closing" })
      for (const pending of this.#pending) pending.abandon()
      for (const httpServer of this.#httpServers) {
        httpServer.close()
        httpServer.closeIdleConnections()
      }
      supervised.fork(this.root, this.context, this.#finishClosing)
    }
    for (const station of this.#registry.all) station.beginClose(how)
  }

  get #finishClosing(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (this.#registry.size > 0) {
        const all = this.#registry.all
        yield* Effect.forEach(all, (station) => station.closed, { concurrency: "unbounded", discard: true })
      }
      for (const transport of this.#turnedAway) transport.terminate()
      for (const httpServer of this.#httpServers) yield* HttpServers.close(httpServer)
      this.hub.emit({ _tag: "Close" })
      Deferred.doneUnsafe(this.#closed, Exit.void)
    })
  }

  /** Drains for the time of grace, then closes, then drops what is left. */
  get shutdown(): Effect.Effect<void> {
    const how: Close = { code: 1001, reason: "", awaitPending: false, force: false }
    const isClosedWithin = (duration: number) =>
      Effect.map(Effect.timeoutOption(Deferred.await(this.#closed), duration), ({ _tag }) => _tag === "Some")
    return Effect.gen({ self: this }, function* () {
      this.#beginClose({ ...how, awaitPending: true })
      if (!(yield* isClosedWithin(this.#limits.shutdownGrace))) {
        this.#beginClose(how)
        if (!(yield* isClosedWithin(1_000))) {
          this.#beginClose({ ...how, force: true })
          yield* Deferred.await(this.#closed)
        }
      }
      // A handler that cannot be interrupted must not hold up the end: it ends by itself, whenever it does.
      const ended = yield* Effect.forkDetach(Scope.close(this.root, Exit.void))
      yield* Effect.timeoutOption(Fiber.await(ended), 1_000)
    })
  }
}

const noProtocol = Subprotocol.unknown()

const ignore = () => {}

const deaf = { onMessage: ignore, onPing: ignore, onPong: ignore, onError: ignore }

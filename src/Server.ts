/**
 * The CSMS: accepts stations, knows who is connected, and calls them.
 *
 * {@link layer} is a server that listens as long as the Layer lives; {@link make} one that you let listen, or give the
 * `upgrade` events of an HTTP server of your own. Closing its Scope closes every connection gracefully.
 *
 * ```ts
 * const Csms = Server.layer({ port: 3000, protocols: [Ocpp201, Ocpp16], handlers: [CentralSystem], strictMode: true })
 * Effect.runFork(Layer.launch(Csms))
 * ```
 */
import * as Http from "node:http"
import * as Https from "node:https"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import type { TlsOptions } from "node:tls"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Alarms from "./connection/Alarms.ts"
import { Hub, type Observer } from "./connection/Event.ts"
import { OpenConnection, type Parts } from "./connection/OpenConnection.ts"
import { type Peer, State } from "./connection/Peer.ts"
import type { CloseInfo, CloseOptions } from "./connection/Rpc.ts"
import {
  type Options as ConnectionOptions,
  checkStrictMode,
  count,
  millis,
  oneOf,
  settings,
} from "./connection/Settings.ts"
import * as Handlers from "./Handlers.ts"
import * as Handshake from "./Handshake.ts"
import * as Protocol from "./Protocol.ts"
import * as WebSocket from "./WebSocket.ts"

export type { Handshake } from "./Handshake.ts"

/** A connected station. */
export interface Station extends Peer<"csms"> {
  /** What the station said of itself when it connected. */
  readonly handshake: Handshake.Handshake
  /** What `auth` succeeded with. */
  readonly session: unknown
}

/** The station that is calling; every handler of a server may ask for it. */
export const Station = Context.Service<Station>("effect-ocpp/Server/Station")

/** The refusal of an upgrade request. */
export class Rejected extends Data.TaggedError("Rejected")<{
  /** The HTTP status, from 400 to 599. */
  readonly code: number
  /** The response body. */
  readonly message: string
}> {}

/**
 * Refuses a station: `auth` fails with it. OCPP asks for 404 when the identity is unknown and 401 when the credentials
 * are wrong.
 *
 * @throws {RangeError} when the code is not an HTTP error status.
 */
export const reject = (code = 400, message = ""): Rejected => {
  if (Number.isInteger(code) && code >= 400 && code <= 599) return new Rejected({ code, message })
  throw new RangeError(`reject takes an HTTP status from 400 to 599; got ${code}`)
}

/** What `auth` succeeds with to choose the subprotocol itself. */
export class Accepted extends Data.TaggedClass("Accepted")<{
  readonly session: unknown
  readonly protocol: Protocol.Protocol
}> {}

/** Accepts a station with a subprotocol of its offer that is not the one the server would choose. */
export const accept = (session: unknown, protocol: Protocol.Protocol): Accepted => new Accepted({ session, protocol })

/** The server could not listen. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly message: string
  readonly cause: unknown
}> {}

/** What can be observed of a server. */
export type Event =
  /** A station was accepted. */
  | { readonly _tag: "Connected"; readonly station: Station }
  /** A station's connection has closed. */
  | { readonly _tag: "Disconnected"; readonly station: Station; readonly code: number; readonly reason: string }
  /** An upgrade request came to nothing; `identity` is `undefined` when the request has none that can be read. */
  | {
      readonly _tag: "UpgradeAborted"
      readonly error: Error
      readonly request: Http.IncomingMessage
      readonly socket: Duplex
      readonly identity: string | undefined
    }
  /** An HTTP server that listens for us has a fault. */
  | { readonly _tag: "ServerError"; readonly error: Error }
  | { readonly _tag: "Closing" }
  | { readonly _tag: "Close" }

/** What a server can be told. */
export interface Options<R = never> extends ConnectionOptions, WebSocket.SocketOptions {
  /** The subprotocols that are served; a station gets the first of them that it offers. Default none. */
  readonly protocols?: ReadonlyArray<Protocol.Protocol>
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

/** Where a server listens. */
export interface ListenOptions {
  /** Default: any free port. */
  readonly port?: number
  /** Default: all interfaces. */
  readonly host?: string
  /** Certificates and keys; makes it `wss://` (security profiles 2 and 3). TLS 1.2 is the floor. */
  readonly tls?: TlsOptions
}

/** A server. */
export interface Server {
  /** The connected station of an identity; the newest, where several are allowed. */
  readonly station: (identity: string) => Effect.Effect<Station, NotConnectedError>
  /** The stations that are connected now. */
  readonly stations: Effect.Effect<ReadonlyArray<Station>>
  /** Everything that happens from now on, until the server closes. A slow reader loses the oldest. */
  readonly events: Stream.Stream<Event>
  /** Calls the observer for every event, in the tick in which it happens, until the returned function is called. */
  readonly subscribe: (observer: Observer<Event>) => () => void
  /** Listens with an HTTP server of its own, which answers anything but upgrades with 404. */
  readonly listen: (options?: ListenOptions) => Effect.Effect<Http.Server, ListenError>
  /** The port of the last `listen`. */
  readonly port: number | undefined
  /** For the `upgrade` event of an HTTP server of your own: `httpServer.on("upgrade", server.handleUpgrade)`. */
  readonly handleUpgrade: (request: Http.IncomingMessage, socket: Duplex, head: Uint8Array) => void
  /**
   * Changes options for the connections that come from now on.
   *
   * @throws {RangeError} naming the option whose value makes no sense; then nothing has changed.
   */
  readonly reconfigure: (options: Options) => void
  /** Accepts no more stations, closes all connections, then the HTTP servers of its own. */
  readonly close: (options?: CloseOptions) => Effect.Effect<void>
}

/** The server, for programs that call stations. */
export const Server = Context.Service<Server>("effect-ocpp/Server")

/** No station of that identity is connected. */
export class NotConnectedError extends Data.TaggedError("NotConnectedError")<{
  readonly message: string
  readonly identity: string
}> {}

/** A server that does not listen yet. Closing the Scope closes it gracefully with code 1001. */
export const make = <R = never>(
  options: Options<R> = {},
): Effect.Effect<Server, never, Scope.Scope | Exclude<R, Station>> =>
  Effect.gen(function* () {
    const context = (yield* Effect.context<Exclude<R, Station>>()) as Context.Context<never>
    const server = new StationServer(options as Options, context, yield* Alarms.make)
    yield* Effect.addFinalizer(() => server.shutdown)
    return server
  })

/** A server that listens as long as the Layer lives. */
export const layer = <R = never>(
  options: Options<R> & ListenOptions,
): Layer.Layer<Server, ListenError, Exclude<Exclude<R, Station>, Scope.Scope>> =>
  Layer.effect(
    Server,
    Effect.tap(make(options), (server) => server.listen(options)),
  )

class StationServer implements Server {
  #options: Options
  readonly #context: Context.Context<never>
  readonly #alarms: Alarms.Alarms
  #limits: Limits
  #acceptor: WebSocket.Acceptor
  #routers = new WeakMap<Protocol.Protocol, Handlers.Router>()
  readonly #hub = new Hub<Event>()
  readonly #connected = new Set<AcceptedStation>()
  /** By identity, the newest last. */
  readonly #registry = new Map<string, ReadonlyArray<AcceptedStation>>()
  readonly #upgrades = new Set<Fiber.Fiber<unknown, unknown>>()
  readonly #httpServers = new Set<Http.Server>()
  readonly #closed = Deferred.makeUnsafe<void>()
  #closing = false
  #port: number | undefined

  constructor(options: Options, context: Context.Context<never>, alarms: Alarms.Alarms) {
    this.#options = options
    this.#limits = limitsOf(options)
    this.#context = context
    this.#alarms = alarms
    this.#acceptor = WebSocket.makeAcceptor(options)
  }

  reconfigure(options: Options): void {
    const changed = { ...this.#options, ...options }
    this.#limits = limitsOf(changed)
    this.#acceptor = WebSocket.makeAcceptor(changed)
    this.#options = changed
    this.#routers = new WeakMap()
  }

  station(identity: string): Effect.Effect<Station, NotConnectedError> {
    return Effect.suspend(() => {
      const station = this.#registry.get(identity)?.findLast(({ state }) => state === State.OPEN)
      if (station !== undefined) return Effect.succeed(station)
      return new NotConnectedError({ message: `${JSON.stringify(identity)} is not connected`, identity })
    })
  }

  get stations(): Effect.Effect<ReadonlyArray<Station>> {
    return Effect.sync(() => [...this.#connected])
  }

  get events(): Stream.Stream<Event> {
    return this.#hub.stream((event) => event)
  }

  subscribe(observer: Observer<Event>): () => void {
    return this.#hub.subscribe(observer)
  }

  get port(): number | undefined {
    return this.#port
  }

  listen({ host, port = 0, tls }: ListenOptions = {}): Effect.Effect<Http.Server, ListenError> {
    return Effect.callback((resume) => {
      const onError = (cause: unknown) => {
        const why = cause instanceof Error ? cause.message : String(cause)
        resume(new ListenError({ message: `cannot listen on port ${port}: ${why}`, cause }))
      }
      if (this.#closing) return onError(new Error("the server is closed"))
      let httpServer: Http.Server
      try {
        httpServer = makeHttpServer(tls)
        httpServer.on("upgrade", this.handleUpgrade)
        httpServer.once("error", onError)
        httpServer.listen(port, host)
      } catch (cause) {
        return onError(cause)
      }
      httpServer.once("listening", () => {
        httpServer.off("error", onError)
        httpServer.on("error", (error) => this.#hub.emit({ _tag: "ServerError", error }))
        this.#httpServers.add(httpServer)
        this.#port = (httpServer.address() as AddressInfo).port
        if (this.#closing) httpServer.close()
        resume(Exit.succeed(httpServer))
      })
      return Effect.sync(() => {
        httpServer.close()
      })
    })
  }

  readonly handleUpgrade = (request: Http.IncomingMessage, socket: Duplex, head: Uint8Array): void => {
    const upgrade: Upgrade = { request, socket, head }
    // Whatever happens to the socket before ws has it must not become an uncaught exception.
    socket.on("error", ignore)
    if (this.#closing || this.#connected.size >= this.#limits.maxConnections) return this.#abort(upgrade, reject(503))
    if (request.method !== "GET" || request.headers.upgrade?.toLowerCase() !== "websocket") {
      return this.#abort(upgrade, reject(400, "this is a WebSocket endpoint"))
    }
    const handshake = Handshake.read(request)
    if (handshake === undefined) {
      return this.#abort(upgrade, reject(400, "the path must end in the identity of a charging station"))
    }
    const { auth } = this.#options
    if (auth === undefined) return this.#admit(upgrade, handshake, undefined)
    if (this.#upgrades.size >= this.#limits.maxPendingUpgrades) return this.#abort(upgrade, reject(503), handshake)
    this.#authenticate(upgrade, handshake, auth)
  }

  #authenticate(upgrade: Upgrade, handshake: Handshake.Handshake, auth: NonNullable<Options["auth"]>): void {
    const { socket } = upgrade
    const verdict = Effect.timeoutOrElse(
      Effect.suspend(() => auth(handshake)),
      { duration: this.#limits.authTimeout, orElse: () => reject(503, "authentication took too long") },
    )
    const fiber = Effect.runForkWith(this.#context)(verdict)
    const onGone = () => fiber.interruptUnsafe()
    const gone = ["close", "end", "error"]
    for (const event of gone) socket.on(event, onGone)
    // The end of a socket is only seen by who reads it. What has been read is kept for ws; what is too much is not read.
    const early: Array<Uint8Array> = [upgrade.head]
    let earlyBytes = 0
    const onReadable = () => {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
        early.push(chunk)
        earlyBytes += chunk.length
      }
      if (earlyBytes > maxEarlyBytes) socket.off("readable", onReadable)
    }
    socket.on("readable", onReadable)
    this.#upgrades.add(fiber)
    fiber.addObserver((exit) => {
      this.#upgrades.delete(fiber)
      for (const event of gone) socket.off(event, onGone)
      socket.off("readable", onReadable)
      if (exit._tag === "Success") {
        return this.#admit({ ...upgrade, head: Buffer.concat(early) }, handshake, exit.value)
      }
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
    if (this.#closing || this.#connected.size >= this.#limits.maxConnections) {
      return this.#abort(upgrade, reject(503), handshake)
    }
    if (older.some(({ state }) => state === State.OPEN) && duplicateIdentity === "reject") {
      return this.#abort(upgrade, reject(409, "this identity is connected"), handshake)
    }
    const { protocol, session } = this.#choose(handshake, verdict)
    const agreed = protocol === undefined || protocol.name === "" ? undefined : protocol.name
    const transport = this.#upgrade(upgrade, agreed)
    if (transport === undefined) {
      return this.#tellAborted(upgrade, new Error("the request is no WebSocket handshake"), handshake)
    }
    if (protocol === undefined) {
      // OCPP-J 1.6 §3.1.2, 2.x part 4: the handshake is completed without a subprotocol, then the connection is closed.
      transport.listen(deaf)
      transport.close(1002, "no common subprotocol")
      return this.#tellAborted(upgrade, new Error("no common subprotocol"), handshake)
    }
    const station = this.#makeStation(transport, protocol, handshake, session)
    this.#connected.add(station)
    this.#registry.set(handshake.identity, [...older, station])
    if (duplicateIdentity === "replace") {
      for (const replaced of older) replaced.startClose({ code: 1008, reason: "replaced by a newer connection" })
    }
    this.#hub.emit({ _tag: "Connected", station })
    station.start()
  }

  #upgrade({ head, request, socket }: Upgrade, protocol: string | undefined) {
    try {
      socket.off("error", ignore)
      return this.#acceptor.accept(request, socket, head, protocol)
    } catch {
      // ws throws when another listener has upgraded this socket already; then it is not ours.
      return undefined
    }
  }

  #choose(handshake: Handshake.Handshake, verdict: unknown) {
    if (verdict instanceof Accepted) {
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
    transport: Parts["transport"],
    protocol: Protocol.Protocol,
    handshake: Handshake.Handshake,
    session: unknown,
  ): AcceptedStation {
    const station: AcceptedStation = new AcceptedStation(
      {
        identity: handshake.identity,
        transport,
        protocol,
        options: this.#options,
        settings: settings(this.#options),
        router: this.#routerOf(protocol, () => station),
        context: () => Context.add(this.#context, Station, station),
        alarms: this.#alarms,
        onClose: (info) => this.#remove(station, info),
      },
      handshake,
      session,
    )
    return station
  }

  /** What all stations share is made once; what is chosen by station, when that first calls. */
  #routerOf(protocol: Protocol.Protocol, station: () => Station): Handlers.Router {
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
  #remove(station: AcceptedStation, info: CloseInfo): void {
    this.#connected.delete(station)
    const others = (this.#registry.get(station.identity) ?? []).filter((other) => other !== station)
    if (others.length === 0) this.#registry.delete(station.identity)
    else this.#registry.set(station.identity, others)
    this.#hub.emit({ _tag: "Disconnected", station, ...info })
  }

  #abort(upgrade: Upgrade, rejected: Rejected, handshake?: Handshake.Handshake): void {
    const { socket } = upgrade
    const body = Buffer.from(rejected.message)
    const head = [
      `HTTP/1.1 ${rejected.code} ${Http.STATUS_CODES[rejected.code] ?? "Rejected"}`,
      "Connection: close",
      "Content-Type: text/plain; charset=utf-8",
      `Content-Length: ${body.length}`,
    ]
    if (socket.writable) {
      socket.once("finish", () => socket.destroy())
      socket.end(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]))
    } else {
      socket.destroy()
    }
    this.#tellAborted(upgrade, rejected, handshake)
  }

  #tellAborted({ request, socket }: Upgrade, error: Error, handshake?: Handshake.Handshake): void {
    if (!this.#hub.active) return
    this.#hub.emit({ _tag: "UpgradeAborted", error, request, socket, identity: handshake?.identity })
  }

  #run(effect: Effect.Effect<void>): void {
    Effect.runForkWith(this.#context)(effect)
  }

  close(options: CloseOptions = {}): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.#closing) {
        this.#closing = true
        this.#hub.emit({ _tag: "Closing" })
        for (const fiber of this.#upgrades) fiber.interruptUnsafe()
        for (const httpServer of this.#httpServers) {
          httpServer.close()
          httpServer.closeIdleConnections()
        }
        this.#run(this.#finishClosing)
      }
      for (const station of this.#connected) station.startClose(options)
      return Deferred.await(this.#closed)
    })
  }

  get #finishClosing(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (this.#connected.size > 0) {
        yield* Effect.forEach(this.#connected, (station) => station.closed, { concurrency: "unbounded", discard: true })
      }
      for (const httpServer of this.#httpServers) yield* closeHttpServer(httpServer)
      this.#hub.emit({ _tag: "Close" })
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

class AcceptedStation extends OpenConnection<"csms"> implements Station {
  readonly handshake: Handshake.Handshake
  readonly session: unknown

  constructor(parts: Parts, handshake: Handshake.Handshake, session: unknown) {
    super(parts)
    this.handshake = handshake
    this.session = session
  }
}

interface Limits {
  readonly authTimeout: number
  readonly maxConnections: number
  readonly maxPendingUpgrades: number
  readonly shutdownGrace: number
}

/** Checks all options: nonsense is refused now, not when the first station connects. */
const limitsOf = (options: Options): Limits => {
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

/** An upgrade request that nobody has answered. */
interface Upgrade {
  readonly request: Http.IncomingMessage
  readonly socket: Duplex
  readonly head: Uint8Array
}

const noProtocol = Protocol.make("", [])

/** How much a station may send ahead while it is authenticated; what is more waits in its socket. */
const maxEarlyBytes = 64 * 1024

const ignore = () => {}

const deaf = { onMessage: ignore, onPing: ignore, onPong: ignore, onError: ignore, onClose: ignore }

/** The limits keep slow or oversized requests from holding sockets. */
const makeHttpServer = (tls: TlsOptions | undefined): Http.Server => {
  const limits = {
    headersTimeout: 10_000,
    requestTimeout: 10_000,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 8 * 1024,
  }
  const notFound: Http.RequestListener = (_, response) => {
    response.writeHead(404, { connection: "close" }).end()
  }
  return tls === undefined
    ? Http.createServer(limits, notFound)
    : Https.createServer({ minVersion: "TLSv1.2", handshakeTimeout: 10_000, ...limits, ...tls }, notFound)
}

const closeHttpServer = (httpServer: Http.Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    httpServer.closeAllConnections()
    httpServer.close(() => resume(Exit.void))
  })

/**
 * One identity, one connection at a time, reconnecting: the charging station.
 *
 * {@link make} opens the first connection, in a Scope whose closing ends it. When the connection is lost, a `Schedule` says
 * when to try again; calls made meanwhile wait. The subprotocol of the first connection is the subprotocol of all.
 *
 * ```ts
 * const station = Effect.gen(function* () {
 *   const client = yield* Client.make({ endpoint: "ws://localhost:3000", identity: "CP001", protocols: [Ocpp16] })
 *   return yield* client.call(Ocpp16.Heartbeat, {})
 * })
 * ```
 */
import { Buffer } from "node:buffer"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Backoff from "./Backoff.ts"
import { DisconnectedError } from "./ConnectionError.ts"
import * as Alarms from "./connection/Alarms.ts"
import { type Peer, PeerBase, State } from "./connection/Peer.ts"
import { type CloseInfo, type CloseOptions, Rpc } from "./connection/Rpc.ts"
import { type Options as ConnectionOptions, checkStrictMode, millis, settings } from "./connection/Settings.ts"
import * as Handlers from "./Handlers.ts"
import * as Protocol from "./Protocol.ts"
import type { Transport } from "./Transport.ts"
import * as WebSocket from "./WebSocket.ts"

export { ConnectError, UnexpectedHttpResponse } from "./ConnectError.ts"

/** Why a client could not connect. */
export type ConnectFailure = WebSocket.ConnectError | WebSocket.UnexpectedHttpResponse

/** What the reconnect schedule is asked about: the loss of a connection, then each attempt that failed. */
export type ReconnectReason = DisconnectedError | ConnectFailure

/** What a client can be told. */
export interface Options<R = never> extends ConnectionOptions {
  /** The station's identity, as it is: it is percent-encoded in the URL. */
  readonly identity: string
  /** The subprotocols that are offered, in order of preference. None offers none. */
  readonly protocols?: ReadonlyArray<Protocol.Protocol>
  /** What answers the calls of the CSMS. */
  readonly handlers?: ReadonlyArray<Handlers.Handlers<"csms", R>>
  /** When to try again after a lost connection; `false` for never. Default `Backoff.ocpp()`. */
  readonly reconnect?: Schedule.Schedule<unknown, ReconnectReason> | false
  /** How long a connection must have lasted for the reconnect schedule to start afresh. Default 10 seconds. */
  readonly reconnectResetAfter?: Duration.Input
}

/** What a client that uses WebSockets can be told. */
export interface WebSocketOptions<R = never> extends Options<R>, WebSocket.SocketOptions {
  /** The URL of the CSMS, `ws://` or `wss://`, without the identity. */
  readonly endpoint: string
  /** The password for HTTP Basic authentication (security profiles 1 and 2). The user name is the identity. */
  readonly password?: string | Uint8Array | Redacted.Redacted<string | Uint8Array>
  /** Further HTTP headers for the upgrade request. */
  readonly headers?: Readonly<Record<string, string>>
  /** What is appended to the URL as its query. */
  readonly query?: string | Readonly<Record<string, string>>
  /** How long the opening handshake may take. Default 30 seconds. */
  readonly handshakeTimeout?: Duration.Input
  /** Anything else that `ws` takes, such as `ca`, `cert` and `key` for TLS (security profiles 2 and 3). */
  readonly webSocket?: NonNullable<WebSocket.DialOptions["webSocket"]>
}

/** A charging station's connection to its CSMS. */
export interface Client extends Peer<"station"> {
  /**
   * Connects, if not connected. {@link make} has done this already; it serves to connect again after `close`.
   *
   * Only the first attempt fails; from then on the reconnect schedule rules. Interrupting abandons that attempt.
   */
  readonly connect: Effect.Effect<void, ConnectFailure>
  /** {@link Peer.reconfigure}, and when to try again after the next loss. */
  readonly reconfigure: (options: ConnectionOptions & Pick<Options, "reconnect">) => void
}

/** The client, for those who provide one as a Layer, and for its handlers: who is asking? */
export const Client = Context.Service<Client>("effect-ocpp/Client")

/** Opens a transport that agrees on one of some subprotocols. */
export type Dial = (protocols: ReadonlyArray<string>) => Effect.Effect<Transport, ConnectFailure>

/** A client that is connected by WebSocket. Closing the Scope closes it with code 1000. */
export const make = <R = never>(
  options: WebSocketOptions<R>,
): Effect.Effect<Client, ConnectFailure, Scope.Scope | Exclude<R, Client>> =>
  Effect.suspend(() => makeWith(dialler(options), options))

/** A client that is connected by transports of any kind. */
export const makeWith = <R = never>(
  dial: Dial,
  options: Options<R>,
): Effect.Effect<Client, ConnectFailure, Scope.Scope | Exclude<R, Client>> =>
  Effect.tap(makeUnconnected(dial, options), (client) => client.connect)

/** A client that waits for its `connect` to be run. */
export const makeUnconnected = <R = never>(
  dial: Dial,
  options: Options<R>,
): Effect.Effect<Client, never, Scope.Scope | Exclude<R, Client>> =>
  Effect.gen(function* () {
    const context = (yield* Effect.context<Exclude<R, Client>>()) as Context.Context<never>
    const client = new ReconnectingClient(dial, options as Options, context, yield* Alarms.make)
    yield* Effect.addFinalizer(() => client.shutdown)
    return client
  })

/** A connected client as a Layer. */
export const layer = <R = never>(
  options: WebSocketOptions<R>,
): Layer.Layer<Client, ConnectFailure, Exclude<Exclude<R, Client>, Scope.Scope>> => Layer.effect(Client, make(options))

/** How {@link make} dials. */
export const dialler = (
  options: Omit<WebSocketOptions, keyof Options> & Pick<Options, "identity">,
): ((protocols: ReadonlyArray<string>) => Effect.Effect<WebSocket.Dialled, ConnectFailure>) => {
  const url = connectionUrl(options.endpoint, options.identity, options.query)
  const handshakeTimeout = millis("handshakeTimeout", options.handshakeTimeout ?? 30_000)
  const { identity, password } = options
  return (protocols) =>
    WebSocket.dial(url, {
      ...options,
      protocols,
      handshakeTimeout,
      headers: {
        ...(password === undefined ? undefined : { authorization: basicAuthorization(identity, password) }),
        ...options.headers,
      },
    })
}

/**
 * Endpoint + `/` + percent-encoded identity (OCPP-J §3.1.1).
 *
 * @throws {TypeError} when the endpoint is no `ws:` or `wss:` URL, or the identity is empty.
 */
export const connectionUrl = (endpoint: string, identity: string, query?: WebSocketOptions["query"]): string => {
  if (identity === "") throw new TypeError("identity must not be empty")
  if (identity === "." || identity === ".." || !identity.isWellFormed()) {
    throw new TypeError(`identity must be a segment of a URL; got ${JSON.stringify(identity)}`)
  }
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (url?.protocol !== "ws:" && url?.protocol !== "wss:") {
    throw new TypeError(`endpoint must be a ws:// or wss:// URL; got ${JSON.stringify(endpoint)}`)
  }
  url.hash = ""
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(identity)}`
  for (const [key, value] of new URLSearchParams(query)) url.searchParams.append(key, value)
  return url.href
}

const basicAuthorization = (identity: string, password: NonNullable<WebSocketOptions["password"]>): string => {
  const secret = Redacted.isRedacted(password) ? Redacted.value(password) : password
  const bytes = typeof secret === "string" ? Buffer.from(secret) : secret
  return `Basic ${Buffer.concat([Buffer.from(`${identity}:`), bytes]).toString("base64")}`
}

class ReconnectingClient extends PeerBase<"station"> implements Peer<"station"> {
  readonly identity: string
  readonly #dial: Dial
  readonly #protocols: ReadonlyArray<Protocol.Protocol>
  readonly #handlers: ReadonlyArray<Handlers.Handlers<"csms">>
  #reconnect: Schedule.Schedule<unknown, ReconnectReason> | undefined
  readonly #resetAfter: number
  readonly #context: Context.Context<never>
  readonly #alarms: Alarms.Alarms
  #state: State = State.CLOSED
  #isShut = false
  /** The subprotocol of the first connection. */
  #protocol: Protocol.Protocol | undefined
  /** Raw messages that wait for a connection. */
  #raw: Array<string | Uint8Array> = []
  /** The life of the client from `connect` to closed. */
  #life: Fiber.Fiber<void> | undefined
  #opened = Deferred.makeUnsafe<void, ConnectFailure>()
  #closed = Deferred.makeUnsafe<CloseInfo>()

  constructor(dial: Dial, options: Options, context: Context.Context<never>, alarms: Alarms.Alarms) {
    super(options, settings(options), alarms)
    this.outbound.close(1000, "not connected")()
    Deferred.doneUnsafe(this.#closed, Exit.succeed({ code: 1000, reason: "not connected" }))
    this.identity = options.identity
    this.#dial = dial
    this.#protocols = options.protocols ?? []
    this.#handlers = options.handlers ?? []
    checkStrictMode(options.strictMode, this.#protocols)
    if (options.reconnect !== undefined && options.reconnect !== false && !Schedule.isSchedule(options.reconnect)) {
      throw new RangeError(`reconnect must be a Schedule or false; got ${String(options.reconnect)}`)
    }
    this.#reconnect = options.reconnect === false ? undefined : (options.reconnect ?? Backoff.ocpp())
    this.#resetAfter = millis("reconnectResetAfter", options.reconnectResetAfter ?? 10_000)
    this.#context = Context.add(context, Client, this)
    this.#alarms = alarms
  }

  override reconfigure(options: ConnectionOptions & Pick<Options, "reconnect">): void {
    super.reconfigure(options)
    if (options.reconnect !== undefined) this.#reconnect = options.reconnect === false ? undefined : options.reconnect
  }

  get protocol(): string {
    return this.#protocol?.name ?? ""
  }

  get state(): State {
    return this.#state
  }

  get connect(): Effect.Effect<void, ConnectFailure> {
    return Effect.suspend(() => {
      if (this.#state === State.CLOSING) return Effect.andThen(this.closed, this.connect)
      if (this.#isShut) return new WebSocket.ConnectError({ message: "the client's Scope is closed", retryable: false })
      if (this.#state === State.CLOSED) this.#start()
      return Effect.onInterrupt(Deferred.await(this.#opened), () => Effect.sync(() => this.#abandon()))
    })
  }

  /** Nobody waits for the first connection any more. */
  #abandon(): void {
    if (this.#state === State.CONNECTING && this.rpc === undefined) this.#startClose({})
  }

  sendRaw(message: string | Uint8Array): Effect.Effect<void, DisconnectedError> {
    return Effect.suspend(() => {
      if (this.#state === State.CLOSED) return DisconnectedError.of(1006, "closed", false)
      if (this.#state !== State.CONNECTING) this.rpc?.sendRaw(message)
      else if (this.#raw.length < this.settings.maxQueuedCalls) this.#raw.push(message)
      else return DisconnectedError.of(1006, "too many messages wait for a connection", false)
      return Effect.void
    })
  }

  close(options: CloseOptions = {}): Effect.Effect<CloseInfo> {
    return Effect.suspend(() => {
      this.#startClose(options)
      return this.closed
    })
  }

  get closed(): Effect.Effect<CloseInfo> {
    return Effect.suspend(() => Deferred.await(this.#closed))
  }

  /** Closes, and waits for the handlers that this interrupts. */
  get shutdown(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isShut = true
      if (this.#life === undefined) return Effect.void
      return Effect.andThen(
        this.close(),
        Effect.suspend(() => this.rpc?.ended ?? Effect.void),
      )
    })
  }

  #start(): void {
    this.#opened = Deferred.makeUnsafe()
    this.#closed = Deferred.makeUnsafe()
    this.#protocol = undefined
    this.rpc = undefined
    this.#state = State.CONNECTING
    this.outbound.reopen()
    this.#life = undefined
    const opened = this.#opened
    const life = Effect.runForkWith(this.#context)(
      // A defect of the user's dial or schedule ends the client, and is what `connect` fails with.
      Effect.onError(this.#live(), (cause) =>
        Effect.sync(() => {
          if (Cause.hasInterruptsOnly(cause)) return
          this.#finish({ code: 1001, reason: `giving up: ${messageOf(cause)}` }, Exit.failCause(cause))
        }),
      ),
    )
    // An observer may have closed it meanwhile, or even started it again.
    if (this.#opened !== opened || this.state === State.CLOSED) life.interruptUnsafe()
    else this.#life = life
  }

  /** One connection after the other, until the client is closed or gives up. */
  readonly #live = Effect.fnUntraced({ self: this }, function* () {
    const first = yield* Effect.exit(this.#attempt(this.#protocols.map((protocol) => protocol.name)))
    if (first._tag === "Failure") {
      this.hub.emit({ _tag: "ConnectFailure", error: Cause.squash(first.cause) })
      return this.#finish({ code: 1006, reason: messageOf(first.cause) }, Exit.asVoid(first))
    }
    let transport = first.value
    let next = yield* this.#policy()
    for (;;) {
      const openedAt = this.#alarms.now()
      const lost = yield* this.#carry(transport)
      if (this.#state !== State.CONNECTING) return this.#finish(lost)
      const startsAfresh = next === undefined || this.#alarms.now() - openedAt >= this.#resetAfter
      if (startsAfresh) next = yield* this.#policy()
      if (next === undefined) return this.#finish(lost)
      const again = yield* Effect.exit(this.#retry(DisconnectedError.of(lost.code, lost.reason, true), next))
      if (again._tag === "Failure") {
        if (Cause.hasDies(again.cause)) yield* Effect.logError("reconnecting failed", again.cause)
        return this.#finish({ code: 1001, reason: `giving up: ${messageOf(again.cause)}` })
      }
      transport = again.value
    }
  })

  /** A fresh start of the reconnect schedule: each step waits, and fails when it is time to give up. */
  #policy() {
    return this.#reconnect === undefined ? Effect.undefined : Schedule.toStepWithSleep(this.#reconnect)
  }

  readonly #retry = Effect.fnUntraced(
    { self: this },
    function* (lost: ReconnectReason, wait: (reason: ReconnectReason) => Effect.Effect<unknown, unknown>) {
      let reason = lost
      for (;;) {
        // The schedule ends by failing; then the last reason is why the client gives up.
        yield* Effect.catch(wait(reason), () => Effect.fail(reason))
        const attempt = yield* Effect.exit(this.#attempt(this.protocol === "" ? [] : [this.protocol]))
        if (attempt._tag === "Success") return attempt.value
        this.hub.emit({ _tag: "ConnectFailure", error: Cause.squash(attempt.cause) })
        const failure = Exit.findErrorOption(attempt)
        if (failure._tag === "None") return yield* attempt
        if (failure.value._tag === "ConnectError" && !failure.value.retryable) return yield* failure.value
        reason = failure.value
      }
    },
  )

  #attempt(protocols: ReadonlyArray<string>): Effect.Effect<Transport, ConnectFailure> {
    return Effect.suspend(() => {
      this.hub.emit({ _tag: "Connecting", protocols })
      // An observer may have closed the client; then this fiber is about to be interrupted.
      return this.#state === State.CONNECTING ? this.#dial(protocols) : Effect.never
    })
  }

  /** Uses a transport until it closes. */
  #carry(transport: Transport): Effect.Effect<CloseInfo> {
    return Effect.callback((resume) => {
      this.#protocol ??= this.#protocols.find(({ name }) => name === transport.protocol) ?? Protocol.make("", [])
      const protocol = this.#protocol
      this.rpc = new Rpc({
        transport,
        protocol,
        settings: this.settings,
        router: Handlers.route(this.#handlers, protocol),
        context: () => this.#context,
        alarms: this.#alarms,
        hub: this.hub,
        outbound: this.outbound,
        onFatal: (info) => this.#startClose(info),
        onEnding: () => {},
        onClose: (info) => {
          if (this.#state === State.OPEN && this.#reconnect !== undefined) {
            this.#state = State.CONNECTING
            this.#opened = Deferred.makeUnsafe()
          }
          this.hub.emit({ _tag: "Disconnect", ...info })
          resume(Exit.succeed(info))
        },
      })
      this.#state = State.OPEN
      this.hub.emit({ _tag: "Open", protocol: protocol.name })
      for (const message of this.#raw.splice(0)) this.rpc.sendRaw(message)
      this.rpc.start()
      Deferred.doneUnsafe(this.#opened, Exit.void)
    })
  }

  #startClose(options: CloseOptions): void {
    const { code = 1000, reason = "" } = options
    if (this.#state === State.CONNECTING) {
      this.#life?.interruptUnsafe()
      const aborted = { code: 1001, reason: "Connection aborted" }
      return this.#finish(this.rpc === undefined ? aborted : { code, reason })
    }
    if (this.#state === State.OPEN) {
      this.#state = State.CLOSING
      this.hub.emit({ _tag: "Closing" })
    }
    this.rpc?.close(options)
    if (this.#state === State.CLOSING && options.awaitPending !== true) this.outbound.close(code, reason)()
  }

  #finish(info: CloseInfo, failure: Exit.Exit<void, ConnectFailure> = closedMeanwhile): void {
    if (this.#state === State.OPEN || this.#state === State.CONNECTING) this.hub.emit({ _tag: "Closing" })
    this.#state = State.CLOSED
    this.#raw = []
    // Whoever hears of the end may connect again at once.
    const closed = this.#closed
    const opened = this.#opened
    const fail = this.outbound.close(info.code, info.reason)
    this.hub.emit({ _tag: "Close", ...info })
    Deferred.doneUnsafe(closed, Exit.succeed(info))
    Deferred.doneUnsafe(opened, failure)
    fail()
  }
}

/** What `connect` fails with when the client closes before it is connected. */
const closedMeanwhile = Exit.fail(
  new WebSocket.ConnectError({ message: "the client was closed while it connected", retryable: true }),
)

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}

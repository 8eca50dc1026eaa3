/** One identity, one connection at a time: connects, notices a loss, and connects again. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Backoff from "../Backoff.ts"
import { ConnectError } from "../ConnectError.ts"
import { DisconnectedError } from "../ConnectionError.ts"
import { type Close, type CloseInfo, closeOf } from "../connection/Closing.ts"
import type { Environment } from "../connection/Environment.ts"
import { State } from "../connection/Lifecycle.ts"
import { type Checks, checkOptions, handlers, subprotocols, text, whenRead } from "../connection/OptionChecks.ts"
import { Peer } from "../connection/Peer.ts"
import { Rpc } from "../connection/Rpc.ts"
import { type ConnectionOptions, checkStrictMode, connectionOptions, settings } from "../connection/Settings.ts"
import * as supervised from "../connection/supervised.ts"
import * as Handlers from "../Handlers.ts"
import * as Subprotocol from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import { type ConnectFailure, type Dial, dialOptions } from "./dial.ts"
import { ReconnectPolicy, type ReconnectReason, type ReconnectSchedule } from "./ReconnectPolicy.ts"

/** The options of a client. */
export interface ClientOptions<R = never> extends ConnectionOptions {
  /** The station's identity, as it is: it is percent-encoded in the URL. */
  readonly identity: string
  /** The subprotocols that are offered, in order of preference. None offers none. */
  readonly protocols?: ReadonlyArray<Subprotocol.Subprotocol>
  /** The handlers of the calls of the CSMS. */
  readonly handlers?: ReadonlyArray<Handlers.Handlers<"csms", R>>
  /** When to try again after a lost connection; `false` for never. It starts afresh after a connection. Default `Backoff.ocpp()`. */
  readonly reconnect?: ReconnectSchedule | false
}

const clientOptions: Checks<ClientOptions> = {
  ...connectionOptions,
  identity: text,
  protocols: subprotocols,
  handlers,
  reconnect: whenRead,
}

/** The address is decided before a client is made; but whoever makes it gives it all of its options. */
const allOptions = { ...dialOptions, ...clientOptions }

/** One life of a client: from `connect` until it has closed. */
interface Life {
  /** Of the connection that is being opened. */
  opened: Deferred.Deferred<void, ConnectFailure>
  /** How many wait for the first connection. */
  waiting: number
  readonly closed: Deferred.Deferred<CloseInfo>
  fiber: Fiber.Fiber<void> | undefined
}

export class ReconnectingClient extends Peer<"station"> {
  readonly side = "station"
  readonly identity: string
  readonly root = Scope.makeUnsafe()
  readonly #dial: Dial
  readonly #protocols: ReadonlyArray<Subprotocol.Subprotocol>
  readonly #handlers: ReadonlyArray<Handlers.Handlers<"csms">>
  #reconnect: ReconnectSchedule | undefined
  readonly #context: Context.Context<never>
  #isShut = false
  /** The subprotocol of the first connection. */
  #protocol: Subprotocol.Subprotocol | undefined
  /** Called when the connection is gone. */
  #lost: ((info: CloseInfo) => void) | undefined
  #life: Life | undefined

  /** @param context the services of handlers and schedule */
  constructor(
    dial: Dial,
    options: ClientOptions,
    environment: Environment,
    context: (self: ReconnectingClient) => Context.Context<never>,
  ) {
    checkOptions(options, allOptions)
    super(options, settings(options), environment, "idle")
    this.identity = options.identity
    this.#dial = dial
    this.#protocols = options.protocols ?? []
    this.#handlers = options.handlers ?? []
    checkStrictMode(options.strictMode, this.#protocols)
    this.#reconnect = scheduleOf(options.reconnect ?? defaultReconnect)
    this.#context = context(this)
  }

  override reconfigure(options: ConnectionOptions & Pick<ClientOptions, "reconnect">): void {
    checkStrictMode(options.strictMode, this.#protocols)
    const reconnect = options.reconnect === undefined ? this.#reconnect : scheduleOf(options.reconnect)
    super.reconfigure(options)
    this.#reconnect = reconnect
  }

  get protocol(): string {
    return this.#protocol?.name ?? ""
  }

  handlerContext(): Context.Context<never> {
    return this.#context
  }

  /** {@link Client.connect} */
  get connect(): Effect.Effect<void, ConnectFailure> {
    return Effect.suspend(() => {
      if (this.state === State.CLOSING) return Effect.andThen(this.closed, this.connect)
      if (this.#isShut) return new ConnectError({ message: "the client's Scope is closed", retryable: false })
      if (this.state === State.CLOSED) this.#begin()
      const life = this.#life as Life
      const opened = Effect.acquireUseRelease(
        Effect.sync(() => life.waiting++),
        () => Deferred.await(life.opened),
        () => Effect.sync(() => life.waiting--),
      )
      return Effect.onInterrupt(opened, () => Effect.sync(() => this.#abandonAttempt(life)))
    })
  }

  /** Ends the attempt to open the first connection once nobody waits for it any more. */
  #abandonAttempt(life: Life): void {
    if (life !== this.#life || life.waiting > 0) return
    if (this.state === State.CONNECTING && this.rpc === undefined) this.beginClose(closeOf({}))
  }

  get closed(): Effect.Effect<CloseInfo> {
    return Effect.suspend(() =>
      this.#life === undefined ? Effect.succeed(this.lifecycle.cause) : Deferred.await(this.#life.closed),
    )
  }

  /** Closes, and waits for the handlers and finalizers that this interrupts. */
  get shutdown(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isShut = true
      const closed = this.#life === undefined ? Effect.void : this.close()
      return Effect.andThen(closed, Scope.close(this.root, Exit.void))
    })
  }

  #begin(): void {
    const life: Life = { opened: Deferred.makeUnsafe(), waiting: 0, closed: Deferred.makeUnsafe(), fiber: undefined }
    this.#life = life
    this.#protocol = undefined
    this.rpc = undefined
    this.take("connect")
    this.outbound.reopen()
    const fiber = supervised.fork(
      this.root,
      this.#context,
      // A defect of the user's dial or schedule ends the client, and `connect` fails with it.
      Effect.onError(this.#live(life), (cause) =>
        Effect.sync(() => {
          if (Cause.hasInterruptsOnly(cause)) return
          this.#finish(life, { code: 1001, reason: `giving up: ${messageOf(cause)}` }, Exit.failCause(cause))
        }),
      ),
    )
    // An observer may have closed it meanwhile, or even started it again.
    if (this.#life !== life || this.state === State.CLOSED) fiber.interruptUnsafe()
    else life.fiber = fiber
  }

  /** One connection after the other, until the client is closed or gives up. */
  #live(life: Life): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const first = yield* Effect.exit(this.#attempt(this.#protocols.map((protocol) => protocol.name)))
      if (first._tag === "Failure") {
        return this.#finish(life, { code: 1006, reason: messageOf(first.cause) }, Exit.asVoid(first))
      }
      const policy = new ReconnectPolicy()
      for (let transport = first.value; ; ) {
        const lost = yield* this.#carry(life, transport)
        if (this.state !== State.CONNECTING) return this.#finish(life, lost)
        // A server that drops whatever it has just accepted, without a word, is not back yet.
        if (this.rpc?.hasHeard === true || lost.code === 1000) policy.restart()
        const again = yield* Effect.exit(this.#reopen(policy, new DisconnectedError({ ...lost, sent: true })))
        if (again._tag === "Failure") {
          if (Cause.hasDies(again.cause)) yield* Effect.logError("reconnecting failed", again.cause)
          return this.#finish(life, { code: 1001, reason: `giving up: ${messageOf(again.cause)}` })
        }
        transport = again.value
        this.metrics.reconnected()
      }
    })
  }

  /** Opens a connection again, when the schedule says so. Fails with the last reason when the schedule has ended. */
  #reopen(policy: ReconnectPolicy, lost: ReconnectReason): Effect.Effect<Transport, ReconnectReason> {
    return Effect.gen({ self: this }, function* () {
      for (let reason = lost; ; ) {
        if (this.#reconnect === undefined) return yield* Effect.fail(reason)
        yield* policy.wait(this.#reconnect, reason)
        // It may have been told meanwhile not to reconnect.
        if (this.#reconnect === undefined) return yield* Effect.fail(reason)
        const attempt = yield* Effect.exit(this.#attempt(this.protocol === "" ? [] : [this.protocol]))
        if (attempt._tag === "Success") return attempt.value
        const failure = Exit.findErrorOption(attempt)
        if (failure._tag === "None") return yield* attempt
        if (failure.value._tag === "ConnectError" && !failure.value.retryable) return yield* failure.value
        reason = failure.value
      }
    })
  }

  #attempt(protocols: ReadonlyArray<string>): Effect.Effect<Transport, ConnectFailure> {
    const dial = Effect.suspend(() => {
      this.take("dial", { _tag: "Connecting", protocols })
      // An observer may have closed the client; then this fiber is about to be interrupted.
      return this.lifecycle.phase === "dialling" ? this.#dial(protocols) : Effect.never
    })
    return Effect.onError(dial, (cause) =>
      Effect.sync(() => {
        if (Cause.hasInterruptsOnly(cause) || !this.take("fail")) return
        this.hub.emit({ _tag: "ConnectFailure", error: Cause.squash(cause) })
      }),
    )
  }

  /** Uses a transport until it closes. */
  #carry(life: Life, transport: Transport): Effect.Effect<CloseInfo> {
    return Effect.callback((resume) => {
      this.#protocol ??= this.#protocols.find(({ name }) => name === transport.protocol) ?? Subprotocol.unknown()
      const protocol = this.#protocol
      this.#lost = (info) => resume(Exit.succeed(info))
      this.rpc = new Rpc(this, transport, protocol, Handlers.route(this.#handlers, protocol))
      this.take("open", { _tag: "Open", protocol: protocol.name })
      this.rpc.start()
      Deferred.doneUnsafe(life.opened, Exit.void)
    })
  }

  /** Another connection takes its place. */
  onGivingUp(): void {
    this.take("abandon")
  }

  onGone(info: CloseInfo): void {
    // Whoever hears of it may begin another life, with a connection of its own to lose.
    const lost = this.#lost
    if (this.state === State.OPEN && this.#reconnect !== undefined) {
      if (this.#life !== undefined) this.#life.opened = Deferred.makeUnsafe()
      this.take("lose", { _tag: "Disconnect", ...info })
    } else {
      this.take("end", { _tag: "Disconnect", ...info })
    }
    lost?.(info)
  }

  override beginClose(close: Close): void {
    if (this.state !== State.CONNECTING) return super.beginClose(close)
    const life = this.#life as Life
    life.fiber?.interruptUnsafe()
    const { code, reason } = close
    this.#finish(life, this.rpc === undefined ? { code: 1001, reason: "Connection aborted" } : { code, reason })
  }

  #finish(life: Life, info: CloseInfo, failure: Exit.Exit<void, ConnectFailure> = closedMeanwhile()): void {
    // An observer may have ended this life meanwhile, and may have begun another.
    if (this.#life !== life || this.state === State.CLOSED) return
    this.take("close", this.state === State.CLOSING ? undefined : { _tag: "Closing" })
    // An observer that closes it again must not end it twice.
    if (this.#life !== life || this.lifecycle.phase !== "closing") return
    const fail = this.outbound.close(info)
    this.lifecycle.cause = info
    // Whoever hears of the end may connect again at once.
    this.take("closed", { _tag: "Close", ...info })
    Deferred.doneUnsafe(life.closed, Exit.succeed(info))
    Deferred.doneUnsafe(life.opened, failure)
    fail()
  }
}

const defaultReconnect = Backoff.ocpp()

const scheduleOf = (reconnect: ReconnectSchedule | false): ReconnectSchedule | undefined => {
  if (reconnect === false || Schedule.isSchedule(reconnect)) return reconnect === false ? undefined : reconnect
  throw new RangeError(`reconnect must be a Schedule or false; got ${String(reconnect)}`)
}

/** The failure of `connect` when the client closes before it is connected. */
const closedMeanwhile = () =>
  Exit.fail(new ConnectError({ message: "the client was closed while it connected", retryable: true }))

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}

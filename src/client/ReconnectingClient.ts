/**
 * One identity, one connection at a time: what connects, notices a loss, and connects again.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Backoff from "../Backoff.ts"
import { ConnectError } from "../ConnectError.ts"
import { DisconnectedError } from "../ConnectionError.ts"
import { type CloseInfo, type CloseOptions, sendable } from "../connection/Closing.ts"
import type { Environment } from "../connection/Environment.ts"
import { type Checks, checkOptions, handlers, subprotocols, text, whenRead } from "../connection/OptionChecks.ts"
import { type Peer, PeerBase, State } from "../connection/Peer.ts"
import { type Owner, Rpc } from "../connection/Rpc.ts"
import {
  type Options as ConnectionOptions,
  checkStrictMode,
  connectionOptions,
  millis,
  settings,
} from "../connection/Settings.ts"
import * as Handlers from "../Handlers.ts"
import * as Subprotocol from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import { type ConnectFailure, type Dial, dialOptions } from "./dial.ts"

/** What the reconnect schedule is asked about: the loss of a connection, then each attempt that failed. */
export type ReconnectReason = DisconnectedError | ConnectFailure

/** What a client can be told. */
export interface Options<R = never> extends ConnectionOptions {
  /** The station's identity, as it is: it is percent-encoded in the URL. */
  readonly identity: string
  /** The subprotocols that are offered, in order of preference. None offers none. */
  readonly protocols?: ReadonlyArray<Subprotocol.Subprotocol>
  /** What answers the calls of the CSMS. */
  readonly handlers?: ReadonlyArray<Handlers.Handlers<"csms", R>>
  /** When to try again after a lost connection; `false` for never. Default `Backoff.ocpp()`. */
  readonly reconnect?: Schedule.Schedule<unknown, ReconnectReason> | false
  /** How long a connection must have lasted for the reconnect schedule to start afresh. Default 10 seconds. */
  readonly reconnectResetAfter?: Duration.Input
}

/** Waits for the time to try again, or fails when there is none. */
type Wait = (reason: ReconnectReason) => Effect.Effect<unknown, unknown>

const clientOptions: Checks<Options> = {
  ...connectionOptions,
  identity: text,
  protocols: subprotocols,
  handlers,
  reconnect: whenRead,
  reconnectResetAfter: whenRead,
}

/** Where it dials is decided before a client is made; but whoever makes it gives it all of its options. */
const allOptions = { ...dialOptions, ...clientOptions }

/** A client without the Streams of the Effect face. */
export class ReconnectingClient extends PeerBase<"station"> implements Peer<"station">, Owner {
  readonly side = "station"
  readonly identity: string
  readonly #dial: Dial
  readonly #protocols: ReadonlyArray<Subprotocol.Subprotocol>
  readonly #handlers: ReadonlyArray<Handlers.Handlers<"csms">>
  #reconnect: Schedule.Schedule<unknown, ReconnectReason> | undefined
  readonly #resetAfter: number
  readonly #context: Context.Context<never>
  #isShut = false
  /** The subprotocol of the first connection. */
  #protocol: Subprotocol.Subprotocol | undefined
  /** Called when the connection is gone. */
  #lost: ((info: CloseInfo) => void) | undefined
  /** Raw messages that wait for a connection. */
  #raw: Array<string | Uint8Array> = []
  /** The life of the client from `connect` to closed. */
  #life: Fiber.Fiber<void> | undefined
  #opened = Deferred.makeUnsafe<void, ConnectFailure>()
  /** How many wait for the first connection of this life. */
  #waiting = { count: 0 }
  #closed = Deferred.makeUnsafe<CloseInfo>()

  /** @param context what handlers are given, and the schedule */
  constructor(
    dial: Dial,
    options: Options,
    environment: Environment,
    context: (self: ReconnectingClient) => Context.Context<never>,
  ) {
    checkOptions(options, allOptions)
    super(options, settings(options), environment, State.CLOSED)
    const info = { code: 1000, reason: "not connected" }
    this.outbound.close(info)()
    Deferred.doneUnsafe(this.#closed, Exit.succeed(info))
    this.identity = options.identity
    this.#dial = dial
    this.#protocols = options.protocols ?? []
    this.#handlers = options.handlers ?? []
    checkStrictMode(options.strictMode, this.#protocols)
    this.#reconnect = scheduleOf(options.reconnect ?? defaultReconnect)
    this.#resetAfter = millis("reconnectResetAfter", options.reconnectResetAfter ?? 10_000)
    this.#context = context(this)
  }

  override reconfigure(options: ConnectionOptions & Pick<Options, "reconnect">): void {
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
      if (this.state === State.CLOSED) this.#start()
      const waiting = this.#waiting
      const opened = Effect.acquireUseRelease(
        Effect.sync(() => waiting.count++),
        () => Deferred.await(this.#opened),
        () => Effect.sync(() => waiting.count--),
      )
      return Effect.onInterrupt(opened, () => Effect.sync(() => this.#abandon(waiting)))
    })
  }

  /** Ends the attempt to open the first connection once nobody waits for it any more. */
  #abandon(waiting: { readonly count: number }): void {
    if (waiting !== this.#waiting || waiting.count > 0) return
    if (this.state === State.CONNECTING && this.rpc === undefined) this.#startClose({})
  }

  sendRaw(message: string | Uint8Array): Effect.Effect<void, DisconnectedError> {
    return Effect.suspend(() => {
      if (this.state === State.CLOSED) return this.gone
      if (this.state !== State.CONNECTING && this.rpc?.sendRaw(message)) return Effect.void
      if (this.state === State.CLOSING) return Effect.void
      if (this.#raw.length < this.settings.maxQueuedCalls) this.#raw.push(message)
      else return DisconnectedError.of(1006, "too many messages wait for a connection", false)
      return Effect.void
    })
  }

  close(options: CloseOptions = {}): Effect.Effect<CloseInfo> {
    return Effect.suspend(() => {
      this.#startClose(sendable(options))
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
    this.#waiting = { count: 0 }
    this.#closed = Deferred.makeUnsafe()
    this.#protocol = undefined
    this.rpc = undefined
    this.become(State.CONNECTING)
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
  #live(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const finish = this.#finisher()
      const first = yield* Effect.exit(this.#attempt(this.#protocols.map((protocol) => protocol.name)))
      if (first._tag === "Failure") {
        this.hub.emit({ _tag: "ConnectFailure", error: Cause.squash(first.cause) })
        return finish({ code: 1006, reason: messageOf(first.cause) }, Exit.asVoid(first))
      }
      let transport = first.value
      let next: Wait | undefined
      let schedule = this.#reconnect
      for (;;) {
        const openedAt = this.deadlines.now()
        const lost = yield* this.#carry(transport)
        if (this.state !== State.CONNECTING) return finish(lost)
        const hasLasted = this.deadlines.now() - openedAt >= this.#resetAfter
        if (next === undefined || hasLasted || schedule !== this.#reconnect) {
          schedule = this.#reconnect
          next = yield* this.#policy()
        }
        if (next === undefined) return finish(lost)
        const again = yield* Effect.exit(this.#retry(DisconnectedError.of(lost.code, lost.reason, true), next))
        if (again._tag === "Failure") {
          if (Cause.hasDies(again.cause)) yield* Effect.logError("reconnecting failed", again.cause)
          return finish({ code: 1001, reason: `giving up: ${messageOf(again.cause)}` })
        }
        transport = again.value
        this.metrics.reconnected()
      }
    })
  }

  /** `#finish` for the life that begins now: an observer may have ended it meanwhile, and may have begun another. */
  #finisher() {
    const closed = this.#closed
    return (info: CloseInfo, failure?: Exit.Exit<void, ConnectFailure>): void => {
      if (this.#closed === closed && this.state !== State.CLOSED) this.#finish(info, failure)
    }
  }

  /** A fresh start of the reconnect schedule: each step waits, and fails when it is time to give up. */
  #policy() {
    return this.#reconnect === undefined ? Effect.undefined : Schedule.toStepWithSleep(this.#reconnect)
  }

  #retry(lost: ReconnectReason, wait: Wait): Effect.Effect<Transport, ReconnectReason> {
    return Effect.gen({ self: this }, function* () {
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
    })
  }

  #attempt(protocols: ReadonlyArray<string>): Effect.Effect<Transport, ConnectFailure> {
    return Effect.suspend(() => {
      this.hub.emit({ _tag: "Connecting", protocols })
      // An observer may have closed the client; then this fiber is about to be interrupted.
      return this.state === State.CONNECTING ? this.#dial(protocols) : Effect.never
    })
  }

  /** Uses a transport until it closes. */
  #carry(transport: Transport): Effect.Effect<CloseInfo> {
    return Effect.callback((resume) => {
      this.#protocol ??= this.#protocols.find(({ name }) => name === transport.protocol) ?? Subprotocol.unknown()
      const protocol = this.#protocol
      this.#lost = (info) => resume(Exit.succeed(info))
      this.rpc = new Rpc(this, transport, protocol, Handlers.route(this.#handlers, protocol))
      this.become(State.OPEN, { _tag: "Open", protocol: protocol.name })
      for (const message of this.#raw.splice(0)) this.rpc.sendRaw(message)
      this.rpc.start()
      Deferred.doneUnsafe(this.#opened, Exit.void)
    })
  }

  onFatal(info: CloseInfo): void {
    this.#startClose(info)
  }

  /** It is opened again. */
  onEnding(): void {}

  onGone(info: CloseInfo): void {
    if (this.state === State.OPEN && this.#reconnect !== undefined) {
      this.become(State.CONNECTING)
      this.#opened = Deferred.makeUnsafe()
    }
    // Whoever hears of it may begin another life, with a connection of its own to lose.
    const lost = this.#lost
    this.hub.emit({ _tag: "Disconnect", ...info })
    lost?.(info)
  }

  #startClose(options: CloseOptions): void {
    const info = { code: options.code ?? 1000, reason: options.reason ?? "" }
    if (this.state === State.CONNECTING) {
      this.#life?.interruptUnsafe()
      return this.#finish(this.rpc === undefined ? { code: 1001, reason: "Connection aborted" } : info)
    }
    if (this.state === State.OPEN) {
      this.outbound.refuse(info)
      this.become(State.CLOSING, { _tag: "Closing" })
    }
    this.rpc?.close(options)
    if (this.state === State.CLOSING && options.awaitPending !== true) this.outbound.close(info)()
  }

  #finish(info: CloseInfo, failure: Exit.Exit<void, ConnectFailure> = closedMeanwhile()): void {
    // An observer that closes it again must not end it twice.
    if (this.state === State.OPEN || this.state === State.CONNECTING) this.become(State.CLOSING, { _tag: "Closing" })
    this.#raw = []
    // Whoever hears of the end may connect again at once.
    const closed = this.#closed
    const opened = this.#opened
    const fail = this.outbound.close(info)
    this.become(State.CLOSED, { _tag: "Close", ...info })
    Deferred.doneUnsafe(closed, Exit.succeed(info))
    Deferred.doneUnsafe(opened, failure)
    fail()
  }
}

const defaultReconnect = Backoff.ocpp()

const scheduleOf = (reconnect: NonNullable<Options["reconnect"]>) => {
  if (reconnect === false || Schedule.isSchedule(reconnect)) return reconnect === false ? undefined : reconnect
  throw new RangeError(`reconnect must be a Schedule or false; got ${String(reconnect)}`)
}

/** What `connect` fails with when the client closes before it is connected. */
const closedMeanwhile = () =>
  Exit.fail(new ConnectError({ message: "the client was closed while it connected", retryable: true }))

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}

/**
 * The client for plain Node programs: promises and events over the same core as `Client`.
 *
 * It translates. What a call, a close or a reconnect means is decided in `Client` and `Connection`; here promises become
 * Effects, callbacks become handlers, and events get the names under which they are documented.
 */
import type { IncomingMessage } from "node:http"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type * as Action from "../Action.ts"
import * as Backoff from "../Backoff.ts"
import { ConnectError } from "../ConnectError.ts"
import {
  type Checks,
  type CloseInfo,
  type CloseOptions,
  callback,
  changedBy,
  checkOptions,
  connectionUrl,
  type Dial,
  dialler,
  type Event,
  flag,
  isLife,
  type Peer,
  ReconnectingClient,
  type ReconnectSchedule,
  rawRequest,
  record,
  type Side,
  State,
  settings,
  shown,
  whenRead,
} from "../core.ts"
import * as Handlers from "../Handlers.ts"
import type * as Protocol from "../Protocol.ts"
import { isRPCError, type RPCError, RPCGenericError } from "../RPCError.ts"
import type { Ocpp16 } from "../schemas/ocpp16.ts"
import type { Ocpp21 } from "../schemas/ocpp21.ts"
import type { Ocpp201 } from "../schemas/ocpp201.ts"
import type { Validator } from "../Validator.ts"
import { type Emit, emitSafely, isTraffic, type RPCClientEvents, tell, trafficEvents } from "./events.ts"
import { InboundCall, textOf } from "./InboundCall.ts"
import { ListenedEmitter } from "./ListenedEmitter.ts"
import {
  clientOptions,
  context,
  defined,
  environment,
  protocolNamed,
  protocolsOf,
  type RPCClientOptions,
  type SharedOptions,
  timespan,
  toCore,
  toCoreWithDefaults,
} from "./options.ts"
import { standard } from "./standard.ts"
import { whenAborted } from "./whenAborted.ts"

/** Returned by a handler, or passed to `reply`, to send no answer. */
export const NOREPLY: typeof Handlers.noReply = Handlers.noReply

/** The subprotocols whose actions are typed. */
interface Typed {
  "ocpp1.6": typeof Ocpp16
  "ocpp2.0.1": typeof Ocpp201
  "ocpp2.1": typeof Ocpp21
}

/** The actions of some subprotocols, by name; those of any other are not typed. */
type Actions<P extends string> = P extends keyof Typed
  ? Typed[P] extends Protocol.Protocol<string, infer A>
    ? A
    : never
  : never

/** The names of the actions of some subprotocols; any name where they are not known. */
export type Method<P extends string> = string extends P
  ? string
  : [Actions<P>] extends [never]
    ? string
    : Actions<P>["name"]

/** The payload of a call. */
export type Params<P extends string, M extends string> = [Extract<Actions<P>, { readonly name: M }>] extends [never]
  ? // The untyped use is as loose as it is documented.
    // biome-ignore lint/suspicious/noExplicitAny: documented as `*`
    any
  : Action.Request<Extract<Actions<P>, { readonly name: M }>>

/** The payload of a call's result. */
export type Result<P extends string, M extends string> = [Extract<Actions<P>, { readonly name: M }>] extends [never]
  ? // biome-ignore lint/suspicious/noExplicitAny: documented as `*`
    any
  : Action.Response<Extract<Actions<P>, { readonly name: M }>>

/** One call of the other side, as its handler gets it. */
export interface HandlerCall<M extends string = string, P = unknown, R = unknown> {
  /** The name of the action. */
  readonly method: M
  /** The payload of the call. */
  readonly params: P
  readonly messageId: string
  /** Aborts when the connection is lost: nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** Answers: with a value, an error, a promise of either, or `NOREPLY`. Only the first answer counts. */
  readonly reply: (answer: R | Error | typeof NOREPLY | PromiseLike<R | Error | typeof NOREPLY>) => void
}

/** Answers a call by returning, throwing, or `reply`. */
export type Handler<M extends string = string, P = unknown, R = unknown> = (
  call: HandlerCall<M, P, R>,
) => Answer<R> | Promise<Answer<R>>

// A handler that answers by `reply` returns nothing.
// biome-ignore lint/suspicious/noConfusingVoidType: this is a return type
type Answer<R> = R | Error | typeof NOREPLY | void

/** How one call is to be made. */
export interface CallOptions {
  /** Milliseconds before the call is rejected unanswered. Default: the client's. */
  callTimeoutMs?: number
  /** Aborts the call. */
  signal?: AbortSignal
  /** Whether to be done as soon as the call is sent, with `undefined`. Default `false`. */
  noReply?: boolean
}

/**
 * A client, as documented.
 *
 * `new RPCClient<"ocpp1.6">(…)` types `call` and `handle` by action; without a type argument they take anything.
 */
export class RPCClient<P extends string = string> extends ListenedEmitter<RPCClientEvents> {
  static readonly CONNECTING = State.CONNECTING
  static readonly OPEN = State.OPEN
  static readonly CLOSING = State.CLOSING
  static readonly CLOSED = State.CLOSED

  /** Where calls go. */
  protected peer: Peer<Side> | undefined
  #options: SharedOptions
  #identity: string
  /** That of the next `connect()`. */
  #nextIdentity: string
  /** The subprotocols that the peer offers, until one has been agreed on. */
  #offered: ReadonlyArray<string> = none
  #response: IncomingMessage | undefined
  #endTraffic: (() => void) | undefined
  /** Whether there has ever been a listener of an event of calls and messages. */
  #hasListened = false
  readonly #handlers = new Map<string, Handler>()
  #wildcard: Handler | undefined

  /** @throws {Error} naming the option that is missing or makes no sense. */
  constructor(options: RPCClientOptions)
  /** @internal Of options that have been checked, and may be those of others too. */
  constructor(options: SharedOptions, identity: string)
  constructor(options: SharedOptions, identity?: string) {
    super()
    this.#options = identity === undefined ? {} : options
    this.#identity = identity ?? ""
    this.#nextIdentity = this.#identity
    if (identity === undefined) this.reconfigure(options ?? {})
  }

  /** The identity. */
  get identity(): string {
    return this.peer === undefined ? this.#nextIdentity : this.#identity
  }

  /** The state: `RPCClient.CONNECTING`, `OPEN`, `CLOSING` or `CLOSED`. */
  get state(): State {
    return this.peer?.state ?? State.CLOSED
  }

  /** The subprotocol that was agreed on; it is kept when the client reconnects. */
  get protocol(): string | undefined {
    return this.peer?.protocol === "" ? undefined : this.peer?.protocol
  }

  /** Changes any option. A new identity takes effect at the next `connect()`. */
  reconfigure(options: Partial<RPCClientOptions>): void {
    const known: Partial<RPCClientOptions> = { ...this.#options, identity: this.#nextIdentity }
    const { identity, ...changed } = changedBy(known, options)
    checkOptions({ identity, ...changed }, clientOptions)
    if (typeof identity !== "string" || identity === "") {
      throw new Error(
        `'identity' is required${identity == null || identity === "" ? "" : `: a string, not ${shown(identity)}`}`,
      )
    }
    protocolsOf(changed)
    settings(toCoreWithDefaults(changed))
    Backoff.exponential(changed.backoff)
    // Before the first connect(), that is what tells; a client of a server never dials.
    if (this.peer instanceof ReconnectingClient)
      connectionUrl(changed.endpoint ?? defaultEndpoint, identity, changed.query)
    this.reconfigurePeer(options, changed)
    this.#options = changed
    this.#nextIdentity = identity
  }

  /** @param all the options as they will be */
  protected reconfigurePeer(options: Partial<RPCClientOptions>, all: SharedOptions): void {
    if (this.peer === undefined) return
    const protocols = this.#spoken(this.peer)
    const { strictMode } = options.strictMode === undefined ? {} : toCoreWithDefaults({ ...all, protocols })
    const isAboutReconnecting = [options.reconnect, options.maxReconnects, options.backoff].some(
      (value) => value !== undefined,
    )
    this.peer.reconfigure({
      ...toCore({ ...options, ...defined({ strictMode }) }),
      ...(isAboutReconnecting ? { reconnect: reconnectOf(all) } : undefined),
    })
  }

  /** Connects. Rejects when the first connection fails; later losses are mended as `reconnect` says. */
  async connect(): Promise<{ response: IncomingMessage | undefined }> {
    if (this.state === State.CLOSING) throw new Error("Cannot connect while closing")
    if (this.state === State.CLOSED) this.attach(this.#makeClient())
    const exit = await Effect.runPromiseExit((this.peer as ReconnectingClient).connect)
    if (Exit.isSuccess(exit)) return { response: this.#response }
    throw reasonOf(exit.cause)
  }

  #makeClient(): ReconnectingClient {
    const options = this.#options
    const identity = this.#nextIdentity
    this.#identity = identity
    this.#offered = options.protocols ?? []
    connectionUrl(options.endpoint ?? defaultEndpoint, identity, options.query)
    const dial: Dial = (protocols) =>
      Effect.tap(
        Effect.suspend(() => dialler(this.#dialOptions())(protocols)),
        (transport) =>
          Effect.sync(() => {
            this.#response = transport.response
          }),
      )
    return new ReconnectingClient(
      dial,
      {
        callTimeout: 60_000,
        ...toCoreWithDefaults(options),
        identity,
        protocols: protocolsOf(options).map((protocol) => ({
          ...protocol,
          validator: this.#validatorOf(protocol.name),
        })),
        handlers: [this.handlers()],
        reconnect: reconnectOf(options),
      },
      environment,
      () => context,
    )
  }

  /** Reads the options at every payload, so that a change takes effect at once. */
  #validatorOf(subprotocol: string): Validator {
    const current = () => protocolNamed(subprotocol, this.#options.strictModeValidators).validator
    return { subprotocol, check: (action, part, payload) => current()?.check(action, part, payload) }
  }

  #dialOptions(): Parameters<typeof dialler>[0] {
    const { endpoint = defaultEndpoint, headers, password, query, wsOptions, wsOpts } = this.#options
    return {
      endpoint,
      identity: this.#identity,
      ...(password == null ? undefined : { password }),
      ...(headers === undefined ? undefined : { headers }),
      ...(query === undefined ? undefined : { query }),
      webSocket: { ...wsOptions, ...wsOpts },
    }
  }

  /** Calls go to this peer from now on, and events come from it. */
  protected attach(peer: Peer<Side>): void {
    this.peer = peer
    this.#endTraffic?.()
    this.#endTraffic = undefined
    if (this.#hasListened) this.#followTraffic()
    let protocolIsKnown = false
    peer.subscribeToLife((event) => {
      this.#tell(event)
      if (event._tag !== "Open") return
      if (!protocolIsKnown) emitSafely(this, "protocol", [event.protocol])
      protocolIsKnown = true
      emitSafely(this, "open", [{ response: this.#response }])
    })
  }

  #tell(event: Event): void {
    const emit: Emit = (name, ...args) => emitSafely(this, name, args)
    tell(event, this.peer?.protocol ?? "", emit)
  }

  override onListenersChanged(name?: string | symbol): void {
    if (name === undefined || isTraffic(name)) this.#followTraffic()
  }

  /** Asks the core for the events of calls and messages only while somebody listens to one of them. */
  #followTraffic(): void {
    this.#hasListened = true
    if (!trafficEvents.some((name) => this.listenerCount(name) > 0)) {
      this.#endTraffic?.()
      this.#endTraffic = undefined
    } else if (this.#endTraffic === undefined) {
      this.#endTraffic = this.peer?.subscribe((event) => {
        if (!isLife(event)) this.#tell(event)
      })
    }
  }

  /**
   * Closes. Calls in flight are rejected and handlers aborted, unless `awaitPending` lets them end first.
   *
   * @returns the final code and reason; the first `close()` decides them.
   */
  async close(options: CloseOptions = {}): Promise<CloseInfo> {
    if (this.peer === undefined) return { code: 1000, reason: "" }
    return Effect.runPromise(this.peer.close(options))
  }

  /** Sets the handler of a method, or, without method, the wildcard that handles all others. */
  handle<M extends Method<P>>(method: M, handler: Handler<M, Params<P, M>, Result<P, M>>): void
  // biome-ignore lint/suspicious/noExplicitAny: the untyped use is as loose as it is documented
  handle(handler: Handler<string, string extends P ? any : unknown>): void
  handle(method: string | Handler, handler?: Handler): void {
    if (typeof method === "function") {
      this.#wildcard = method
      return
    }
    callback(`the handler of ${method}`, handler)
    this.#handlers.set(method, handler as Handler)
  }

  /** Removes the handler of a method, or, without method, the wildcard. */
  removeHandler(method?: Method<P>): void {
    if (method === undefined) this.#wildcard = undefined
    else this.#handlers.delete(method)
  }

  /** Removes all handlers, the wildcard included. */
  removeAllHandlers(): void {
    this.#handlers.clear()
    this.#wildcard = undefined
  }

  /** Calls a method of the other side; one that OCPP 2.1 sends unconfirmed resolves when it is sent. Rejects when it answers with an error, not in time, or not at all. */
  async call<M extends Method<P>>(method: M, params?: Params<P, M>, options: CallOptions = {}): Promise<Result<P, M>> {
    checkOptions(options, callOptions)
    const { callTimeoutMs, noReply = false, signal } = options
    const peer = this.peer
    if (peer === undefined) throw new Error("Cannot make call while socket not open")
    const timeout = timespan("callTimeoutMs", callTimeoutMs)
    const request = peer.request(this.#kindOf(method, peer), method, params, {
      noReply,
      ...(timeout === undefined ? undefined : { timeout }),
    })
    if (signal?.aborted === true) throw abortReason(signal)
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        peer.outbound.cancel(pending)
        reject(abortReason(signal as AbortSignal))
      }
      let forget = () => {}
      const pending = peer.outbound.callUnsafe(request, (exit) => {
        forget()
        if (exit._tag === "Success") resolve(exit.value as Result<P, M>)
        else reject(Cause.squash(exit.cause))
      })
      if (signal !== undefined && pending.place !== "nowhere") forget = whenAborted(signal, onAbort)
    })
  }

  #kindOf(method: string, peer: Peer<Side>): "Call" | "Send" {
    const isSend = (name: string) => standard(name)?.actions.get(method)?.kind === "send"
    return this.#spoken(peer).some(isSend) ? "Send" : "Call"
  }

  /** The agreed subprotocol. A client that has never been connected may come to speak whatever it offers. */
  #spoken({ protocol }: Peer<Side>): ReadonlyArray<string> {
    return protocol === "" ? this.#offered : [protocol]
  }

  /**
   * Sends a message as it is.
   *
   * @throws {Error} when the client is closed.
   */
  sendRaw(message: unknown): void {
    if (this.peer === undefined) throw new Error("Cannot send message in this state")
    let failure: unknown
    this.peer.outbound.callUnsafe(rawRequest(toMessage(message)), (exit) => {
      if (exit._tag === "Failure") failure = Cause.squash(exit.cause)
    })
    if (failure !== undefined) throw failure
  }

  /** @internal The handlers as the core asks for them: at every call, for they come and go. */
  handlers(): Handlers.Handlers {
    const toRPCError = (error: Error) => this.#toRPCError(error)
    return Handlers.dynamic((action) => {
      const handler = this.#handlers.get(action) ?? this.#wildcard
      if (handler === undefined) return undefined
      return (params, { action, messageId }) => new InboundCall(action, params, messageId, toRPCError).handleBy(handler)
    })
  }

  /** What a handler throws is passed on with its message, and with the rest of it only where that is asked for. */
  #toRPCError(error: Error): RPCError {
    if (isRPCError(error)) return error
    const details = this.#options.respondWithDetailedErrors === true ? plain(error) : {}
    return new RPCGenericError(textOf(error.message), details)
  }
}

const callOptions: Checks<CallOptions> = { callTimeoutMs: whenRead, signal: record, noReply: flag }

const none: ReadonlyArray<never> = []

/** When a client with these options connects again. */
const reconnectOf = ({
  backoff,
  maxReconnects = Number.POSITIVE_INFINITY,
  reconnect,
}: SharedOptions): ReconnectSchedule | false =>
  reconnect !== false && Schedule.upTo(Backoff.exponential(backoff), { times: maxReconnects })

const defaultEndpoint = "ws://localhost"

const abortReason = ({ reason }: AbortSignal): Error =>
  reason instanceof Error ? reason : Object.assign(new Error(textOf(reason)), { name: "AbortError" })

/** What a promise is rejected with: the error itself, and for a failed connection that of the socket, which learns where. */
const reasonOf = (cause: Cause.Cause<unknown>): unknown => {
  const error = Cause.squash(cause)
  if (!(error instanceof ConnectError && error.cause instanceof Error)) return error
  error.cause.message = error.message
  return error.cause
}

const plain = (error: Error): Record<string, unknown> => {
  try {
    return JSON.parse(JSON.stringify(error, Object.getOwnPropertyNames(error)))
  } catch {
    return { message: error.message, stack: error.stack }
  }
}

const toMessage = (message: unknown): string | Uint8Array => {
  if (typeof message === "string" || message instanceof Uint8Array) return message
  if (message instanceof ArrayBuffer) return new Uint8Array(message)
  if (ArrayBuffer.isView(message)) return new Uint8Array(message.buffer, message.byteOffset, message.byteLength)
  return Array.isArray(message) ? Uint8Array.from(message) : String(message)
}

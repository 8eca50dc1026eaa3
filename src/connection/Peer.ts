/**
 * What a user holds: calls to the other side, and what can be observed of it. A connection that a server accepted and a
 * client that reconnects are both peers.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Action from "../Action.ts"
import { DisconnectedError } from "../ConnectionError.ts"
import type { CloseInfo, CloseOptions } from "./Closing.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Environment } from "./Environment.ts"
import { type Event, Hub, type Observer } from "./Event.ts"
import type { Metrics } from "./Metrics.ts"
import { type Checks, checkOptions, flag, whenRead } from "./OptionChecks.ts"
import { type CallFailure, Outbound, type Request } from "./Outbound.ts"
import type { Rpc, Side } from "./Rpc.ts"
import { type Configured, connectionOptions, millis, type Options, type Settings, settings } from "./Settings.ts"

/** The states of a connection, numbered as a WebSocket's are. */
export const State = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 } as const
export type State = (typeof State)[keyof typeof State]

export type { Side } from "./Rpc.ts"

/** How one call is to be made. */
export interface CallOptions {
  /** How long it may take, its wait for a turn included. Default: the connection's `callTimeout`. */
  readonly timeout?: Duration.Input
  /** `true` to be done as soon as the CALL is sent. An answer is then reported as a bad message. Default `false`. */
  readonly noReply?: boolean
}

/** The way to the other side, for us who are `Self`. */
export interface Peer<in out Self extends Side> {
  /** The station's identity. */
  readonly identity: string
  /** The agreed subprotocol, `""` for none or before the first connection. */
  readonly protocol: string
  readonly state: State

  /**
   * Calls the other side and waits for its response.
   *
   * An action as a value types the request and the response. A name serves where the action is only known at run time.
   * Interrupting the Effect takes the call back: if it has not been sent it never is, and a late answer resolves nothing.
   */
  readonly call: {
    (action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, CallFailure>
    <A extends Action.Call<string, Self | "both">>(
      action: A,
      request: Action.Request<A>,
      options?: CallOptions,
    ): Effect.Effect<Action.Response<A>, CallFailure>
  }

  /** Sends an unconfirmed message (OCPP 2.1): done when it is on its way. Not subject to `callConcurrency`. */
  readonly send: {
    (action: string, request?: unknown): Effect.Effect<void, CallFailure>
    <A extends Action.Send<string, Self | "both">>(
      action: A,
      request: Action.Request<A>,
    ): Effect.Effect<void, CallFailure>
  }

  /** Calls the observer for every event, in the tick in which it happens, until the returned function is called. */
  readonly subscribe: (observer: Observer) => () => void

  /** As `subscribe`, for Connecting, Open, Disconnect, Closing and Close only: costs nothing while calls are made. */
  readonly subscribeToLife: (observer: Observer) => void

  /**
   * Sends text or bytes that are no frame of this library; whoever does so answers for what comes of it. While a client
   * reconnects they wait. Fails when the connection is closed.
   */
  readonly sendRaw: (message: string | Uint8Array) => Effect.Effect<void, DisconnectedError>

  /**
   * Changes options, from now on. Calls that are under way keep the timeout with which they started.
   *
   * @throws {RangeError} naming the option whose value makes no sense; then nothing has changed.
   */
  readonly reconfigure: (options: Options) => void

  /**
   * Closes, and succeeds with the final code and reason once closed. The first code and reason count.
   *
   * Calls in flight fail and handlers are interrupted, unless `awaitPending` lets them end first.
   */
  readonly close: (options?: CloseOptions) => Effect.Effect<CloseInfo>
  /** Succeeds once closed for good. */
  readonly closed: Effect.Effect<CloseInfo>
}

const callOptions: Checks<CallOptions> = { timeout: whenRead, noReply: flag }

const reconfigurable = { ...connectionOptions, reconnect: whenRead }

/** Lets methods work without the object that they come from: whoever asks for a service often takes it apart. */
export const detachable = <T extends object>(self: T, names: ReadonlyArray<keyof T>): void => {
  for (const name of names) {
    const method = self[name]
    if (typeof method === "function") Object.defineProperty(self, name, { value: method.bind(self) })
  }
}

/** What a state is told by. */
type Life = Extract<Event, { readonly _tag: "Connecting" | "Open" | "Disconnect" | "Closing" | "Close" }>

/** The part of a peer that does not depend on who opened the connection. */
export abstract class PeerBase<in out Self extends Side> implements Configured {
  readonly hub = new Hub()
  readonly outbound: Outbound
  readonly deadlines: Deadlines
  readonly metrics: Metrics
  settings: Settings
  /** The connection that is open, or was the last. */
  protected rpc: Rpc | undefined
  abstract readonly identity: string
  abstract readonly protocol: string
  #options: Options
  #state: State

  constructor(options: Options, settings: Settings, { deadlines, metrics }: Environment, state: State) {
    this.#options = options
    this.settings = settings
    this.deadlines = deadlines
    this.metrics = metrics
    this.outbound = new Outbound(this, deadlines, metrics)
    this.#state = state
  }

  get state(): State {
    return this.#state
  }

  /** The only place where the state changes; everyone hears of it in the same tick. */
  protected become(state: State, event?: Life): void {
    this.#state = state
    if (event !== undefined) this.hub.emit(event)
  }

  /** Why nothing can be sent any more, once it has closed. */
  protected get gone(): DisconnectedError {
    const { code = 1006, reason = "closed" } = this.outbound.refusal ?? {}
    return DisconnectedError.of(code, reason, false)
  }

  reconfigure(options: Options): void {
    checkOptions(options, reconfigurable)
    const changed = { ...this.#options, ...options }
    this.settings = settings(changed)
    this.#options = changed
    this.rpc?.reconfigured("pingInterval" in options)
    this.outbound.pump()
  }

  // The compiler explains the last overload when none fits: that is the one whose explanation helps.
  call(action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, CallFailure>
  call<A extends Action.Call<string, Self | "both">>(
    action: A,
    request: Action.Request<A>,
    options?: CallOptions,
  ): Effect.Effect<Action.Response<A>, CallFailure>
  call(action: Action.Call | string, payload?: unknown, options?: CallOptions): Effect.Effect<unknown, CallFailure> {
    if (options !== undefined) checkOptions(options, callOptions)
    return this.outbound.call(this.request("Call", action, payload, options), this)
  }

  send(action: string, request?: unknown): Effect.Effect<void, CallFailure>
  send<A extends Action.Send<string, Self | "both">>(
    action: A,
    request: Action.Request<A>,
  ): Effect.Effect<void, CallFailure>
  send(action: Action.Send | string, payload?: unknown): Effect.Effect<void, CallFailure> {
    return Effect.asVoid(this.outbound.call(this.request("Send", action, payload), this))
  }

  /** What is asked of {@link outbound}. */
  request(kind: "Call" | "Send", action: Action.Any | string, payload: unknown, options: CallOptions = {}): Request {
    if (action === undefined) throw new TypeError("what is to be called is undefined: it must be an action or its name")
    const isName = typeof action === "string"
    return {
      kind,
      action: isName ? action : action.name,
      declaration: isName ? undefined : action,
      payload: payload === undefined ? {} : payload,
      timeout: options.timeout === undefined ? undefined : millis("timeout", options.timeout),
      answered: kind === "Call" && options.noReply !== true,
    }
  }

  subscribe(observer: Observer): () => void {
    return this.hub.subscribe(observer)
  }

  subscribeToLife(observer: Observer): void {
    this.hub.subscribeToLife(observer)
  }
}

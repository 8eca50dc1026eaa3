/** The part of a connection that does not depend on who opened it. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Action from "../Action.ts"
import { type Close, type CloseInfo, type CloseOptions, closeOf } from "./Closing.ts"
import type { CallOptions, Connection, Side } from "./Connection.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Environment } from "./Environment.ts"
import type { Event, FrameEvent, Life } from "./Event.ts"
import { Hub, type Observer } from "./Hub.ts"
import { Lifecycle, State, type Step } from "./Lifecycle.ts"
import type { Metrics } from "./Metrics.ts"
import { type Checks, callback, changedBy, checkOptions, flag, whenRead } from "./OptionChecks.ts"
import { type Caller, Outbound } from "./Outbound.ts"
import type { CallFailure, Request } from "./OutboundCall.ts"
import type { Host, Rpc } from "./Rpc.ts"
import { type ConnectionOptions, connectionOptions, millis, type Settings, settings } from "./Settings.ts"

const callOptions: Checks<CallOptions> = { timeout: whenRead, noReply: flag, refuse: callback }

const reconfigurable = { ...connectionOptions, reconnect: whenRead }

/** Lets methods work without the object that they come from: whoever asks for a service often takes it apart. */
export const detachable = <T extends object>(self: T, names: ReadonlyArray<keyof T>): void => {
  for (const name of names) {
    const method = self[name]
    if (typeof method === "function") Object.defineProperty(self, name, { value: method.bind(self) })
  }
}

/** The Scope of who has no connection. */
const closedScope = Scope.makeUnsafe()
Scope.closeUnsafe(closedScope, Exit.void)

export abstract class Peer<in out Self extends Side> implements Connection<Self>, Host, Caller {
  abstract readonly side: Side
  abstract readonly identity: string
  abstract readonly protocol: string
  abstract readonly root: Scope.Scope
  readonly hub = new Hub()
  readonly lifecycle: Lifecycle
  readonly outbound: Outbound
  settings: Settings
  /** The connection that is open, or was the last. */
  protected rpc: Rpc | undefined
  readonly #environment: Environment
  #options: ConnectionOptions

  constructor(options: ConnectionOptions, settings: Settings, environment: Environment, phase: "idle" | "open") {
    this.#options = options
    this.settings = settings
    this.#environment = environment
    this.lifecycle = new Lifecycle(phase)
    this.outbound = new Outbound(this)
  }

  abstract handlerContext(): Context.Context<never>

  abstract get closed(): Effect.Effect<CloseInfo>

  abstract onGone(info: CloseInfo): void

  abstract onGivingUp(cause: CloseInfo, force: boolean): void

  get state(): State {
    return this.lifecycle.state
  }

  get scope(): Scope.Scope {
    return this.rpc?.scope ?? closedScope
  }

  get deadlines(): Deadlines {
    return this.#environment.deadlines
  }

  get metrics(): Metrics {
    return this.#environment.metrics
  }

  get isTraced(): boolean {
    return this.#environment.isTraced
  }

  get frames(): Stream.Stream<FrameEvent> {
    return this.#environment.streams.frames(this.hub)
  }

  get events(): Stream.Stream<Event> {
    return this.#environment.streams.events(this.hub)
  }

  /** Takes a step of the lifecycle. Everyone hears of it in the same tick. Returns whether there was such a step. */
  protected take(step: Step, event?: Life): boolean {
    if (!this.lifecycle.take(step)) return false
    if (event !== undefined) this.hub.emit(event)
    return true
  }

  reconfigure(options: ConnectionOptions): void {
    checkOptions(options, reconfigurable)
    const changed = changedBy(this.#options, options)
    this.settings = settings(changed)
    this.#options = changed
    this.rpc?.reconfigured(options.pingInterval !== undefined)
    this.outbound.reconfigured()
  }

  // The compiler explains the last overload when none fits: that is the one whose explanation helps.
  call(action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, CallFailure>
  call<A extends Action.Call<string, Self | "both">>(
    action: A,
    request: Action.Request<A>,
    options?: CallOptions<Action.Response<A>>,
  ): Effect.Effect<Action.Response<A>, CallFailure>
  call(
    action: Action.Call | string,
    payload?: unknown,
    options?: CallOptions<never>,
  ): Effect.Effect<unknown, CallFailure> {
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

  sendRaw(message: string | Uint8Array): Effect.Effect<void, CallFailure> {
    return Effect.asVoid(this.outbound.call(rawRequest(message), this))
  }

  /** What is asked of {@link outbound}. */
  request(
    kind: "Call" | "Send",
    action: Action.Any | string,
    payload: unknown,
    options: CallOptions<never> = {},
  ): Request {
    if (action === undefined) throw new TypeError("what is to be called is undefined: it must be an action or its name")
    const isName = typeof action === "string"
    return {
      kind,
      action: isName ? action : action.name,
      declaration: isName ? undefined : action,
      payload: payload === undefined ? {} : payload,
      timeout: options.timeout === undefined ? undefined : millis("timeout", options.timeout),
      answered: kind === "Call" && options.noReply !== true,
      // Whoever judges results knows the responses of this action.
      refuse: options.refuse as Request["refuse"],
    }
  }

  subscribe(observer: Observer): () => void {
    return this.hub.subscribe(observer)
  }

  subscribeToLife(observer: Observer): () => void {
    return this.hub.subscribeToLife(observer)
  }

  close(options: CloseOptions = {}): Effect.Effect<CloseInfo> {
    return Effect.suspend(() => {
      this.beginClose(closeOf(options))
      return this.closed
    })
  }

  /** Begins to close. The first code and reason count. */
  beginClose({ awaitPending, code, force, reason }: Close): void {
    const { lifecycle } = this
    const isFirst = lifecycle.state === State.OPEN
    if (isFirst) lifecycle.cause = { code, reason }
    const event = isFirst ? ({ _tag: "Closing" } as const) : undefined
    if (awaitPending && !force) {
      if (!isFirst) return
      if (this.take("drain", event)) return this.rpc?.drain(lifecycle.cause)
    }
    this.take("close", event)
    this.rpc?.close(lifecycle.cause, force)
    if (lifecycle.state === State.CLOSING) this.outbound.close(lifecycle.cause)()
  }
}

/** A message that is no frame of ours. */
export const rawRequest = (message: string | Uint8Array): Request => ({
  kind: "Raw",
  action: "",
  declaration: undefined,
  payload: message,
  timeout: Number.POSITIVE_INFINITY,
  answered: false,
})

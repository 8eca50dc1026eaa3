/**
 * Symmetrical RPC over one open transport, from its first message to its last.
 *
 * Everything here happens in the tick in which its cause happens: a message is decoded, dispatched and, when its handler
 * does not suspend, answered before the next one is read. The rooms beside it keep what must be kept: {@link Outbound} our
 * calls, {@link Inbound} the peer's, {@link Answers} what we answer, {@link Conformance} what may be said, {@link Hub} the observers.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Frame from "../Frame.ts"
import type { AnyHandler, Follower, Router } from "../Handlers.ts"
import {
  fromWire,
  type RPCError,
  RPCFormatViolationError,
  RPCFrameworkError,
  RPCGenericError,
  RPCInternalError,
  RPCNotImplementedError,
  RPCNotSupportedError,
} from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import { type Listener, surface, type Transport } from "../Transport.ts"
import { Answers, type Writer } from "./Answers.ts"
import type { CloseInfo } from "./Closing.ts"
import { Conformance, messageOf, type Spoken } from "./Conformance.ts"
import type { Side } from "./Connection.ts"
import type { Deadline, Deadlines } from "./Deadlines.ts"
import { about } from "./Event.ts"
import type { Hub } from "./Hub.ts"
import { type Answerer, Inbound } from "./Inbound.ts"
import { KeepAlive, type Watched } from "./KeepAlive.ts"
import type { Lifecycle } from "./Lifecycle.ts"
import type { Direction, Gauges, Metrics, Outcome } from "./Metrics.ts"
import { nextTurn } from "./nextTurn.ts"
import type { Carrier, Outbound } from "./Outbound.ts"
import type { OutboundCall } from "./OutboundCall.ts"
import type { Configured, Settings } from "./Settings.ts"
import * as supervised from "./supervised.ts"
import * as Tracing from "./Tracing.ts"

/** The peer whose transport is open. */
export interface Host extends Configured {
  readonly side: Side
  readonly identity: string
  readonly lifecycle: Lifecycle
  readonly deadlines: Deadlines
  readonly metrics: Metrics
  readonly isTraced: boolean
  readonly hub: Hub
  readonly outbound: Outbound
  /** The Scope that outlives the connection: its finalizers run there. */
  readonly root: Scope.Scope
  /** The services of handlers, without what tells whose they are. */
  readonly handlerContext: () => Context.Context<never>
  /** Takes the step that ends this transport, for a cause of ours that nobody has asked for. */
  readonly onGivingUp: (cause: CloseInfo, force: boolean) => void
  /** Called once, when the socket is gone and nothing of the connection is left but interrupted handlers. */
  readonly onGone: (info: CloseInfo) => void
}

export class Rpc implements Listener, Carrier, Gauges, Deadline, Answerer, Watched, Spoken, Writer {
  /** When the end that we are waiting for is overdue. */
  entry: Deadline["entry"]
  readonly subprotocol: Subprotocol
  readonly conformance: Conformance
  readonly #host: Host
  readonly #transport: Transport
  readonly #router: Router
  readonly #answers: Answers
  readonly #inbound: Inbound
  readonly #keepAlive: KeepAlive
  #scope: Scope.Closeable | undefined
  #context: Context.Context<never> | undefined
  /** Why it has ended: nothing is read or written any more. */
  #cause: CloseInfo | undefined
  /** Whether the peer has said anything: a message, a ping, a pong. */
  hasHeard = false
  #badMessages = 0
  #ended: Effect.Effect<void> = Effect.void

  constructor(host: Host, transport: Transport, subprotocol: Subprotocol, router: Router) {
    this.#host = host
    this.#transport = transport
    this.subprotocol = subprotocol
    this.#router = router
    this.conformance = new Conformance(this, subprotocol)
    this.#answers = new Answers(this)
    this.#inbound = new Inbound(this)
    this.#keepAlive = new KeepAlive(this)
    host.metrics.opened(this)
  }

  get settings(): Settings {
    return this.#host.settings
  }

  get side(): Side {
    return this.#host.side
  }

  get hub(): Hub {
    return this.#host.hub
  }

  get metrics(): Metrics {
    return this.#host.metrics
  }

  get deadlines(): Deadlines {
    return this.#host.deadlines
  }

  get isTraced(): boolean {
    return this.#host.isTraced
  }

  get subject(): Tracing.Subject {
    return { identity: this.#host.identity, protocol: this.subprotocol.name }
  }

  /** The connection's Scope: closed when it ends. Made when it is first asked for. */
  get scope(): Scope.Closeable {
    if (this.#scope === undefined) {
      this.#scope = Scope.forkUnsafe(this.#host.root)
      if (this.#cause !== undefined) Scope.closeUnsafe(this.#scope, Exit.void)
    }
    return this.#scope
  }

  /** Takes a Scope that was made before the connection. An empty one is not kept. */
  adopt(scope: Scope.Closeable): void {
    if (scope.state._tag === "Empty" || this.#scope !== undefined) Scope.closeUnsafe(scope, Exit.void)
    else this.#scope = scope
  }

  get handlerContext(): Context.Context<never> {
    this.#context ??= Tracing.annotated(this.#host.handlerContext(), this.subject)
    return this.#context
  }

  /** Starts a fiber that ends with the connection. */
  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return supervised.fork(this.scope, this.handlerContext, effect)
  }

  inFlight(direction: Direction): number {
    return direction === "in" ? this.#inbound.size : this.#host.outbound.size
  }

  bytes(direction: Direction): number {
    const { bytesReceived = 0, bytesSent = 0 } = this.#transport
    return direction === "in" ? bytesReceived : bytesSent
  }

  /** A name that is counted outlives the connection: it must not be the peer's word. */
  metricName(action: string): string {
    return this.subprotocol.actions.has(action) ? action : "unknown"
  }

  /** Sends what waits, and starts reading a turn later: whoever has just heard of the connection may prepare for it. */
  start(): void {
    if (this.#cause === undefined) this.#host.outbound.attach(this)
    nextTurn(() => this.#transport.listen(this))
  }

  /** The settings have changed. */
  reconfigured(pings = false): void {
    this.conformance.reconfigured()
    this.#inbound.reconfigured()
    if (pings && this.#cause === undefined) this.#keepAlive.start()
  }

  // The peer's messages

  #heard(): void {
    this.hasHeard = true
    this.#keepAlive.heard()
  }

  onMessage(text: string): void {
    // Stations in the field send empty messages; they mean nothing.
    if (text === "" || this.#cause !== undefined) return
    this.#heard()
    this.#onText(this.settings.repair === undefined ? text : this.#repaired(text, this.settings.repair))
  }

  /** A program's own repair of a text. One that throws has repaired nothing. */
  #repaired(text: string, repair: NonNullable<Settings["repair"]>): string {
    try {
      return repair(text, this.subject)
    } catch (error) {
      surface(error)
      return text
    }
  }

  #onText(text: string): void {
    const frame = Frame.decode(text, this.subprotocol.extendedFrames)
    if (this.hub.active) this.hub.emit({ _tag: "Frame", outbound: false, message: text, frame })
    switch (frame._tag) {
      case "Call":
      case "Send":
        return this.#onRequest(text, frame)
      case "CallResult":
        return this.#onResult(text, frame)
      case "CallError":
        return this.#onError(text, frame)
      case "CallResultError":
        return this.#onResultError(text, frame)
      case "Malformed":
        return this.#onMalformed(text, frame)
    }
  }

  #onMalformed(text: string, { ends, error, messageId, reply }: Frame.Malformed): void {
    this.#onBadMessage(text, error, reply ? messageId : undefined)
    const call = ends ? this.#host.outbound.find(messageId) : undefined
    if (call !== undefined) this.#failCall(call, error)
  }

  #onRequest(text: string, call: Frame.Call | Frame.Send): void {
    const { hub } = this
    const repliesTo = call._tag === "Call" ? call.messageId : undefined
    const tooLong = this.conformance.messageId(call.messageId)
    if (tooLong !== undefined) {
      if (this.settings.validateInbound === "reject") return this.#onBadMessage(text, tooLong, repliesTo)
      if (hub.active) hub.emit({ _tag: "BadMessage", message: text, error: tooLong, response: undefined })
    }
    const refusal = this.#inbound.refusal(call, text.length)
    if (refusal?.code === "RpcFrameworkError") return this.#onBadMessage(text, refusal, repliesTo)
    this.#badMessages = 0
    if (hub.active) hub.emit({ _tag: "Call", kind: call._tag, ...about(call, false) })
    const refuse = (error: RPCError) => this.#answers.refuse(call, error)
    if (refusal !== undefined) return refuse(refusal)
    if (!this.#host.lifecycle.handles) return refuse(new RPCGenericError("the connection is closing"))
    const handler = this.#route(call)
    if (handler === undefined) return refuse(this.#unhandled(call.action))
    const invalid = this.conformance.request(call)
    if (invalid !== undefined) return refuse(invalid)
    this.#inbound.handle(call.payload == null ? { ...call, payload: {} } : call, handler, text.length)
  }

  /** OCPP-J 1.6 §4.2.3, 2.x part 4 §4.3: an action that is not known, or is known and not supported. */
  #unhandled(action: string): RPCError {
    if (this.subprotocol.actions.has(action)) return new RPCNotSupportedError(`${action} has no handler`)
    return new RPCNotImplementedError(`${Tracing.clip(action)} has no handler`)
  }

  #route(call: Frame.Call | Frame.Send): AnyHandler<never> | undefined {
    try {
      return this.#router(call.action)
    } catch (defect) {
      return () => Effect.die(defect)
    }
  }

  #onResult(text: string, { messageId, payload }: Frame.CallResult): void {
    const { hub } = this
    const { outbound } = this.#host
    const call = outbound.find(messageId)
    if (call === undefined) return this.#onStrayAnswer(text, messageId)
    this.#badMessages = 0
    const result = payload ?? {}
    const invalid = this.conformance.result(call, payload) ?? refusalOf(call, result)
    if (invalid === undefined) {
      if (hub.active) hub.emit({ _tag: "CallResult", result, sent: true, ...about(call, true) })
      return outbound.settle(call, Exit.succeed(result))
    }
    if (this.subprotocol.extendedFrames) this.#answers.sendError("CallResultError", messageId, invalid)
    this.#failCall(call, invalid)
  }

  #onError(text: string, frame: Frame.CallError): void {
    const call = this.#host.outbound.find(frame.messageId)
    if (call === undefined) return this.#onStrayAnswer(text, frame.messageId)
    this.#badMessages = 0
    this.#failCall(call, fromWire(frame.code, frame.description, frame.details))
  }

  #failCall(call: OutboundCall, error: RPCError): void {
    const { hub } = this
    if (hub.active) hub.emit({ _tag: "CallError", error, sent: true, ...about(call, true) })
    this.#host.outbound.settle(call, Exit.fail(error))
  }

  /** An answer that no call waits for. A conforming peer may well send it: the call has timed out, or did not wait for an answer. */
  #onStrayAnswer(text: string, messageId: string): void {
    const { hub } = this
    if (!this.#host.outbound.hasMade(messageId)) return this.#onBadMessage(text, answersNothing(messageId))
    this.#badMessages = 0
    if (hub.active) hub.emit({ _tag: "LateAnswer", messageId, message: text })
  }

  #onResultError(text: string, { code, description, details, messageId }: Frame.CallResultError): void {
    if (!this.#answers.takeBack(messageId)) return this.#onBadMessage(text, answersNothing(messageId))
    this.#badMessages = 0
    const { hub } = this
    if (hub.active) hub.emit({ _tag: "CallResultError", messageId, error: fromWire(code, description, details) })
  }

  #onBadMessage(text: string, error: RPCError, repliesTo?: string): void {
    const { hub } = this
    this.metrics.badMessage()
    const response = repliesTo === undefined ? undefined : this.#answers.sendError("CallError", repliesTo, error)
    if (hub.active) hub.emit({ _tag: "BadMessage", message: text, error, response })
    if (++this.#badMessages > this.settings.maxBadMessages) {
      this.#giveUp({ code: 1002, reason: "too many bad messages" })
    }
  }

  conclude(call: Frame.Call | Frame.Send, exit: Exit.Exit<unknown, unknown>): Outcome {
    return this.#answers.conclude(call, exit)
  }

  follow(call: Frame.Call | Frame.Send, follower: Follower): void {
    this.#answers.follow(call, follower)
  }

  timedOut(call: Frame.Call | Frame.Send): void {
    this.#answers.timedOut(call)
  }

  onPing(): void {
    this.#heard()
  }

  onPong(): void {
    const { hub } = this
    this.hasHeard = true
    const roundTripMillis = this.#keepAlive.pong()
    if (roundTripMillis === undefined) return
    this.metrics.ponged(roundTripMillis)
    if (hub.active) hub.emit({ _tag: "Pong", roundTripMillis })
  }

  onError(error: Error): void {
    const { hub } = this
    if (hub.active) hub.emit({ _tag: "SocketError", error })
  }

  // Our messages

  prepare(call: OutboundCall): string | Uint8Array | RPCError {
    const { action, kind, payload } = call.request
    if (kind === "Raw") return payload as string | Uint8Array
    const refusal = this.conformance.ownRequest(call)
    if (refusal !== undefined) return refusal
    try {
      return Frame.encode(frameOf(call, kind), this.subprotocol.spelling)
    } catch (error) {
      return new RPCFormatViolationError(`the payload of ${action} cannot be written as JSON: ${messageOf(error)}`)
    }
  }

  transmit(call: OutboundCall): boolean {
    const { hub } = this
    const { kind } = call.request
    const message = call.message as string | Uint8Array
    if (!hub.active || !this.#isWritable) return this.send(message, undefined)
    if (kind === "Raw") return this.send(message, Frame.decode(textOf(message), this.subprotocol.extendedFrames))
    hub.emit({ _tag: "Call", kind, ...about(call, true) })
    return this.send(message, frameOf(call, kind))
  }

  /** Sends a message, which is this frame. Returns whether it is on its way. A peer that reads too slowly loses its connection. */
  send(message: string | Uint8Array, frame: Frame.Frame | Frame.Malformed | undefined): boolean {
    const { hub } = this
    if (frame !== undefined && hub.active && this.#isWritable) {
      hub.emit({ _tag: "Frame", outbound: true, message: textOf(message), frame })
    }
    // Observers may have ended the connection.
    if (!this.#isWritable) {
      this.#onUnwritable()
      return false
    }
    this.#transport.send(message)
    return true
  }

  get #isWritable(): boolean {
    const { bufferedAmount, writable } = this.#transport
    return this.#cause === undefined && writable && bufferedAmount <= this.settings.maxBufferedBytes
  }

  #onUnwritable(): void {
    if (this.#cause !== undefined) return
    if (this.#transport.writable) this.#giveUp({ code: 1013, reason: "the peer reads too slowly" })
    else this.#host.onGivingUp({ code: 1000, reason: "the peer is closing" }, false)
  }

  ping(): void {
    this.#transport.ping()
  }

  // The end

  onDead(): void {
    this.#giveUp({ code: 1006, reason: "ping timeout" }, true)
  }

  #giveUp(cause: CloseInfo, force = false): void {
    this.#host.onGivingUp(cause, force)
    this.close(cause, force)
  }

  /** Closes once every call has ended; each is bounded by its timeout. */
  drain(cause: CloseInfo): void {
    const { deadlines, lifecycle, outbound } = this.#host
    // Whoever has heard of it may have closed it at once.
    if (lifecycle.phase !== "draining") return
    const latest = Math.max(outbound.latestDeadline, this.#latestAnswer)
    const checkIdle = () => {
      if (lifecycle.phase === "draining" && outbound.size === 0 && this.#inbound.size === 0) this.#drained(cause)
    }
    outbound.drain(checkIdle)
    this.#inbound.drain(checkIdle)
    if (this.#cause === undefined) deadlines.wakeBy(this, latest + 1)
  }

  #drained(cause: CloseInfo): void {
    this.#host.lifecycle.take("close")
    this.close(cause)
  }

  /** When the last handler has ended. Handlers may have no deadline; but their callers wait no longer than calls are waited for. */
  get #latestAnswer(): number {
    if (this.#inbound.size === 0) return Number.NEGATIVE_INFINITY
    const { callTimeout, handlerTimeout } = this.settings
    const longest = handlerTimeout === Number.POSITIVE_INFINITY ? callTimeout : Math.max(callTimeout, handlerTimeout)
    return this.deadlines.now() + longest
  }

  /** Starts the closing handshake, or with `force` drops the socket. Only the first cause counts. */
  close(cause: CloseInfo, force = false): void {
    const { deadlines, settings } = this
    const transport = this.#transport
    const isFirst = this.#cause === undefined
    if (isFirst) this.#end(force ? { code: 1006, reason: cause.reason } : cause)
    if (force) return transport.terminate()
    if (!isFirst) return
    deadlines.clear(this)
    deadlines.wakeBy(this, deadlines.now() + settings.closeTimeout)
    transport.close(cause.code, cause.reason)
  }

  expire(): number {
    const { lifecycle } = this.#host
    if (lifecycle.phase === "draining") this.#drained(lifecycle.cause)
    else this.#transport.terminate()
    return Number.POSITIVE_INFINITY
  }

  /** No more calls: ours fail, theirs are interrupted, and the connection's Scope is closed. */
  #end(cause: CloseInfo): void {
    this.#cause = cause
    this.#keepAlive.stop()
    this.#host.outbound.detach(cause)
    this.#inbound.stop()
    if (this.#scope !== undefined) this.#ended = supervised.close(this.#scope, this.#host.root, this.handlerContext)
  }

  /** Succeeds when the handlers and finalizers have ended that were interrupted when the connection closed. */
  get ended(): Effect.Effect<void> {
    return Effect.suspend(() => this.#ended)
  }

  onClose(code: number, reason: string): void {
    // A socket that was dropped says only 1006; we may know why.
    const info = code === 1006 && reason === "" ? { code, reason: this.#cause?.reason ?? "" } : { code, reason }
    if (this.#cause === undefined) this.#end(info)
    this.deadlines.clear(this)
    this.metrics.closed(this)
    this.#host.onGone(info)
  }
}

/** The error for which the caller cannot process a result that is valid (2.1 part 2, I08). */
const refusalOf = ({ request }: OutboundCall, result: unknown): RPCError | undefined => {
  try {
    return request.refuse?.(result)
  } catch (error) {
    surface(error)
    return new RPCInternalError("the result could not be processed")
  }
}

const frameOf = ({ action, messageId, payload }: OutboundCall, _tag: "Call" | "Send"): Frame.Call | Frame.Send => ({
  _tag,
  messageId,
  action,
  payload: (payload ?? {}) as Schema.Json,
})

const textOf = (message: string | Uint8Array): string =>
  typeof message === "string" ? message : new TextDecoder().decode(message)

const answersNothing = (messageId: string) =>
  new RPCFrameworkError(`the message answers no call of ours (its id is "${Tracing.clip(messageId)}")`)

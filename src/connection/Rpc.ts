/**
 * Symmetrical RPC over one open transport, from its first message to its last.
 *
 * Everything here happens in the tick in which its cause happens: a message is decoded, dispatched and, when its handler
 * does not suspend, answered before the next one is read. The rooms beside it keep what must be kept: {@link Outbound} our
 * calls, {@link Inbound} the peer's, {@link Conformance} what may be said, {@link Hub} the observers.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import * as Frame from "../Frame.ts"
import { type AnyHandler, noReply, type Router } from "../Handlers.ts"
import {
  fromWire,
  isRPCError,
  type RPCError,
  RPCFormatViolationError,
  RPCFrameworkError,
  RPCGenericError,
  RPCInternalError,
  RPCNotImplementedError,
} from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Listener, Transport } from "../Transport.ts"
import type { CloseInfo, CloseOptions } from "./Closing.ts"
import { Conformance, textOf } from "./Conformance.ts"
import type { Deadline, Deadlines } from "./Deadlines.ts"
import { about, type Hub } from "./Event.ts"
import * as Inbounds from "./Inbound.ts"
import * as KeepAlives from "./KeepAlive.ts"
import type { Direction, Live, Metrics, Outcome } from "./Metrics.ts"
import type { Carrier, Outbound, Pending } from "./Outbound.ts"
import type { Configured } from "./Settings.ts"
import * as Tracing from "./Tracing.ts"

/** One of the two sides. */
export type Side = "station" | "csms"

/** Whose connection it is. */
export interface Owner extends Configured {
  readonly side: Side
  readonly identity: string
  readonly deadlines: Deadlines
  readonly metrics: Metrics
  readonly hub: Hub
  readonly outbound: Outbound
  /** What the handlers are given; made when the first of them needs it. */
  readonly handlerContext: () => Context.Context<never>
  /** The connection must end for good, not be opened again. */
  readonly onFatal: (info: CloseInfo) => void
  /** The connection is going to end, and the peer is not the cause. */
  readonly onEnding: (info: CloseInfo) => void
  /** Called once, when the socket is gone and nothing of the connection is left but interrupted handlers. */
  readonly onGone: (info: CloseInfo) => void
}

/** Our answers that the peer may still refuse with a CALLRESULTERROR. */
const rememberedAnswers = 64

export class Rpc implements Listener, Carrier, Live, Deadline, Inbounds.Owner, KeepAlives.Owner {
  /** When the end that we are waiting for is overdue. */
  entry: Deadline["entry"]
  readonly #owner: Owner
  readonly #hub: Hub
  readonly #transport: Transport
  readonly subprotocol: Subprotocol
  readonly #router: Router
  readonly #inbound: Inbounds.Inbound
  readonly #keepAlive: KeepAlives.KeepAlive
  readonly conformance: Conformance
  #answered: Set<string> | undefined
  #state: "open" | "draining" | "closing" | "closed" = "open"
  /** Why we end the connection, when we do. */
  #cause: CloseInfo | undefined
  #badMessages = 0
  #ended: Effect.Effect<void> = Effect.void

  constructor(owner: Owner, transport: Transport, subprotocol: Subprotocol, router: Router) {
    this.#owner = owner
    this.#hub = owner.hub
    this.#transport = transport
    this.subprotocol = subprotocol
    this.#router = router
    this.conformance = new Conformance(owner, subprotocol)
    this.#inbound = new Inbounds.Inbound(owner, owner.deadlines, owner.metrics, this)
    this.#keepAlive = new KeepAlives.KeepAlive(owner, owner.deadlines, this)
    owner.metrics.opened(this)
  }

  get side(): Side {
    return this.#owner.side
  }

  inFlight(direction: Direction): number {
    return direction === "in" ? this.#inbound.size : this.#owner.outbound.size
  }

  bytes(direction: Direction): number {
    const { bytesReceived = 0, bytesSent = 0 } = this.#transport
    return direction === "in" ? bytesReceived : bytesSent
  }

  handlerContext(): Context.Context<never> {
    return Tracing.annotated(this.#owner.handlerContext(), this.subject)
  }

  get subject(): Tracing.Subject {
    return { identity: this.#owner.identity, protocol: this.subprotocol.name }
  }

  /** What is counted outlives the connection: it is none of the peer's words. */
  metricName(action: string): string {
    return this.subprotocol.actions.has(action) ? action : "unknown"
  }

  timedOut(call: Frame.Call | Frame.Send): void {
    const text = `the handler did not finish within ${this.#owner.settings.handlerTimeout} ms`
    this.#answerError(call, new RPCInternalError(text))
  }

  ping(): void {
    this.#transport.ping()
  }

  onDead(): void {
    const info = { code: 1006, reason: "ping timeout" }
    this.#end(info)
    this.#owner.onEnding(info)
    this.#transport.terminate()
  }

  /** Sends what waits, and starts reading a turn later: whoever has just heard of the connection may prepare for it. */
  start(): void {
    if (this.#state === "open") this.#owner.outbound.attach(this)
    setImmediate(() => this.#transport.listen(this))
  }

  /** The settings have changed. */
  reconfigured(pings = false): void {
    this.conformance.reconfigured()
    this.#inbound.pump()
    if (pings && this.#state === "open") this.#keepAlive.start()
  }

  /** Sends what is no frame of ours. Returns whether it could. */
  sendRaw(message: string | Uint8Array): boolean {
    if (!this.ready()) return false
    if (this.#hub.active) {
      const text = typeof message === "string" ? message : new TextDecoder().decode(message)
      const frame = Frame.decode(text, this.subprotocol.extendedFrames)
      this.#hub.emit({ _tag: "Frame", outbound: true, message: text, frame })
    }
    this.#transport.send(message)
    return true
  }

  /** The handlers that were interrupted when the connection closed have ended. */
  get ended(): Effect.Effect<void> {
    return Effect.suspend(() => this.#ended)
  }

  onMessage(text: string): void {
    // Stations in the field send empty messages; they mean nothing.
    if (text === "" || this.#state === "closing" || this.#state === "closed") return
    this.#keepAlive.heard()
    const frame = Frame.decode(text, this.subprotocol.extendedFrames)
    if (this.#hub.active) this.#hub.emit({ _tag: "Frame", outbound: false, message: text, frame })
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
        return this.#onBadMessage(text, frame.error, frame.reply ? frame.messageId : undefined)
    }
  }

  #onRequest(text: string, call: Frame.Call | Frame.Send): void {
    const hub = this.#hub
    const repliesTo = call._tag === "Call" ? call.messageId : undefined
    const unanswerable = this.conformance.messageId(call.messageId)
    if (unanswerable !== undefined) return this.#onBadMessage(text, unanswerable, repliesTo)
    const refusal = this.#inbound.refusal(call, text.length)
    if (refusal instanceof RPCFrameworkError) return this.#onBadMessage(text, refusal, repliesTo)
    this.#badMessages = 0
    if (hub.active) hub.emit({ _tag: "Call", kind: call._tag, ...about(call, false) })
    if (refusal !== undefined) return this.#refuse(call, refusal)
    if (this.#state === "draining") return this.#refuse(call, new RPCGenericError("the connection is closing"))
    const handler = this.#route(call)
    if (handler === undefined)
      return this.#refuse(call, new RPCNotImplementedError(`${Tracing.clip(call.action)} has no handler`))
    const invalid = this.conformance.request(call)
    if (invalid !== undefined) return this.#refuse(call, invalid)
    this.#inbound.handle(call.payload == null ? { ...call, payload: {} } : call, handler, text.length)
  }

  #route(call: Frame.Call | Frame.Send): AnyHandler<never> | undefined {
    try {
      return this.#router(call.action)
    } catch (defect) {
      return () => Effect.die(defect)
    }
  }

  #onResult(text: string, { messageId, payload }: Frame.CallResult): void {
    const hub = this.#hub
    const { outbound } = this.#owner
    const call = outbound.find(messageId)
    if (call === undefined) return this.#onBadMessage(text, answersNothing(messageId))
    this.#badMessages = 0
    const invalid = this.conformance.result(call, payload)
    if (invalid === undefined) {
      const result = payload ?? {}
      if (hub.active) hub.emit({ _tag: "CallResult", result, ...about(call, true) })
      return outbound.settle(call, Exit.succeed(result))
    }
    if (this.subprotocol.extendedFrames) this.#write(errorFrame("CallResultError", messageId, invalid))
    if (hub.active) hub.emit({ _tag: "CallError", error: invalid, ...about(call, true) })
    outbound.settle(call, Exit.fail(invalid))
  }

  #onError(text: string, frame: Frame.CallError): void {
    const hub = this.#hub
    const { outbound } = this.#owner
    const call = outbound.find(frame.messageId)
    if (call === undefined) return this.#onBadMessage(text, answersNothing(frame.messageId))
    this.#badMessages = 0
    const error = fromWire(frame.code, frame.description, frame.details)
    if (hub.active) hub.emit({ _tag: "CallError", error, ...about(call, true) })
    outbound.settle(call, Exit.fail(error))
  }

  #onResultError(text: string, { code, description, details, messageId }: Frame.CallResultError): void {
    if (this.#answered?.delete(messageId) !== true) return this.#onBadMessage(text, answersNothing(messageId))
    this.#badMessages = 0
    const hub = this.#hub
    if (hub.active) hub.emit({ _tag: "CallResultError", messageId, error: fromWire(code, description, details) })
  }

  #onBadMessage(text: string, error: RPCError, repliesTo?: string): void {
    const hub = this.#hub
    this.#owner.metrics.badMessage()
    const response = repliesTo === undefined ? undefined : errorFrame("CallError", repliesTo, error)
    if (response !== undefined) this.#write(response)
    if (hub.active) hub.emit({ _tag: "BadMessage", message: text, error, response })
    if (++this.#badMessages <= this.#owner.settings.maxBadMessages) return
    this.#owner.onFatal({ code: 1002, reason: "too many bad messages" })
  }

  conclude(call: Frame.Call | Frame.Send, exit: Exit.Exit<unknown, unknown>): Outcome {
    if (exit._tag === "Success") return this.#answer(call, exit.value)
    const failure = exit.cause.reasons.find(Cause.isFailReason)?.error
    if (isRPCError(failure) && call._tag === "Call") return this.#answerError(call, failure)
    this.#reportDefect(call, "a handler failed", exit.cause)
    if (call._tag === "Send") return "InternalError"
    const detail = this.#owner.settings.respondWithDetailedErrors ? Cause.pretty(exit.cause) : "the handler failed"
    return this.#answerError(call, new RPCInternalError(detail))
  }

  #answer(call: Frame.Call | Frame.Send, response: unknown): Outcome {
    if (call._tag === "Send" || response === noReply) return "ok"
    const hub = this.#hub
    const { settings } = this.#owner
    const payload = (response ?? {}) as Schema.Json
    const invalid = this.conformance.ownResult(call, payload)
    if (invalid !== undefined) {
      this.#reportDefect(call, `the response of a handler is not valid: ${invalid.message}`)
      const detail = settings.respondWithDetailedErrors ? `: ${invalid.message}` : ""
      return this.#answerError(call, new RPCInternalError(`the response is not valid${detail}`))
    }
    const unwritable = this.#write({ _tag: "CallResult", messageId: call.messageId, payload })
    if (unwritable !== undefined) {
      this.#reportDefect(call, "the response of a handler is not JSON", Cause.die(unwritable))
      return this.#answerError(call, new RPCInternalError("the response cannot be written as JSON"))
    }
    if (this.subprotocol.extendedFrames) this.#remember(call.messageId)
    if (hub.active) hub.emit({ _tag: "CallResult", result: payload, ...about(call, false) })
    return "ok"
  }

  /** Refuses a call that no handler gets to see. */
  #refuse(call: Frame.Call | Frame.Send, error: RPCError): void {
    this.#owner.metrics.called("in", this.metricName(call.action), this.#answerError(call, error), 0)
  }

  #answerError(call: Frame.Call | Frame.Send, error: RPCError): Outcome {
    const hub = this.#hub
    if (call._tag === "Send") {
      // A SEND is never answered; that it came to nothing can only be observed.
      if (!hub.active) return error.code
      const message = Frame.encode(call, this.subprotocol.spelling)
      hub.emit({ _tag: "BadMessage", message, error, response: undefined })
      return error.code
    }
    const frame = errorFrame("CallError", call.messageId, error)
    // Details that are not JSON must not cost the caller his answer.
    if (this.#write(frame) !== undefined) this.#write({ ...frame, details: {} })
    if (hub.active) hub.emit({ _tag: "CallError", error, ...about(call, false) })
    return error.code
  }

  /** An id that is longer than any may be (36 characters of two units) is not kept: it may be as long as a message. */
  #remember(messageId: string): void {
    if (messageId.length > 72) return
    this.#answered ??= new Set()
    this.#answered.add(messageId)
    if (this.#answered.size <= rememberedAnswers) return
    for (const oldest of this.#answered) {
      this.#answered.delete(oldest)
      return
    }
  }

  /** Nobody else learns of it: the peer gets an error that says nothing, and the handler has ended. */
  #reportDefect(
    call: Frame.Call | Frame.Send,
    ...message: readonly [what: string, cause?: Cause.Cause<unknown>]
  ): void {
    const log = Effect.annotateLogs(Effect.logError(...message), Tracing.annotationsOf(call))
    Effect.runForkWith(this.handlerContext())(log)
  }

  prepare(call: Pending): string | RPCError {
    const fault = this.conformance.ownRequest(call)
    if (fault !== undefined) return fault
    const { messageId } = call
    const { action, kind, payload } = call.request
    try {
      return Frame.encode({ _tag: kind, messageId, action, payload: payload as Schema.Json }, this.subprotocol.spelling)
    } catch (error) {
      return new RPCFormatViolationError(`the payload of ${action} cannot be written as JSON: ${textOf(error)}`)
    }
  }

  ready(): boolean {
    const transport = this.#transport
    if (this.#state === "closing" || this.#state === "closed") return false
    if (!transport.writable) {
      this.#owner.onEnding({ code: 1000, reason: "the peer is closing" })
      return false
    }
    if (transport.bufferedAmount <= this.#owner.settings.maxBufferedBytes) return true
    const info = { code: 1013, reason: "the peer reads too slowly" }
    this.#owner.onEnding(info)
    this.close(info)
    return false
  }

  transmit(call: Pending, message: string): void {
    const hub = this.#hub
    if (hub.active) {
      const { action, kind } = call.request
      const payload = (call.payload ?? {}) as Schema.Json
      hub.emit({ _tag: "Call", kind, ...about(call, true) })
      hub.emit({
        _tag: "Frame",
        outbound: true,
        message,
        frame: { _tag: kind, messageId: call.messageId, action, payload },
      })
    }
    this.#transport.send(message)
  }

  /** Sends a frame. Returns the reason when it cannot be written as JSON. */
  #write(frame: Frame.Frame): unknown {
    let message: string
    try {
      message = Frame.encode(frame, this.subprotocol.spelling)
    } catch (reason) {
      return reason ?? new TypeError("not JSON")
    }
    if (this.ready()) this.#transmit(message, frame)
    return undefined
  }

  #transmit(message: string, frame: Frame.Frame): void {
    const hub = this.#hub
    if (hub.active) hub.emit({ _tag: "Frame", outbound: true, message, frame })
    this.#transport.send(message)
  }

  onPing(): void {
    this.#keepAlive.heard()
  }

  onPong(): void {
    const hub = this.#hub
    const roundTripMillis = this.#keepAlive.pong()
    if (roundTripMillis === undefined) return
    this.#owner.metrics.ponged(roundTripMillis)
    if (hub.active) hub.emit({ _tag: "Pong", roundTripMillis })
  }

  /** Starts the closing handshake, now or once every call has ended. Only the first code and reason count. */
  close({ awaitPending = false, code = 1000, force = false, reason = "" }: CloseOptions): void {
    const { deadlines, outbound } = this.#owner
    const transport = this.#transport
    if (this.#state === "closing" || this.#state === "closed") {
      if (force) transport.terminate()
      return
    }
    const info = this.#cause ?? { code, reason }
    if (force) {
      this.#end({ code: 1006, reason })
      transport.terminate()
    } else if (awaitPending) {
      if (this.#state === "draining") return
      this.#state = "draining"
      this.#cause = info
      const idle = () => {
        if (this.#state === "draining" && outbound.size === 0 && this.#inbound.size === 0) this.#handshake(info)
      }
      const latest = Math.max(outbound.latestDeadline, this.#latestAnswer)
      outbound.drain(info, idle)
      this.#inbound.drain(idle)
      if (this.#state === "draining") deadlines.wakeBy(this, latest + 1)
    } else {
      this.#handshake(info)
    }
  }

  /** When the last handler has ended. Handlers may have no deadline; but their callers wait no longer than calls are waited for. */
  get #latestAnswer(): number {
    if (this.#inbound.size === 0) return Number.NEGATIVE_INFINITY
    const { callTimeout, handlerTimeout } = this.#owner.settings
    const longest = handlerTimeout === Number.POSITIVE_INFINITY ? callTimeout : Math.max(callTimeout, handlerTimeout)
    return this.#owner.deadlines.now() + longest
  }

  #handshake(info: CloseInfo): void {
    const { deadlines, settings } = this.#owner
    this.#end(info)
    deadlines.clear(this)
    deadlines.wakeBy(this, deadlines.now() + settings.closeTimeout)
    this.#transport.close(info.code, info.reason)
  }

  ring(): number {
    if (this.#state === "draining") this.#handshake(this.#cause ?? { code: 1000, reason: "" })
    else this.#transport.terminate()
    return Number.POSITIVE_INFINITY
  }

  /** No more calls: ours fail, theirs are interrupted. */
  #end(cause: CloseInfo): void {
    if (this.#state === "closing" || this.#state === "closed") return
    this.#state = "closing"
    this.#cause = cause
    this.#keepAlive.stop()
    this.#owner.outbound.detach(cause)
    this.#ended = this.#inbound.stop()
  }

  onError(error: Error): void {
    const hub = this.#hub
    if (hub.active) hub.emit({ _tag: "SocketError", error })
  }

  onClose(code: number, reason: string): void {
    if (this.#state === "closed") return
    // A socket that was dropped says only 1006; we may know why.
    const info = code === 1006 && reason === "" ? { code, reason: this.#cause?.reason ?? "" } : { code, reason }
    this.#end(info)
    this.#state = "closed"
    this.#owner.deadlines.clear(this)
    this.#owner.metrics.closed(this)
    this.#owner.onGone(info)
  }
}

const errorFrame = (_tag: "CallError" | "CallResultError", messageId: string, error: RPCError): Frame.CallError => ({
  _tag: _tag as "CallError",
  messageId,
  code: error.code,
  description: error.message,
  // Whoever makes an error without the help of the types may give it anything.
  details: (Array.isArray(error.details) ? {} : error.details) as { readonly [key: string]: Schema.Json },
})

const answersNothing = (messageId: string) =>
  new RPCFrameworkError(`the message answers no call of ours (its id is "${Tracing.clip(messageId)}")`)

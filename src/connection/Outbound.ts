/**
 * Our calls: those that wait for their turn, and those that wait for their answer.
 *
 * A call is one entry that lives in exactly one place: `waiting`, then `pending` under its message id, then nowhere. It
 * leaves through {@link Outbound.settle}, whichever of answer, timeout, interruption or disconnect comes first; that
 * returns its permit and resumes its caller, once. What was never written to the wire is never written later.
 *
 * It outlives a connection: a client's calls wait here while it reconnects. That, and that a waiting call can also time
 * out, is why the permits are counted here instead of by a `Semaphore`: one queue, one exit, and no fiber to race.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Action from "../Action.ts"
import { CallQueueFullError, DisconnectedError, TimeoutError } from "../ConnectionError.ts"
import type { RPCError } from "../RPCError.ts"
import type { CloseInfo } from "./Closing.ts"
import type { Deadline, Deadlines } from "./Deadlines.ts"
import type { Metrics, Outcome } from "./Metrics.ts"
import * as messageIds from "./messageIds.ts"
import type { Configured } from "./Settings.ts"
import * as Tracing from "./Tracing.ts"

/** Everything that a call can fail with. */
export type CallFailure = RPCError | TimeoutError | DisconnectedError | CallQueueFullError

/** What is to be called. */
export interface Request {
  readonly kind: "Call" | "Send"
  readonly action: string
  /** The action as a value, when the caller has one: the subprotocol must have this very action. */
  readonly declaration: Action.Any | undefined
  readonly payload: unknown
  /** How long the call may take, in milliseconds; `undefined` for as long as the settings say when it is made. */
  readonly timeout: number | undefined
  /** Whether an answer is waited for; otherwise the call ends as soon as it is sent. */
  readonly answered: boolean
}

/** How a call ends. */
export type Resume = (exit: Exit.Exit<unknown, CallFailure>) => void

/** A call that has not ended. */
export class Pending {
  readonly messageId = messageIds.next()
  readonly request: Request
  /** How long it may take, in milliseconds. */
  readonly timeout: number
  /** On the clock of the deadlines. */
  readonly madeAt: number
  /** When it times out, on the clock of the deadlines. */
  readonly deadline: number
  readonly resume: Resume

  constructor(request: Request, timeout: number, now: number, resume: Resume) {
    this.request = request
    this.timeout = timeout
    this.madeAt = now
    this.deadline = now + timeout
    this.resume = resume
  }

  get action(): string {
    return this.request.action
  }

  get payload(): unknown {
    return this.request.payload
  }
}

/** What a connection does for the calls that it carries. */
export interface Carrier {
  /** The text of a call, or why it may not be sent. */
  readonly prepare: (call: Pending) => string | RPCError
  /** Whether what is transmitted now gets onto the wire. May end the connection, when its peer reads too slowly. */
  readonly ready: () => boolean
  /** Puts a prepared call on the wire. */
  readonly transmit: (call: Pending, message: string) => void
}

export class Outbound implements Deadline {
  entry: Deadline["entry"]
  readonly #configured: Configured
  readonly #deadlines: Deadlines
  readonly #metrics: Metrics
  /** By message id. */
  #pending: Map<string, Pending> | undefined
  /** In order of arrival, with their text once it is known. */
  #waiting: Map<Pending, string | undefined> | undefined
  #carrier: Carrier | undefined
  /** Why new calls fail, when they do. */
  #refusal: CloseInfo | undefined
  #onIdle: (() => void) | undefined

  constructor(configured: Configured, deadlines: Deadlines, metrics: Metrics) {
    this.#configured = configured
    this.#deadlines = deadlines
    this.#metrics = metrics
  }

  get #pendingCount(): number {
    return this.#pending?.size ?? 0
  }

  get #waitingCount(): number {
    return this.#waiting?.size ?? 0
  }

  /** Calls without an end: waiting and pending. */
  get size(): number {
    return this.#waitingCount + this.#pendingCount
  }

  /** Calls the peer. Interrupting the Effect takes the call back at whatever stage it is. */
  call(request: Request, subject: Tracing.Subject): Effect.Effect<unknown, CallFailure> {
    return Effect.withFiber((fiber) =>
      Tracing.isTraced(fiber.context)
        ? Tracing.calling(request.action, subject, (note) => this.#call(request, note))
        : this.#call(request),
    )
  }

  #call(request: Request, note?: (messageId: string) => void): Effect.Effect<unknown, CallFailure> {
    return Effect.callback((resume) => {
      const call = this.callUnsafe(request, resume)
      note?.(call.messageId)
      return Effect.sync(() => this.cancel(call))
    })
  }

  /** Calls the peer; `resume` learns how it ends, maybe before this returns. */
  callUnsafe(request: Request, resume: Resume): Pending {
    const timeout = request.timeout ?? this.#configured.settings.callTimeout
    const call = new Pending(request, timeout, this.#deadlines.now(), resume)
    this.#enter(call)
    return call
  }

  /** Whether a call waits for its turn or its answer. */
  has(call: Pending): boolean {
    return this.#pending?.get(call.messageId) === call || this.#waiting?.has(call) === true
  }

  /** Takes a call back; nobody learns how it ends. */
  cancel(call: Pending): void {
    if (!this.#delete(call)) return
    this.#count(call, "interrupted")
    // What takes back many at once, such as one AbortSignal, must not have each send the next.
    queueMicrotask(() => this.pump())
  }

  /** Every call ends here, or is taken back. */
  #end(call: Pending, exit: Exit.Exit<unknown, CallFailure>): void {
    this.#count(call, outcomeOf(exit))
    call.resume(exit)
  }

  #count(call: Pending, outcome: Outcome): void {
    this.#metrics.called("out", call.action, outcome, this.#deadlines.now() - call.madeAt)
  }

  #enter(call: Pending): void {
    if (this.#refusal !== undefined) return this.#end(call, disconnected(this.#refusal, false))
    const carrier = this.#carrier
    const message = carrier?.prepare(call)
    if (typeof message === "object") return this.#end(call, Exit.fail(message))
    const isReady = carrier?.ready() === true
    // That may have ended the connection.
    if (this.#refusal !== undefined) return this.#end(call, disconnected(this.#refusal, false))
    const { answered, action, kind } = call.request
    if (carrier !== undefined && isReady && message !== undefined && (kind === "Send" || this.#mayTransmit)) {
      this.#transmit(carrier, call, message)
      if (!answered) return
    } else {
      const { maxQueuedCalls } = this.#configured.settings
      if (this.#waitingCount >= maxQueuedCalls) {
        return this.#end(call, Exit.fail(CallQueueFullError.of(action, maxQueuedCalls)))
      }
      this.#waiting ??= new Map()
      this.#waiting.set(call, message)
    }
    this.#deadlines.wakeBy(this, call.deadline)
  }

  get #mayTransmit(): boolean {
    return this.#waitingCount === 0 && this.#pendingCount < this.#configured.settings.callConcurrency
  }

  #transmit(carrier: Carrier, call: Pending, message: string): void {
    if (call.request.answered) {
      this.#pending ??= new Map()
      this.#pending.set(call.messageId, call)
    }
    carrier.transmit(call, message)
    if (!call.request.answered) this.#end(call, Exit.void)
  }

  /** Sends what may be sent now, in order of arrival. */
  pump(): void {
    if (this.#waiting !== undefined) {
      for (const [call, prepared] of this.#waiting) {
        const carrier = this.#carrier
        const isFull = this.#pendingCount >= this.#configured.settings.callConcurrency
        if (carrier === undefined || isFull || !carrier.ready()) break
        this.#waiting.delete(call)
        this.#transmitWaiting(carrier, call, prepared)
      }
    }
    if (this.#onIdle !== undefined && this.size === 0) this.#onIdle()
  }

  #transmitWaiting(carrier: Carrier, call: Pending, prepared: string | undefined): void {
    this.#metrics.waited(this.#deadlines.now() - call.madeAt)
    const message = prepared ?? carrier.prepare(call)
    if (typeof message === "object") this.#end(call, Exit.fail(message))
    else this.#transmit(carrier, call, message)
  }

  /** The call that waits for an answer under this message id. */
  find(messageId: string): Pending | undefined {
    return this.#pending?.get(messageId)
  }

  /** Ends a call. The next one is on its way before the caller goes on. */
  settle(call: Pending, exit: Exit.Exit<unknown, CallFailure>): void {
    if (this.#remove(call)) this.#end(call, exit)
  }

  #remove(call: Pending): boolean {
    const existed = this.#delete(call)
    if (existed) this.pump()
    return existed
  }

  #delete(call: Pending): boolean {
    return this.#pending?.delete(call.messageId) === true || this.#waiting?.delete(call) === true
  }

  /** When the last of the calls that exist has ended; `-Infinity` when there are none. */
  get latestDeadline(): number {
    let latest = Number.NEGATIVE_INFINITY
    for (const call of this.#pending?.values() ?? []) latest = Math.max(latest, call.deadline)
    for (const call of this.#waiting?.keys() ?? []) latest = Math.max(latest, call.deadline)
    return latest
  }

  ring(now: number): number {
    this.#expire(this.#waiting?.keys(), now, false)
    this.#expire(this.#pending?.values(), now, true)
    let next = Number.POSITIVE_INFINITY
    for (const call of this.#pending?.values() ?? []) next = Math.min(next, call.deadline)
    for (const call of this.#waiting?.keys() ?? []) next = Math.min(next, call.deadline)
    return next
  }

  #expire(calls: Iterable<Pending> | undefined, now: number, sent: boolean): void {
    for (const call of calls ?? []) {
      if (call.deadline > now) continue
      this.settle(call, Exit.fail(TimeoutError.of(call.action, call.messageId, call.timeout, sent)))
    }
  }

  /** From now on calls travel by this connection; first those that wait. */
  attach(carrier: Carrier): void {
    this.#carrier = carrier
    for (const [call, prepared] of this.#waiting ?? []) {
      if (call.request.kind !== "Send" || !carrier.ready()) continue
      this.#waiting?.delete(call)
      this.#transmitWaiting(carrier, call, prepared)
    }
    this.pump()
  }

  /** The connection is lost: what was sent gets no answer, what was not waits for the next connection. */
  detach(info: CloseInfo): void {
    this.#carrier = undefined
    for (const call of [...(this.#pending?.values() ?? [])]) this.settle(call, disconnected(info, true))
  }

  /** Why new calls fail, when they do. */
  get refusal(): CloseInfo | undefined {
    return this.#refusal
  }

  /** New calls are refused; those that exist go on. */
  refuse(info: CloseInfo): void {
    this.#refusal = info
  }

  /** New calls are refused; `onIdle` is called once those that exist have ended. */
  drain(info: CloseInfo, onIdle: () => void): void {
    this.refuse(info)
    this.#onIdle = onIdle
    if (this.size === 0) onIdle()
  }

  /** New calls are accepted again, and wait for a connection. */
  reopen(): void {
    this.#refusal = undefined
    this.#onIdle = undefined
  }

  /** New calls fail, and those that exist when the result is called: their callers may connect again at once. */
  close(info: CloseInfo): () => void {
    const sent = [...(this.#pending?.values() ?? [])]
    const unsent = [...(this.#waiting?.keys() ?? [])]
    this.#refusal = info
    this.#carrier = undefined
    this.#pending?.clear()
    this.#waiting?.clear()
    this.#deadlines.clear(this)
    return () => {
      for (const call of sent) this.#end(call, disconnected(info, true))
      for (const call of unsent) this.#end(call, disconnected(info, false))
    }
  }
}

const disconnected = ({ code, reason }: CloseInfo, sent: boolean) => Exit.fail(DisconnectedError.of(code, reason, sent))

const outcomeOf = (exit: Exit.Exit<unknown, CallFailure>): Outcome => {
  if (exit._tag === "Success") return "ok"
  const failure = exit.cause.reasons.find(Cause.isFailReason)?.error
  switch (failure?._tag) {
    case "RPCError":
      return failure.code
    case "TimeoutError":
      return "timeout"
    case "CallQueueFullError":
      return "queueFull"
    default:
      return "disconnected"
  }
}

/**
 * Our calls: those that wait in line, and those that wait for their answer.
 *
 * A call is one entry that is in exactly one place: in the line, on the wire under its message id, then nowhere. It leaves
 * through {@link Outbound.settle}, whichever of answer, timeout, interruption or disconnect comes first; that returns its permit and
 * resumes its caller, once. What was never written to the wire is never written later.
 *
 * The permits are a `Semaphore` of `callConcurrency`. A call takes a free permit at once; while there is none, the line waits: one fiber of
 * the connection takes the next permit and sends the first call. A call needs the connection first, then the permit: so the line
 * outlives a connection, and a client's calls wait in it while it reconnects.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import { CallQueueFullError, DisconnectedError, TimeoutError } from "../ConnectionError.ts"
import type { RPCError } from "../RPCError.ts"
import { surface } from "../Transport.ts"
import type { CloseInfo } from "./Closing.ts"
import type { Deadline, Deadlines } from "./Deadlines.ts"
import type { Lifecycle } from "./Lifecycle.ts"
import { MessageIds } from "./MessageIds.ts"
import type { Metrics, Outcome } from "./Metrics.ts"
import { type CallFailure, OutboundCall, type Request, type Resume } from "./OutboundCall.ts"
import type { Configured } from "./Settings.ts"
import * as Tracing from "./Tracing.ts"

/** The open connection, as our calls see it. */
export interface Carrier {
  /** The message of a call, or why it may not be sent. */
  readonly prepare: (call: OutboundCall) => string | Uint8Array | RPCError
  /** Puts a prepared call on the wire. Returns whether it could: a connection that is ending takes none. */
  readonly transmit: (call: OutboundCall) => boolean
  /** Starts a fiber that ends with the connection. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** Whose calls they are. */
export interface Caller extends Configured {
  readonly lifecycle: Lifecycle
  readonly deadlines: Deadlines
  readonly metrics: Metrics
}

export class Outbound implements Deadline {
  entry: Deadline["entry"]
  readonly #caller: Caller
  /** Made with the first call, as the permits are. */
  #ids: MessageIds | undefined
  #permits: Semaphore.Semaphore | undefined
  /** Permits that have been taken and are not in use. While a call is in line there are none. */
  #atHand = 0
  /** By message id. */
  #onWire: Map<string, OutboundCall> | undefined
  /** In order of arrival. */
  #line: Set<OutboundCall> | undefined
  /** Waits for the next permit while calls are in line and a connection is open. */
  #usher: Fiber.Fiber<void> | undefined
  #carrier: Carrier | undefined
  #onIdle: (() => void) | undefined

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Calls without an end. */
  get size(): number {
    return (this.#line?.size ?? 0) + (this.#onWire?.size ?? 0)
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
  callUnsafe(request: Request, resume: Resume): OutboundCall {
    const { deadlines, settings } = this.#caller
    const timeout = request.timeout ?? settings.callTimeout
    this.#ids ??= new MessageIds()
    const call = new OutboundCall(this.#ids.next(), request, timeout, deadlines.now(), resume)
    this.#enter(call)
    return call
  }

  #enter(call: OutboundCall): void {
    const { deadlines, lifecycle, settings } = this.#caller
    const carrier = this.#carrier
    // While it drains, what is no call of ours can still be sent.
    const isRefused = lifecycle.calls === "fail" && (carrier === undefined || call.request.kind !== "Raw")
    if (isRefused) return this.#end(call, disconnected(lifecycle.cause, false))
    if (carrier !== undefined) {
      if (!this.#prepare(carrier, call)) return
      if (this.#mayLeave(call) && this.#transmit(carrier, call)) return
      // What has hindered it may have ended the connection.
      if (this.#caller.lifecycle.calls === "fail") return this.#end(call, disconnected(lifecycle.cause, false))
    }
    if ((this.#line?.size ?? 0) >= settings.maxQueuedCalls) {
      return this.#end(call, Exit.fail(new CallQueueFullError({ action: call.action, limit: settings.maxQueuedCalls })))
    }
    this.#line ??= new Set()
    this.#line.add(call)
    call.place = "line"
    this.#lead()
    deadlines.wakeBy(this, call.deadline)
  }

  /** Whether a new call need not wait: only CALLs need a permit. One that may leave has it. */
  #mayLeave({ request }: OutboundCall): boolean {
    return request.kind !== "Call" || ((this.#line?.size ?? 0) === 0 && this.#takePermit())
  }

  /** Finds the message of a call. Returns whether it may be sent; otherwise the call has ended. */
  #prepare(carrier: Carrier, call: OutboundCall): boolean {
    call.message ??= carrier.prepare(call)
    if (typeof call.message === "string" || call.message instanceof Uint8Array) return true
    this.#end(call, Exit.fail(call.message))
    return false
  }

  /** Sends a call that has its permit. Returns whether it is done with: sent, or taken back by whoever was told that it leaves. */
  #transmit(carrier: Carrier, call: OutboundCall): boolean {
    const { answered, kind } = call.request
    call.place = "leaving"
    const isSent = carrier.transmit(call)
    if (call.place !== "leaving") {
      if (kind === "Call") this.#release()
      return true
    }
    if (isSent && answered) {
      call.place = "wire"
      this.#onWire ??= new Map()
      this.#onWire.set(call.messageId, call)
      this.#caller.deadlines.wakeBy(this, call.deadline)
      return true
    }
    // A connection that does not take one message takes none any more; the next one moves the line.
    if (!isSent && this.#carrier === carrier) this.#carrier = undefined
    if (kind === "Call") this.#release()
    if (isSent) this.#end(call, Exit.void)
    return isSent
  }

  #takePermit(): boolean {
    if (this.#atHand === 0) return Effect.runSync(this.#semaphore.takeIfAvailable(1))
    this.#atHand--
    return true
  }

  get #semaphore(): Semaphore.Semaphore {
    this.#permits ??= Semaphore.makeUnsafe(this.#caller.settings.callConcurrency)
    return this.#permits
  }

  /** Returns a permit. The first call in line leaves in this tick; where there is none, the next call will need the permit. */
  #release(): void {
    const inUse = (this.#onWire?.size ?? 0) + this.#atHand
    if ((this.#line?.size ?? 0) === 0 && inUse < this.#caller.settings.callConcurrency) this.#atHand++
    else Effect.runSync(this.#semaphore.release(1))
  }

  /** Makes sure that the line moves when a permit is returned. */
  #lead(): void {
    const carrier = this.#carrier
    if (carrier === undefined || this.#usher !== undefined || (this.#line?.size ?? 0) === 0) return
    const usher = carrier.fork(
      Effect.whileLoop({
        while: () => this.#carrier === carrier && (this.#line?.size ?? 0) > 0,
        body: () => this.#semaphore.take(1),
        step: () => this.#admit(carrier),
      }),
    )
    this.#usher = usher
    usher.addObserver(() => {
      if (this.#usher === usher) this.#usher = undefined
    })
  }

  /** Lets the first call in line leave with the permit that has been taken for it. */
  #admit(carrier: Carrier): void {
    const [call] = this.#line ?? []
    if (call === undefined || this.#carrier !== carrier) this.#release()
    else this.#depart(carrier, call)
  }

  /** Sends a call that is in line and has its permit. */
  #depart(carrier: Carrier, call: OutboundCall): void {
    this.#line?.delete(call)
    if (!this.#prepare(carrier, call)) {
      if (call.request.kind === "Call") this.#release()
      return
    }
    const waited = this.#caller.deadlines.now() - call.madeAt
    if (this.#transmit(carrier, call)) return this.#caller.metrics.waited(waited)
    const { lifecycle } = this.#caller
    if (lifecycle.calls === "fail") return this.#end(call, disconnected(lifecycle.cause, false))
    call.place = "line"
    this.#line = new Set([call, ...(this.#line ?? [])])
  }

  /** Takes a call back; nobody learns how it ends. */
  cancel(call: OutboundCall): void {
    const { place } = call
    if (place === "nowhere") return
    this.#remove(call)
    this.#count(call, "interrupted")
    // Whatever takes back many at once, such as one AbortSignal, must not have each send the next.
    if (place === "wire") queueMicrotask(() => this.#release())
    this.#checkIdle()
  }

  /** The call that waits for an answer under this message id. */
  find(messageId: string): OutboundCall | undefined {
    return this.#onWire?.get(messageId)
  }

  /** Whether a call of ours has, or had, this message id. */
  hasMade(messageId: string): boolean {
    return this.#ids?.has(messageId) === true
  }

  /** Ends a call. The next one is on its way before the caller goes on. */
  settle(call: OutboundCall, exit: Exit.Exit<unknown, CallFailure>): void {
    const { place } = call
    if (place === "nowhere") return
    this.#remove(call)
    if (place === "wire") this.#release()
    this.#end(call, exit)
    this.#checkIdle()
  }

  #remove(call: OutboundCall): void {
    if (call.place === "wire") this.#onWire?.delete(call.messageId)
    else if (call.place === "line") this.#line?.delete(call)
    call.place = "nowhere"
  }

  /** Every call ends here, or is taken back. */
  #end(call: OutboundCall, exit: Exit.Exit<unknown, CallFailure>): void {
    call.place = "nowhere"
    this.#count(call, outcomeOf(exit))
    try {
      call.resume(exit)
    } catch (error) {
      surface(error)
    }
  }

  #count(call: OutboundCall, outcome: Outcome): void {
    if (call.request.kind === "Raw") return
    const { deadlines, metrics } = this.#caller
    metrics.called("out", call.action, outcome, deadlines.now() - call.madeAt)
  }

  #checkIdle(): void {
    if (this.#onIdle !== undefined && this.size === 0) this.#onIdle()
  }

  /** When the last of the calls that exist has ended; `-Infinity` when there are none. */
  get latestDeadline(): number {
    let latest = Number.NEGATIVE_INFINITY
    for (const call of this.#all) latest = Math.max(latest, call.deadline)
    return latest
  }

  get #all(): ReadonlyArray<OutboundCall> {
    return [...(this.#line ?? []), ...(this.#onWire?.values() ?? [])]
  }

  expire(now: number): number {
    // Those in line first: none of them leaves because another has timed out.
    for (const call of this.#all) {
      if (call.deadline > now || call.place === "nowhere") continue
      const { action, messageId, place, timeout } = call
      this.settle(call, Exit.fail(new TimeoutError({ action, messageId, timeout, sent: place === "wire" })))
    }
    let next = Number.POSITIVE_INFINITY
    for (const call of this.#onWire?.values() ?? []) next = Math.min(next, call.deadline)
    for (const call of this.#line ?? []) next = Math.min(next, call.deadline)
    return next
  }

  /** From now on calls travel by this connection; first those in line, in their order, as far as their turn has come. */
  attach(carrier: Carrier): void {
    this.#carrier = carrier
    this.#usher = undefined
    let isFull = false
    for (const call of [...(this.#line ?? [])]) {
      if (call.place !== "line") continue
      if (call.request.kind === "Call") isFull ||= !this.#takePermit()
      if (call.request.kind === "Call" && isFull) continue
      this.#depart(carrier, call)
      if (this.#carrier !== carrier) return
    }
    this.#lead()
    this.#checkIdle()
  }

  /** The connection is lost: calls on the wire get no answer; those in line wait for the next connection. */
  detach(info: CloseInfo): void {
    this.#carrier = undefined
    this.#usher = undefined
    for (const call of [...(this.#onWire?.values() ?? [])]) this.settle(call, disconnected(info, true))
  }

  /** `callConcurrency` has changed. */
  reconfigured(): void {
    if (this.#permits === undefined) return
    const { callConcurrency } = this.#caller.settings
    const atHand = this.#atHand
    this.#atHand = 0
    Effect.runSync(Effect.andThen(this.#permits.resize(callConcurrency), this.#permits.release(atHand)))
  }

  /** Calls `onIdle` once the calls that exist have ended. */
  drain(onIdle: () => void): void {
    this.#onIdle = onIdle
    this.#checkIdle()
  }

  /** Forgets a drain: calls wait for a connection again. */
  reopen(): void {
    this.#onIdle = undefined
  }

  /** Takes all calls off. They fail when the result is called: their callers may connect again at once. */
  close(info: CloseInfo): () => void {
    const sent = [...(this.#onWire?.values() ?? [])]
    const unsent = [...(this.#line ?? [])]
    this.#carrier = undefined
    this.#usher = undefined
    for (const call of [...sent, ...unsent]) this.#remove(call)
    for (const _ of sent) this.#release()
    this.#caller.deadlines.clear(this)
    return () => {
      for (const call of sent) this.#end(call, disconnected(info, true))
      for (const call of unsent) this.#end(call, disconnected(info, false))
    }
  }
}

const disconnected = ({ code, reason }: CloseInfo, sent: boolean) =>
  Exit.fail(new DisconnectedError({ code, reason, sent }))

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

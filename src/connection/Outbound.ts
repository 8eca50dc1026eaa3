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
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Action from "../Action.ts"
import { CallQueueFullError, DisconnectedError, TimeoutError } from "../ConnectionError.ts"
import type { RPCError } from "../RPCError.ts"
import type { Alarm, Alarms } from "./Alarms.ts"
import type { Settings } from "./Settings.ts"

/** Everything that a call can fail with. */
export type CallFailure = RPCError | TimeoutError | DisconnectedError | CallQueueFullError

/** What is to be called. */
export interface Request {
  readonly kind: "Call" | "Send"
  readonly action: string
  /** The action as a value, when the caller has one: the subprotocol must have this very action. */
  readonly declaration: Action.Any | undefined
  readonly payload: unknown
  /** How long the call may take, in milliseconds. */
  readonly timeout: number
  /** Whether an answer is waited for; otherwise the call ends as soon as it is sent. */
  readonly answered: boolean
}

/** A call that has not ended. */
export interface Pending extends Request {
  readonly messageId: string
  /** When it times out, on the clock of the alarms. */
  readonly deadline: number
  readonly resume: (exit: Effect.Effect<unknown, CallFailure>) => void
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

export class Outbound {
  readonly #settings: Settings
  readonly #alarms: Alarms
  readonly #alarm: Alarm = { at: Number.POSITIVE_INFINITY, ring: (now) => this.#expire(now) }
  readonly #pending = new Map<string, Pending>()
  /** Calls in order of arrival, with their text once it is known. */
  readonly #waiting = new Map<Pending, string | undefined>()
  #carrier: Carrier | undefined
  #refusal: DisconnectedError | undefined
  #onIdle: (() => void) | undefined

  constructor(settings: Settings, alarms: Alarms) {
    this.#settings = settings
    this.#alarms = alarms
  }

  /** Calls without an end: waiting and pending. */
  get size(): number {
    return this.#waiting.size + this.#pending.size
  }

  /** Calls the peer. Interrupting the Effect takes the call back at whatever stage it is. */
  call(request: Request): Effect.Effect<unknown, CallFailure> {
    return Effect.callback((resume) => {
      const deadline = this.#alarms.now() + request.timeout
      const call: Pending = { ...request, messageId: crypto.randomUUID(), deadline, resume }
      this.#enter(call)
      return Effect.sync(() => {
        this.#remove(call)
      })
    })
  }

  #enter(call: Pending): void {
    if (this.#refusal !== undefined) return call.resume(Effect.fail(this.#refusal))
    const carrier = this.#carrier
    const message = carrier?.prepare(call)
    if (typeof message === "object") return call.resume(Effect.fail(message))
    const isReady = carrier?.ready() === true
    // That may have ended the connection.
    if (this.#refusal !== undefined) return call.resume(Effect.fail(this.#refusal))
    if (carrier !== undefined && isReady && message !== undefined && (call.kind === "Send" || this.#mayTransmit)) {
      this.#transmit(carrier, call, message)
      if (!call.answered) return
    } else if (this.#waiting.size >= this.#settings.maxQueuedCalls) {
      return call.resume(Effect.fail(CallQueueFullError.of(call.action, this.#settings.maxQueuedCalls)))
    } else {
      this.#waiting.set(call, message)
    }
    this.#alarms.wakeBy(this.#alarm, call.deadline)
  }

  get #mayTransmit(): boolean {
    return this.#waiting.size === 0 && this.#pending.size < this.#settings.callConcurrency
  }

  #transmit(carrier: Carrier, call: Pending, message: string): void {
    if (call.answered) this.#pending.set(call.messageId, call)
    carrier.transmit(call, message)
    if (!call.answered) call.resume(Exit.void)
  }

  /** Sends what may be sent now, in order of arrival. */
  pump(): void {
    for (const [call, prepared] of this.#waiting) {
      const carrier = this.#carrier
      if (carrier === undefined || this.#pending.size >= this.#settings.callConcurrency || !carrier.ready()) break
      this.#waiting.delete(call)
      this.#transmitWaiting(carrier, call, prepared)
    }
    if (this.size === 0) this.#onIdle?.()
  }

  #transmitWaiting(carrier: Carrier, call: Pending, prepared: string | undefined): void {
    const message = prepared ?? carrier.prepare(call)
    if (typeof message === "object") call.resume(Effect.fail(message))
    else this.#transmit(carrier, call, message)
  }

  /** The call that waits for an answer under this message id. */
  find(messageId: string): Pending | undefined {
    return this.#pending.get(messageId)
  }

  /** Ends a call. The next one is on its way before the caller goes on. */
  settle(call: Pending, exit: Effect.Effect<unknown, CallFailure>): void {
    if (this.#remove(call)) call.resume(exit)
  }

  #remove(call: Pending): boolean {
    const existed = this.#pending.delete(call.messageId) || this.#waiting.delete(call)
    if (existed) this.pump()
    return existed
  }

  #expire(now: number): number {
    for (const [calls, sent] of [
      [this.#waiting.keys(), false],
      [this.#pending.values(), true],
    ] as const) {
      for (const call of calls) {
        if (call.deadline > now) continue
        this.settle(call, Effect.fail(TimeoutError.of(call.action, call.messageId, call.timeout, sent)))
      }
    }
    let next = Number.POSITIVE_INFINITY
    for (const call of this.#pending.values()) next = Math.min(next, call.deadline)
    for (const call of this.#waiting.keys()) next = Math.min(next, call.deadline)
    return next
  }

  /** From now on calls travel by this connection; first those that wait. */
  attach(carrier: Carrier): void {
    this.#carrier = carrier
    for (const [call, prepared] of this.#waiting) {
      if (call.kind !== "Send" || !carrier.ready()) continue
      this.#waiting.delete(call)
      this.#transmitWaiting(carrier, call, prepared)
    }
    this.pump()
  }

  /** The connection is lost: what was sent gets no answer, what was not waits for the next connection. */
  detach(code: number, reason: string): void {
    this.#carrier = undefined
    this.#failAll([...this.#pending.values()], DisconnectedError.of(code, reason, true))
  }

  /** New calls are refused; `onIdle` is called once those that exist have ended. */
  drain(code: number, reason: string, onIdle: () => void): void {
    this.#refusal = DisconnectedError.of(code, reason, false)
    this.#onIdle = onIdle
    if (this.size === 0) onIdle()
  }

  /** New calls are accepted again, and wait for a connection. */
  reopen(): void {
    this.#refusal = undefined
    this.#onIdle = undefined
  }

  /** New calls fail, and those that exist when the result is called: their callers may connect again at once. */
  close(code: number, reason: string): () => void {
    const refusal = DisconnectedError.of(code, reason, false)
    const sent = [...this.#pending.values()]
    const unsent = [...this.#waiting.keys()]
    this.#refusal = refusal
    this.#carrier = undefined
    this.#pending.clear()
    this.#waiting.clear()
    this.#alarms.clear(this.#alarm)
    return () => {
      for (const call of sent) call.resume(Effect.fail(DisconnectedError.of(code, reason, true)))
      for (const call of unsent) call.resume(Effect.fail(refusal))
    }
  }

  #failAll(calls: ReadonlyArray<Pending>, error: DisconnectedError): void {
    for (const call of calls) this.settle(call, Effect.fail(error))
  }
}

/**
 * The peer's calls: a handler each, so many at a time, and a bounded number that wait for one.
 *
 * The permits are a `Semaphore` of `handlerConcurrency`. Each handler runs in a fiber of the connection's Scope, with a Scope of its own, and takes
 * its permit there. A handler that has its answer at once, while no other runs, costs none of these: its Effect is an Exit already.
 *
 * A call is answered in time whatever its handler does: when `handlerTimeout` has passed since it came, it is answered for, and its
 * fiber is interrupted. When the connection is lost all of them are, and nothing is answered.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Call, Send } from "../Frame.ts"
import { type AnyHandler, type Follower, Followers } from "../Handlers.ts"
import { type RPCError, RPCFrameworkError, RPCGenericError } from "../RPCError.ts"
import type { Deadline, Deadlines } from "./Deadlines.ts"
import type { Metrics, Outcome } from "./Metrics.ts"
import { shown } from "./OptionChecks.ts"
import type { Configured } from "./Settings.ts"
import * as supervised from "./supervised.ts"
import * as Tracing from "./Tracing.ts"

/** Whatever answers the calls that have been handled. */
export interface Answerer extends Configured {
  readonly deadlines: Deadlines
  readonly metrics: Metrics
  readonly subject: Tracing.Subject
  readonly isTraced: boolean
  /** The connection's Scope; made when it is first asked for. */
  readonly scope: Scope.Scope
  /** The services of handlers; made when they are first asked for. */
  readonly handlerContext: Context.Context<never>
  /** The name under which an action is counted. */
  readonly metricName: (action: string) => string
  /** Answers a call whose handler has ended. Returns what came of it. */
  readonly conclude: (call: Call | Send, exit: Exit.Exit<unknown, unknown>) => Outcome
  /** Runs a program that has waited for an answer to leave. */
  readonly follow: (call: Call | Send, follower: Follower) => void
  /** Answers a call whose handler takes too long. */
  readonly timedOut: (call: Call | Send) => void
}

/** A call whose handler has suspended, or waits for a permit. */
interface Pending {
  readonly call: Call | Send
  readonly deadline: number
  readonly fiber: Fiber.Fiber<unknown, unknown>
  timedOut: boolean
}

/** How many characters the calls of a peer may have that have not been answered; one call may have more. */
const maxHeldLength = 64 * 1024 * 1024

const none: ReadonlyArray<Follower> = []

/** Lets a handler begin. */
const begin = (handler: AnyHandler<never>, call: Call | Send): Effect.Effect<unknown, unknown> => {
  try {
    const effect = handler(call.payload, call)
    if (Effect.isEffect(effect)) return effect
    return Exit.die(
      new TypeError(`the handler of ${Tracing.clip(call.action)} must return an Effect; got ${shown(effect)}`),
    )
  } catch (defect) {
    return Exit.die(defect)
  }
}

export class Inbound implements Deadline {
  entry: Deadline["entry"]
  readonly #answerer: Answerer
  /** By message id. */
  #pending: Map<string, Pending> | undefined
  #permits: Semaphore.Semaphore | undefined
  /** Handlers that have begun and not suspended yet: one, or more when a handler's own doing starts others. */
  #starting = 0
  /** The characters of the calls that are pending. */
  #heldLength = 0
  #isStopped = false
  #onIdle: (() => void) | undefined

  constructor(answerer: Answerer) {
    this.#answerer = answerer
  }

  /** Calls that have not been answered. */
  get size(): number {
    return this.#starting + (this.#pending?.size ?? 0)
  }

  /** Why a call cannot be taken now, if so. */
  refusal(call: Call | Send, length: number): RPCError | undefined {
    if (this.#pending === undefined) return undefined
    if (this.#pending.has(call.messageId)) return new RPCFrameworkError("a call with this message id is being handled")
    const { handlerConcurrency, maxQueuedHandlers } = this.#answerer.settings
    if (this.size >= handlerConcurrency + maxQueuedHandlers) {
      return new RPCGenericError(`${this.size} calls are being handled`)
    }
    if (this.#heldLength > 0 && this.#heldLength + length > maxHeldLength) {
      return new RPCGenericError(`calls of ${this.#heldLength} characters are being handled`)
    }
    return undefined
  }

  /** Handles a call, now or when its turn comes. */
  handle(call: Call | Send, handler: AnyHandler<never>, length: number): void {
    if (this.#isStopped) return
    const answerer = this.#answerer
    const startedAt = answerer.deadlines.now()
    const isAlone = this.size === 0 && !answerer.isTraced
    this.#starting++
    const effect = isAlone ? begin(handler, call) : Effect.suspend(() => begin(handler, call))
    if (Exit.isExit(effect)) {
      this.#starting--
      return this.#finish(call, startedAt, effect)
    }
    const followers: Array<Follower> = []
    const fiber = supervised.fork(answerer.scope, answerer.handlerContext, this.#run(call, effect, followers))
    this.#starting--
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#finish(call, startedAt, exit, followers)
    this.#wait(call, startedAt, fiber, length, followers)
  }

  /** A handler with its permit, its Scope and its span. */
  #run(
    call: Call | Send,
    effect: Effect.Effect<unknown, unknown>,
    followers: Array<Follower>,
  ): Effect.Effect<unknown, unknown> {
    const { isTraced, settings, subject } = this.#answerer
    this.#permits ??= Semaphore.makeUnsafe(settings.handlerConcurrency)
    const followed = Effect.provideService(effect, Followers, followers)
    const handling = Effect.scoped(Effect.annotateLogs(followed, Tracing.annotationsOf(call)))
    return this.#permits.withPermit(isTraced ? Tracing.handling(call, subject, handling) : handling)
  }

  /** Waits for the end of a handler that has suspended. */
  #wait(
    call: Call | Send,
    startedAt: number,
    fiber: Fiber.Fiber<unknown, unknown>,
    length: number,
    followers: ReadonlyArray<Follower>,
  ): void {
    const deadline = startedAt + this.#answerer.settings.handlerTimeout
    const pending: Pending = { call, deadline, fiber, timedOut: false }
    this.#pending ??= new Map()
    this.#pending.set(call.messageId, pending)
    this.#heldLength += length
    fiber.addObserver((exit) => {
      this.#pending?.delete(call.messageId)
      this.#heldLength -= length
      this.#finish(call, startedAt, pending.timedOut ? undefined : exit, followers)
    })
    // It may have closed its own connection before it suspended.
    if (this.#isStopped) fiber.interruptUnsafe()
    else this.#answerer.deadlines.wakeBy(this, deadline)
  }

  /** Answers for a handler that has ended; without `exit` it was answered for before. */
  #finish(
    call: Call | Send,
    startedAt: number,
    exit: Exit.Exit<unknown, unknown> | undefined,
    followers: ReadonlyArray<Follower> = none,
  ): void {
    const { deadlines, metrics } = this.#answerer
    const outcome = this.#outcomeOf(call, exit)
    if (outcome === "ok") for (const follower of followers) this.#answerer.follow(call, follower)
    metrics.called("in", this.#answerer.metricName(call.action), outcome, deadlines.now() - startedAt)
    if (this.#onIdle !== undefined && this.size === 0) this.#onIdle()
  }

  #outcomeOf(call: Call | Send, exit: Exit.Exit<unknown, unknown> | undefined): Outcome {
    if (exit === undefined) return "timeout"
    return this.#isStopped ? "disconnected" : this.#answerer.conclude(call, exit)
  }

  expire(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const pending of [...(this.#pending?.values() ?? [])]) {
      if (pending.timedOut) continue
      if (pending.deadline > now) {
        next = Math.min(next, pending.deadline)
        continue
      }
      pending.timedOut = true
      this.#answerer.timedOut(pending.call)
      pending.fiber.interruptUnsafe()
    }
    return next
  }

  /** `handlerConcurrency` has changed. */
  reconfigured(): void {
    if (this.#permits !== undefined) Effect.runSync(this.#permits.resize(this.#answerer.settings.handlerConcurrency))
  }

  /** Calls `onIdle` once every call has been handled. */
  drain(onIdle: () => void): void {
    this.#onIdle = onIdle
    if (this.size === 0) onIdle()
  }

  /** Interrupts every handler; none of them is answered. */
  stop(): void {
    this.#isStopped = true
    this.#answerer.deadlines.clear(this)
    for (const { fiber } of [...(this.#pending?.values() ?? [])]) fiber.interruptUnsafe()
  }
}

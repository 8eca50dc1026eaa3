/**
 * The peer's calls: a handler each, so many at a time, and a bounded queue behind them.
 *
 * A call that arrives while its id is being handled is refused and leaves the first one alone. A handler that takes
 * too long is interrupted. When the connection is lost all of them are, and nothing is answered.
 *
 * A handler that has its answer at once costs no fiber and no entry: its Effect is an Exit already. What is kept of the others is
 * made when the first of them suspends.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Call, Send } from "../Frame.ts"
import type { AnyHandler } from "../Handlers.ts"
import { type RPCError, RPCFrameworkError, RPCGenericError } from "../RPCError.ts"
import type { Deadline, Deadlines } from "./Deadlines.ts"
import type { Metrics, Outcome } from "./Metrics.ts"
import { shown } from "./OptionChecks.ts"
import type { Configured } from "./Settings.ts"
import * as Tracing from "./Tracing.ts"

/** What the connection does for its inbound calls. */
export interface Owner {
  /** The handler of a call has ended, and the connection is still there. Returns what came of the call. */
  readonly conclude: (call: Call | Send, exit: Exit.Exit<unknown, unknown>) => Outcome
  /** The handler of a call takes too long; it is being interrupted. */
  readonly timedOut: (call: Call | Send) => void
  /** What handlers are given. */
  readonly handlerContext: () => Context.Context<never>
  readonly subject: Tracing.Subject
  /** As what a call is counted. */
  readonly metricName: (action: string) => string
}

interface Running {
  readonly call: Call | Send
  readonly deadline: number
  readonly fiber: Fiber.Fiber<unknown, unknown>
  timedOut: boolean
}

/** How handlers are run. */
interface Handlers {
  readonly start: (handler: AnyHandler<never>, call: Call | Send) => Effect.Effect<unknown, unknown>
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}

/** What a handler makes of a call. */
const startOf = (handler: AnyHandler<never>, call: Call | Send): Effect.Effect<unknown, unknown> => {
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

interface Waiting {
  readonly call: Call | Send
  readonly handler: AnyHandler<never>
  readonly length: number
}

/** How many characters the calls of a peer may have that have not been answered; one call may have more. */
const maxHeldLength = 64 * 1024 * 1024

export class Inbound implements Deadline {
  entry: Deadline["entry"]
  readonly #configured: Configured
  readonly #deadlines: Deadlines
  readonly #metrics: Metrics
  readonly #owner: Owner
  /** Handlers that have suspended, by message id. */
  #running: Map<string, Running> | undefined
  #waiting: Map<string, Waiting> | undefined
  /** Made when the first call arrives. */
  #handlers: Handlers | undefined
  /** Handlers that have not suspended yet: one, or more when a handler's own doing starts others. */
  #starting = 0
  /** The characters of the calls that wait, or whose handlers have suspended. */
  #heldLength = 0
  #pumping = false
  #stopped = false
  #onIdle: (() => void) | undefined

  constructor(configured: Configured, deadlines: Deadlines, metrics: Metrics, owner: Owner) {
    this.#configured = configured
    this.#deadlines = deadlines
    this.#metrics = metrics
    this.#owner = owner
  }

  get #occupied(): number {
    return this.#starting + (this.#running?.size ?? 0)
  }

  /** Calls that are being handled or wait for it. */
  get size(): number {
    return this.#occupied + (this.#waiting?.size ?? 0)
  }

  /** Why a call cannot be taken now, if so. */
  refusal(call: Call | Send, length: number): RPCError | undefined {
    if (this.#running === undefined) return undefined
    if (this.#running.has(call.messageId) || this.#waiting?.has(call.messageId)) {
      return new RPCFrameworkError("a call with this message id is being handled")
    }
    const { handlerConcurrency, maxQueuedHandlers } = this.#configured.settings
    if (this.#occupied >= handlerConcurrency && (this.#waiting?.size ?? 0) >= maxQueuedHandlers) {
      return new RPCGenericError(`${this.size} calls are being handled`)
    }
    if (this.#heldLength > 0 && this.#heldLength + length > maxHeldLength) {
      return new RPCGenericError(`calls of ${this.#heldLength} characters are being handled`)
    }
    return undefined
  }

  /** Handles a call, now or when its turn comes. */
  handle(call: Call | Send, handler: AnyHandler<never>, length: number): void {
    if (this.#occupied < this.#configured.settings.handlerConcurrency) return this.#run(call, handler, length)
    this.#waiting ??= new Map()
    this.#waiting.set(call.messageId, { call, handler, length })
    this.#heldLength += length
  }

  #run(call: Call | Send, handler: AnyHandler<never>, length: number): void {
    if (this.#stopped) return
    this.#starting++
    const startedAt = this.#deadlines.now()
    this.#handlers ??= this.#makeHandlers()
    const effect = this.#handlers.start(handler, call)
    if (Exit.isExit(effect)) {
      this.#starting--
      return this.#finish(call, startedAt, effect)
    }
    const fiber = this.#handlers.fork(Effect.annotateLogs(effect, Tracing.annotationsOf(call)))
    this.#starting--
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#finish(call, startedAt, exit)
    this.#follow(call, startedAt, fiber, length)
  }

  #makeHandlers(): Handlers {
    const context = this.#owner.handlerContext()
    const { subject } = this.#owner
    const start = Tracing.isTraced(context)
      ? (handler: AnyHandler<never>, call: Call | Send) =>
          Tracing.handling(
            call,
            subject,
            Effect.suspend(() => startOf(handler, call)),
          )
      : startOf
    return { fork: Effect.runForkWith(context), start }
  }

  /** A handler has suspended. */
  #follow(call: Call | Send, startedAt: number, fiber: Fiber.Fiber<unknown, unknown>, length: number): void {
    const deadline = startedAt + this.#configured.settings.handlerTimeout
    const running: Running = { call, deadline, fiber, timedOut: false }
    this.#running ??= new Map()
    this.#running.set(call.messageId, running)
    this.#heldLength += length
    fiber.addObserver((exit) => {
      this.#running?.delete(call.messageId)
      this.#heldLength -= length
      this.#finish(call, startedAt, running.timedOut ? undefined : exit)
    })
    // It may have closed its own connection before it suspended.
    if (this.#stopped) fiber.interruptUnsafe()
    else this.#deadlines.wakeBy(this, deadline)
  }

  /** A handler has ended; without `exit` it was answered for before. */
  #finish(call: Call | Send, startedAt: number, exit: Exit.Exit<unknown, unknown> | undefined): void {
    const outcome = this.#outcomeOf(call, exit)
    this.#metrics.called("in", this.#owner.metricName(call.action), outcome, this.#deadlines.now() - startedAt)
    if (this.#waiting !== undefined && !this.#pumping) this.pump()
    if (this.#onIdle !== undefined && this.size === 0) this.#onIdle()
  }

  #outcomeOf(call: Call | Send, exit: Exit.Exit<unknown, unknown> | undefined): Outcome {
    if (exit === undefined) return "timeout"
    return this.#stopped ? "disconnected" : this.#owner.conclude(call, exit)
  }

  /** Starts the handlers whose turn has come. Those that end at once come back here through `#finish`. */
  pump(): void {
    if (this.#waiting === undefined) return
    this.#pumping = true
    for (const [id, next] of this.#waiting) {
      if (this.#occupied >= this.#configured.settings.handlerConcurrency) break
      this.#waiting.delete(id)
      this.#heldLength -= next.length
      this.#run(next.call, next.handler, next.length)
    }
    this.#pumping = false
  }

  ring(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const running of this.#running?.values() ?? []) {
      if (running.deadline > now) {
        next = Math.min(next, running.deadline)
        continue
      }
      if (running.timedOut) continue
      running.timedOut = true
      this.#owner.timedOut(running.call)
      running.fiber.interruptUnsafe()
    }
    return next
  }

  /** `onIdle` is called once every call has been handled. */
  drain(onIdle: () => void): void {
    this.#onIdle = onIdle
    if (this.size === 0) onIdle()
  }

  /** Interrupts every handler; none of them is answered. Succeeds when all have ended. */
  stop(): Effect.Effect<void> {
    this.#stopped = true
    this.#waiting?.clear()
    this.#deadlines.clear(this)
    if (this.#running === undefined) return Effect.void
    const fibers = Array.from(this.#running.values(), ({ fiber }) => fiber)
    for (const fiber of fibers) fiber.interruptUnsafe()
    return Effect.asVoid(Fiber.awaitAll(fibers))
  }
}

/**
 * The peer's calls: one fiber each, so many at a time, and a bounded queue behind them.
 *
 * A call that arrives while its id is being handled is refused and leaves the first one alone. A handler that takes
 * too long is interrupted. When the connection is lost all of them are, and nothing is answered.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Call, Send } from "../Codec.ts"
import type { AnyHandler } from "../Handlers.ts"
import { type RPCError, RPCFrameworkError, RPCGenericError } from "../RPCError.ts"
import type { Alarm, Alarms } from "./Alarms.ts"
import type { Settings } from "./Settings.ts"

/** What the connection does for its inbound calls. */
export interface Owner {
  /** The handler of a call has ended, and the connection is still there. */
  readonly conclude: (call: Call | Send, exit: Exit.Exit<unknown, unknown>) => void
  /** The handler of a call takes too long; it is being interrupted. */
  readonly timedOut: (call: Call | Send) => void
}

interface Running {
  readonly call: Call | Send
  readonly deadline: number
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  timedOut: boolean
}

interface Waiting {
  readonly call: Call | Send
  readonly handler: AnyHandler<never>
}

export class Inbound {
  readonly #settings: Settings
  readonly #alarms: Alarms
  readonly #owner: Owner
  readonly #context: () => Context.Context<never>
  readonly #alarm: Alarm = { at: Number.POSITIVE_INFINITY, ring: (now) => this.#expire(now) }
  readonly #running = new Map<string, Running>()
  readonly #waiting = new Map<string, Waiting>()
  #runFork: (<A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>) | undefined
  #pumping = false
  #stopped = false
  #onIdle: (() => void) | undefined

  constructor(settings: Settings, alarms: Alarms, context: () => Context.Context<never>, owner: Owner) {
    this.#settings = settings
    this.#alarms = alarms
    this.#context = context
    this.#owner = owner
  }

  #fork(effect: Effect.Effect<unknown, unknown>): Fiber.Fiber<unknown, unknown> {
    this.#runFork ??= Effect.runForkWith(this.#context())
    return this.#runFork(effect)
  }

  /** Calls that are being handled or wait for it. */
  get size(): number {
    return this.#running.size + this.#waiting.size
  }

  /** Why a call cannot be taken now, if so. */
  refusal(call: Call | Send): RPCError | undefined {
    if (this.#running.has(call.messageId) || this.#waiting.has(call.messageId)) {
      return new RPCFrameworkError("a call with this message id is being handled")
    }
    if (
      this.#running.size >= this.#settings.handlerConcurrency &&
      this.#waiting.size >= this.#settings.maxQueuedHandlers
    ) {
      return new RPCGenericError(`${this.size} calls are being handled`)
    }
    return undefined
  }

  /** Handles a call, now or when its turn comes. */
  handle(call: Call | Send, handler: AnyHandler<never>): void {
    if (this.#running.size < this.#settings.handlerConcurrency) this.#run(call, handler)
    else this.#waiting.set(call.messageId, { call, handler })
  }

  #run(call: Call | Send, handler: AnyHandler<never>): void {
    if (this.#stopped) return
    const running: Running = {
      call,
      deadline: this.#alarms.now() + this.#settings.handlerTimeout,
      fiber: undefined,
      timedOut: false,
    }
    this.#running.set(call.messageId, running)
    const fiber = this.#fork(Effect.suspend(() => handler(call.payload, call)))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#finish(running, exit)
    running.fiber = fiber
    fiber.addObserver((late) => this.#finish(running, late))
    // It may have closed its own connection before it suspended.
    if (this.#stopped) fiber.interruptUnsafe()
    else this.#alarms.wakeBy(this.#alarm, running.deadline)
  }

  #finish(running: Running, exit: Exit.Exit<unknown, unknown>): void {
    const { call, timedOut } = running
    this.#running.delete(call.messageId)
    if (!this.#stopped && !timedOut) this.#owner.conclude(call, exit)
    if (!this.#pumping) this.pump()
    if (this.size === 0) this.#onIdle?.()
  }

  /** Starts the handlers whose turn has come. Those that end at once come back here through `#finish`. */
  pump(): void {
    this.#pumping = true
    for (const [id, next] of this.#waiting) {
      if (this.#running.size >= this.#settings.handlerConcurrency) break
      this.#waiting.delete(id)
      this.#run(next.call, next.handler)
    }
    this.#pumping = false
  }

  #expire(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const running of this.#running.values()) {
      if (running.deadline > now) {
        next = Math.min(next, running.deadline)
        continue
      }
      if (running.timedOut) continue
      running.timedOut = true
      this.#owner.timedOut(running.call)
      running.fiber?.interruptUnsafe()
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
    this.#waiting.clear()
    this.#alarms.clear(this.#alarm)
    for (const { fiber } of [...this.#running.values()]) fiber?.interruptUnsafe()
    return Effect.suspend(() => {
      const fibers = Array.from(this.#running.values(), ({ fiber }) => fiber).filter((fiber) => fiber !== undefined)
      return Effect.asVoid(Fiber.awaitAll(fibers))
    })
  }
}

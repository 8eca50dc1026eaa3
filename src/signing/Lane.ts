/**
 * Messages in the order in which they came, of which some take their time.
 *
 * What takes its time starts at once, beside the others; but nothing passes before what came ahead of it. While nothing takes its time
 * everything passes in the tick in which it comes, at the cost of one comparison.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** How much may wait. */
export interface Limits {
  /** How many messages. Default 1,024. */
  readonly maxMessages?: number
  /** How many characters they may have together; one message may have more. Default 64 Mi. */
  readonly maxLength?: number
}

interface Slot {
  /** What the message does when its turn has come; `undefined` while it takes its time. */
  go: (() => void) | undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  readonly length: number
}

export class Lane {
  readonly #fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly #maxMessages: number
  readonly #maxLength: number
  readonly #slots: Array<Slot> = []
  #length = 0
  #draining = false
  #stopped = false

  /** `fork` runs what takes its time, with whatever context that needs. */
  constructor(fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>, limits: Limits = {}) {
    this.#fork = fork
    this.#maxMessages = limits.maxMessages ?? 1024
    this.#maxLength = limits.maxLength ?? 64 * 1024 * 1024
  }

  /** Whether what comes now passes at once. */
  get isIdle(): boolean {
    return this.#slots.length === 0 && !this.#draining
  }

  /** How many messages wait. */
  get size(): number {
    return this.#slots.length
  }

  /** Whether one more message, of so many characters, may wait. To be asked first: a lane refuses nothing by itself. */
  hasRoom(length: number): boolean {
    if (this.#slots.length === 0) return true
    return this.#slots.length < this.#maxMessages && this.#length + length <= this.#maxLength
  }

  /**
   * Lets a message through: at once, or when its turn has come. The result gives its place up, and then `go` is not called. `go` must
   * not throw.
   */
  pass(length: number, go: () => void): () => void {
    if (this.#stopped) return nothing
    if (!this.isIdle) return this.#wait({ go, fiber: undefined, length })
    go()
    return nothing
  }

  /**
   * Lets a message through that is not ready yet. When it is ready and its turn has come, `go` gets what has become of it: in this
   * tick, if both hold already. The result gives its place up, and interrupts the Effect.
   */
  enter<A, E>(length: number, effect: Effect.Effect<A, E>, go: (exit: Exit.Exit<A, E>) => void): () => void {
    // An Effect that has ended has ended in what it may end in.
    if (Exit.isExit(effect)) return this.pass(length, () => go(effect as Exit.Exit<A, E>))
    if (this.#stopped) return nothing
    const slot: Slot = { go: undefined, fiber: undefined, length }
    // It has its place before it does anything.
    const leave = this.#wait(slot)
    this.#follow(slot, this.#fork(effect), go)
    return leave
  }

  #follow<A, E>(slot: Slot, fiber: Fiber.Fiber<A, E>, go: (exit: Exit.Exit<A, E>) => void): void {
    slot.fiber = fiber
    if (this.#stopped) fiber.interruptUnsafe()
    fiber.addObserver((exit) => {
      slot.go ??= () => go(exit)
      this.#drain()
    })
  }

  #wait(slot: Slot): () => void {
    this.#slots.push(slot)
    this.#length += slot.length
    return () => this.#leave(slot)
  }

  #leave(slot: Slot): void {
    const index = this.#slots.indexOf(slot)
    if (index === -1) return
    this.#slots.splice(index, 1)
    this.#length -= slot.length
    slot.fiber?.interruptUnsafe()
    this.#drain()
  }

  /** Lets all through whose turn has come. What they cause waits behind them. */
  #drain(): void {
    if (this.#draining) return
    this.#draining = true
    for (let first = this.#slots[0]; first?.go !== undefined; first = this.#slots[0]) {
      this.#slots.shift()
      this.#length -= first.length
      first.go()
    }
    this.#draining = false
  }

  /** Nothing passes any more. Succeeds when what took its time has been interrupted. */
  stop(): Effect.Effect<void> {
    this.#stopped = true
    const fibers = this.#slots.flatMap(({ fiber }) => (fiber === undefined ? [] : [fiber]))
    this.#slots.length = 0
    for (const fiber of fibers) fiber.interruptUnsafe()
    return Effect.asVoid(Fiber.awaitAll(fibers))
  }
}

/** What there is to give up when nothing waits. */
const nothing = (): void => {}

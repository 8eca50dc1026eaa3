/** The clock of one node: its wall clock is wrong, its monotonic one has an origin of its own, and it can be stopped as a process is. */
import type * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

export class NodeClock implements Clock.Clock {
  readonly #base: Clock.Clock
  readonly #origin: bigint
  readonly #running = Latch.makeUnsafe(true)
  /** By how much the wall clock is wrong, in milliseconds. */
  skew: number

  constructor(base: Clock.Clock, skew: number, originMillis: number) {
    this.#base = base
    this.skew = skew
    this.#origin = BigInt(originMillis) * 1_000_000n
  }

  /** No sleep ends while it is paused. */
  set paused(paused: boolean) {
    if (paused) this.#running.closeUnsafe()
    else this.#running.openUnsafe()
  }

  currentTimeMillisUnsafe(): number {
    return this.#base.currentTimeMillisUnsafe() + this.skew
  }

  currentTimeNanosUnsafe(): bigint {
    return this.#base.currentTimeNanosUnsafe() + BigInt(this.skew) * 1_000_000n
  }

  monotonicTimeNanosUnsafe(): bigint {
    return this.#base.monotonicTimeNanosUnsafe() + this.#origin
  }

  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.andThen(this.#base.sleep(duration), this.#running.await)
  }
}

/**
 * The engine's time, as a node knows it between two readings. Wall clocks of nodes play no part: a reading ties the engine's clock
 * to this node's monotonic one.
 */
import type * as Clock from "effect/Clock"

/** How far apart two quartz clocks may drift, in milliseconds per millisecond. */
const drift = 0.0005

export class EngineClock {
  readonly #clock: Clock.Clock
  #offset = Number.NaN
  /** By how much the offset may be wrong, and when that was known. */
  #error = Number.POSITIVE_INFINITY
  #readAt = 0

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** Monotonic milliseconds of this node. */
  monotonic(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Milliseconds of this node's wall clock; only jumps of it are of interest. */
  wall(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }

  /** Milliseconds on the engine's clock; NaN before the first reading. */
  now(): number {
    return this.monotonic() + this.#offset
  }

  /** Takes a reading that was asked for at `asked`. The best counts, until it may have drifted or the engine's clock has jumped. */
  read(asked: number, engineNow: number): void {
    const now = this.monotonic()
    const error = (now - asked) / 2
    const offset = engineNow - (asked + now) / 2
    const known = this.#error + (now - this.#readAt) * drift
    if (error > known && Math.abs(offset - this.#offset) <= known + error) return
    this.#offset = offset
    this.#error = error
    this.#readAt = now
  }
}

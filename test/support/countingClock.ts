/** A clock that counts the fibers that sleep on it: whatever still waits for time when a test ends. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export interface CountingClock {
  readonly clock: Clock.Clock
  /** The fibers that sleep now. */
  readonly sleepers: () => number
}

export const countingClock = (clock: Clock.Clock): CountingClock => {
  let sleepers = 0
  const counting: Clock.Clock = {
    ...clock,
    sleep: (duration) =>
      Effect.acquireUseRelease(
        Effect.sync(() => sleepers++),
        () => clock.sleep(duration),
        () => Effect.sync(() => sleepers--),
      ),
  }
  return { clock: counting, sleepers: () => sleepers }
}

/** A wall clock that can be set, for this process only; its monotonic clock and its timers stay as they are. */
let offset = 0

const ActualDate = Date

class SettableDate extends ActualDate {
  constructor(...parts: ReadonlyArray<unknown>) {
    if (parts.length === 0) super(ActualDate.now() + offset)
    // With arguments it is the Date that they say.
    else super(...(parts as [number]))
  }

  static override now(): number {
    return ActualDate.now() + offset
  }
}

/** Sets the clock forward by so many milliseconds; back when negative. */
export const jump = (by: number): void => {
  offset += by
  globalThis.Date = SettableDate as DateConstructor
}

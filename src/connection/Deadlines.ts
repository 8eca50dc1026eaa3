/**
 * Many deadlines, one sleeping fiber.
 *
 * A connection has few moments at which something must happen if nothing else does: a call times out, a ping is due. A
 * fiber and a timer for each would cost more than the call itself, so an {@link Deadline} is a number in a heap, and one
 * fiber sleeps until the earliest. Time is an Effect `Clock`, on its monotonic side: setting the machine's clock rings nothing.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** Something that wants to be woken. */
export interface Deadline {
  /** When it rings next; `undefined` when it is not set. Only {@link Deadlines} writes it. */
  entry: Entry | undefined
  /** Called once `at` has passed. Returns when to ring next, `Infinity` for never. Must not throw. */
  readonly ring: (now: number) => number
}

export interface Deadlines {
  /** Monotonic milliseconds of an arbitrary origin. */
  readonly now: () => number
  /** Makes sure that an alarm rings at `at` or earlier; an alarm that rings too early says again when it wants to. */
  readonly wakeBy: (alarm: Deadline, at: number) => void
  /** The alarm does not ring any more. */
  readonly clear: (alarm: Deadline) => void
}

/** An alarm's place among the others. */
interface Entry {
  /** In {@link Deadlines.now} milliseconds. */
  readonly at: number
  readonly alarm: Deadline
}

const atOf = ({ entry }: Deadline): number => entry?.at ?? Number.POSITIVE_INFINITY

const made = new WeakMap<Clock.Clock, Deadlines>()

/** The deadlines of a clock: all connections of a program share one heap and one sleeping fiber, which ends when nobody waits. */
export const of = (clock: Clock.Clock): Deadlines => {
  let deadlines = made.get(clock)
  if (deadlines === undefined) {
    deadlines = make(clock)
    made.set(clock, deadlines)
  }
  return deadlines
}

const make = (clock: Clock.Clock): Deadlines => {
  // A binary heap, earliest first. An entry counts only while it is its alarm's.
  const heap: Array<Entry> = []
  let sleeper: Fiber.Fiber<void> | undefined
  let wakesAt = Number.POSITIVE_INFINITY
  /** Entries of the heap that do not count any more; at most half of them, for each holds a whole connection. */
  let stale = 0

  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const push = (entry: Entry) => {
    let i = heap.push(entry) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (heap[parent]!.at <= entry.at) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = entry
  }

  const pop = () => {
    const last = heap.pop()!
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++
      if (heap[child]!.at >= last.at) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
  }

  const sweep = () => {
    if (stale <= heap.length / 2) return
    const live = heap.filter((entry) => entry.alarm.entry === entry)
    heap.length = 0
    stale = 0
    for (const entry of live) push(entry)
  }

  const set = (alarm: Deadline, at: number) => {
    if (alarm.entry !== undefined) stale++
    const entry = { at, alarm }
    alarm.entry = entry
    push(entry)
  }

  const ringDue = () => {
    const time = now()
    while (heap.length > 0) {
      const entry = heap[0]!
      const { at, alarm } = entry
      if (alarm.entry !== entry) {
        pop()
        stale--
      } else if (at <= time) {
        pop()
        alarm.entry = undefined
        const next = alarm.ring(time)
        // Ringing may have set the alarm already.
        if (next < atOf(alarm)) set(alarm, next)
      } else {
        return
      }
    }
  }

  const sleep = () => {
    wakesAt = heap[0]?.at ?? Number.POSITIVE_INFINITY
    if (heap.length === 0) {
      sleeper = undefined
      return
    }
    const millis = Math.max(1, Math.ceil(wakesAt - now()))
    sleeper = Effect.runFork(Effect.andThen(clock.sleep(Duration.millis(millis)), Effect.sync(wake)))
  }

  const wake = () => {
    // While ringing, whatever is set waits for the sleep that follows.
    wakesAt = Number.NEGATIVE_INFINITY
    ringDue()
    sleep()
  }

  return {
    now,
    wakeBy: (alarm, at) => {
      if (at >= atOf(alarm)) return
      set(alarm, at)
      if (at >= wakesAt) return
      sleeper?.interruptUnsafe()
      sleep()
    },
    clear: (alarm) => {
      if (alarm.entry === undefined) return
      alarm.entry = undefined
      stale++
      sweep()
      // Nobody waits any more: no timer must keep the process alive.
      if (heap.length === 0 && wakesAt > 0) {
        wakesAt = Number.POSITIVE_INFINITY
        sleeper?.interruptUnsafe()
      }
    },
  }
}

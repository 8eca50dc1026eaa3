/**
 * Many deadlines, one sleeping fiber.
 *
 * A connection has few moments at which something must happen if nothing else does: a call times out, a ping is due. A
 * fiber and a timer for each would cost more than the call itself, so a {@link Deadline} is a number in a heap, and one
 * fiber sleeps until the earliest. Time is an Effect `Clock`, on its monotonic side: setting the machine's clock expires nothing.
 *
 * A process that was held up finds its timers due before it has read its sockets, though the answers may be in them. So after a late
 * awakening the sockets are read first, and only then deadlines expire.
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { guarded } from "../Transport.ts"
import { nextTurn } from "./nextTurn.ts"
import * as supervised from "./supervised.ts"

/** A moment by which something must have happened. */
export interface Deadline {
  /** Its place among the others; `undefined` when it is not set. Only {@link Deadlines} writes it. */
  entry: Entry | undefined
  /** Called once it has passed. Returns when the next one is, `Infinity` for never. */
  readonly expire: (now: number) => number
}

export interface Deadlines {
  /** Monotonic milliseconds of an arbitrary origin. */
  readonly now: () => number
  /** Makes sure that a deadline expires at `at` or earlier; one that expires too early says again when it is due. */
  readonly wakeBy: (deadline: Deadline, at: number) => void
  /** The deadline does not expire any more. */
  readonly clear: (deadline: Deadline) => void
}

/** A deadline's place among the others. */
interface Entry {
  /** In {@link Deadlines.now} milliseconds. */
  readonly at: number
  readonly deadline: Deadline
}

/** So many milliseconds after its time an awakening is late: the process was held up. */
const lateness = 100

/** So many turns of the event loop it takes until what had arrived before has been read. */
const turnsToRead = 2

const atOf = ({ entry }: Deadline): number => entry?.at ?? Number.POSITIVE_INFINITY

const made = new WeakMap<Clock.Clock, Deadlines>()

/** The deadlines of a clock: all connections of a program share one heap and one sleeping fiber, whose Scope closes when nobody waits. */
export const of = (clock: Clock.Clock): Deadlines => {
  let deadlines = made.get(clock)
  if (deadlines === undefined) {
    deadlines = make(clock)
    made.set(clock, deadlines)
  }
  return deadlines
}

/** A binary heap of entries, earliest first. An entry counts only while it is its deadline's. */
class Heap {
  readonly #entries: Array<Entry> = []
  /** Entries that do not count any more; at most half of them, for each holds a whole connection. */
  #stale = 0

  get size(): number {
    return this.#entries.length
  }

  /** When the earliest entry is due; `Infinity` when there is none. */
  get first(): number {
    return this.#entries[0]?.at ?? Number.POSITIVE_INFINITY
  }

  set(deadline: Deadline, at: number): void {
    if (deadline.entry !== undefined) this.#stale++
    const entry = { at, deadline }
    deadline.entry = entry
    this.#push(entry)
  }

  clear(deadline: Deadline): void {
    deadline.entry = undefined
    this.#stale++
    if (this.#stale <= this.#entries.length / 2) return
    const live = this.#entries.filter((entry) => entry.deadline.entry === entry)
    this.#entries.length = 0
    this.#stale = 0
    for (const entry of live) this.#push(entry)
  }

  /** Takes out the earliest deadline, if it is due. Nothing stale comes before what is left. */
  takeDue(time: number): Deadline | undefined {
    for (let entry = this.#entries[0]; entry !== undefined; entry = this.#entries[0]) {
      const { at, deadline } = entry
      if (deadline.entry !== entry) {
        this.#pop()
        this.#stale--
      } else if (at <= time) {
        this.#pop()
        deadline.entry = undefined
        return deadline
      } else {
        return undefined
      }
    }
    return undefined
  }

  #push(entry: Entry): void {
    const heap = this.#entries
    let i = heap.push(entry) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (heap[parent]!.at <= entry.at) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = entry
  }

  #pop(): void {
    const heap = this.#entries
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
}

const make = (clock: Clock.Clock): Deadlines => {
  const heap = new Heap()
  /** Open while somebody waits; holds the fiber that sleeps. */
  let scope: Scope.Closeable | undefined
  let sleeper: Fiber.Fiber<void> | undefined
  let wakesAt = Number.POSITIVE_INFINITY

  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const expireDue = () => {
    const time = now()
    for (let due = heap.takeDue(time); due !== undefined; due = heap.takeDue(time)) {
      const deadline = due
      guarded(() => {
        const next = deadline.expire(time)
        // It may have set itself already.
        if (next < atOf(deadline)) heap.set(deadline, next)
      })
    }
  }

  const sleep = () => {
    wakesAt = heap.first
    if (heap.size === 0) {
      if (scope !== undefined) Scope.closeUnsafe(scope, Exit.void)
      scope = undefined
      return
    }
    scope ??= Scope.makeUnsafe()
    const millis = Math.max(1, Math.ceil(wakesAt - now()))
    const nap = Effect.andThen(clock.sleep(Duration.millis(millis)), Effect.suspend(wake))
    sleeper = supervised.fork(scope, Context.empty(), nap)
  }

  const wake = (): Effect.Effect<void> => {
    const isLate = now() - wakesAt > lateness
    // Until the next sleep, whatever is set waits for that.
    wakesAt = Number.NEGATIVE_INFINITY
    sleeper = undefined
    const expire = Effect.sync(() => {
      expireDue()
      sleep()
    })
    return isLate ? Effect.andThen(turns(turnsToRead), expire) : expire
  }

  return {
    now,
    wakeBy: (deadline, at) => {
      if (at >= atOf(deadline)) return
      heap.set(deadline, at)
      if (at >= wakesAt) return
      sleeper?.interruptUnsafe()
      sleep()
    },
    clear: (deadline) => {
      if (deadline.entry === undefined) return
      heap.clear(deadline)
      // Nobody waits any more: no timer must keep the process alive.
      if (heap.size > 0 || wakesAt === Number.NEGATIVE_INFINITY) return
      sleeper?.interruptUnsafe()
      sleep()
    },
  }
}

/** Waits for so many turns of the event loop. */
const turns = (count: number): Effect.Effect<void> =>
  count === 0
    ? Effect.void
    : Effect.andThen(
        Effect.callback<void>((resume) => nextTurn(() => resume(Effect.void))),
        Effect.suspend(() => turns(count - 1)),
      )

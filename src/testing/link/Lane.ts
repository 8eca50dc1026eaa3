/** One direction of a connection: a delayed delivery holds up those behind it. */
import type { Deadline, Deadlines } from "../../connection/Deadlines.ts"

export class Lane implements Deadline {
  entry: Deadline["entry"]
  readonly #deadlines: Deadlines
  #waiting: Array<{ readonly due: number; readonly deliver: () => void }> = []

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines
  }

  /** Delivers after a delay, and after everything that was pushed before. */
  push(delay: number, deliver: () => void): void {
    const isFirst = this.#waiting.length === 0
    if (isFirst && delay === 0) return deliver()
    const due = this.#deadlines.now() + delay
    this.#waiting.push({ due, deliver })
    if (isFirst) this.#deadlines.wakeBy(this, due)
  }

  expire(now: number): number {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (next.due > now) return next.due
      this.#waiting.shift()
      next.deliver()
    }
    return Number.POSITIVE_INFINITY
  }

  /** Delivers now whatever waits. */
  flush(): void {
    this.#deadlines.clear(this)
    for (const { deliver } of this.#waiting.splice(0)) deliver()
  }

  /** Forgets whatever waits. */
  clear(): void {
    this.#deadlines.clear(this)
    this.#waiting = []
  }
}

/** What is on its way in one direction: it arrives in order, each thing after its own time or when what is before it has arrived. */

/** Who can call back later. */
export interface Timer {
  readonly now: () => number
  readonly after: (millis: number, work: () => void) => void
}

interface Item {
  readonly due: number
  readonly arrive: () => void
}

export class Lane {
  readonly #timer: Timer
  readonly #items: Array<Item> = []
  #flowing = true
  /** When it has been asked to look again. */
  #looksAt = Number.POSITIVE_INFINITY
  #scheduled = false

  constructor(timer: Timer) {
    this.#timer = timer
  }

  push(latency: number, arrive: () => void): void {
    this.#items.push({ due: this.#timer.now() + latency, arrive })
    this.#schedule()
  }

  clear(): void {
    this.#items.length = 0
  }

  set flowing(flowing: boolean) {
    this.#flowing = flowing
    this.#schedule()
  }

  #schedule(): void {
    const head = this.#items[0]
    if (head === undefined || !this.#flowing || this.#scheduled) return
    const wait = head.due - this.#timer.now()
    if (wait <= 0) {
      this.#scheduled = true
      queueMicrotask(() => {
        this.#scheduled = false
        this.#arrive()
      })
    } else if (head.due < this.#looksAt) {
      this.#looksAt = head.due
      this.#timer.after(Math.ceil(wait), () => {
        this.#looksAt = Number.POSITIVE_INFINITY
        this.#schedule()
      })
    }
  }

  #arrive(): void {
    while (this.#flowing && this.#items[0] !== undefined && this.#items[0].due <= this.#timer.now()) {
      this.#items.shift()?.arrive()
    }
    this.#schedule()
  }
}

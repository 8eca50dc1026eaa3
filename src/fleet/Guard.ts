/**
 * Keeps a node that has slept from serving what has piled up meanwhile: its process was stopped, its machine suspended, its event
 * loop blocked. It wakes when a marker of its own has come back through the engine, behind everything that was sent before.
 */

/** How often the node says that it is awake, in milliseconds. */
export const tickInterval = 100
/** How late that may be, in milliseconds. */
const allowance = 400
/** How long a marker may take before another is sent, in milliseconds. */
const patience = 1_000

interface Time {
  readonly monotonic: () => number
  readonly wall: () => number
}

export class Guard {
  readonly #time: Time
  readonly #mark: (id: number) => void
  #monotonic: number
  #wall: number
  /** The marker that wakes it; `undefined` while it is awake. */
  #awaited: number | undefined
  #markedAt = 0
  #markers = 0

  /** @param mark sends a marker to this node, which comes back to {@link returned} */
  constructor(time: Time, mark: (id: number) => void) {
    this.#time = time
    this.#mark = mark
    this.#monotonic = time.monotonic()
    this.#wall = time.wall()
  }

  /** Whether calls may be served. */
  get awake(): boolean {
    if (this.#late) this.#sleep()
    return this.#awaited === undefined
  }

  /** A suspended machine may stop its monotonic clock: then the wall clock has jumped. */
  get #late(): boolean {
    const most = tickInterval + allowance
    return this.#time.monotonic() - this.#monotonic > most || this.#time.wall() - this.#wall > most
  }

  #sleep(): void {
    this.#noteTime()
    this.#send()
  }

  #noteTime(): void {
    this.#monotonic = this.#time.monotonic()
    this.#wall = this.#time.wall()
  }

  #send(): void {
    this.#awaited = ++this.#markers
    this.#markedAt = this.#monotonic
    this.#mark(this.#awaited)
  }

  /** Every {@link tickInterval}. Returns whether it has just been found asleep. */
  tick(): boolean {
    const late = this.#late
    if (late) this.#sleep()
    else this.#noteTime()
    if (this.#awaited !== undefined && this.#monotonic - this.#markedAt > patience) this.#send()
    return late
  }

  /** A marker has come back. */
  returned(id: number): void {
    if (id === this.#awaited) this.#awaited = undefined
  }
}

/** A histogram of latencies of constant size: its buckets grow by 2 %. */
const growth = Math.log(1.02)
const buckets = 1_200

/** The counts of a histogram, as data. */
export interface Counts {
  readonly buckets: ReadonlyArray<number>
  readonly max: number
}

export class Histogram {
  readonly #buckets = new Uint32Array(buckets)
  #max = 0

  add(milliseconds: number): void {
    const microseconds = Math.max(1, milliseconds * 1000)
    this.#buckets[Math.min(buckets - 1, Math.floor(Math.log(microseconds) / growth))]!++
    this.#max = Math.max(this.#max, milliseconds)
  }

  /** Takes the counts since the last time. */
  take(): Counts {
    const taken = { buckets: [...this.#buckets], max: this.#max }
    this.#buckets.fill(0)
    this.#max = 0
    return taken
  }
}

export const none: Counts = { buckets: Array.from({ length: buckets }, () => 0), max: 0 }

export const sum = (a: Counts, b: Counts): Counts => ({
  buckets: a.buckets.map((count, i) => count + b.buckets[i]!),
  max: Math.max(a.max, b.max),
})

/** A percentile in milliseconds: `part` of the latencies are at most so long. `NaN` when there are none. */
export const percentile = (counts: Counts, part: number): number => {
  const total = counts.buckets.reduce((a, b) => a + b, 0)
  let rank = Math.ceil(total * part)
  if (rank === 0) return Number.NaN
  for (const [bucket, count] of counts.buckets.entries()) {
    rank -= count
    if (rank <= 0) return Math.min(counts.max, Math.exp((bucket + 1) * growth) / 1000)
  }
  return counts.max
}

/**
 * Which calls have come already. A call is remembered until its deadline and a little longer, so that whatever comes twice, however
 * late, is either known or expired.
 */

/** For how long after its deadline a call is remembered, in milliseconds: as long as its caller waits for a late answer. */
export const grace = 300

/** Calls are forgotten together when this time has passed, in milliseconds. */
const span = 1_000

export class Seen {
  /** By the span in which they may be forgotten, then by sender. */
  readonly #spans = new Map<number, Map<string, Set<number>>>()
  readonly #limit: number
  #size = 0

  /** @param limit how many are remembered at most */
  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#size
  }

  /** Remembers a call. */
  add(from: string, id: number, expires: number): "new" | "known" | "full" {
    const key = Math.floor((expires + grace) / span)
    const ids = this.#spans.get(key)?.get(from)
    if (ids?.has(id) === true) return "known"
    if (this.#size >= this.#limit) return "full"
    this.#size++
    if (ids !== undefined) ids.add(id)
    else this.#sendersOf(key).set(from, new Set([id]))
    return "new"
  }

  #sendersOf(key: number): Map<string, Set<number>> {
    let senders = this.#spans.get(key)
    if (senders === undefined) {
      senders = new Map()
      this.#spans.set(key, senders)
    }
    return senders
  }

  /** Forgets what has expired. */
  forget(now: number): void {
    for (const [key, senders] of this.#spans) {
      if ((key + 1) * span > now) continue
      this.#spans.delete(key)
      for (const ids of senders.values()) this.#size -= ids.size
    }
  }
}

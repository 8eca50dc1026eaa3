/**
 * Message ids of one connection, or of all that one client has in its life: unique among all that this and any other process ever makes, 36
 * characters long, shaped as a UUID (OCPP-J 1.6 §4.1.4, 2.x part 4 §4.1.4).
 *
 * The random part is drawn once, and a counter stands behind it: that is many times faster than a random UUID for each call, and it tells whether
 * an id is one of ours without keeping it. The counter is the connection's own, so that it tells a peer nothing of the others.
 */

/** The length of the random part. */
const prefixLength = 24

export class MessageIds {
  readonly #prefix = crypto.randomUUID().slice(0, prefixLength)
  #count = 0

  /** A message id that has never been used. */
  next(): string {
    return this.#prefix + (this.#count++).toString(16).padStart(12, "0")
  }

  /** Whether an id has been given to a call. */
  has(id: string): boolean {
    if (id.length !== 36 || !id.startsWith(this.#prefix)) return false
    const counter = id.slice(prefixLength)
    return /^[0-9a-f]+$/.test(counter) && Number.parseInt(counter, 16) < this.#count
  }
}

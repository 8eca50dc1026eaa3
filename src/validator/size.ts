/**
 * Tells ordinary payloads from large ones. Validators that cannot stop after ten violations find all of them in ordinary
 * payloads, and only the first in large ones.
 */

/** The most values in an ordinary payload, including itself; a key counts as one more for every 32 characters. */
export const ordinaryValues = 1000

/** Says whether a value is of ordinary size. Reads no more than {@link ordinaryValues}. */
export const isOrdinary = (value: unknown): boolean => {
  let count = 1
  const unread = [value]
  while (unread.length > 0) {
    const next = unread.pop()
    if (typeof next !== "object" || next === null) continue
    count += Array.isArray(next) ? next.length : lengthOf(Object.keys(next))
    if (count > ordinaryValues) return false
    unread.push(...Object.values(next))
  }
  return true
}

const lengthOf = (keys: ReadonlyArray<string>): number =>
  keys.reduce((length, key) => length + 1 + Math.floor(key.length / 32), 0)

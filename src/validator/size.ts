/** How large a payload may be for all of its violations to be looked for at once, by those who cannot stop after ten. */

/** How many values an ordinary payload has at most, itself included; a key counts as one more for each 32 characters. */
export const ordinaryValues = 1000

/** Whether a value is of ordinary size. Looks at no more values than that. */
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

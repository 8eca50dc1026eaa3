/** The checks of cases. */

/** Fails the case unless the condition holds. */
export function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

/** Fails the case unless both are the same JSON. */
export const same = (actual: unknown, expected: unknown, what: string): void => {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  check(got === wanted, `${what}: expected ${wanted}, got ${got?.slice(0, 500)}`)
}

/** The machine cannot show it. */
export class Skipped extends Error {}

/** Looking at how calls have ended. */
import { check, same } from "./expect.ts"
import type { Outcome, Tally } from "./victim/commands.ts"

/** `ok`, or the tag of the error. */
export const tagOf = (outcome: Outcome | undefined): string | undefined => (outcome?.ok === true ? "ok" : outcome?.tag)

/** Counts outcomes by tag. */
export const tagsOf = (outcomes: ReadonlyArray<Outcome>): Tally => {
  const tags: Record<string, number> = {}
  for (const outcome of outcomes) tags[`${tagOf(outcome)}`] = (tags[`${tagOf(outcome)}`] ?? 0) + 1
  return tags
}

/** Fails unless every outcome has one of the tags. */
export const allEnd = (outcomes: ReadonlyArray<Outcome>, tags: string | ReadonlyArray<string>, what: string): void => {
  check(outcomes.length > 0, `${what}: there are none`)
  same(
    outcomes.filter((outcome) => ![tags].flat().includes(tagOf(outcome) ?? "")),
    [],
    `${what}, but for those that end with ${[tags].flat().join(" or ")}`,
  )
}

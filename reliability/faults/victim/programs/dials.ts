/** Many dials that come to nothing. */
import { inParallel } from "../../../support/inParallel.ts"
import type { StationSetup, Tally } from "../commands.ts"
import { dial } from "../table.ts"

/** Dials so many times, a limited number at a time. Counts by tag how the attempts have ended. */
export const dialOften = async (
  setup: StationSetup & { readonly times: number; readonly together: number },
): Promise<Tally> => {
  const tags: Record<string, number> = {}
  await inParallel(setup.times, setup.together, async () => {
    const { outcome, station } = await dial(setup)
    const tag = outcome.ok ? "connected" : outcome.tag
    tags[tag] = (tags[tag] ?? 0) + 1
    await station.shutdown()
  })
  return tags
}

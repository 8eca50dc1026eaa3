/** The functions that several cases call in the victim's process. */
import type { Victim } from "../subjects.ts"
import type * as Construct from "../victim/programs/construct.ts"
import { programs } from "../victim/programs.ts"

const construct = programs<typeof Construct>(new URL("../victim/programs/construct.ts", import.meta.url))

/** Constructs a server or a station. Gives the reason why the options were refused; `undefined` when they were taken. */
export const refusalOf = (victim: Victim, construction: Construct.Construction): Promise<string | undefined> =>
  construct(victim, "refusalOf", construction)

/** Whether the victim's `Object.prototype` is as it was. */
export const isPrototypeClean = (victim: Victim): Promise<boolean> => construct(victim, "isPrototypeClean", undefined)

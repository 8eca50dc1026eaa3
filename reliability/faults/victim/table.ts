/** The servers and stations of a victim's process, by number. */
import type { StationSetup } from "./commands.ts"
import { EffectStation } from "./effectFace.ts"
import { PromiseStation } from "./promiseFace.ts"
import { type Subject, settle } from "./Subject.ts"

const subjects = new Map<number, Subject>()
let made = 0

export const enter = (subject: Subject): number => {
  subjects.set(++made, subject)
  return made
}

export const subjectOf = ({ on }: { readonly on: number }): Subject => {
  const subject = subjects.get(on)
  if (subject === undefined) throw new Error(`nothing is numbered ${on}`)
  return subject
}

/** The connections of all of them. */
export const connections = (): number => [...subjects.values()].reduce((sum, { connected }) => sum + connected, 0)

export const makeStation = ({ face = "effect" }: Pick<StationSetup, "face">): EffectStation | PromiseStation =>
  face === "effect" ? new EffectStation() : new PromiseStation()

/** Makes and connects a station that is not in the table. */
export const dial = async (setup: StationSetup) => {
  const station = makeStation(setup)
  // A connect of the promise face rejects with the error of the socket, as documented.
  const isTyped = (error: unknown) => setup.face === "promise" && error instanceof Error
  return { station, outcome: await settle(station.start(setup), isTyped) }
}

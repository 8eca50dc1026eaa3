/** What connections share with everything else that runs in the same context: the time, and what is counted. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Alarms from "./Alarms.ts"
import { Meters } from "./Meters.ts"

export interface Environment {
  readonly alarms: Alarms.Alarms
  readonly meters: Meters
}

/** The environment of a context. */
export const of = (context: Context.Context<never>): Environment => ({
  alarms: Alarms.of(Context.get(context, Clock.Clock)),
  meters: Meters.of(context),
})

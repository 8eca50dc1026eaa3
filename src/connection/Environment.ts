/** What connections share with everything else that runs in the same context: the time, and what is counted. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deadlines from "./Deadlines.ts"
import { Metrics } from "./Metrics.ts"

export interface Environment {
  readonly deadlines: Deadlines.Deadlines
  readonly metrics: Metrics
}

/** The environment of a context. */
export const of = (context: Context.Context<never>): Environment => ({
  deadlines: Deadlines.of(Context.get(context, Clock.Clock)),
  metrics: Metrics.of(context),
})

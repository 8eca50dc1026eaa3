/** What connections share with everything else that runs in the same context: the time, the metrics, the tracer, the Streams. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Stream from "effect/Stream"
import * as Deadlines from "./Deadlines.ts"
import type { Event, FrameEvent } from "./Event.ts"
import type { Hub } from "./Hub.ts"
import { Metrics } from "./Metrics.ts"
import * as Tracing from "./Tracing.ts"

/** Makes Streams of events. The promise face has none, so that it need not load them. */
export interface Streams {
  readonly frames: (hub: Hub) => Stream.Stream<FrameEvent>
  readonly events: (hub: Hub) => Stream.Stream<Event>
}

export interface Environment {
  readonly deadlines: Deadlines.Deadlines
  readonly metrics: Metrics
  /** Whether somebody sees spans. */
  readonly isTraced: boolean
  readonly streams: Streams
}

const unavailable = (): never => {
  throw new Error("the promise face has no Streams: use Server, Client or Connection")
}

const noStreams: Streams = { frames: unavailable, events: unavailable }

/** The environment of a context. */
export const of = (context: Context.Context<never>, streams: Streams = noStreams): Environment => ({
  deadlines: Deadlines.of(Context.get(context, Clock.Clock)),
  metrics: Metrics.of(context),
  isTraced: Tracing.isTraced(context),
  streams,
})

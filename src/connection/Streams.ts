/** Events as Streams: what the Effect face offers beside observers. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Event, FrameEvent, Hub } from "./Event.ts"

/** What can be followed as a Stream. */
export interface Observable {
  /** Every frame from now on, in both directions, until the connection closes. A slow reader loses the oldest. */
  readonly frames: Stream.Stream<FrameEvent>
  /** Everything that happens from now on, until the connection closes. A slow reader loses the oldest. */
  readonly events: Stream.Stream<Event>
}

/**
 * What `select` makes of a hub's events from now on, until Close; `first` comes before them. A reader that falls behind loses the oldest of
 * `bufferSize`; it never slows the connection down.
 */
export const fromHub = <E extends { readonly _tag: string }, A>(
  hub: Hub<E>,
  select: (event: E) => A | undefined,
  { bufferSize = 1024, first }: { readonly bufferSize?: number; readonly first?: A } = {},
): Stream.Stream<A> =>
  Stream.callback<A>(
    (queue) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          if (first !== undefined) Queue.offerUnsafe(queue, first)
          if (hub.closed) Queue.endUnsafe(queue)
          return hub.subscribe((event) => {
            const selected = select(event)
            if (selected !== undefined) Queue.offerUnsafe(queue, selected)
            if (event._tag === "Close") Queue.endUnsafe(queue)
          })
        }),
        (unsubscribe) => Effect.sync(unsubscribe),
      ),
    { bufferSize, strategy: "sliding" },
  )

/** {@link Observable.frames} of a hub. */
export const frames = (hub: Hub): Stream.Stream<FrameEvent> =>
  fromHub(hub, (event) => (event._tag === "Frame" ? event : undefined))

/** {@link Observable.events} of a hub. */
export const events = <E extends { readonly _tag: string }>(hub: Hub<E>): Stream.Stream<E> =>
  fromHub(hub, (event) => event)

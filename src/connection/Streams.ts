/** Events as Streams. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { FrameEvent } from "./Event.ts"
import type { Hub } from "./Hub.ts"

/**
 * A Stream of what `select` makes of a hub's events from now on, until Close; `first` comes before them. A reader that falls behind loses the
 * oldest of `bufferSize`; it never slows the connection down.
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

/** The frames of a connection from now on, until it closes. */
export const frames = (hub: Hub): Stream.Stream<FrameEvent> =>
  fromHub(hub, (event) => (event._tag === "Frame" ? event : undefined))

/** The events of a connection or a server from now on, until it closes. */
export const events = <E extends { readonly _tag: string }>(hub: Hub<E>): Stream.Stream<E> =>
  fromHub(hub, (event) => event)

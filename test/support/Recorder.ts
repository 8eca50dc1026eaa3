/** A listener that records the events of a transport. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Transport } from "../../src/Transport.ts"

/** One event of a transport. */
export type Event =
  | readonly ["message", text: string]
  | readonly ["pong"]
  | readonly ["ping"]
  | readonly ["error", message: string]
  | readonly ["close", code: number, reason: string]

/** Starts to listen, and gives the events in order. */
export const record = (transport: Transport): Effect.Effect<Queue.Queue<Event>> =>
  Effect.map(Queue.unbounded<Event>(), (events) => {
    const write = (event: Event) => void Queue.offerUnsafe(events, event)
    transport.listen({
      onMessage: (text) => write(["message", text]),
      onPong: () => write(["pong"]),
      onPing: () => write(["ping"]),
      onError: (error) => write(["error", error.message]),
      onClose: (code, reason) => write(["close", code, reason]),
    })
    return events
  })

/** Waits for the close, and gives the events up to it. */
export const untilClose = Effect.fnUntraced(function* (events: Queue.Queue<Event>) {
  const all: Array<Event> = []
  while (all.at(-1)?.[0] !== "close") all.push(yield* Queue.take(events))
  return all
})

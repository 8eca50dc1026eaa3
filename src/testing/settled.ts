/** Waiting without time. */
import * as Effect from "effect/Effect"

/** How many turns of the event loop the longest chain in memory takes, with room to spare: dial, auth, accept, first call. */
const turns = 10

/**
 * Everything has happened that can happen without time passing.
 *
 * In memory a message needs no time, but it needs turns of the event loop: what is sent is received in a later microtask, a
 * connection reads one turn after it has opened. Whatever waits for the Effect `Clock` goes on waiting.
 *
 * ```ts
 * yield* TestClock.adjust("10 seconds")
 * yield* settled
 * expect(client.state).toBe(Connection.State.OPEN)
 * ```
 */
export const settled: Effect.Effect<void> = Effect.promise(async () => {
  for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
})

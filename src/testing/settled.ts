/** Waits without time passing. */
import * as Effect from "effect/Effect"

/** Turns of the event loop, with room to spare for the longest chain in memory: dial, auth, accept, first call. */
const turns = 10

/**
 * Succeeds when everything has happened that can happen without time passing.
 *
 * In memory a message needs no time, but it needs turns of the event loop: it is received in a later microtask than it was
 * sent, and a connection starts to read one turn after it has opened. Whatever waits for the Effect `Clock` goes on waiting.
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

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * Collects exceptions that nobody catches until the Scope closes; otherwise they would fail the run. The Scope closes when
 * `expected` of them have come: each is thrown in a turn of its own.
 */
export const collectUncaught = (expected: number): Effect.Effect<ReadonlyArray<unknown>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const seen: Array<unknown> = []
        const collect = (error: unknown) => seen.push(error)
        const others = process.listeners("uncaughtException")
        process.removeAllListeners("uncaughtException")
        process.on("uncaughtException", collect)
        return { seen, collect, others }
      }),
      ({ collect, others, seen }) =>
        Effect.promise(async () => {
          while (seen.length < expected) await new Promise((resolve) => setImmediate(resolve))
          process.off("uncaughtException", collect)
          for (const other of others) process.on("uncaughtException", other)
        }),
    ),
    ({ seen }) => seen,
  )

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * Until the Scope closes, exceptions that nobody catches are collected instead of failing the run. The Scope closes only
 * after `expected` of them have come: each is thrown in a turn of its own.
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

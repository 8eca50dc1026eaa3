/** Fibers that are started from callbacks: each belongs to a Scope, whose closing interrupts it and waits for its end. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/** Starts a fiber in a Scope. It runs in this tick up to where it first suspends. A closed Scope interrupts it there. */
export const fork = <A, E>(
  scope: Scope.Scope,
  context: Context.Context<never>,
  effect: Effect.Effect<A, E>,
): Fiber.Fiber<A, E> => Fiber.runIn(Effect.runForkWith(context)(effect), scope)

/**
 * Closes a Scope in this tick, as far as its finalizers allow.
 *
 * @param within the Scope of the fiber that runs the finalizers that suspend
 * @returns succeeds when all of them have ended
 */
export const close = (
  scope: Scope.Closeable,
  within: Scope.Scope,
  context: Context.Context<never>,
): Effect.Effect<void> => {
  const finalizers = Scope.closeUnsafe(scope, Exit.void)
  if (finalizers === undefined) return Effect.void
  return Effect.asVoid(Fiber.await(fork(within, context, Effect.uninterruptible(finalizers))))
}

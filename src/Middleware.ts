/**
 * What a CSMS often wants around its handlers. Each is a function from handlers to handlers, made with `Handlers.wrap`; your own
 * are made the same way.
 *
 * ```ts
 * const guarded = pipe(CentralSystem, Middleware.requireBoot, Middleware.rateLimit({ limit: 100, window: "1 minute" }))
 * ```
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { type BootOptions, Gate } from "./boot/Gate.ts"
import { clip } from "./connection/Tracing.ts"
import * as Handlers from "./Handlers.ts"
import { type RPCError, RPCGenericError } from "./RPCError.ts"
import { Station } from "./Server.ts"

export type { BootOptions } from "./boot/Gate.ts"

/**
 * Answers `SecurityError` to whatever a station calls that this CSMS has not accepted: whose last BootNotification it has answered with
 * `Pending` or `Rejected`, on this connection or an earlier one (OCPP 1.6 §4.2; 2.x part 2 B02, B03). What the station was asked for
 * meanwhile passes: what TriggerMessage names, the reports of GetBaseReport and GetReport, and the like.
 *
 * A station of which nothing is remembered is let in: it need not boot again when it connects again. Boots are remembered by
 * identity, in the `BootStore` that is provided; where none is, in one of this function's own, in memory.
 *
 * @param options {@link BootOptions}, or the actions that are let through anyway
 */
export const requireBoot = <R>(
  handlers: Handlers.Handlers<"station", R>,
  options: BootOptions | ReadonlyArray<string> = {},
): Handlers.Handlers<"station", R | Station> => {
  const gate = new Gate("length" in options ? { allowed: options } : options)
  return Handlers.wrap(handlers, (handle, _, { action }) => gate.pass(handle, action))
}

/** How many calls a station may make in a time. */
export interface RateLimit {
  readonly limit: number
  readonly window: Duration.Input
  /** `"fixed-window"` counts afresh in every window, `"token-bucket"` refills steadily. Default `"token-bucket"`. */
  readonly algorithm?: "fixed-window" | "token-bucket"
}

/**
 * Answers `GenericError` to the calls of a station that makes too many. The count is kept by identity, in the store of the
 * `RateLimiter` that is provided: in memory, or in one that several servers share. A store that fails is a defect.
 */
export const rateLimit =
  (options: RateLimit) =>
  <R>(handlers: Handlers.Handlers<"station", R>): Handlers.Handlers<"station", R | Station | RateLimiter.RateLimiter> =>
    Handlers.wrap(handlers, (handle) =>
      Effect.gen(function* () {
        const { identity } = yield* Station
        const limiter = yield* RateLimiter.RateLimiter
        const consumed = limiter.consume({
          algorithm: "token-bucket",
          ...options,
          onExceeded: "fail",
          key: `ocpp/${identity}`,
        })
        yield* Effect.catch(consumed, (error) =>
          error.reason._tag === "RateLimitExceeded" ? new RPCGenericError("too many calls") : Effect.die(error),
        )
        return yield* handle
      }),
    )

/** Logs each call when its handler has ended, at level Debug: its action, identity, outcome and duration. */
export const log = <R>(handlers: Handlers.Handlers<"station", R>): Handlers.Handlers<"station", R | Station> =>
  Handlers.wrap(handlers, (handle, _, { action, messageId }) =>
    Effect.gen(function* () {
      const { identity } = yield* Station
      const startedAt = yield* Clock.currentTimeMillis
      const logExit = Effect.fnUntraced(function* (exit: Exit.Exit<unknown, RPCError>) {
        const duration = Duration.format(Duration.millis((yield* Clock.currentTimeMillis) - startedAt))
        const line = exit._tag === "Success" ? ["answered"] : [outcomeOf(exit.cause), exit.cause]
        yield* Effect.annotateLogs(Effect.logDebug(...line), {
          identity: clip(identity),
          action: clip(action),
          messageId: clip(messageId),
          duration,
        })
      })
      return yield* Effect.onExit(handle, logExit)
    }),
  )

const outcomeOf = (cause: Cause.Cause<RPCError>): "interrupted" | "failed" | "refused" => {
  if (Cause.hasInterruptsOnly(cause)) return "interrupted"
  return Cause.hasDies(cause) ? "failed" : "refused"
}

/**
 * Provides services that live as long as the station's connection: the Layer is built in the station's Scope when the station first calls, afresh
 * for each connection, even where the program has the same Layer elsewhere.
 */
export const perConnection =
  <A, RIn>(layer: Layer.Layer<A, never, RIn>) =>
  <R>(
    handlers: Handlers.Handlers<"station", R>,
  ): Handlers.Handlers<"station", Exclude<R, A> | Exclude<RIn, Scope.Scope> | Station> => {
    const builds = new WeakMap<Station, Fiber.Fiber<Context.Context<A>>>()
    const buildFor = Effect.fnUntraced(function* (station: Station) {
      let build = builds.get(station)
      if (build === undefined) {
        const built = Layer.buildWithMemoMap(layer, Layer.makeMemoMapUnsafe(), station.scope)
        // In a fiber of its own: other calls wait for it, so the end of the first must not end it.
        build = yield* Effect.forkIn(asConnection(built), station.scope)
        builds.set(station, build)
      }
      return yield* Fiber.join(build)
    })
    return Handlers.wrap(handlers, (handle) =>
      Effect.flatMap(Effect.flatMap(Station, buildFor), (services) => Effect.provideContext(handle, services)),
    ) as Handlers.Handlers<"station", Exclude<R, A> | Exclude<RIn, Scope.Scope> | Station>
  }

/** Outlives a call, so it does not log in its name. */
const asConnection = Effect.updateService(
  References.CurrentLogAnnotations,
  ({ action, messageId, ...others }) => others,
)

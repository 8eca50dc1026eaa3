/**
 * What is around handlers: no calls of who is not accepted, not too many, services for a connection, and one of your own.
 * Run it: npx tsx examples/middleware.ts 3000
 */
import { Context, DateTime, Duration, Effect, Layer, pipe } from "effect"
import { RateLimiter } from "effect/persistence"
import { Handlers, Middleware, Ocpp16, Server } from "effect-ocpp"
import { launch, main } from "./main.ts"

/** How much energy a station has told of since it connected. */
class Meter extends Context.Service<Meter, { wattHours: number }>()("examples/Meter") {
  static readonly layer = Layer.effect(
    Meter,
    Effect.acquireRelease(
      Effect.sync(() => ({ wattHours: 0 })),
      ({ wattHours }) => Effect.log(`gone, after ${wattHours} Wh`),
    ),
  )
}

const CentralSystem = Handlers.make(Ocpp16, {
  BootNotification: ({ chargePointVendor }) =>
    Effect.map(DateTime.now, (now) => ({
      status: chargePointVendor === "Stranger" ? ("Pending" as const) : ("Accepted" as const),
      currentTime: DateTime.formatIso(now),
      interval: 300,
    })),
  StopTransaction: ({ meterStop }) =>
    Effect.map(Meter, (meter) => {
      meter.wattHours += meterStop
      return {}
    }),
})

/** Your own: warns of handlers that take long. */
const warnAfter =
  (limit: Duration.Duration) =>
  <R>(handlers: Handlers.Handlers<"station", R>) =>
    Handlers.wrap(handlers, (handle, _, { action }) => {
      const warn = Effect.delay(Effect.logWarning(`${action} takes longer than ${Duration.format(limit)}`), limit)
      return Effect.scoped(Effect.andThen(Effect.forkScoped(warn), handle))
    })

/** Read upwards: a call passes the last one first. */
export const guarded = pipe(
  CentralSystem,
  warnAfter(Duration.seconds(1)),
  Middleware.perConnection(Meter.layer),
  Middleware.requireBoot,
  Middleware.rateLimit({ limit: 100, window: "1 minute" }),
  Middleware.log,
)

export const layer = (port: number) =>
  Server.layer({ port, protocols: [Ocpp16], handlers: [guarded], strictMode: true }).pipe(
    Layer.provide(RateLimiter.layer),
    Layer.provide(RateLimiter.layerStoreMemory),
  )

main(import.meta.url, (port = "3000") => launch(layer(Number(port))))

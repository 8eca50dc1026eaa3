/**
 * Smart charging: the stations that are connected share the current of their site, anew whenever one comes or goes.
 * Run it: npx tsx examples/smartCharging.ts 3000 63
 */
import { Effect, Layer, Stream } from "effect"
import { Ocpp16, Server } from "effect-ocpp"
import { launch, main } from "./main.ts"
import * as SmallCsms from "./smallCsms.ts"

/** A profile that holds the whole station (connector 0) to a limit in ampere, which OCPP wants in tenths. */
const profile = (limit: number) => ({
  connectorId: 0,
  csChargingProfiles: {
    chargingProfileId: 1,
    stackLevel: 0,
    chargingProfilePurpose: "ChargePointMaxProfile" as const,
    chargingProfileKind: "Absolute" as const,
    chargingSchedule: { chargingRateUnit: "A" as const, chargingSchedulePeriod: [{ startPeriod: 0, limit }] },
  },
})

/** Shares so many ampere among the stations, as long as the Layer lives. While calls are made changes add up to one. */
export const layer = (ampere: number) =>
  Effect.gen(function* () {
    const csms = yield* Server.Server
    const share = Effect.fnUntraced(function* (stations: ReadonlyArray<Server.Station>) {
      const limit = Math.floor((10 * ampere) / Math.max(1, stations.length)) / 10
      const results = yield* csms.broadcast(Ocpp16.SetChargingProfile, profile(limit), { timeout: "10 seconds" })
      const accepted = results.filter(([, exit]) => exit._tag === "Success" && exit.value.status === "Accepted")
      yield* Effect.log(`${accepted.length} of ${stations.length} stations charge with ${limit} A at most`)
    })
    yield* Effect.forkScoped(Stream.runForEach(csms.changes, share))
  }).pipe(Layer.effectDiscard)

main(import.meta.url, (port = "3000", ampere = "63") =>
  launch(Layer.provideMerge(layer(Number(ampere)), SmallCsms.layer(Number(port)))),
)

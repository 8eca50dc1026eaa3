/**
 * The smallest CSMS that is of use: it accepts the stations that know their password, and the cards that it knows.
 * Run it: npx tsx examples/smallCsms.ts 3000
 */
import { DateTime, Effect } from "effect"
import { Handlers, Ocpp16, Server } from "effect-ocpp"
import { launch, main } from "./main.ts"

const now = Effect.map(DateTime.now, DateTime.formatIso)

const CentralSystem = Handlers.make(Ocpp16, {
  BootNotification: Effect.fnUntraced(function* ({ chargePointModel }) {
    const station = yield* Server.Station
    yield* Effect.log(`${station.identity} is a ${chargePointModel}`)
    return { status: "Accepted", currentTime: yield* now, interval: 300 }
  }),
  Heartbeat: () => Effect.map(now, (currentTime) => ({ currentTime })),
  Authorize: ({ idTag }) => Effect.succeed({ idTagInfo: { status: idTag === "04E3A2B1" ? "Accepted" : "Invalid" } }),
})

export const layer = (port: number) =>
  Server.layer({
    port,
    protocols: [Ocpp16],
    handlers: [CentralSystem],
    strictMode: true,
    auth: ({ password }) => (password?.toString() === "secret" ? Effect.void : Server.reject(401)),
  })

main(import.meta.url, (port = "3000") => launch(layer(Number(port))))

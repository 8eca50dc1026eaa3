/**
 * A CSMS and a station whose options come from the environment: any option may be a Config.
 * Run it: PORT=3000 STRICT=true PASSWORD=secret npx tsx examples/configuration.ts
 */
import { Config, Effect, Layer, Redacted } from "effect"
import { Client, Handlers, Ocpp16, Server } from "effect-ocpp"
import { main } from "./main.ts"

const CentralSystem = Handlers.make(Ocpp16, {
  Heartbeat: () => Effect.succeed({ currentTime: new Date().toISOString() }),
})

const password = Config.Redacted("PASSWORD")

export const Csms = Server.layerConfig({
  port: Config.Port("PORT"),
  host: Config.String("HOST").pipe(Config.withDefault("localhost")),
  strictMode: Config.Boolean("STRICT").pipe(Config.withDefault(false)),
  maxConnections: Config.Int("MAX_STATIONS").pipe(Config.withDefault(10_000)),
  protocols: [Ocpp16],
  handlers: [CentralSystem],
  // What is read for oneself is a Config as well.
  auth: Config.map(password, (expected) => (handshake: Server.Handshake) => {
    const isRight = handshake.password?.toString() === Redacted.value(expected)
    return isRight ? Effect.void : Server.reject(401)
  }),
})

export const Station = Client.layerConfig({
  endpoint: Config.map(Config.Port("PORT"), (port) => `ws://localhost:${port}`),
  identity: Config.String("IDENTITY").pipe(Config.withDefault("CP001")),
  password,
  protocols: [Ocpp16],
})

/** What is wrong with the configuration is a typed failure, before anything listens. */
export const beat = Effect.flatMap(Client.Client, (client) => client.call(Ocpp16.Heartbeat, {})).pipe(
  Effect.provide(Station.pipe(Layer.provide(Csms))),
)

main(import.meta.url, () => Effect.tap(beat, ({ currentTime }) => Effect.log(currentTime)))

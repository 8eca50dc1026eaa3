/** Servers and clients whose options come from the program's configuration. */
import { describe, expect, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Client from "../src/Client.ts"
import { resolve } from "../src/Configurable.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Server from "../src/Server.ts"
import { Echo } from "./support/rawPeer.ts"

const echoing = Handlers.make(Echo, { Echo: Effect.succeed })

const configured = (values: Readonly<Record<string, unknown>>) =>
  ConfigProvider.layer(ConfigProvider.fromUnknown(values))

const Csms = Server.layerConfig({
  port: Config.Port("PORT").pipe(Config.withDefault(0)),
  host: Config.String("HOST"),
  strictMode: Config.Boolean("STRICT"),
  callTimeout: Config.Duration("CALL_TIMEOUT"),
  maxConnections: Config.Int("MAX"),
  protocols: [Echo],
  handlers: [echoing],
  auth: ({ password }) => (password?.toString() === "s:ecret" ? Effect.void : Server.reject(401)),
})

const Station = (endpoint: string) =>
  Client.layerConfig({
    endpoint,
    identity: Config.String("IDENTITY"),
    password: Config.Redacted("PASSWORD"),
    reconnect: false,
    protocols: [Echo],
  })

const values = { HOST: "127.0.0.1", STRICT: "true", CALL_TIMEOUT: "5 seconds", MAX: "1" }

describe("a configured server and client", () => {
  it.live("have what the configuration says, and what is given beside it", () =>
    Effect.gen(function* () {
      const server = yield* Server.Server
      const station = Station(`ws://127.0.0.1:${server.port}`)
      yield* Effect.gen(function* () {
        const client = yield* Client.Client
        expect(client.identity).toBe("CP 1")
        expect(yield* client.call(Echo.Echo, { text: "hi" })).toEqual({ text: "hi" })
        expect(yield* Effect.flip(client.call("Echo", { text: 5 }))).toMatchObject({ code: "TypeConstraintViolation" })
        // One more than may be connected.
        expect(yield* Effect.flip(Layer.build(Layer.fresh(station)))).toMatchObject({ code: 503 })
      }).pipe(Effect.provide(station))
    }).pipe(Effect.provide(Csms), Effect.provide(configured({ ...values, IDENTITY: "CP 1", PASSWORD: "s:ecret" }))),
  )

  it.live("fail with the ConfigError that names what is missing", () =>
    Effect.gen(function* () {
      const noServer = yield* Effect.flip(Layer.build(Csms))
      expect(noServer).toBeInstanceOf(Config.ConfigError)
      expect(noServer.message).toContain("HOST")
      const noClient = yield* Effect.flip(Layer.build(Station("ws://localhost")))
      expect(noClient).toBeInstanceOf(Config.ConfigError)
      expect(String(noClient)).toContain("IDENTITY")
    }).pipe(Effect.provide(configured({}))),
  )

  it.live("fail with the ConfigError that names what cannot be read", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Layer.build(Csms))
      expect(error).toBeInstanceOf(Config.ConfigError)
      expect(String(error)).toContain("STRICT")
    }).pipe(Effect.provide(configured({ ...values, STRICT: "perhaps" }))),
  )

  it.live("do not tell the password to who prints the options, or fails with it", () =>
    Effect.gen(function* () {
      const options = yield* resolve<Pick<Client.WebSocketOptions, "password">>({
        password: Config.Redacted("PASSWORD"),
      })
      expect(JSON.stringify(options)).not.toContain("s3cret")
      expect(Redacted.isRedacted(options.password)).toBe(true)
      const server = yield* Server.Server
      const refused = yield* Effect.flip(Layer.build(Station(`ws://127.0.0.1:${server.port}`)))
      expect(refused).toMatchObject({ _tag: "UnexpectedHttpResponse", code: 401 })
      expect(JSON.stringify(refused)).not.toContain("s3cret")
    }).pipe(Effect.provide(Csms), Effect.provide(configured({ ...values, IDENTITY: "CP1", PASSWORD: "s3cret" }))),
  )

  it.live("refuse a value that the option refuses", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Layer.build(Csms))
      expect(String(exit)).toContain("maxConnections must be")
    }).pipe(Effect.provide(configured({ ...values, MAX: "0" }))),
  )
})

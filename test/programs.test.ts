/** The programs of examples/ that are written with Effect: what each of them promises its reader. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readdirSync, readFileSync } from "node:fs"
import { type ClientRequest, createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it, vi } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import { RateLimiter } from "effect/persistence"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { TestClock, TestConsole } from "effect/testing"
import { Client, Connection, Handlers, Ocpp16, Ocpp21, Ocpp201, Server, Transport } from "effect-ocpp"
import * as Configuration from "../examples/configuration.ts"
import * as Csms from "../examples/csms.ts"
import * as Fleet from "../examples/fleet.ts"
import * as Middlewares from "../examples/middleware.ts"
import * as Observability from "../examples/observability.ts"
import * as OwnProtocol from "../examples/ownProtocol.ts"
import * as Reconnecting from "../examples/reconnecting.ts"
import * as SmallCsms from "../examples/smallCsms.ts"
import * as SmallStation from "../examples/smallStation.ts"
import * as SmartCharging from "../examples/smartCharging.ts"
import * as Station from "../examples/station.ts"
import { serve } from "./support/inMemory.ts"
import { settled } from "./support/rawPeer.ts"

const folder = new URL("../examples/", import.meta.url)
const files = readdirSync(folder).filter((file) => file !== "README.md")

describe("every example", () => {
  const helpers = ["main.ts", "printFrames.ts"]

  for (const file of files) {
    it(`${file} is short, says what it shows and how to run it, and is in the table`, () => {
      const text = readFileSync(new URL(file, folder), "utf8")
      expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(60)
      const [open, what, how, close] = text.split("\n")
      expect([open, close]).toEqual(["/**", " */"])
      expect(what).toMatch(/^ \* .*\.$/)
      if (helpers.includes(file)) expect(how).toMatch(/^ \* Used by /)
      else expect(how).toMatch(/^ \* Run it: /)
      expect(readFileSync(new URL("README.md", folder), "utf8")).toContain(`[${file}](${file})`)
    })
  }
})

const quiet = Logger.layer([])

/** Where the server listens. */
const endpoint = Effect.map(Server.Server, ({ port }) => `ws://localhost:${port}`)

/** The stations that are connected, once that many are. */
const stations = (count: number) =>
  Effect.gen(function* () {
    const { changes } = yield* Server.Server
    const all = yield* Stream.runHead(Stream.filter(changes, (some) => some.length === count))
    return all._tag === "Some" ? all.value : []
  })

const boot = { chargePointVendor: "V", chargePointModel: "M" }

describe("the small CSMS and the small station", () => {
  it.live("understand each other", () =>
    Effect.gen(function* () {
      const running = yield* Effect.forkChild(SmallStation.run(yield* endpoint, "CP001"))
      const [station] = yield* stations(1)
      const booted = yield* Deferred.make<void>()
      station?.subscribe(({ _tag }) => _tag === "CallResult" && Deferred.doneUnsafe(booted, Effect.void))
      yield* Deferred.await(booted)
      expect(yield* station?.call(Ocpp16.Reset, { type: "Soft" }) ?? Effect.void).toEqual({ status: "Accepted" })
      yield* Fiber.interrupt(running)
      yield* stations(0)
    }).pipe(Effect.provide(Layer.provideMerge(SmallCsms.layer(0), quiet))),
  )

  it.live("let nobody in without the password", () =>
    Effect.gen(function* () {
      const options = { endpoint: yield* endpoint, identity: "CP001", protocols: [Ocpp16], reconnect: false } as const
      expect(yield* Effect.flip(Client.make({ ...options, password: "guess" }))).toMatchObject({ code: 401 })
      const client = yield* Client.make({ ...options, password: "secret" })
      expect(yield* client.call(Ocpp16.Authorize, { idTag: "x" })).toEqual({ idTagInfo: { status: "Invalid" } })
    }).pipe(Effect.provide(Layer.provideMerge(SmallCsms.layer(0), quiet))),
  )
})

describe("the CSMS for all versions", () => {
  it.live("serves a station's day", () =>
    Effect.gen(function* () {
      const station = yield* Station.connect(yield* endpoint, "CP001")
      yield* Station.session(station)
    }).pipe(Effect.provide(Csms.layer(0))),
  )

  it.live("answers each version with what is valid there", () =>
    Effect.gen(function* () {
      const url = yield* endpoint
      for (const protocol of [Ocpp201, Ocpp21]) {
        const options = { endpoint: url, identity: protocol.name, protocols: [protocol], strictMode: true }
        const client = yield* Client.make(options)
        expect(yield* client.call("Heartbeat", {})).toEqual({ currentTime: expect.any(String) })
        const idToken = { idToken: "04E3A2B1", type: "ISO14443" }
        expect(yield* client.call("Authorize", { idToken })).toEqual({ idTokenInfo: { status: "Accepted" } })
      }
    }).pipe(Effect.provide(Csms.layer(0))),
  )
})

describe("the subprotocol of one's own", () => {
  it.live("is validated by its own Schemas", () =>
    Effect.gen(function* () {
      expect(yield* OwnProtocol.visit("EV-1000")).toBe("Open")
      expect(yield* OwnProtocol.visit("B-1000")).toBe("Full")
      expect(yield* Effect.flip(OwnProtocol.visit("no plate"))).toMatchObject({ _tag: "RPCError" })
    }).pipe(Effect.provide(Layer.provideMerge(OwnProtocol.layer(0), quiet))),
  )
})

describe("smart charging", () => {
  it.effect("shares the site's current anew whenever a station comes or goes", () =>
    Effect.gen(function* () {
      const limits = new Map<string, number | undefined>()
      const { connect, server } = yield* serve(Ocpp16, [], { strictMode: true })
      yield* Layer.build(SmartCharging.layer(50)).pipe(Effect.provideService(Server.Server, server))
      const join = (identity: string) => {
        const obey = Handlers.make(Ocpp16, {
          SetChargingProfile: ({ csChargingProfiles }) => {
            limits.set(identity, csChargingProfiles.chargingSchedule.chargingSchedulePeriod[0]?.limit)
            return Effect.succeed({ status: "Accepted" })
          },
        })
        return Effect.tap(connect(identity, { handlers: [obey], strictMode: true }), settled)
      }
      yield* settled
      const first = yield* join("CP001")
      expect(Object.fromEntries(limits)).toEqual({ CP001: 50 })
      yield* join("CP002")
      yield* join("CP003")
      expect(Object.fromEntries(limits)).toEqual({ CP001: 16.6, CP002: 16.6, CP003: 16.6 })
      yield* first.close()
      yield* settled
      expect(Object.fromEntries(limits)).toEqual({ CP001: 16.6, CP002: 25, CP003: 25 })
    }).pipe(Effect.provide(quiet)),
  )
})

describe("the CSMS that can be watched", () => {
  const heartbeat = Effect.fnUntraced(function* (port: number) {
    const options = { endpoint: `ws://localhost:${port}`, identity: "CP001", protocols: [Ocpp16] }
    yield* Effect.flatMap(Client.make(options), (client) => client.call(Ocpp16.Heartbeat, {}))
  })

  it.live("shows Prometheus its calls", () =>
    Effect.gen(function* () {
      const port = yield* Observability.listen(0)
      yield* heartbeat(port)
      const get = (path: string) => Effect.promise(() => fetch(`http://localhost:${port}${path}`))
      const response = yield* get("/metrics")
      expect(response.headers.get("content-type")).toMatch(/^text\/plain/)
      const text = yield* Effect.promise(() => response.text())
      expect(text).toMatch(/^ocpp_calls_total\{.*action="Heartbeat".*\} 1$/m)
      expect(text).toMatch(/^ocpp_connections\{side="csms"\} 1$/m)
      expect((yield* get("/")).status).toBe(404)
    }).pipe(
      Effect.provideServiceEffect(
        Metric.MetricRegistry,
        Effect.sync(() => new Map()),
      ),
      Effect.provide(quiet),
    ),
  )

  it.live("exports spans where an OTLP URL is configured", () =>
    Effect.gen(function* () {
      const received = new Map<string, string>()
      const collector = createServer(async (request, response) => {
        let body = ""
        for await (const chunk of request) body += chunk
        received.set(`${request.url}`, `${received.get(`${request.url}`) ?? ""}${body}`)
        response.setHeader("content-type", "application/json").end("{}")
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void collector.listen(0, () => resume(Effect.void))),
        () => Effect.sync(() => collector.close().closeAllConnections()),
      )
      const OTLP_URL = `http://localhost:${(collector.address() as AddressInfo).port}`
      yield* Effect.flatMap(Observability.listen(0), heartbeat).pipe(
        Effect.scoped,
        Effect.provide(Observability.Telemetry),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ OTLP_URL }))),
      )
      // What is left is exported when the Layer closes.
      expect(received.get("/v1/traces")).toContain('"name":"Heartbeat"')
      expect(received.get("/v1/logs")).toContain("a heartbeat")
    }).pipe(Effect.provide(quiet)),
  )

  it.live("exports nothing where none is", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(Observability.Telemetry)
      expect(context.mapUnsafe.has(Tracer.TracerKey)).toBe(false)
    }).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))),
  )
})

describe("the reconnect policies", () => {
  /** A client that loses its first connection, whose attempts then all fail: how many there were, and whether it still tries. */
  const lose = Effect.fnUntraced(function* (policy: keyof typeof Reconnecting.policies, code?: number) {
    let attempts = 0
    const [near, far] = Transport.makePair("ocpp1.6")
    far.listen({ onMessage() {}, onPing() {}, onPong() {}, onError() {}, onClose() {} })
    const failure =
      code === undefined
        ? new Client.ConnectError({ message: "nobody there", retryable: true })
        : new Client.UnexpectedHttpResponse(
            "ws://localhost",
            {} as ClientRequest,
            { statusCode: code } as IncomingMessage,
          )
    const dial: Client.Dial = () => (++attempts === 1 ? Effect.succeed(near) : Effect.fail(failure))
    const reconnect = Reconnecting.policies[policy]
    const said: Array<string> = []
    const log = vi.spyOn(console, "log").mockImplementation((line) => void said.push(line))
    yield* Effect.addFinalizer(() => Effect.sync(() => log.mockRestore()))
    const client = yield* Client.makeWith(dial, { identity: "CP001", protocols: [Ocpp16], reconnect })
    Reconnecting.follow(client)
    far.terminate()
    yield* settled
    for (let minute = 0; minute < 60; minute++) {
      yield* TestClock.adjust("1 minute")
      yield* settled
    }
    expect(said[0]).toMatch(/^lost: 1006/)
    expect(said.filter((line) => line === "connecting")).toHaveLength(attempts - 1)
    return { attempts: attempts - 1, gaveUp: client.state === Connection.State.CLOSED }
  }, Effect.scoped)

  it.effect("go on as long as they say", () =>
    Effect.gen(function* () {
      expect(yield* lose("never")).toEqual({ attempts: 0, gaveUp: true })
      expect(yield* lose("own")).toEqual({ attempts: 10, gaveUp: true })
      expect(yield* lose("own", 401)).toEqual({ attempts: 1, gaveUp: true })
      expect(yield* lose("own", 503)).toEqual({ attempts: 10, gaveUp: true })
      const ocpp = yield* lose("ocpp")
      expect(ocpp.gaveUp).toBe(false)
      const exponential = yield* lose("exponential")
      expect(exponential.gaveUp).toBe(false)
      expect(exponential.attempts).toBeGreaterThan(ocpp.attempts)
    }),
  )
})

describe("the guarded handlers", () => {
  it.effect("let a station call unless its boot is pending, and not too often", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve(Ocpp16, [Middlewares.guarded], { strictMode: true })
      const station = yield* connect("CP001")
      const stop = { transactionId: 1, meterStop: 500, timestamp: "2026-01-01T00:00:00Z" }
      yield* station.call(Ocpp16.BootNotification, { ...boot, chargePointVendor: "Stranger" })
      expect(yield* Effect.flip(station.call(Ocpp16.StopTransaction, stop))).toMatchObject({ code: "SecurityError" })
      yield* station.call(Ocpp16.BootNotification, boot)
      for (let i = 0; i < 97; i++) yield* station.call(Ocpp16.StopTransaction, stop)
      expect(yield* Effect.flip(station.call(Ocpp16.StopTransaction, stop))).toMatchObject({ code: "GenericError" })
    }).pipe(Effect.provide(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))), Effect.provide(quiet)),
  )

  it.live("are what the server runs", () =>
    Effect.gen(function* () {
      const client = yield* Client.make({ endpoint: yield* endpoint, identity: "CP001", protocols: [Ocpp16] })
      expect(yield* client.call(Ocpp16.BootNotification, boot)).toMatchObject({ status: "Accepted" })
    }).pipe(Effect.provide(Layer.provide(Middlewares.layer(0), quiet))),
  )
})

describe("the fleet", () => {
  it.effect("connects its stations, and prints a line a second", () =>
    Effect.gen(function* () {
      const fleet = yield* Effect.forkChild(Fleet.run(yield* endpoint, 20, "10 seconds"))
      yield* stations(20)
      while (true) {
        yield* settled
        yield* TestClock.adjust("1 second")
        const lines = yield* TestConsole.logLines
        if (lines.some((line) => /^20 of 20 connected, \d\d+ heartbeats, 0 failures$/.test(String(line)))) break
      }
      yield* Fiber.interrupt(fleet)
      yield* stations(0)
    }).pipe(Effect.provide(Layer.provideMerge(SmallCsms.layer(0), quiet))),
  )
})

describe("the configured CSMS and station", () => {
  it.live("take their options from the environment", () =>
    Effect.gen(function* () {
      const taken = createServer()
      const port = yield* Effect.callback<number>((resume) => {
        taken.listen(0, () => {
          const { port } = taken.address() as AddressInfo
          taken.close(() => resume(Effect.succeed(port)))
        })
      })
      const beat = (values: Readonly<Record<string, unknown>>) =>
        Effect.provide(Configuration.beat, ConfigProvider.layer(ConfigProvider.fromUnknown(values)))
      expect(yield* beat({ PORT: port, PASSWORD: "secret", STRICT: true })).toEqual({ currentTime: expect.any(String) })
      expect(yield* Effect.flip(beat({ PORT: port }))).toBeInstanceOf(Config.ConfigError)
    }).pipe(Effect.provide(quiet)),
  )
})

describe("run directly, and interrupted, it ends with 0 and says so to its stations:", () => {
  for (const file of ["smallCsms.ts", "smartCharging.ts", "observability.ts"]) {
    it.live(
      `examples/${file}`,
      () =>
        Effect.gen(function* () {
          const program = yield* Effect.acquireRelease(
            Effect.sync(() =>
              spawn(process.execPath, ["--import", "tsx", `examples/${file}`, "0"], {
                cwd: new URL("..", import.meta.url),
                stdio: ["ignore", "pipe", "inherit"],
              }),
            ),
            (child) => Effect.sync(() => child.kill("SIGKILL")),
          )
          const exited = once(program, "exit")
          const listening = /ws:\/\/localhost:(\d+)/
          const said = yield* Effect.promise(async () => {
            let text = ""
            for await (const chunk of program.stdout.iterator({ destroyOnReturn: false })) {
              text += chunk
              if (listening.test(text)) break
            }
            return text
          })
          program.stdout.resume()
          const options = { endpoint: `ws://localhost:${listening.exec(said)?.[1]}`, password: "secret" }
          const client = yield* Client.make({ ...options, identity: "CP1", protocols: [Ocpp16], reconnect: false })
          program.kill("SIGINT")
          expect(yield* client.closed).toMatchObject({ code: 1001 })
          expect(yield* Effect.promise(() => exited)).toEqual([0, null])
        }),
      30_000,
    )
  }
})

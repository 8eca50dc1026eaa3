/** The programs in examples/, run as a reader would run them. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createRequire } from "node:module"
import { createInterface } from "node:readline"
import { afterEach, describe, expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Backoff, Client, type Connection, Handlers, Ocpp16, RPCSecurityError, Server } from "effect-ocpp"

const { RPCClient } = createRequire(import.meta.url)("ocpp-rpc") as {
  // An implementation of other people, in plain JavaScript.
  readonly RPCClient: new (
    options: object,
  ) => {
    readonly connect: () => Promise<unknown>
    readonly call: (action: string, params: object) => Promise<Record<string, unknown>>
    readonly once: (event: string, listener: (event: { readonly code: number }) => void) => void
  }
}

const running = new Set<ChildProcess>()
afterEach(() => {
  for (const child of running) child.kill("SIGKILL")
})

const run = (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, ["--import", "tsx", ...args], {
    cwd: new URL("..", import.meta.url),
    stdio: ["ignore", "pipe", "inherit"],
  })
  running.add(child)
  const exited = once(child, "exit").then(([code]) => {
    running.delete(child)
    return code as number | null
  })
  const lines: Array<string> = []
  const reader = createInterface({ input: child.stdout })
  reader.on("line", (line) => lines.push(line))
  const line = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      for (const seen of lines) {
        const match = pattern.exec(seen)
        if (match !== null) return match
      }
      await once(reader, "line")
    }
  }
  return { child, exited, line, lines }
}

describe("npm run demo", () => {
  it("shows a whole session, frame by frame, and ends with 0", { timeout: 30_000 }, async () => {
    const demo = run("examples/demo.ts", "--once", "--port", "0")
    expect(await demo.exited).toBe(0)
    const said = demo.lines.join("\n")
    for (const action of [
      "BootNotification",
      "Heartbeat",
      "Authorize",
      "StartTransaction",
      "MeterValues",
      "StopTransaction",
    ]) {
      expect(said).toMatch(new RegExp(`CP001 → CSMS .*CALL .*"${action}"`))
    }
    expect(said).toMatch(/CSMS → CP001 .*CALL .*"RemoteStartTransaction"/)
    expect(said).toMatch(/the station has answered the remote command: Accepted/)
    expect(said).not.toMatch(/CALLERROR|not valid/)
  })
})

describe("npm start", () => {
  it("serves other implementations after the session, until Ctrl-C closes gracefully", {
    timeout: 30_000,
  }, async () => {
    const start = run("examples/demo.ts", "--port", "0")
    const [, port] = await start.line(/localhost:(\d+)/)
    await start.line(/Ctrl-C/)
    const clients = ["ocpp1.6", "ocpp2.0.1"].map((protocol) => {
      const options = {
        endpoint: `ws://localhost:${port}`,
        identity: protocol,
        protocols: [protocol],
        reconnect: false,
      }
      return new RPCClient({ ...options, strictMode: true })
    })
    const [v16, v201] = clients as [InstanceType<typeof RPCClient>, InstanceType<typeof RPCClient>]
    const closed = clients.map((client) => new Promise((resolve) => client.once("close", ({ code }) => resolve(code))))
    await Promise.all(clients.map((client) => client.connect()))
    expect(await v16.call("BootNotification", { chargePointVendor: "V", chargePointModel: "M" })).toMatchObject({
      status: "Accepted",
    })
    const boot = { reason: "PowerUp", chargingStation: { vendorName: "V", model: "M" } }
    expect(await v201.call("BootNotification", boot)).toMatchObject({ status: "Accepted" })
    await expect(v16.call("Authorize", { idTag: "unknown" })).resolves.toEqual({ idTagInfo: { status: "Invalid" } })
    start.child.kill("SIGINT")
    expect(await Promise.all(closed)).toEqual([1001, 1001])
    expect(await start.exited).toBe(0)
  })
})

describe("the programs of the design", () => {
  const now = Effect.map(DateTime.now, DateTime.formatIso)

  const CentralSystem = Handlers.make(Ocpp16, {
    BootNotification: Effect.fn("boot")(function* () {
      const station = yield* Server.Station
      yield* Effect.logDebug(`${station.identity} boots`)
      return { status: "Accepted", currentTime: yield* now, interval: 300 }
    }),
    Authorize: ({ idTag }) =>
      idTag === "04E3A2" ? Effect.succeed({ idTagInfo: { status: "Accepted" } }) : new RPCSecurityError("unknown tag"),
  })

  const ChargePoint = Handlers.make(Ocpp16, {
    RemoteStartTransaction: ({ idTag }) => Effect.succeed({ status: idTag === "04E3A2" ? "Accepted" : "Rejected" }),
  })

  const Csms = Server.layer({
    protocols: [Ocpp16],
    handlers: [CentralSystem],
    strictMode: true,
    auth: ({ password }) => (password?.toString() === "secret" ? Effect.void : Server.reject(401)),
  })

  it.live("run", () =>
    Effect.gen(function* () {
      const csms = yield* Server.Server
      const client = yield* Client.make({
        endpoint: `ws://localhost:${csms.port}`,
        identity: "CP001",
        password: "secret",
        protocols: [Ocpp16],
        handlers: [ChargePoint],
        reconnect: Backoff.ocpp({ waitMinimum: "10 seconds", randomRange: "5 seconds", repeatTimes: 5 }),
      })
      const frames: Array<Connection.FrameEvent> = []
      yield* Effect.forkChild(
        Stream.runForEach(client.frames, (frame) => Effect.sync(() => frames.push(frame))),
        { startImmediately: true },
      )
      const boot = yield* client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
      expect(boot).toMatchObject({ status: "Accepted", interval: 300 })
      expect(yield* Effect.flip(client.call(Ocpp16.Authorize, { idTag: "x" }))).toBeInstanceOf(RPCSecurityError)

      const station = yield* csms.station("CP001")
      const { status } = yield* station.call(Ocpp16.RemoteStartTransaction, { idTag: "04E3A2", connectorId: 1 })
      expect(status).toBe("Accepted")
      expect(frames.map(({ outbound }) => outbound)).toEqual([true, false, true, false, false, true])
    }).pipe(Effect.provide(Csms.pipe(Layer.orDie))),
  )
})

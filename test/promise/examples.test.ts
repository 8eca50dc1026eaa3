/** The promise face with what people run: the programs of examples/, imported, and run as a reader would run them. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { createConnection } from "node:net"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { describe, expect, it, onTestFinished } from "@effect/vitest"
import { RPCClient, type RPCClientOptions, UnexpectedHttpResponse } from "effect-ocpp"
import { WebSocket } from "ws"
import * as Express from "../../examples/express.ts"
import * as Fastify from "../../examples/fastify.ts"
import * as SeveralServers from "../../examples/severalServers.ts"
import { next, rejection } from "../support/listeners.ts"

interface Example {
  readonly start: (port: number) => Promise<{ readonly port: number; readonly close: () => Promise<unknown> }>
}

const root = fileURLToPath(new URL("../..", import.meta.url))

const started = async (example: Example) => {
  const running = await example.start(0)
  onTestFinished(async () => void (await running.close()))
  return running
}

/** A station of OCPP 1.6 that is connected, unless the options say otherwise, and can be reset. */
const connect = async (endpoint: string, options: Partial<RPCClientOptions> = {}) => {
  const client = new RPCClient({
    endpoint,
    identity: "CP 1",
    protocols: ["ocpp1.6"],
    strictMode: true,
    reconnect: false,
    ...options,
  })
  onTestFinished(async () => void (await client.close({ force: true })))
  client.handle("Reset", ({ params }) => ({ status: params.type === "Soft" ? "Accepted" : "Rejected" }))
  await client.connect()
  return client
}

const isRefused = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1")
    socket.once("connect", () => socket.destroy(void resolve(false)))
    socket.once("error", (error) => resolve("code" in error && error.code === "ECONNREFUSED"))
  })

/** A program that runs until it is told to end. None of the examples calls `process.exit`: it ends when nothing is open. */
const run = (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] })
  onTestFinished(() => void child.kill("SIGKILL"))
  const exited = once(child, "exit").then(([code]) => code as number | null)
  let said = ""
  child.stdout.setEncoding("utf8").on("data", (chunk) => (said += chunk))
  /** What the program says, or the group in it, as soon as it does. */
  const says = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const match = pattern.exec(said)
      if (match !== null) return match[1] ?? match[0]
      if (child.stdout.readableEnded) throw new Error(`it has ended, and said only ${JSON.stringify(said)}`)
      await Promise.race([once(child.stdout, "data"), once(child.stdout, "end")])
    }
  }
  const interrupted = () => (child.kill("SIGINT"), exited)
  return { interrupted, says }
}

const listensOn = /ws:\/\/localhost:(\d+)/

describe.each<[string, Example]>([
  ["express.ts", Express],
  ["fastify.ts", Fastify],
])("examples/%s", (_, example) => {
  it("serves stations and operators on one port", async () => {
    const { port } = await started(example)
    const stations = async () => (await (await fetch(`http://localhost:${port}/stations`)).json()) as Array<string>
    const reset = async (identity: string) => {
      const response = await fetch(`http://localhost:${port}/stations/${identity}/reset`, { method: "POST" })
      return { status: response.status, body: await response.json() }
    }

    expect(await stations()).toEqual([])
    const client = await connect(`ws://localhost:${port}`)
    const boot = await client.call("BootNotification", { chargePointVendor: "V", chargePointModel: "M" })
    expect(boot).toMatchObject({ status: "Accepted", interval: 300 })
    expect(await stations()).toEqual(["CP 1"])
    expect(await reset("CP%201")).toEqual({ status: 200, body: { status: "Accepted" } })
    expect(await reset("CP%202")).toEqual({ status: 404, body: { error: "not connected" } })

    client.handle("Reset", () => new Error("the relay is stuck"))
    expect(await reset("CP%201")).toEqual({ status: 502, body: { error: expect.any(String) } })

    await client.close()
    // The server learns of it when its own end of the connection has closed.
    while ((await stations()).length > 0);
    expect(await reset("CP%201")).toMatchObject({ status: 404 })
  })

  it("knows a station that has reconnected before its former connection closes", async () => {
    const { port } = await started(example)
    const former = await connect(`ws://localhost:${port}`)
    const latter = await connect(`ws://localhost:${port}`)
    await former.close()
    await latter.call("BootNotification", { chargePointVendor: "V", chargePointModel: "M" })
    const response = await fetch(`http://localhost:${port}/stations/CP%201/reset`, { method: "POST" })
    expect(await response.json()).toEqual({ status: "Accepted" })
  })

  it("closes the stations, then the port", async () => {
    const { close, port } = await started(example)
    const client = await connect(`ws://localhost:${port}`)
    await fetch(`http://localhost:${port}/stations`).then((response) => response.text())
    const closed = next(client, "close")
    await close()
    expect(await closed).toEqual([{ code: 1001, reason: "" }])
    expect(await isRefused(port)).toBe(true)
  })
})

describe("examples/severalServers.ts", () => {
  it("serves each version by its path, and viewers beside them", async () => {
    const { port } = await started(SeveralServers)
    const endpoint = `ws://localhost:${port}`
    const viewer = new WebSocket(`${endpoint}/live?since=now`)
    await once(viewer, "open")
    const told: Array<string> = []
    viewer.on("message", (message) => told.push(String(message)))

    const v16 = await connect(`${endpoint}/ocpp16`)
    const v201 = await connect(`${endpoint}/ocpp201/east`, { identity: "CP2", protocols: ["ocpp2.0.1"] })
    for (const client of [v16, v201]) {
      expect(await client.call("Heartbeat", {})).toEqual({ currentTime: expect.any(String) })
    }
    while (told.length < 2) await once(viewer, "message")
    expect(told).toEqual(["CP 1 has connected with ocpp1.6", "CP2 has connected with ocpp2.0.1"])
    viewer.terminate()
  })

  it("knows no other path, nor another version at a path", async () => {
    const { port } = await started(SeveralServers)
    const endpoint = `ws://localhost:${port}`
    const error = await rejection(connect(`${endpoint}/ocpp15`))
    expect(error).toBeInstanceOf(UnexpectedHttpResponse)
    expect(error.code).toBe(404)
    await expect(connect(`${endpoint}/ocpp16`, { protocols: ["ocpp2.0.1"] })).rejects.toThrow()

    const socket = createConnection(port, "localhost")
    socket.write("GET // HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 404 /)
    expect((await fetch(`http://localhost:${port}/`)).status).toBe(404)
  })

  it("closes the stations and the viewers, then the port", async () => {
    const { close, port } = await started(SeveralServers)
    const endpoint = `ws://localhost:${port}`
    const viewer = new WebSocket(`${endpoint}/live`)
    await once(viewer, "open")
    const v16 = await connect(`${endpoint}/ocpp16`)
    const v201 = await connect(`${endpoint}/ocpp201`, { protocols: ["ocpp2.0.1"] })
    const closed = [v16, v201, viewer].map((end) => next(end, "close"))
    await close()
    const codes = (await Promise.all(closed)).map(([code]) => code.code ?? code)
    expect(codes).toEqual([1001, 1001, 1001])
    expect(await isRefused(port)).toBe(true)
  })
})

describe("run directly, and interrupted with a station connected, it leaves nothing open:", () => {
  it.each([
    ["express.ts", ""],
    ["fastify.ts", ""],
    ["severalServers.ts", "/ocpp16"],
  ])("examples/%s", { timeout: 30_000 }, async (file, path) => {
    const program = run("--import", "tsx", `examples/${file}`, "0")
    const port = await program.says(listensOn)
    const client = await connect(`ws://localhost:${port}${path}`)
    // Leaves a kept-alive HTTP connection.
    await fetch(`http://localhost:${port}/stations`).then((response) => response.text())
    const closed = next(client, "close")
    expect(await program.interrupted()).toBe(0)
    expect(await closed).toEqual([{ code: 1001, reason: "" }])
  })
})

describe("examples/plain.mjs and examples/plainStation.cjs", () => {
  const built = () => {
    if (!existsSync(`${root}/dist/index.js`)) execFileSync("npm", ["run", "-s", "build"], { cwd: root })
  }

  it("talk to each other, and end when they are interrupted", { timeout: 60_000 }, async () => {
    built()
    const csms = run("examples/plain.mjs", "0")
    const port = await csms.says(listensOn)
    const station = run("examples/plainStation.cjs", port)
    await csms.says(/^CP001 is a Plain$/m)
    await station.says(/^The CSMS has answered: Accepted$/m)
    await station.says(/^FREE charges at connector 1$/m)
    await csms.says(/^CP001 was asked to charge: Accepted$/m)

    const stranger = await rejection(connect(`ws://localhost:${port}`, { password: "guess" }))
    expect(stranger.code).toBe(401)
    const client = await connect(`ws://localhost:${port}`, { password: "secret" })
    expect(await rejection(client.call("Heartbeat", {}))).toMatchObject({ rpcErrorCode: "NotImplemented" })

    expect(await station.interrupted()).toBe(0)
    const closed = next(client, "close")
    expect(await csms.interrupted()).toBe(0)
    expect(await closed).toEqual([{ code: 1001, reason: "" }])
  })
})

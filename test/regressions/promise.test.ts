import { getEventListeners, once } from "node:events"
import * as Http from "node:http"
import * as Net from "node:net"
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest"
import { createRPCError, createValidator, RPCClient, RPCServer } from "../../src/index.ts"
import { connected, connectedToRaw, listening, makeClient } from "../support/listening.ts"
import { rawStation } from "../support/RawSocket.ts"
import { upgradeOf } from "../support/serve.ts"

const ends: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

const pair = async (setup: (client: import("../../src/index.ts").RPCServerClient) => void, more = {}) => {
  const server = new RPCServer({ protocols: ["echo1.0"] })
  server.on("client", setup)
  const http = await server.listen(0, "127.0.0.1")
  const { port } = http.address() as Net.AddressInfo
  const client = new RPCClient({
    endpoint: `ws://127.0.0.1:${port}`,
    identity: "A",
    protocols: ["echo1.0"],
    reconnect: false,
    callTimeoutMs: 500,
    ...more,
  })
  ends.push(
    () => client.close({ force: true }),
    () => server.close({ force: true }),
  )
  return { server, client }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe("promise face", () => {
  it("close() in the first 'connecting' event stays closed", async () => {
    const { client } = await pair(() => {})
    const life: Array<string> = []
    for (const name of ["connecting", "open", "closing", "close"] as const) client.on(name, () => void life.push(name))
    client.on("connecting", () => void client.close())
    await expect(client.connect()).rejects.toThrow()
    await turn()
    expect(life).toEqual(["connecting", "closing", "close"])
    expect(client.state).toBe(RPCClient.CLOSED)
  })

  it("a handler that closes its own connection sees its signal abort", async () => {
    let told: (aborted: boolean) => void = () => {}
    const aborted = new Promise<boolean>((resolve) => {
      told = resolve
    })
    const { client } = await pair((station) => {
      station.handle("Reset", async ({ signal }) => {
        void station.close()
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve))
        told(signal.aborted)
      })
    })
    await client.connect()
    await expect(client.call("Reset", {})).rejects.toThrow()
    expect(await aborted).toBe(true)
  })

  it("call while CLOSING is rejected at once", async () => {
    const { client } = await pair(() => {})
    await client.connect()
    const closing = client.close()
    await expect(client.call("X", {})).rejects.toThrow()
    expect(client.state).toBe(RPCClient.CLOSING)
    await closing
  })

  it("createRPCError with a null message is answered", async () => {
    const { client } = await pair((station) => {
      station.handle("X", () => {
        throw createRPCError("GenericError", null as never)
      })
    })
    await client.connect()
    await expect(client.call("X", {})).rejects.toMatchObject({ rpcErrorCode: "GenericError" })
  })

  for (const throws of ["now", "later"]) {
    it(`a handler that throws ${throws} what throws when it is asked anything is answered GenericError`, async () => {
      const ask = () => {
        throw new Error("a trap")
      }
      const reason = new Proxy({}, { get: ask, has: ask, getPrototypeOf: ask })
      const { client } = await pair((station) => {
        station.handle("X", () => {
          if (throws === "later") return Promise.reject(reason)
          throw reason
        })
      })
      await client.connect()
      await expect(client.call("X", {})).rejects.toMatchObject({ rpcErrorCode: "GenericError" })
    })
  }

  it("one signal for many calls has one listener, and takes back all of them", async () => {
    const { client } = await pair((station) => station.handle("X", () => new Promise(() => {})))
    await client.connect()
    const controller = new AbortController()
    const { signal } = controller
    const calls = Array.from({ length: 20 }, () => client.call("X", {}, { signal }))
    expect(getEventListeners(signal, "abort")).toHaveLength(1)
    controller.abort()
    expect((await Promise.allSettled(calls)).map(({ status }) => status)).toEqual(Array(20).fill("rejected"))
    expect(getEventListeners(signal, "abort")).toHaveLength(0)
  })

  it("no abort listener stays on a signal", async () => {
    const { client } = await pair((station) => station.handle("X", () => ({})))
    await client.connect()
    const controller = new AbortController()
    await client.call("X", {}, { signal: controller.signal })
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0)
  })

  it("calls inside handlers of 'disconnect' and 'close' are rejected, not lost", async () => {
    const { client, server } = await pair(() => {})
    await client.connect()
    const calls = (["disconnect", "close"] as const).map(
      (name) => new Promise((resolve) => client.on(name, () => resolve(client.call("X", {})))),
    )
    const outcomes = Promise.allSettled(calls)
    await server.close()
    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected"])
  })

  it("close → connect in 'close' works and close() resolves", async () => {
    const { client } = await pair(() => {})
    await client.connect()
    let again: Promise<unknown> | undefined
    client.once("close", () => {
      again = client.connect()
    })
    await client.close()
    await again
    expect(client.state).toBe(RPCClient.OPEN)
  })
})

describe("promise face, connected", () => {
  it("sends a SEND that was called while it connected", async () => {
    const { endpoint } = await listening({ protocols: ["ocpp2.1"] })
    const client = makeClient(endpoint, { protocols: ["ocpp1.6", "ocpp2.1"] })
    const connecting = client.connect()
    const data = [{ t: 0, v: "1" }]
    const note = { id: 1, pending: 0, basetime: "2026-01-01T00:00:00Z", data }
    const sent = client.call("NotifyPeriodicEventStream", note)
    await connecting
    expect(await sent).toBeUndefined()
  })

  it("judges by the validators that a client of a server has been given", async () => {
    const schema = { type: "object", properties: { text: { type: "string" } } }
    const validator = createValidator("echo1.0", [
      { $id: "urn:Echo.req", ...schema },
      { $id: "urn:Echo.conf", ...schema },
    ])
    const lenient = createValidator("echo1.0", [{ $id: "urn:Echo.req" }, { $id: "urn:Echo.conf" }])
    const protocols = ["echo1.0"]
    const { client, station } = await connected({ protocols }, { protocols }, (one) => one.handle(() => ({})))
    expect(await client.call("Echo", { text: 1 })).toEqual({})
    station.reconfigure({ strictMode: true, strictModeValidators: [validator] })
    await expect(client.call("Echo", { text: 1 })).rejects.toMatchObject({ rpcErrorCode: "TypeConstraintViolation" })
    station.reconfigure({ strictModeValidators: [lenient] })
    expect(await client.call("Echo", { text: 1 })).toEqual({})
  })

  it("'badMessage' holds what was answered as it was written", async () => {
    const { endpoint, server } = await listening({ protocols: ["ocpp1.6"] })
    const responses: Array<unknown> = []
    server.on("client", (client) => client.on("badMessage", ({ response }) => responses.push(response)))
    const station = await rawStation(endpoint, { protocols: ["ocpp1.6"] })
    station.send(`[2,"1","Heartbeat",${"[".repeat(70)}${"]".repeat(70)}]`)
    const answer = await station.receive()
    expect(answer.slice(0, 3)).toEqual([4, "1", "FormationViolation"])
    expect(responses).toEqual([answer])
  })

  it("a client that is accepted while another is being announced has an 'open' event too", async () => {
    const { endpoint, server } = await listening()
    const opened: Array<string> = []
    let acceptLate = () => {}
    const asked = new Promise<void>((resolve) =>
      server.auth((accept, _, { identity }) => {
        if (identity === "A") return accept()
        acceptLate = accept
        resolve()
      }),
    )
    server.on("client", (client) => {
      client.on("open", () => opened.push(client.identity))
      if (client.identity === "A") acceptLate()
    })
    const late = rawStation(endpoint, { identity: "B" })
    await asked
    await rawStation(endpoint, { identity: "A" })
    await late
    expect(opened.toSorted()).toEqual(["A", "B"])
  })

  it("listen() that is aborted the moment it listens does not listen", async () => {
    const server = new RPCServer()
    onTestFinished(() => server.close({ force: true }))
    for (let turns = 0; turns < 5; turns++) {
      const controller = new AbortController()
      const made: Array<Http.Server> = []
      const listen = vi.spyOn(Http.Server.prototype, "listen").mockImplementation(function (
        this: Http.Server,
        ...args
      ) {
        made.push(this)
        return Net.Server.prototype.listen.apply(this, args as never) as Http.Server
      })
      const outcome = server.listen(0, "127.0.0.1", { signal: controller.signal }).catch(() => undefined)
      listen.mockRestore()
      await new Promise<void>((resolve) => process.nextTick(resolve))
      for (let turn = 0; turn < turns; turn++) await undefined
      controller.abort()
      await outcome
      expect(made.map(({ listening }) => listening)).toEqual([false])
    }
  })

  it("refuses an endpoint that is none when it is reconfigured, and goes on as it was", async () => {
    const { client } = await connected()
    expect(() => client.reconfigure({ endpoint: "http://127.0.0.1" })).toThrow("endpoint must be a ws:// or wss:// URL")
    expect(client.state).toBe(RPCClient.OPEN)
  })

  it("a client of a server can be reconfigured, whatever its identity", async () => {
    const { endpoint, server } = await listening()
    const accepted = once(server, "client")
    const socket = Net.connect(Number(new URL(endpoint).port), "127.0.0.1")
    onTestFinished(() => void socket.destroy())
    socket.write(upgradeOf("/."))
    const [station] = await accepted
    expect(station.identity).toBe(".")
    expect(() => station.reconfigure({ callTimeoutMs: 5 })).not.toThrow()
  })

  it("takes other subprotocols, and strict mode for them, for its next connection", async () => {
    const { endpoint } = await listening({ protocols: ["ocpp1.6", "ocpp2.0.1"] })
    const client = makeClient(endpoint, { protocols: ["ocpp1.6"], strictMode: ["ocpp1.6"] })
    await client.connect()
    await client.close()
    client.reconfigure({ protocols: ["ocpp2.0.1"], strictMode: ["ocpp2.0.1"] })
    await client.connect()
    expect(client.protocol).toBe("ocpp2.0.1")
  })

  it("without a subprotocol calls what 2.1 sends", async () => {
    const { client, station } = await connected({ protocols: ["ocpp2.1"] }, {}, () => {})
    client.handle(({ method }) => ({ method }))
    expect(await station.call("NotifyPeriodicEventStream", {})).toEqual({ method: "NotifyPeriodicEventStream" })
  })

  it("listens on a port that is given as a string", async () => {
    const server = new RPCServer()
    onTestFinished(() => server.close({ force: true }))
    expect((await server.listen("0" as never, "127.0.0.1")).listening).toBe(true)
  })

  it("closes with 1000 where the code is no number", async () => {
    const { client, peer } = await connectedToRaw()
    await client.close({ code: "4000" as never })
    expect(await peer.closed).toEqual([1000, ""])
  })
})

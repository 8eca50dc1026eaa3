import { getEventListeners } from "node:events"
import type * as Net from "node:net"
import { afterEach, describe, expect, it } from "vitest"
import { createRPCError, RPCClient, RPCServer } from "../../src/index.ts"

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

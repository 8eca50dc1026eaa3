import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect, it } from "@effect/vitest"
import { RPCClient, RPCServer } from "effect-ocpp"

const server = new RPCServer({ protocols: ["ocpp2.1"], strictMode: true })
afterEach(() => server.close())

describe("a method that OCPP 2.1 sends unconfirmed", () => {
  it("leaves as a SEND, resolves when it is sent, and reaches its handler", async () => {
    const handled = new Promise((resolve) => {
      server.on("client", (client) => client.handle("NotifyPeriodicEventStream", ({ params }) => resolve(params)))
    })
    const { port } = (await server.listen(0, "127.0.0.1")).address() as AddressInfo
    const client = new RPCClient<"ocpp2.1">({
      endpoint: `ws://127.0.0.1:${port}`,
      identity: "CP001",
      protocols: ["ocpp2.1"],
      strictMode: true,
      reconnect: false,
    })
    await client.connect()
    const call = once(client, "call")
    const params = { id: 1, pending: 0, basetime: "2026-01-01T00:00:00Z", data: [{ t: 1, v: "5" }] }
    expect(await client.call("NotifyPeriodicEventStream", params)).toBeUndefined()
    expect((await call)[0].payload).toEqual([6, expect.any(String), "NotifyPeriodicEventStream", params])
    expect(await handled).toEqual(params)
    await client.close()
  })
})

/** A client as its server sees it. */
import { describe, expect, it } from "@effect/vitest"
import { RPCClient, TimeoutError } from "effect-ocpp"
import { next, record, rejection } from "../support/listeners.ts"
import { connected, listening } from "../support/listening.ts"
import { rawStation } from "../support/RawSocket.ts"

describe("an RPCServerClient", () => {
  it("cannot connect", async () => {
    const { station } = await connected()
    expect((await rejection(station.connect())).message).toBe("Cannot connect from server to client")
    expect(station.state).toBe(RPCClient.OPEN)
  })

  it("knows the handshake", async () => {
    const { station } = await connected(
      { protocols: ["a"] },
      { identity: "CP:1", protocols: ["b", "a"], query: "q=1", headers: { "x-h": "2" }, password: "p" },
    )
    const { headers, password, query, request, ...rest } = station.handshake
    expect(rest).toEqual({
      protocols: new Set(["b", "a"]),
      identity: "CP:1",
      endpoint: "/",
      remoteAddress: "127.0.0.1",
    })
    expect([headers["x-h"], password?.toString(), query.get("q"), request.url]).toEqual(["2", "p", "1", "/CP%3A1?q=1"])
  })

  it("knows the session", async () => {
    const { station } = await connected()
    expect(station.session).toEqual({})
  })

  it("has the identity, the subprotocol and the state", async () => {
    const { client, station } = await connected({ protocols: ["a"] }, { identity: "CP 1", protocols: ["a"] })
    expect([station.identity, station.protocol, station.state]).toEqual(["CP 1", "a", RPCClient.OPEN])
    await Promise.all([next(station, "close"), client.close()])
    expect(station.state).toBe(RPCClient.CLOSED)
  })

  it("inherits the options of its server", async () => {
    const { client, station } = await connected({ callTimeoutMs: 10 })
    client.handle(() => new Promise<never>(() => {}))
    expect(await rejection(station.call("Slow"))).toBeInstanceOf(TimeoutError)
  })

  it("can be reconfigured by itself", async () => {
    const { client, station } = await connected()
    client.handle(() => new Promise<never>(() => {}))
    station.reconfigure({ callTimeoutMs: 10 })
    expect(await rejection(station.call("Slow"))).toBeInstanceOf(TimeoutError)
  })

  it("calls its station, and handles its calls", async () => {
    const { client, station } = await connected()
    client.handle("Ask", ({ params }) => ({ station: params }))
    station.handle("Ask", ({ params }) => ({ server: params }))
    expect(await station.call("Ask", 1)).toEqual({ station: 1 })
    expect(await client.call("Ask", 2)).toEqual({ server: 2 })
    station.removeAllHandlers()
    expect((await rejection(client.call("Ask", 2))).rpcErrorCode).toBe("NotImplemented")
  })

  it("emits the events of both directions", async () => {
    const { client, station } = await connected({}, {}, (station) => station.handle("Up", () => ({})))
    client.handle("Down", () => ({}))
    const events = record(station, "message", "call", "response", "callResult")
    await client.call("Up")
    await station.call("Down")
    expect(events.map(([name, { outbound }]) => `${name} ${outbound ? "out" : "in"}`)).toEqual([
      "message in",
      "call in",
      "response out",
      "message out",
      "callResult in",
      "call out",
      "message out",
      "message in",
      "response in",
      "callResult out",
    ])
  })

  it("emits closing, disconnect and close when its server closes it", async () => {
    const { client, station } = await connected()
    const events = record(station, "closing", "disconnect", "close")
    const theirs = next(client, "close")
    expect(await station.close({ code: 4001, reason: "enough" })).toEqual({ code: 4001, reason: "enough" })
    expect(events).toEqual([
      ["closing", undefined],
      ["disconnect", { code: 4001, reason: "enough" }],
      ["close", { code: 4001, reason: "enough" }],
    ])
    expect(await theirs).toEqual([{ code: 4001, reason: "enough" }])
  })

  it("emits disconnect, closing and close when its station leaves; it does not reconnect", async () => {
    const { client, station } = await connected()
    const events = record(station, "connecting", "disconnect", "closing", "close")
    await Promise.all([next(station, "close"), client.close({ code: 4002 })])
    expect(events.map(([name]) => name)).toEqual(["disconnect", "closing", "close"])
  })

  it("aborts the signal of a handler when its station is lost", async () => {
    const { endpoint, server } = await listening()
    const aborted = new Promise<void>((resolve) =>
      server.on("client", (client) =>
        client.handle(({ signal }) => {
          signal.addEventListener("abort", () => resolve())
          socket.socket.terminate()
          return new Promise<never>(() => {})
        }),
      ),
    )
    const socket = await rawStation(endpoint)
    socket.send([2, "1", "Slow", {}])
    await aborted
  })

  it("sends raw messages", async () => {
    const { endpoint, server } = await listening()
    const accepted = next(server, "client")
    const socket = await rawStation(endpoint)
    const [station] = await accepted
    station.sendRaw('["raw"]')
    expect(await socket.receive()).toEqual(["raw"])
    await station.close()
    expect(() => station.sendRaw('["raw"]')).toThrow()
  })
})

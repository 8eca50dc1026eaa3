/** The documented client: its options, methods, states and events. */
import { Buffer } from "node:buffer"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it, onTestFinished, vi } from "@effect/vitest"
import {
  createRPCError,
  createValidator,
  DisconnectedError,
  NOREPLY,
  RPCClient,
  RPCError,
  RPCFrameworkError,
  RPCGenericError,
  RPCInternalError,
  RPCNotImplementedError,
  RPCSecurityError,
  type RPCServerClient,
  TimeoutError,
  UnexpectedHttpResponse,
} from "effect-ocpp"
import { WebSocketServer } from "ws"
import { fakeTime, lateness } from "../support/fakeTime.ts"
import { next, record, rejection } from "../support/listeners.ts"
import { connected, connectedToRaw, endpointOf, listening, makeClient } from "../support/listening.ts"

const unanswered = () => new Promise<never>(() => {})

/** A promise, and the function that fulfils it. */
const deferred = <A = void>() => {
  let resolve!: (value: A) => void
  const promise = new Promise<A>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

const echo = (client: RPCServerClient) => client.handle("Echo", ({ params }) => params)

describe("new RPCClient", () => {
  it("needs an identity", () => {
    expect(() => new RPCClient({} as never)).toThrow("'identity' is required")
    expect(() => new RPCClient({ identity: "" })).toThrow("'identity' is required")
    expect(() => new RPCClient(undefined as never)).toThrow("'identity' is required")
  })

  it("refuses strict mode without a subprotocol, and without a validator for it", () => {
    expect(() => new RPCClient({ identity: "A", strictMode: true })).toThrow("at least one subprotocol")
    expect(() => new RPCClient({ identity: "A", strictMode: true, protocols: ["a"] })).toThrow('subprotocol "a"')
    expect(() => new RPCClient({ identity: "A", strictMode: ["a"], protocols: ["a", "b"] })).toThrow('subprotocol "a"')
  })

  it("refuses numbers that make no sense, with the option's name", () => {
    expect(() => new RPCClient({ identity: "A", callConcurrency: 0 })).toThrow("callConcurrency")
    expect(() => new RPCClient({ identity: "A", maxBadMessages: -1 })).toThrow("maxBadMessages")
    expect(() => new RPCClient({ identity: "A", backoff: { initialDelay: -5 } })).toThrow("initialDelay")
  })

  it("is an EventEmitter in the state CLOSED", () => {
    const client = new RPCClient({ identity: "A" })
    expect(client.state).toBe(RPCClient.CLOSED)
    expect(client.protocol).toBeUndefined()
    expect(client.on("open", () => {}).listenerCount("open")).toBe(1)
  })

  it("numbers its states as WebSocket does", () => {
    const { CLOSED, CLOSING, CONNECTING, OPEN } = RPCClient
    expect([CONNECTING, OPEN, CLOSING, CLOSED]).toEqual([0, 1, 2, 3])
  })
})

describe("the option", () => {
  it("endpoint may have a path, and a slash at its end", async () => {
    const { endpoint, server } = await listening()
    const handshakes: Array<string> = []
    server.on("client", ({ handshake }) => handshakes.push(handshake.endpoint))
    await makeClient(`${endpoint}/ocpp/v1`).connect()
    await makeClient(`${endpoint}/ocpp/v1/`).connect()
    expect(handshakes).toEqual(["/ocpp/v1", "/ocpp/v1"])
  })

  it("identity is encoded in the URL", async () => {
    const { station } = await connected({}, { identity: "A B é:%?#" })
    expect(station.identity).toBe("A B é:%?#")
    expect(station.handshake.request.url).toBe("/A%20B%20%C3%A9%3A%25%3F%23")
  })

  it("identity may have a slash", async () => {
    const { station } = await connected({}, { identity: "A/B" })
    expect([station.identity, station.handshake.request.url]).toEqual(["A/B", "/A%2FB"])
  })

  it("protocols is what the server chooses from; default none", async () => {
    const { client, station } = await connected({ protocols: ["b", "a"] }, { protocols: ["a", "b"] })
    expect([client.protocol, station.protocol]).toEqual(["b", "b"])
    const none = await connected()
    expect([...none.station.handshake.protocols]).toEqual([])
    expect(none.client.protocol).toBeUndefined()
  })

  it("headers and wsOpts.headers are sent with the upgrade request; headers win", async () => {
    const { station } = await connected(
      {},
      { headers: { "x-a": "1", "x-b": "2" }, wsOpts: { headers: { "x-b": "3", "x-c": "4" } } },
    )
    expect(station.handshake.headers).toMatchObject({ "x-a": "1", "x-b": "2", "x-c": "4" })
  })

  it("query may be an object or a string", async () => {
    for (const query of [{ a: "1", b: "x y&z" }, "a=1&b=x+y%26z", "?a=1&b=x+y%26z"]) {
      const { station } = await connected({}, { query })
      expect([...station.handshake.query]).toEqual([
        ["a", "1"],
        ["b", "x y&z"],
      ])
    }
  })

  it("callTimeoutMs rejects an unanswered call with a TimeoutError", async () => {
    const { client } = await connected({}, { callTimeoutMs: 20 }, (station) => station.handle(unanswered))
    const error = await rejection(client.call("Slow"))
    expect(error).toBeInstanceOf(TimeoutError)
    expect(error).toBeInstanceOf(Error)
    expect(error.message).toContain("20 ms")
  })

  it.each([0, -1, Number.POSITIVE_INFINITY, 2 ** 31])("callTimeoutMs %d waits for ever", async (callTimeoutMs) => {
    const time = fakeTime()
    const answer = deferred<string>()
    const { client } = await connected({ pingIntervalMs: 0 }, { callTimeoutMs, pingIntervalMs: 0 }, (station) =>
      station.handle(() => answer.promise),
    )
    const call = client.call("Slow")
    await time.pass(2 ** 31)
    answer.resolve("at last")
    expect(await call).toBe("at last")
  })

  it("callTimeoutMs is 60 s by default", async () => {
    const time = fakeTime()
    const { client } = await connected({ pingIntervalMs: 0 }, { pingIntervalMs: 0 }, (station) =>
      station.handle(unanswered),
    )
    const settled = vi.fn()
    const error = rejection(client.call("Slow"))
    error.then(settled)
    await time.pass(60_000 - 2 * lateness)
    expect(settled).not.toHaveBeenCalled()
    await time.pass(lateness)
    expect(await error).toBeInstanceOf(TimeoutError)
  })

  it("pingIntervalMs is the time between pings, and 30 s by default", async () => {
    const time = fakeTime()
    for (const [interval, options] of [
      [500, { pingIntervalMs: 500 }],
      [30_000, {}],
    ] as const) {
      const { client, peer } = await connectedToRaw(options)
      const pings = vi.fn()
      peer.socket.on("ping", pings)
      await time.pass(interval - 2 * lateness)
      await peer.settled()
      expect(pings).not.toHaveBeenCalled()
      const ping = next(client, "ping")
      await time.pass(lateness)
      await ping
      expect(pings).toHaveBeenCalledTimes(1)
    }
  })

  it("pingIntervalMs drops a connection on which no pong came before the next ping", async () => {
    const { client, peer } = await connectedToRaw({ pingIntervalMs: 20 })
    // A socket that is paused reads no ping, and so answers none.
    peer.socket.pause()
    const [{ code }] = await next(client, "disconnect")
    expect(code).toBe(1006)
  })

  it.each([0, Number.POSITIVE_INFINITY, 2 ** 31])("pingIntervalMs %d never pings", async (pingIntervalMs) => {
    const time = fakeTime()
    const { peer } = await connectedToRaw({ pingIntervalMs })
    const pings = vi.fn()
    peer.socket.on("ping", pings)
    await time.pass(2 ** 31 + 1)
    await peer.settled()
    expect(pings).not.toHaveBeenCalled()
  })

  it.each([
    [true, 0],
    [false, 1],
  ])(
    "deferPingsOnActivity %s: activity within the interval leaves %d pings",
    async (deferPingsOnActivity, expected) => {
      const time = fakeTime()
      const { peer } = await connectedToRaw({ pingIntervalMs: 1000, deferPingsOnActivity })
      const pings = vi.fn()
      peer.socket.on("ping", pings)
      await time.pass(600)
      peer.send([2, "1", "Hello", {}])
      await peer.receive()
      await time.pass(600)
      await peer.settled()
      expect(pings).toHaveBeenCalledTimes(expected)
    },
  )

  it("deferPingsOnActivity is off by default, and a ping of the server is activity", async () => {
    const time = fakeTime()
    for (const [options, expected] of [
      [{}, 1],
      [{ deferPingsOnActivity: true }, 0],
    ] as const) {
      const { peer } = await connectedToRaw({ pingIntervalMs: 1000, ...options })
      const pings = vi.fn()
      peer.socket.on("ping", pings)
      await time.pass(600)
      await peer.settled()
      await time.pass(600)
      await peer.settled()
      expect(pings).toHaveBeenCalledTimes(expected)
    }
  })

  it.each([
    [true, ["ocpp1.6"], 1],
    [["ocpp1.6"], ["ocpp1.6", "other"], 1],
    [["ocpp2.0.1"], ["ocpp1.6"], 0],
    [false, ["ocpp1.6"], 0],
    [undefined, ["ocpp1.6"], 0],
  ])("strictMode %j with subprotocols %j", async (strictMode, protocols, failures) => {
    const options = strictMode === undefined ? {} : { strictMode }
    const { client } = await connected({ protocols: ["ocpp1.6"] }, { protocols, ...options }, (station) =>
      station.handle(() => ({})),
    )
    const events = record(client, "strictValidationFailure")
    await client.call("StatusNotification", { connectorId: "one" }).catch(() => {})
    expect(events).toHaveLength(failures)
  })

  it.each([
    [false, {}],
    [undefined, {}],
    [true, { message: "kaputt", stack: expect.stringContaining("kaputt"), hint: "oil" }],
  ])("respondWithDetailedErrors %s", async (respondWithDetailedErrors, details) => {
    const options = respondWithDetailedErrors === undefined ? {} : { respondWithDetailedErrors }
    const { client, peer } = await connectedToRaw(options)
    client.handle("Break", () => {
      throw Object.assign(new Error("kaputt"), { hint: "oil" })
    })
    peer.send([2, "1", "Break", {}])
    expect(await peer.receive()).toEqual([4, "1", "GenericError", "kaputt", details])
  })

  it.each([
    [undefined, 1],
    [2, 2],
    [Number.POSITIVE_INFINITY, 3],
  ])("callConcurrency %s: that many calls are unanswered at a time", async (callConcurrency, expected) => {
    const { client, peer } = await connectedToRaw(callConcurrency === undefined ? {} : { callConcurrency })
    const calls = ["A", "B", "C"].map((method) => client.call(method))
    const received = []
    while (received.length < expected) received.push(await peer.receive())
    await peer.settled()
    expect(peer.unread).toEqual([])
    for (let i = 0; i < 3; i++) {
      const [, id, method] = received[i] ?? (await peer.receive())
      peer.send([3, id, { method }])
    }
    expect(await Promise.all(calls)).toEqual([{ method: "A" }, { method: "B" }, { method: "C" }])
  })

  it("maxBadMessages is how many in a row are put up with; a good one resets the count", async () => {
    const { client, peer } = await connectedToRaw({ maxBadMessages: 1 })
    const events = record(client, "badMessage")
    peer.send("bad")
    peer.send([2, "1", "Good", {}])
    peer.send("bad")
    peer.send("worse")
    expect((await peer.closed)[0]).toBe(1002)
    expect(events).toHaveLength(3)
  })

  it("maxBadMessages is Infinity by default", async () => {
    const { client, peer } = await connectedToRaw()
    for (let i = 0; i < 500; i++) peer.send("bad")
    await peer.settled()
    expect(client.state).toBe(RPCClient.OPEN)
  })

  it.each(["wsOpts", "wsOptions"])("%s is passed on to ws", async (name) => {
    const { client, peer } = await connectedToRaw({ [name]: { maxPayload: 20 } })
    const closed = next(client, "close")
    peer.send([2, "1", "Long", { text: "longer than twenty bytes" }])
    expect((await peer.closed)[0]).toBe(1009)
    await closed
  })
})

describe("connect", () => {
  it("succeeds with the response to the upgrade request", async () => {
    const { endpoint } = await listening()
    const client = makeClient(endpoint)
    const opened = next(client, "open")
    const result = await client.connect()
    expect(result.response?.statusCode).toBe(101)
    expect((await opened)[0]).toEqual(result)
  })

  it("succeeds with the same result when it is called again", async () => {
    const { endpoint, server } = await listening()
    const clients = record(server, "client")
    const client = makeClient(endpoint)
    const [one, two] = await Promise.all([client.connect(), client.connect()])
    expect(one.response).toBe(two.response)
    expect((await client.connect()).response).toBe(one.response)
    expect(clients).toHaveLength(1)
  })

  it("rejects with UnexpectedHttpResponse when the server does not upgrade", async () => {
    const { endpoint, server } = await listening()
    server.auth((_, reject) => reject(418, "a teapot"))
    const error = await rejection(makeClient(endpoint).connect())
    expect(error).toBeInstanceOf(UnexpectedHttpResponse)
    expect(error.code).toBe(418)
    expect(error.response.statusCode).toBe(418)
    expect(error.request.path).toBe("/CP001")
  })

  it("rejects when there is no server, with the error of the socket", async () => {
    const { endpoint, httpServer } = await listening()
    await new Promise((done) => httpServer.close(done))
    const client = makeClient(endpoint)
    const events = record(client, "connecting", "closing", "close")
    expect(await rejection(client.connect())).toMatchObject({ code: "ECONNREFUSED" })
    expect(client.state).toBe(RPCClient.CLOSED)
    expect(events.map(([name]) => name)).toEqual(["connecting", "closing", "close"])
    expect(events[2]?.[1]).toMatchObject({ code: 1006 })
  })

  it.each(["http://127.0.0.1", "ftp://127.0.0.1", "no url at all", ""])(
    "rejects for the endpoint %j",
    async (endpoint) => {
      expect((await rejection(makeClient(endpoint).connect())).message).toContain(
        "endpoint must be a ws:// or wss:// URL",
      )
    },
  )

  it("rejects when no subprotocol matches", async () => {
    const { endpoint } = await listening({ protocols: ["one"] })
    const error = await rejection(makeClient(endpoint, { protocols: ["two"] }).connect())
    expect(error.message).toContain("subprotocol")
  })

  it("does not reconnect when it has never connected", async () => {
    const { endpoint, httpServer } = await listening()
    await new Promise((done) => httpServer.close(done))
    const client = makeClient(endpoint, { reconnect: true, backoff: { initialDelay: 1 } })
    const attempts = record(client, "connecting")
    await rejection(client.connect())
    expect([client.state, attempts.length]).toEqual([RPCClient.CLOSED, 1])
  })

  it("rejects while closing", async () => {
    const { client } = await connected()
    const closed = client.close()
    expect((await rejection(client.connect())).message).toBe("Cannot connect while closing")
    await closed
  })

  it("can follow a close", async () => {
    const { client } = await connected({}, {}, echo)
    await client.close()
    await client.connect()
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
  })

  it("that fails leaves no unhandled rejection", async () => {
    const unhandled = vi.fn()
    process.on("unhandledRejection", unhandled)
    onTestFinished(() => void process.off("unhandledRejection", unhandled))
    const { endpoint, server } = await listening()
    server.auth((_, reject) => reject(401))
    await rejection(makeClient(endpoint).connect())
    await new Promise(setImmediate)
    expect(unhandled).not.toHaveBeenCalled()
  })
})

describe("state", () => {
  it("changes in the tick of its cause: CLOSED, CONNECTING, OPEN, CLOSING, CLOSED", async () => {
    const { endpoint } = await listening()
    const client = makeClient(endpoint)
    expect(client.state).toBe(RPCClient.CLOSED)
    const opened = client.connect()
    expect(client.state).toBe(RPCClient.CONNECTING)
    await opened
    expect(client.state).toBe(RPCClient.OPEN)
    const closed = client.close()
    expect(client.state).toBe(RPCClient.CLOSING)
    await closed
    expect(client.state).toBe(RPCClient.CLOSED)
  })

  it("is what the events say when they are emitted", async () => {
    const { endpoint } = await listening()
    const client = makeClient(endpoint)
    const states: Array<readonly [string, number]> = []
    for (const name of ["connecting", "open", "closing", "disconnect", "close"] as const) {
      client.on(name, () => states.push([name, client.state]))
    }
    await client.connect()
    await client.close()
    const { CLOSED, CLOSING, CONNECTING, OPEN } = RPCClient
    expect(states).toEqual([
      ["connecting", CONNECTING],
      ["open", OPEN],
      ["closing", CLOSING],
      ["disconnect", CLOSING],
      ["close", CLOSED],
    ])
  })

  it("is CONNECTING as soon as a connection that is to be mended is lost", async () => {
    const { client, station } = await connected({}, { reconnect: true })
    const states: Array<number> = []
    client.on("disconnect", () => queueMicrotask(() => states.push(client.state)))
    await Promise.all([next(client, "disconnect"), station.close()])
    await Promise.resolve()
    expect(states).toEqual([RPCClient.CONNECTING])
  })
})

describe("the events", () => {
  const lifecycle = ["connecting", "protocol", "open", "disconnect", "closing", "close"]

  it("of a life that the client ends", async () => {
    const { endpoint } = await listening({ protocols: ["a"] })
    const client = makeClient(endpoint, { protocols: ["a"] })
    const events = record(client, ...lifecycle)
    const { response } = await client.connect()
    await client.close({ code: 4001, reason: "enough" })
    expect(events).toEqual([
      ["connecting", { protocols: ["a"] }],
      ["protocol", "a"],
      ["open", { response }],
      ["closing", undefined],
      ["disconnect", { code: 4001, reason: "enough" }],
      ["close", { code: 4001, reason: "enough" }],
    ])
  })

  it("of a life that the server ends", async () => {
    const { client, station } = await connected()
    const events = record(client, ...lifecycle)
    await Promise.all([next(client, "close"), station.close({ code: 4002, reason: "go" })])
    expect(events).toEqual([
      ["disconnect", { code: 4002, reason: "go" }],
      ["closing", undefined],
      ["close", { code: 4002, reason: "go" }],
    ])
  })

  it("of a reconnect; `protocol` is emitted once per connect()", async () => {
    const { endpoint, server } = await listening({ protocols: ["a"] })
    const client = makeClient(endpoint, { protocols: ["b", "a"], reconnect: true, backoff: { initialDelay: 1 } })
    const events = record(client, ...lifecycle)
    const accepted = next(server, "client")
    await client.connect()
    const [station] = await accepted
    await Promise.all([next(client, "open"), station.close({ code: 4003 })])
    expect(events.map(([name]) => name)).toEqual(["connecting", "protocol", "open", "disconnect", "connecting", "open"])
    expect(events[4]?.[1]).toEqual({ protocols: ["a"] })
    await client.close()
    await client.connect()
    expect(events.slice(6).map(([name]) => name)).toEqual([
      "closing",
      "disconnect",
      "close",
      "connecting",
      "protocol",
      "open",
    ])
  })

  const traffic = ["message", "call", "response", "callResult", "callError"]

  it("of an outbound call: call, message; then message, response, callResult", async () => {
    const { client } = await connected({}, {}, echo)
    const events = record(client, ...traffic)
    await client.call("Echo", { n: 1 })
    const { messageId } = events[0]![1]
    const call = [2, messageId, "Echo", { n: 1 }]
    const answer = [3, messageId, { n: 1 }]
    expect(events).toEqual([
      ["call", { messageId, outbound: true, payload: call }],
      ["message", { message: JSON.stringify(call), outbound: true }],
      ["message", { message: JSON.stringify(answer), outbound: false }],
      ["response", { outbound: false, payload: answer }],
      ["callResult", { messageId, outbound: true, method: "Echo", params: { n: 1 }, result: { n: 1 } }],
    ])
  })

  it("of an inbound call: message, call; then response, message, callResult", async () => {
    const { client, peer } = await connectedToRaw()
    client.handle("Echo", ({ params }) => params)
    const events = record(client, ...traffic)
    const call = [2, "m1", "Echo", { n: 1 }]
    const answer = [3, "m1", { n: 1 }]
    peer.send(call)
    expect(await peer.receive()).toEqual(answer)
    expect(events).toEqual([
      ["message", { message: JSON.stringify(call), outbound: false }],
      ["call", { messageId: "m1", outbound: false, payload: call }],
      ["response", { outbound: true, payload: answer }],
      ["message", { message: JSON.stringify(answer), outbound: true }],
      ["callResult", { messageId: "m1", outbound: false, method: "Echo", params: { n: 1 }, result: { n: 1 } }],
    ])
  })

  it("of an outbound call that is answered with an error", async () => {
    const { client, peer } = await connectedToRaw()
    const events = record(client, "response", "callResult", "callError")
    const call = rejection(client.call("Ask", { n: 1 }))
    const [, messageId] = await peer.receive()
    const answer = [4, messageId, "SecurityError", "no", { why: "so" }]
    peer.send(answer)
    const error = await call
    expect(error).toBeInstanceOf(RPCSecurityError)
    expect(error).toMatchObject({ message: "no", rpcErrorCode: "SecurityError", details: { why: "so" } })
    expect(events).toEqual([
      ["response", { outbound: false, payload: answer }],
      ["callError", { messageId, outbound: true, method: "Ask", params: { n: 1 }, error }],
    ])
  })

  it("of an inbound call that is answered with an error", async () => {
    const { client, peer } = await connectedToRaw()
    const error = createRPCError("SecurityError", "no", { why: "so" })
    client.handle("Ask", () => {
      throw error
    })
    const events = record(client, "response", "callResult", "callError")
    peer.send([2, "m1", "Ask", {}])
    const answer = [4, "m1", "SecurityError", "no", { why: "so" }]
    expect(await peer.receive()).toEqual(answer)
    expect(events).toEqual([
      ["response", { outbound: true, payload: answer }],
      ["callError", { messageId: "m1", outbound: false, method: "Ask", params: {}, error }],
    ])
  })

  it("`callError` is not emitted for a call that times out, nor for NOREPLY", async () => {
    const { client, peer } = await connectedToRaw()
    client.handle("Quiet", () => NOREPLY)
    const events = record(client, "callError", "callResult", "response")
    await rejection(client.call("Slow", {}, { callTimeoutMs: 5 }))
    peer.send([2, "1", "Quiet", {}])
    await peer.settled()
    expect(events).toEqual([])
  })

  it("`call` is emitted before the frame leaves, and before the handler runs", async () => {
    const { client, peer } = await connectedToRaw()
    const order: Array<string> = []
    client.on("call", ({ outbound }) => order.push(outbound ? "call out" : "call in"))
    client.handle("In", () => {
      order.push("handler")
      return {}
    })
    peer.send([2, "1", "In", {}])
    await peer.receive()
    expect(order).toEqual(["call in", "handler"])
    const send = vi.spyOn(peer.socket, "emit")
    void client.call("Out", {}, { noReply: true })
    expect(order.at(-1)).toBe("call out")
    expect(send).not.toHaveBeenCalled()
  })

  it.each([
    ["not JSON", "}", "-1", "RpcFrameworkError"],
    ["not an array", "{}", "-1", "RpcFrameworkError"],
    ["without a type number", '["2","m",{}]', "-1", "RpcFrameworkError"],
    ["of an unknown type", '[99,"m",{}]', "m", "MessageTypeNotSupported"],
    ["whose id is not a string", '[2,5,"Hello",{}]', "-1", "RpcFrameworkError"],
    ["whose method is not a string", '[2,"m",5,{}]', "m", "RpcFrameworkError"],
  ])("`badMessage` of a message that is %s", async (_, text, id, code) => {
    const { client, peer } = await connectedToRaw()
    const bad = next(client, "badMessage")
    peer.send(text)
    const [{ buffer, error, payload, response }] = await bad
    expect(buffer).toEqual(Buffer.from(text))
    expect(payload).toEqual(buffer)
    expect(error).toBeInstanceOf(RPCError)
    expect(error.rpcErrorCode).toBe(code)
    expect(response).toEqual([4, id, code, error.message, {}])
    expect(await peer.receive()).toEqual(response)
  })

  it("`badMessage` of a call whose id is being handled", async () => {
    const { client, peer } = await connectedToRaw()
    const answer = deferred<object>()
    const handler = vi.fn(() => answer.promise)
    client.handle(handler)
    const bad = next(client, "badMessage")
    peer.send([2, "m", "Hello", {}])
    peer.send([2, "m", "Hello", {}])
    const [{ error, response }] = await bad
    expect(error).toBeInstanceOf(RPCFrameworkError)
    expect(await peer.receive()).toEqual(response)
    answer.resolve({ once: true })
    expect(await peer.receive()).toEqual([3, "m", { once: true }])
    expect(handler).toHaveBeenCalledTimes(1)
  })

  it("`badMessage` and `unexpectedResponse` of an answer to no call, which gets no response", async () => {
    const { client, peer } = await connectedToRaw()
    const events = record(client, "badMessage", "unexpectedResponse")
    peer.send([3, "m1", { n: 1 }])
    peer.send([4, "m2", "GenericError", "no", { n: 2 }])
    await peer.settled()
    expect(peer.unread).toEqual([])
    expect(events.map(([name, event]) => [name, name === "badMessage" ? event.response : event])).toEqual([
      ["badMessage", null],
      ["unexpectedResponse", { type: 3, id: "m1", result: { n: 1 }, error: null }],
      ["badMessage", null],
      [
        "unexpectedResponse",
        { type: 4, id: "m2", result: null, error: { code: "GenericError", description: "no", details: { n: 2 } } },
      ],
    ])
  })

  it("an empty message is no bad message", async () => {
    const { client, peer } = await connectedToRaw()
    const events = record(client, "badMessage", "message")
    peer.send("")
    await peer.settled()
    expect(events).toEqual([])
  })

  it("`ping` tells the round trip time", async () => {
    const { client } = await connected({}, { pingIntervalMs: 10 })
    const [{ rtt }] = await next(client, "ping")
    expect(rtt).toBeGreaterThanOrEqual(0)
    expect(rtt).toBeLessThan(1000)
  })

  it("`socketError` is emitted when the socket breaks", async () => {
    const { client, peer } = await connectedToRaw()
    const events = record(client, "socketError", "disconnect")
    // A frame with a reserved bit, which means nothing.
    ;(peer.socket as any)._socket.write(Buffer.from([0xf1, 0]))
    await next(client, "close")
    expect(events.map(([name]) => name)).toEqual(["socketError", "disconnect"])
    expect(events[0]?.[1]).toBeInstanceOf(Error)
  })

  it("a listener that throws is reported as uncaught, and costs nobody the connection", async () => {
    const { client } = await connected({}, {}, echo)
    const uncaught = new Promise((resolve) => {
      const listeners = process.listeners("uncaughtException")
      process.removeAllListeners("uncaughtException")
      process.once("uncaughtException", (error) => {
        for (const listener of listeners) process.on("uncaughtException", listener)
        resolve(error)
      })
    })
    client.once("callResult", () => {
      throw new Error("a bug of the program")
    })
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
    expect(await uncaught).toMatchObject({ message: "a bug of the program" })
    expect(await client.call("Echo", { n: 2 })).toEqual({ n: 2 })
  })
})

describe("strict mode", () => {
  const strict = { protocols: ["ocpp1.6"], strictMode: true }
  const lax = { protocols: ["ocpp1.6"] }
  const boot = { chargePointVendor: "V", chargePointModel: "M" }

  it("does not send a call that is not valid", async () => {
    const { client, peer } = await connectedToRaw(strict)
    const events = record(client, "strictValidationFailure", "messageValidationFailure", "call", "message")
    const params = { chargePointVendor: "V" }
    const error = await rejection(client.call("BootNotification", params))
    expect(error).toBeInstanceOf(RPCError)
    expect(error.rpcErrorCode).toBe("OccurrenceConstraintViolation")
    await peer.settled()
    expect(peer.unread).toEqual([])
    const failure = {
      messageId: expect.any(String),
      method: "BootNotification",
      params,
      result: null,
      error,
      outbound: true,
      isCall: true,
    }
    expect(events).toEqual([
      ["strictValidationFailure", failure],
      ["messageValidationFailure", expect.objectContaining(failure)],
    ])
  })

  it("does not send a call of an action that the subprotocol does not have", async () => {
    const { client } = await connectedToRaw(strict)
    const failure = next(client, "strictValidationFailure")
    const error = await rejection(client.call("Teleport", {}))
    expect(error.rpcErrorCode).toBe("ProtocolError")
    expect((await failure)[0]).toMatchObject({ method: "Teleport", error, isCall: true, outbound: true })
  })

  it("rejects a call whose result is not valid", async () => {
    const result = { status: "Perhaps", currentTime: "now", interval: 1 }
    const { client } = await connected(lax, strict, (station) => station.handle("BootNotification", () => result))
    const failure = next(client, "strictValidationFailure")
    const error = await rejection(client.call("BootNotification", boot))
    expect(error).toBeInstanceOf(RPCError)
    expect((await failure)[0]).toEqual({
      messageId: expect.any(String),
      method: "BootNotification",
      params: boot,
      result,
      error,
      outbound: false,
      isCall: false,
    })
  })

  it("answers an inbound call that is not valid, without running its handler", async () => {
    const { client, peer } = await connectedToRaw(strict)
    const handler = vi.fn(() => ({ status: "Accepted" }))
    client.handle("Reset", handler)
    const failure = next(client, "strictValidationFailure")
    peer.send([2, "m1", "Reset", { type: "Lukewarm" }])
    const answer = await peer.receive()
    expect(answer.slice(0, 3)).toEqual([4, "m1", "PropertyConstraintViolation"])
    expect(answer[3]).toContain("/type")
    const [event] = await failure
    expect(event).toEqual({
      messageId: "m1",
      method: "Reset",
      params: { type: "Lukewarm" },
      result: null,
      error: expect.any(RPCError),
      outbound: false,
      isCall: true,
    })
    expect(handler).not.toHaveBeenCalled()
  })

  it("answers InternalError where the handler's result is not valid", async () => {
    const { client, peer } = await connectedToRaw(strict)
    client.handle("Reset", () => ({ status: "Perhaps" }))
    const failure = next(client, "strictValidationFailure")
    peer.send([2, "m1", "Reset", { type: "Hard" }])
    expect((await peer.receive()).slice(0, 3)).toEqual([4, "m1", "InternalError"])
    expect((await failure)[0]).toEqual({
      messageId: "m1",
      method: "Reset",
      params: { type: "Hard" },
      result: { status: "Perhaps" },
      error: expect.any(RPCError),
      outbound: true,
      isCall: false,
    })
  })

  it("`messageValidationFailure` has the fields of its own edition too", async () => {
    const { client, peer } = await connectedToRaw(strict)
    client.handle("Reset", () => ({ status: "Perhaps" }))
    const events = record(client, "messageValidationFailure")
    peer.send([2, "m1", "Reset", { type: "Lukewarm" }])
    peer.send([2, "m2", "Reset", { type: "Hard" }])
    await peer.receive()
    await peer.receive()
    expect(events.map(([, { messageId, payload, type }]) => ({ messageId, payload, type }))).toEqual([
      { messageId: "m1", type: "call", payload: [2, "m1", "Reset", { type: "Lukewarm" }] },
      { messageId: "m2", type: "response", payload: [3, "m2", { status: "Perhaps" }] },
    ])
  })

  it("writes the error codes as the subprotocol spells them", async () => {
    for (const [protocol, spelling] of [
      ["ocpp1.6", "OccurenceConstraintViolation"],
      ["ocpp2.0.1", "OccurrenceConstraintViolation"],
    ]) {
      const { peer } = await connectedToRaw({ protocols: [protocol as string], strictMode: true }, (client) =>
        client.handle(() => ({})),
      )
      peer.send([2, "m", "Reset", {}])
      expect((await peer.receive())[2]).toBe(spelling)
    }
  })

  it("validates calls of 2.1", async () => {
    const { client, peer } = await connectedToRaw({ protocols: ["ocpp2.1"], strictMode: true })
    const call = client.call("Heartbeat", {})
    const [, id] = await peer.receive()
    peer.send([3, id, { currentTime: "2024-01-01T00:00:00Z" }])
    expect(await call).toEqual({ currentTime: "2024-01-01T00:00:00Z" })
  })
})

describe("call", () => {
  it("sends a CALL with a unique id, and resolves with the payload of its result", async () => {
    const { client, peer } = await connectedToRaw()
    const calls = [client.call("A", { n: 1 }), client.call("B")]
    const [type, id, method, params] = await peer.receive()
    expect([type, method, params]).toEqual([2, "A", { n: 1 }])
    peer.send([3, id, { ok: true }])
    const second = await peer.receive()
    expect(second.slice(2)).toEqual(["B", {}])
    expect(second[1]).not.toBe(id)
    peer.send([3, second[1], {}])
    expect(await Promise.all(calls)).toEqual([{ ok: true }, {}])
  })

  it("may carry anything that is JSON, where no schema says otherwise", async () => {
    const { client } = await connected({}, {}, echo)
    for (const params of ["Hello", 5, false, [1, { a: [] }], { a: { b: null } }]) {
      expect(await client.call("Echo", params)).toEqual(params)
    }
  })

  it("rejects with the class of the error that was answered", async () => {
    const { client } = await connected({}, {}, (station) =>
      station.handle(({ params }) => {
        throw createRPCError(params as never, "text")
      }),
    )
    expect(await rejection(client.call("X", "NotImplemented"))).toBeInstanceOf(RPCNotImplementedError)
    expect(await rejection(client.call("X", "GenericError"))).toBeInstanceOf(RPCGenericError)
    expect(await rejection(client.call("X", "InternalError"))).toBeInstanceOf(RPCInternalError)
  })

  it("rejects with GenericError where the answered code is unknown", async () => {
    const { client, peer } = await connectedToRaw()
    const call = rejection(client.call("X"))
    const [, id] = await peer.receive()
    peer.send([4, id, "toString", "", {}])
    expect(await call).toMatchObject({ rpcErrorCode: "GenericError", receivedCode: "toString" })
  })

  it("callTimeoutMs of the call goes before that of the client", async () => {
    const { client, peer } = await connectedToRaw({ callTimeoutMs: 5, callConcurrency: 2 })
    const patient = client.call("Slow", {}, { callTimeoutMs: 5000 })
    const [, id] = await peer.receive()
    expect(await rejection(client.call("Slow"))).toBeInstanceOf(TimeoutError)
    peer.send([3, id, "late"])
    expect(await patient).toBe("late")
  })

  it("a late answer resolves nothing, and is a bad message", async () => {
    const { client, peer } = await connectedToRaw()
    const events = record(client, "badMessage")
    expect(await rejection(client.call("A", {}, { callTimeoutMs: 5 }))).toBeInstanceOf(TimeoutError)
    const [, late] = await peer.receive()
    const call = client.call("B")
    const [, id] = await peer.receive()
    peer.send([3, late, { answer: "A" }])
    peer.send([3, id, { answer: "B" }])
    expect(await call).toEqual({ answer: "B" })
    expect(events).toHaveLength(1)
  })

  it("signal takes a call back that is waiting for its answer, with its reason", async () => {
    const { client, peer } = await connectedToRaw()
    const controller = new AbortController()
    const call = rejection(client.call("A", {}, { signal: controller.signal }))
    await peer.receive()
    const reason = new Error("changed my mind")
    controller.abort(reason)
    expect(await call).toBe(reason)
  })

  it("signal takes a call back that is waiting for its turn; it is never sent", async () => {
    const { client, peer } = await connectedToRaw()
    const controller = new AbortController()
    const first = client.call("A")
    const second = rejection(client.call("B", {}, { signal: controller.signal }))
    const third = client.call("C")
    controller.abort()
    expect(await second).toMatchObject({ name: "AbortError" })
    for (const method of ["A", "C"]) {
      const frame = await peer.receive()
      expect(frame[2]).toBe(method)
      peer.send([3, frame[1], {}])
    }
    await Promise.all([first, third])
  })

  it("signal that is aborted already sends nothing", async () => {
    const { client, peer } = await connectedToRaw()
    expect((await rejection(client.call("A", {}, { signal: AbortSignal.abort() }))).name).toBe("AbortError")
    expect(await rejection(client.call("A", {}, { signal: AbortSignal.abort("because") }))).toMatchObject({
      name: "AbortError",
      message: "because",
    })
    await peer.settled()
    expect(peer.unread).toEqual([])
  })

  it("signal has no listener left once the call has ended", async () => {
    const { client } = await connected({}, {}, echo)
    const { signal } = new AbortController()
    const added = vi.spyOn(signal, "addEventListener")
    const removed = vi.spyOn(signal, "removeEventListener")
    for (let i = 0; i < 20; i++) await client.call("Echo", {}, { signal })
    expect(added).toHaveBeenCalledTimes(20)
    expect(removed).toHaveBeenCalledTimes(20)
  })

  it("noReply resolves at once with undefined; an answer is a bad message", async () => {
    const { client, peer } = await connectedToRaw()
    expect(await client.call("A", { n: 1 }, { noReply: true })).toBeUndefined()
    const [type, id] = await peer.receive()
    expect(type).toBe(2)
    const bad = next(client, "badMessage")
    peer.send([3, id, {}])
    expect((await bad)[0].response).toBeNull()
  })

  it("rejects when the connection is lost while it waits", async () => {
    const { client, peer } = await connectedToRaw({ reconnect: true })
    const call = rejection(client.call("A"))
    await peer.receive()
    peer.socket.terminate()
    expect(await call).toBeInstanceOf(DisconnectedError)
  })

  it("rejects in the states CLOSED and CLOSING", async () => {
    const { client } = await connected()
    expect(await rejection(makeClient("ws://127.0.0.1:9").call("A"))).toBeInstanceOf(Error)
    const closed = client.close()
    expect(await rejection(client.call("A"))).toBeInstanceOf(Error)
    await closed
    expect(await rejection(client.call("A"))).toBeInstanceOf(Error)
  })

  it("rejects in the state CLOSING though calls are being waited for", async () => {
    const answer = deferred<string>()
    const { client } = await connected({}, {}, (station) => station.handle(() => answer.promise))
    const call = client.call("Slow")
    const closed = client.close({ awaitPending: true })
    expect(await rejection(client.call("A"))).toBeInstanceOf(Error)
    answer.resolve("done")
    expect(await call).toBe("done")
    await closed
  })

  it("waits in the state CONNECTING", async () => {
    const { endpoint, server } = await listening()
    server.on("client", echo)
    const client = makeClient(endpoint)
    const opened = client.connect()
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
    await opened
  })

  it("waits while the client reconnects", async () => {
    const options = { reconnect: true, backoff: { initialDelay: 1 } }
    const { client, station } = await connected({}, options, echo)
    await Promise.all([next(client, "disconnect"), station.close()])
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
  })
})

describe("handle", () => {
  it("gives a handler the method, params, messageId, signal and reply", async () => {
    const { client, peer } = await connectedToRaw()
    const given: Array<unknown> = []
    client.handle("Hello", ({ method, params, messageId, signal, reply }) => {
      given.push(method, params, messageId, signal, reply)
      return {}
    })
    peer.send([2, "m1", "Hello", { n: 1 }])
    await peer.receive()
    expect(given).toEqual(["Hello", { n: 1 }, "m1", expect.any(AbortSignal), expect.any(Function)])
  })

  it("prefers the handler of the method to the wildcard, and the last of each", async () => {
    const { client, peer } = await connectedToRaw()
    client.handle(() => "wildcard 1")
    client.handle(({ method }) => `wildcard 2 for ${method}`)
    client.handle("A", () => "A 1")
    client.handle("A", () => "A 2")
    peer.send([2, "1", "A", {}])
    peer.send([2, "2", "B", {}])
    expect([await peer.receive(), await peer.receive()]).toEqual([
      [3, "1", "A 2"],
      [3, "2", "wildcard 2 for B"],
    ])
  })

  it("answers NotImplemented where there is no handler", async () => {
    const { peer } = await connectedToRaw()
    peer.send([2, "1", "A", {}])
    expect((await peer.receive()).slice(0, 3)).toEqual([4, "1", "NotImplemented"])
  })

  it("removeHandler removes one, or the wildcard", async () => {
    const { client, peer } = await connectedToRaw()
    const ask = async (method: string) => {
      peer.send([2, "1", method, {}])
      return (await peer.receive())[2]
    }
    client.handle("A", () => "A")
    client.handle(() => "wildcard")
    client.removeHandler("A")
    expect(await ask("A")).toBe("wildcard")
    client.handle("A", () => "A")
    client.removeHandler()
    expect([await ask("A"), await ask("B")]).toEqual(["A", "NotImplemented"])
  })

  it("removeAllHandlers removes all, the wildcard too", async () => {
    const { client, peer } = await connectedToRaw()
    client.handle("A", () => "A")
    client.handle(() => "wildcard")
    client.removeAllHandlers()
    peer.send([2, "1", "A", {}])
    expect((await peer.receive())[2]).toBe("NotImplemented")
  })

  it.each<readonly [string, (call: { reply: (answer: any) => void }) => unknown, ReadonlyArray<unknown>]>([
    ["a value is returned", () => ({ n: 1 }), [3, "m", { n: 1 }]],
    ["a promise is returned", async () => ({ n: 1 }), [3, "m", { n: 1 }]],
    ["nothing is returned", () => undefined, [3, "m", {}]],
    ["an error is returned", () => createRPCError("NotSupported"), [4, "m", "NotSupported", "", {}]],
    ["an error is thrown", () => fail(new Error("oh")), [4, "m", "GenericError", "oh", {}]],
    ["a promise rejects", async () => fail(new Error("oh")), [4, "m", "GenericError", "oh", {}]],
    [
      "an RPCError is thrown",
      () => fail(createRPCError("SecurityError", "no", { a: 1 })),
      [4, "m", "SecurityError", "no", { a: 1 }],
    ],
    ["a string is thrown", () => fail("oh"), [4, "m", "GenericError", "oh", {}]],
    ["null is thrown", () => fail(null), [4, "m", "GenericError", "null", {}]],
    ["undefined is thrown", () => fail(undefined), [4, "m", "GenericError", "undefined", {}]],
    ["reply gets a value", ({ reply }) => reply({ n: 1 }), [3, "m", { n: 1 }]],
    ["reply gets a promise", ({ reply }) => reply(Promise.resolve({ n: 1 })), [3, "m", { n: 1 }]],
    ["reply gets an error", ({ reply }) => reply(new Error("oh")), [4, "m", "GenericError", "oh", {}]],
    [
      "reply gets a promise that rejects",
      ({ reply }) => reply(Promise.reject(new Error("oh"))),
      [4, "m", "GenericError", "oh", {}],
    ],
    [
      "reply is called later, by a handler that waits",
      ({ reply }) => new Promise(() => setImmediate(reply, { n: 1 })),
      [3, "m", { n: 1 }],
    ],
    ["reply goes before what is returned", ({ reply }) => twice(reply, () => ({ n: 2 })), [3, "m", { n: 1 }]],
    ["reply goes before what is thrown", ({ reply }) => twice(reply, () => fail(new Error("oh"))), [3, "m", { n: 1 }]],
    ["reply is called twice", ({ reply }) => twice(reply, () => reply({ n: 2 })), [3, "m", { n: 1 }]],
    ["the result is not JSON", () => ({ n: 1n }), [4, "m", "InternalError", expect.any(String), {}]],
  ])("when %s, exactly one answer is sent", async (_, handler, answer) => {
    const { client, peer } = await connectedToRaw()
    client.handle("X", handler as never)
    peer.send([2, "m", "X", {}])
    expect(await peer.receive()).toEqual(answer)
    await new Promise(setImmediate)
    await peer.settled()
    expect(peer.unread).toEqual([])
  })

  it.each<readonly [string, (call: { reply: (answer: any) => void }) => unknown]>([
    ["returned", () => NOREPLY],
    ["returned by a promise", async () => NOREPLY],
    ["passed to reply", ({ reply }) => reply(NOREPLY)],
  ])("NOREPLY %s sends nothing; the answer can follow by sendRaw", async (_, handler) => {
    const { client, peer } = await connectedToRaw()
    client.handle("X", handler as never)
    peer.send([2, "m", "X", {}])
    await peer.settled()
    expect(peer.unread).toEqual([])
    client.sendRaw(JSON.stringify([3, "m", { raw: true }]))
    expect(await peer.receive()).toEqual([3, "m", { raw: true }])
  })

  it("aborts the signal of a handler when the connection is lost", async () => {
    const { client, peer } = await connectedToRaw()
    const aborted = new Promise((resolve) =>
      client.handle("Slow", ({ signal }) => {
        signal.addEventListener("abort", resolve)
        peer.socket.terminate()
        return unanswered()
      }),
    )
    peer.send([2, "m", "Slow", {}])
    await aborted
  })

  it("has no limit on inbound calls", async () => {
    const { client, peer } = await connectedToRaw()
    const all = deferred()
    let running = 0
    client.handle(async () => {
      if (++running === 1000) all.resolve()
      await all.promise
      return {}
    })
    for (let i = 0; i < 1000; i++) peer.send([2, `${i}`, "Slow", {}])
    for (let i = 0; i < 1000; i++) expect((await peer.receive())[0]).toBe(3)
  })

  it("a handler may call the other side", async () => {
    const { client, station } = await connected({}, {}, (station) =>
      station.handle("Ask", () => station.call("Name").then((name) => `Hello, ${name}!`)),
    )
    client.handle("Name", () => client.identity)
    expect(await client.call("Ask")).toBe("Hello, CP001!")
    expect(station.identity).toBe("CP001")
  })

  it("may be called as soon as connect() has succeeded: nothing has been handled before", async () => {
    const { endpoint, server } = await listening()
    const answer = new Promise((resolve) => server.once("client", (station) => resolve(station.call("Test", { n: 1 }))))
    const client = makeClient(endpoint)
    client.handle(({ method }) => `the wildcard got ${method}`)
    await client.connect()
    client.handle("Test", ({ params }) => params)
    expect(await answer).toEqual({ n: 1 })
  })

  it("does not run when the client is closed as soon as connect() has succeeded", async () => {
    const { endpoint, server } = await listening()
    server.once("client", (station) => station.call("Test").catch(() => {}))
    const client = makeClient(endpoint)
    const handler = vi.fn(() => ({}))
    client.handle(handler)
    await client.connect()
    expect(await client.close({ code: 4050 })).toEqual({ code: 4050, reason: "" })
    expect(handler).not.toHaveBeenCalled()
  })
})

describe("close", () => {
  it("closes with 1000 and no reason by default", async () => {
    const { client, station } = await connected()
    const theirs = next(station, "close")
    expect(await client.close()).toEqual({ code: 1000, reason: "" })
    expect(await theirs).toEqual([{ code: 1000, reason: "" }])
  })

  it("passes the code and the reason to the other side", async () => {
    const { client, station } = await connected()
    const theirs = next(station, "close")
    expect(await client.close({ code: 4001, reason: "TEST" })).toEqual({ code: 4001, reason: "TEST" })
    expect(await theirs).toEqual([{ code: 4001, reason: "TEST" }])
  })

  it.each([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 1000.5, Number.NaN])(
    "closes with 1000 for the code %d, which may not be sent",
    async (code) => {
      const { client } = await connected()
      expect(await client.close({ code, reason: "odd" })).toEqual({ code: 1000, reason: "odd" })
    },
  )

  it("twice gives the first code to both", async () => {
    const { client } = await connected()
    const both = await Promise.all([client.close({ code: 4001, reason: "first" }), client.close({ code: 4002 })])
    expect(both).toEqual([
      { code: 4001, reason: "first" },
      { code: 4001, reason: "first" },
    ])
    expect(await client.close({ code: 4003 })).toEqual({ code: 4001, reason: "first" })
  })

  it("during the first connect aborts it, with 1001 and the reason 'Connection aborted'", async () => {
    const { endpoint } = await listening()
    const client = makeClient(endpoint, { reconnect: true })
    const events = record(client, "close")
    const opened = rejection(client.connect())
    const closed = client.close({ code: 4001, reason: "mine" })
    expect(client.state).toBe(RPCClient.CLOSED)
    expect(await closed).toEqual({ code: 1001, reason: "Connection aborted" })
    expect(await opened).toBeInstanceOf(Error)
    expect(events).toEqual([["close", { code: 1001, reason: "Connection aborted" }]])
  })

  it("while reconnecting ends that, with the given code", async () => {
    const { client, station } = await connected(
      {},
      { reconnect: true, backoff: { initialDelay: 60_000, maxDelay: 60_000 } },
    )
    await Promise.all([next(client, "disconnect"), station.close()])
    expect(await client.close({ code: 4001, reason: "mine" })).toEqual({ code: 4001, reason: "mine" })
    expect(client.state).toBe(RPCClient.CLOSED)
  })

  it("does nothing when never connected, or closed", async () => {
    expect(await new RPCClient({ identity: "A" }).close()).toEqual({ code: 1000, reason: "" })
    const { client } = await connected()
    await client.close({ code: 4001 })
    const events = record(client, "closing", "close")
    await client.close()
    expect(events).toEqual([])
  })

  it("rejects the calls that are unanswered, and aborts the handlers", async () => {
    const { client, peer } = await connectedToRaw()
    const aborted = deferred<boolean>()
    const started = new Promise<void>((resolve) =>
      client.handle("Slow", ({ signal }) => {
        signal.addEventListener("abort", () => aborted.resolve(signal.aborted))
        resolve()
        return unanswered()
      }),
    )
    const call = rejection(client.call("A"))
    peer.send([2, "m", "Slow", {}])
    await started
    const closed = client.close()
    expect(await call).toBeInstanceOf(DisconnectedError)
    expect(await aborted.promise).toBe(true)
    await closed
  })

  it("awaitPending lets calls in both directions end first", async () => {
    const { client, peer } = await connectedToRaw()
    const answer = deferred<object>()
    client.handle("Slow", () => answer.promise)
    const call = client.call("A")
    const [, id] = await peer.receive()
    peer.send([2, "m", "Slow", {}])
    await peer.settled()
    const closed = client.close({ code: 4001, awaitPending: true })
    expect(client.state).toBe(RPCClient.CLOSING)
    peer.send([3, id, { answered: true }])
    expect(await call).toEqual({ answered: true })
    answer.resolve({ handled: true })
    expect(await peer.receive()).toEqual([3, "m", { handled: true }])
    expect(await closed).toEqual({ code: 4001, reason: "" })
  })

  it("awaitPending waits for calls that wait for their turn", async () => {
    const { client } = await connected({}, {}, echo)
    const calls = [1, 2, 3].map((n) => client.call("Echo", { n }))
    const closed = client.close({ awaitPending: true })
    expect(await Promise.all(calls)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    await closed
  })

  it("force ends at once with 1006, whatever is pending", async () => {
    const { client, station } = await connected({}, {}, (station) => station.handle(unanswered))
    const theirs = next(station, "close")
    const call = rejection(client.call("Slow"))
    const closed = client.close({ force: true, awaitPending: true, code: 4001 })
    expect(await call).toBeInstanceOf(DisconnectedError)
    expect((await closed).code).toBe(1006)
    expect((await theirs)[0].code).toBe(1006)
  })

  it("does not reconnect", async () => {
    const { client } = await connected({}, { reconnect: true, backoff: { initialDelay: 1 } })
    const events = record(client, "connecting", "close")
    await client.close()
    expect(events).toEqual([["close", { code: 1000, reason: "" }]])
    expect(client.state).toBe(RPCClient.CLOSED)
  })
})

describe("reconnecting", () => {
  it("is done by default, and not with reconnect: false", async () => {
    const { endpoint, server } = await listening()
    const client = new RPCClient({ endpoint, identity: "A", backoff: { initialDelay: 1 } })
    onTestFinished(async () => void (await client.close({ force: true })))
    const first = next(server, "client")
    await client.connect()
    const second = next(server, "client")
    await (await first)[0].close()
    await second

    const { client: once, station } = await connected({}, { reconnect: false })
    await Promise.all([next(once, "close"), station.close()])
    expect(once.state).toBe(RPCClient.CLOSED)
  })

  it("gives up after maxReconnects attempts in a row, with 1001", async () => {
    const { client, server, station } = await connected(
      {},
      { reconnect: true, maxReconnects: 3, backoff: { initialDelay: 1, maxDelay: 1 } },
    )
    server.auth((_, reject) => reject(503))
    const events = record(client, "connecting", "closing", "close")
    await Promise.all([next(client, "close"), station.close({ code: 4001 })])
    expect(events.map(([name]) => name)).toEqual(["connecting", "connecting", "connecting", "closing", "close"])
    expect(events.at(-1)?.[1]).toMatchObject({ code: 1001 })
    expect(client.state).toBe(RPCClient.CLOSED)
  })

  it("with maxReconnects: 0 gives up at once", async () => {
    const { client, station } = await connected({}, { reconnect: true, maxReconnects: 0 })
    const [[{ code }]] = await Promise.all([next(client, "close"), station.close()])
    expect(code).toBe(1001)
  })

  it("counts from the last connection: one that succeeded starts afresh", async () => {
    const options = { reconnect: true, maxReconnects: 1, backoff: { initialDelay: 1 } }
    const { client, server, station } = await connected({}, options)
    let last = station
    for (let i = 0; i < 3; i++) {
      const accepted = next(server, "client")
      await Promise.all([next(client, "open"), last.close()])
      ;[last] = (await accepted) as [RPCServerClient]
    }
    expect(client.state).toBe(RPCClient.OPEN)
  })

  it("waits as backoff says: initialDelay, times factor, to maxDelay at most, plus a random part", async () => {
    const time = fakeTime()
    const backoff = { initialDelay: 1000, factor: 3, maxDelay: 4000, randomisationFactor: 0 }
    const { client, server, station } = await connected({}, { reconnect: true, backoff, pingIntervalMs: 0 })
    server.auth((_, reject) => reject(503))
    const attempts = record(client, "connecting")
    await Promise.all([next(client, "disconnect"), station.close()])
    for (const [n, delay] of [1000, 3000, 4000, 4000].entries()) {
      const aborted = next(server, "upgradeAborted")
      await time.pass(delay - 4 * lateness)
      expect(attempts).toHaveLength(n)
      await time.pass(4 * lateness)
      expect(attempts).toHaveLength(n + 1)
      // The answer has to reach the client before its next wait begins.
      const [{ socket }] = await aborted
      if (!socket.closed) await next(socket, "close")
      await new Promise(setImmediate)
    }
  })

  it("keeps the subprotocol of the first connection", async () => {
    const { client, server, station } = await connected(
      { protocols: ["a", "b", "c"] },
      { protocols: ["b", "c"], reconnect: true, backoff: { initialDelay: 1 } },
    )
    expect(client.protocol).toBe("b")
    server.reconfigure({ protocols: ["c", "b"] })
    const accepted = next(server, "client")
    await Promise.all([next(client, "open"), station.close()])
    expect([client.protocol, [...(await accepted)[0].handshake.protocols]]).toEqual(["b", ["b"]])
  })

  it("gives up when the server does not know that subprotocol any more", async () => {
    const { client, server, station } = await connected(
      { protocols: ["a", "b"] },
      { protocols: ["a", "b"], reconnect: true, backoff: { initialDelay: 1 } },
    )
    server.reconfigure({ protocols: ["b"] })
    const [[{ code }]] = await Promise.all([next(client, "close"), station.close()])
    expect(code).toBe(1001)
  })

  it("follows a missing pong", async () => {
    const options = { reconnect: true, backoff: { initialDelay: 1 }, pingIntervalMs: 20 }
    const { client, peer, raw } = await connectedToRaw(options)
    const again = next(raw, "connection")
    peer.socket.pause()
    await again
    await next(client, "ping")
  })
})

describe("reconfigure", () => {
  it("refuses what the constructor refuses, and then changes nothing", async () => {
    const { client } = await connected({}, {}, echo)
    expect(() => client.reconfigure({ identity: "" })).toThrow("'identity' is required")
    expect(() => client.reconfigure({ strictMode: true })).toThrow("subprotocol")
    expect(() => client.reconfigure({ callConcurrency: 0 })).toThrow("callConcurrency")
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
  })

  it("identity takes effect at the next connect(), not when reconnecting", async () => {
    const { client, server, station } = await connected({}, { reconnect: true, backoff: { initialDelay: 1 } })
    client.reconfigure({ identity: "CP002" })
    expect(client.identity).toBe("CP001")
    const again = next(server, "client")
    await station.close()
    expect((await again)[0].identity).toBe("CP001")
    await client.close()
    const last = next(server, "client")
    await client.connect()
    expect([client.identity, (await last)[0].identity]).toEqual(["CP002", "CP002"])
  })

  it("callTimeoutMs takes effect at the next call", async () => {
    const { client } = await connected({}, {}, (station) => station.handle(unanswered))
    client.reconfigure({ callTimeoutMs: 10 })
    expect(await rejection(client.call("Slow"))).toBeInstanceOf(TimeoutError)
  })

  it("callConcurrency takes effect at once", async () => {
    const { client, peer } = await connectedToRaw()
    const calls = ["A", "B", "C"].map((method) => rejection(client.call(method)))
    await peer.receive()
    client.reconfigure({ callConcurrency: 2 })
    expect((await peer.receive())[2]).toBe("B")
    await peer.settled()
    expect(peer.unread).toEqual([])
    await client.close()
    await Promise.all(calls)
  })

  it("pingIntervalMs takes effect at once", async () => {
    const { client } = await connected()
    client.reconfigure({ pingIntervalMs: 10 })
    await next(client, "ping")
  })

  it("headers, query and endpoint take effect at the next attempt", async () => {
    const { client, endpoint, server, station } = await connected({}, { reconnect: true, backoff: { initialDelay: 1 } })
    client.reconfigure({ headers: { "x-a": "1" }, query: "q=2", endpoint: `${endpoint}/there` })
    const again = next(server, "client")
    await station.close()
    const { handshake } = (await again)[0]
    expect([handshake.headers["x-a"], handshake.query.get("q"), handshake.endpoint]).toEqual(["1", "2", "/there"])
  })

  it("maxReconnects and reconnect take effect at the next loss", async () => {
    const { client, station } = await connected({}, { reconnect: true })
    client.reconfigure({ reconnect: false })
    await Promise.all([next(client, "close"), station.close()])
    expect(client.state).toBe(RPCClient.CLOSED)
  })

  it("reconnect: true takes effect at the next loss", async () => {
    const { client, server, station } = await connected({}, { reconnect: false, backoff: { initialDelay: 1 } })
    client.reconfigure({ reconnect: true })
    const again = next(server, "client")
    await station.close()
    await again
  })

  it("strictMode and strictModeValidators take effect at once", async () => {
    const { client } = await connected({ protocols: ["a"] }, { protocols: ["a"] }, (station) =>
      station.handle(() => ({})),
    )
    await client.call("Echo", { n: 1 })
    const schema = { $id: "urn:Echo.req", required: ["val"] }
    client.reconfigure({ strictMode: true, strictModeValidators: [createValidator("a", [schema])] })
    const error = await rejection(client.call("Echo", { n: 1 }))
    expect(error.rpcErrorCode).toBe("OccurrenceConstraintViolation")
  })

  it("respondWithDetailedErrors takes effect at once", async () => {
    const { client, peer } = await connectedToRaw()
    client.handle("Break", () => fail(new Error("kaputt")))
    client.reconfigure({ respondWithDetailedErrors: true })
    peer.send([2, "1", "Break", {}])
    expect((await peer.receive())[4]).toMatchObject({ message: "kaputt" })
  })
})

describe("sendRaw", () => {
  it("sends text as text, and bytes as they are", async () => {
    const { client, peer } = await connectedToRaw()
    const frames: Array<readonly [string, boolean]> = []
    peer.socket.on("message", (data, isBinary) => frames.push([data.toString(), isBinary]))
    client.sendRaw('["text"]')
    client.sendRaw(Buffer.from('["buffer"]'))
    client.sendRaw(new TextEncoder().encode('["typed array"]').buffer)
    client.sendRaw(new DataView(new TextEncoder().encode('["view"]').buffer))
    for (let i = 0; i < 4; i++) await peer.receive()
    expect(frames).toEqual([
      ['["text"]', false],
      ['["buffer"]', true],
      ['["typed array"]', true],
      ['["view"]', true],
    ])
  })

  it("emits `message`", async () => {
    const { client, peer } = await connectedToRaw()
    const events = record(client, "message")
    client.sendRaw('["raw"]')
    await peer.receive()
    expect(events).toEqual([["message", { message: '["raw"]', outbound: true }]])
  })

  it("waits in the state CONNECTING", async () => {
    const { endpoint, server } = await listening()
    const client = makeClient(endpoint)
    const received = new Promise((resolve) =>
      server.once("client", (station) => station.once("message", ({ message }) => resolve(message))),
    )
    const opened = client.connect()
    client.sendRaw('["early"]')
    expect(await received).toBe('["early"]')
    await opened
  })

  it("throws in the state CLOSED", async () => {
    expect(() => new RPCClient({ identity: "A" }).sendRaw("x")).toThrow("Cannot send message in this state")
    const { client } = await connected()
    await client.close()
    expect(() => client.sendRaw("x")).toThrow()
  })
})

describe("a hostile server", () => {
  it("that never answers the handshake does not keep connect() from being closed", async () => {
    const silent = createServer().on("upgrade", () => {})
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve))
    onTestFinished(() => {
      silent.closeAllConnections()
      silent.close()
    })
    const client = makeClient(`ws://127.0.0.1:${(silent.address() as AddressInfo).port}`)
    const opened = rejection(client.connect())
    await client.close()
    expect(await opened).toBeInstanceOf(Error)
  })

  it("that chooses a subprotocol which was not offered is refused", async () => {
    const raw = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "other" })
    onTestFinished(() => raw.close())
    await next(raw, "listening")
    const error = await rejection(makeClient(endpointOf(raw), { protocols: ["a"] }).connect())
    expect(error.message).toContain("subprotocol")
  })
})

/** Answers a call, and then tries to answer it again. */
const twice = (reply: (answer: unknown) => void, again: () => unknown) => {
  reply({ n: 1 })
  return again()
}

/** `throw`, as an expression. */
function fail(reason: unknown): never {
  throw reason
}

describe("reconfigure during an outage", () => {
  it.each([
    ["reconnect: false", { reconnect: false }],
    ["a smaller maxReconnects", { maxReconnects: 1 }],
  ])("with %s makes at most one more attempt, and closes", async (_, change) => {
    const backoff = { initialDelay: 20, maxDelay: 20, randomisationFactor: 0 }
    const { client, server, station } = await connected({}, { reconnect: true, maxReconnects: 1_000, backoff })
    server.auth((_, reject) => reject(503))
    const attempts = record(client, "connecting")
    await Promise.all([next(client, "disconnect"), station.close()])
    while (attempts.length < 3) await next(client, "connecting")
    const closed = next(client, "close")
    client.reconfigure(change)
    const before = attempts.length
    const [{ code, reason }] = await closed
    expect(attempts.length - before).toBeLessThanOrEqual(1)
    expect([code, reason]).toEqual([1001, expect.stringMatching(/^giving up: /)])
  })
})

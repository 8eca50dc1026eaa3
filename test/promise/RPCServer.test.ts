/** The documented server: its options, methods and events. */
import { Buffer } from "node:buffer"
import { createServer } from "node:http"
import * as Net from "node:net"
import { describe, expect, it, onTestFinished, vi } from "@effect/vitest"
import {
  createRPCError,
  RPCClient,
  RPCServer,
  RPCServerClient,
  TimeoutError,
  UnexpectedHttpResponse,
  WebsocketUpgradeError,
} from "effect-ocpp"
import { fakeTime, lateness } from "../support/fakeTime.ts"
import { next, record, rejection } from "../support/listeners.ts"
import { connected, endpointOf, listening, makeClient } from "../support/listening.ts"
import { rawStation } from "../support/RawSocket.ts"
import { upgradeLines } from "../support/serve.ts"

const unanswered = () => new Promise<never>(() => {})

/** Writes an HTTP request by hand, and gives what comes back until the server hangs up. */
const ask = (endpoint: string, ...lines: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(endpoint)
    const socket = Net.connect(Number(port), hostname, () => socket.write(`${lines.join("\r\n")}\r\n\r\n`))
    let received = ""
    socket.setEncoding("latin1")
    socket.on("data", (text) => {
      received += text
      // This client answers no close frame, for which the server would wait.
      if (received.includes("no common subprotocol")) socket.destroy()
    })
    socket.on("error", () => {})
    socket.on("close", () => resolve(received))
  })

describe("new RPCServer", () => {
  it("takes no options", () => {
    expect(new RPCServer().listenerCount("client")).toBe(0)
  })

  it("refuses strict mode without a subprotocol, and without a validator for it", () => {
    expect(() => new RPCServer({ strictMode: true })).toThrow("at least one subprotocol")
    expect(() => new RPCServer({ strictMode: true, protocols: ["a"] })).toThrow('subprotocol "a"')
    expect(() => new RPCServer({ strictMode: ["a"] })).toThrow('subprotocol "a"')
  })

  it("refuses numbers that make no sense, with the option's name", () => {
    expect(() => new RPCServer({ callConcurrency: 0 })).toThrow("callConcurrency")
    expect(() => new RPCServer({ maxBadMessages: 1.5 })).toThrow("maxBadMessages")
  })
})

describe("the option", () => {
  it("protocols is in the order in which the server prefers them", async () => {
    const { client, station } = await connected({ protocols: ["c", "b", "a"] }, { protocols: ["a", "b"] })
    expect([client.protocol, station.protocol]).toEqual(["b", "b"])
    expect(station.handshake.protocols).toEqual(new Set(["a", "b"]))
  })

  it("protocols lets a client in that offers none, unless protocolRequired", async () => {
    const { station } = await connected({ protocols: ["a"] })
    expect(station.protocol).toBeUndefined()
    const { endpoint } = await listening({ protocols: ["a"], protocolRequired: true })
    const socket = await rawStation(endpoint)
    expect((await socket.closed)[0]).toBe(1002)
  })

  it("protocols: none in common completes the handshake without one, and closes at once", async () => {
    const { endpoint, server } = await listening({ protocols: ["a"] })
    const clients = record(server, "client")
    const aborted = next(server, "upgradeAborted")
    const received = await ask(endpoint, ...upgradeLines("/CP001"), "Sec-WebSocket-Protocol: b")
    expect(received).toMatch(/^HTTP\/1.1 101 /)
    expect(received.toLowerCase()).not.toContain("sec-websocket-protocol")
    expect((await aborted)[0].identity).toBe("CP001")
    expect(clients).toEqual([])
  })

  it("callTimeoutMs is for calls to clients, and 30 s by default", async () => {
    const time = fakeTime()
    for (const [options, timeout] of [
      [{}, 30_000],
      [{ callTimeoutMs: 50 }, 50],
    ] as const) {
      const { client, station } = await connected({ pingIntervalMs: 0, ...options }, { pingIntervalMs: 0 })
      client.handle(unanswered)
      const settled = vi.fn()
      const error = rejection(station.call("Slow"))
      error.then(settled)
      await time.pass(timeout - 2 * lateness)
      expect(settled).not.toHaveBeenCalled()
      await time.pass(lateness)
      expect(await error).toBeInstanceOf(TimeoutError)
    }
  })

  it("pingIntervalMs is the time between pings to clients, and 30 s by default", async () => {
    const time = fakeTime()
    for (const [options, interval] of [
      [{}, 30_000],
      [{ pingIntervalMs: 500 }, 500],
    ] as const) {
      const { endpoint, server } = await listening(options)
      const accepted = next(server, "client")
      const socket = await rawStation(endpoint)
      const [station] = await accepted
      const pings = vi.fn()
      socket.socket.on("ping", pings)
      await time.pass(interval - 2 * lateness)
      await socket.settled()
      expect(pings).not.toHaveBeenCalled()
      const ping = next(station, "ping")
      await time.pass(lateness)
      expect((await ping)[0].rtt).toBeGreaterThanOrEqual(0)
    }
  })

  it("pingIntervalMs drops a client that does not answer a ping before the next", async () => {
    const { endpoint, server } = await listening({ pingIntervalMs: 20 })
    const accepted = next(server, "client")
    const socket = await rawStation(endpoint, { autoPong: false })
    const [station] = await accepted
    expect((await next(station, "close"))[0].code).toBe(1006)
    expect((await socket.closed)[0]).toBe(1006)
  })

  it.each([
    [true, 0],
    [false, 1],
  ])(
    "deferPingsOnActivity %s: activity within the interval leaves %d pings",
    async (deferPingsOnActivity, expected) => {
      const time = fakeTime()
      const { endpoint } = await listening({ pingIntervalMs: 1000, deferPingsOnActivity })
      const socket = await rawStation(endpoint)
      const pings = vi.fn()
      socket.socket.on("ping", pings)
      await time.pass(600)
      socket.send([2, "1", "Hello", {}])
      await socket.receive()
      await time.pass(600)
      await socket.settled()
      expect(pings).toHaveBeenCalledTimes(expected)
    },
  )

  it("respondWithDetailedErrors is for the handlers of all clients", async () => {
    for (const [options, details] of [
      [{ respondWithDetailedErrors: true }, { message: "kaputt", stack: expect.stringContaining("kaputt") }],
      [{}, {}],
    ] as const) {
      const { client } = await connected(options, {}, (station) =>
        station.handle(() => {
          throw new Error("kaputt")
        }),
      )
      expect(await rejection(client.call("Break"))).toMatchObject({ rpcErrorCode: "GenericError", details })
    }
  })

  it("callConcurrency is for calls to each client, and 1 by default", async () => {
    for (const [options, expected] of [
      [{}, 1],
      [{ callConcurrency: 2 }, 2],
    ] as const) {
      const { endpoint, server } = await listening(options)
      const accepted = next(server, "client")
      const socket = await rawStation(endpoint)
      const [station] = await accepted
      const calls = ["A", "B", "C"].map((method) => rejection(station.call(method)))
      for (let i = 0; i < expected; i++) await socket.receive()
      await socket.settled()
      expect(socket.unread).toEqual([])
      await station.close()
      await Promise.all(calls)
    }
  })

  it("strictMode validates what comes from clients and what goes to them", async () => {
    const { client, station } = await connected(
      { protocols: ["ocpp1.6"], strictMode: true },
      { protocols: ["ocpp1.6"] },
      (station) => station.handle(() => ({})),
    )
    const failures = record(station, "strictValidationFailure")
    expect((await rejection(client.call("Heartbeat", { unknown: 1 }))).rpcErrorCode).toBe("PropertyConstraintViolation")
    expect((await rejection(client.call("Heartbeat", {}))).rpcErrorCode).toBe("InternalError")
    expect((await rejection(station.call("Reset", {}))).rpcErrorCode).toBe("OccurrenceConstraintViolation")
    expect(failures.map(([, { isCall, outbound }]) => [isCall, outbound])).toEqual([
      [true, false],
      [false, true],
      [true, true],
    ])
  })

  it("strictMode may be a list of subprotocols", async () => {
    const { client } = await connected(
      { protocols: ["proprietary0.1", "ocpp1.6"], strictMode: ["ocpp1.6"] },
      { protocols: ["proprietary0.1"] },
      (station) => station.handle(({ params }) => params),
    )
    expect(await client.call("Anything", { n: 1 })).toEqual({ n: 1 })
  })

  it("maxBadMessages closes a client with 1002; default Infinity", async () => {
    const { endpoint } = await listening({ maxBadMessages: 0 })
    const socket = await rawStation(endpoint)
    socket.send("bad")
    expect((await socket.closed)[0]).toBe(1002)
    const { endpoint: patient } = await listening()
    const tolerated = await rawStation(patient)
    for (let i = 0; i < 500; i++) tolerated.send("bad")
    await tolerated.settled()
  })

  it("wssOptions is passed on to ws", async () => {
    const { endpoint } = await listening({ wssOptions: { maxPayload: 20 } })
    const socket = await rawStation(endpoint)
    socket.send([2, "1", "Long", { text: "longer than twenty bytes" }])
    expect((await socket.closed)[0]).toBe(1009)
  })
})

describe("the event", () => {
  it("client is emitted with each client that is accepted, before anything of it is handled", async () => {
    const { endpoint, server } = await listening()
    server.on("client", (client) => client.handle("Who", () => client.identity))
    const [one, two] = [makeClient(endpoint, { identity: "A" }), makeClient(endpoint, { identity: "B" })]
    const opened = [one.connect(), two.connect()]
    expect(await Promise.all([one.call("Who"), two.call("Who")])).toEqual(["A", "B"])
    await Promise.all(opened)
  })

  it("client comes with an RPCServerClient, which is an RPCClient", async () => {
    const { station } = await connected()
    expect(station).toBeInstanceOf(RPCServerClient)
    expect(station).toBeInstanceOf(RPCClient)
  })

  it("client is emitted for every connection of one identity: both stay", async () => {
    const { client, endpoint, station } = await connected({}, {}, (station) => station.handle(() => ({})))
    await makeClient(endpoint).connect()
    await client.call("Still")
    expect(station.state).toBe(RPCClient.OPEN)
  })

  it("error tells a fault of the HTTP server, and is optional", async () => {
    const { httpServer, server } = await listening()
    httpServer.emit("error", new Error("nobody listens"))
    const errors = record(server, "error")
    const error = new Error("EMFILE")
    httpServer.emit("error", error)
    expect(errors).toEqual([["error", error]])
  })

  it("closing precedes close, and both come once", async () => {
    const { server, station } = await connected()
    const events = record(server, "closing", "close")
    station.on("close", () => events.push(["client close", undefined]))
    await Promise.all([server.close(), server.close()])
    await server.close()
    expect(events.map(([name]) => name)).toEqual(["closing", "client close", "close"])
  })

  it("upgradeAborted tells the error, socket, request and identity of a client that was rejected", async () => {
    const { endpoint, server } = await listening()
    let reason: unknown
    server.auth((_, reject, __, signal) => {
      signal.addEventListener("abort", () => {
        reason = signal.reason
      })
      reject(499, "test")
    })
    const aborted = next(server, "upgradeAborted")
    await rejection(makeClient(endpoint, { identity: "a b" }).connect())
    const [event] = await aborted
    expect(event.error).toBeInstanceOf(WebsocketUpgradeError)
    expect(event.error).toBe(reason)
    expect(event.error).toMatchObject({ code: 499, message: "test" })
    expect(event.identity).toBe("a b")
    expect(event.request.url).toBe("/a%20b")
    expect(event.socket).toBeInstanceOf(Net.Socket)
  })

  it("upgradeAborted is emitted when the client leaves while it is being authenticated", async () => {
    const { endpoint, server } = await listening()
    const aborted = next(server, "upgradeAborted")
    const client = makeClient(endpoint)
    const signals: Array<AbortSignal> = []
    const asked = new Promise<void>((resolve) =>
      server.auth((_, __, ___, signal) => {
        signals.push(signal)
        resolve()
      }),
    )
    const opened = rejection(client.connect())
    await asked
    await client.close()
    await opened
    const [{ error, identity }] = await aborted
    expect([identity, signals[0]?.aborted, signals[0]?.reason]).toEqual(["CP001", true, error])
  })

  it("upgradeAborted is emitted for a handshake that is broken", async () => {
    const { endpoint, server } = await listening()
    const aborted = next(server, "upgradeAborted")
    await ask(endpoint, ...upgradeLines("/CP001").slice(0, -1))
    const [{ error, identity }] = await aborted
    expect(error).toBeInstanceOf(Error)
    expect(identity).toBe("CP001")
  })

  it("upgradeAborted is emitted, and 400 answered, for an identity that cannot be decoded", async () => {
    const { endpoint, server } = await listening()
    const aborted = next(server, "upgradeAborted")
    expect(await ask(endpoint, ...upgradeLines("/%E0%A4%A"))).toMatch(/^HTTP\/1.1 400 /)
    expect((await aborted)[0].identity).toBeUndefined()
  })

  it("client is emitted to listeners of which one throws; the others' connection lives", async () => {
    const { endpoint, server } = await listening()
    const uncaught = new Promise((resolve) => {
      const listeners = process.listeners("uncaughtException")
      process.removeAllListeners("uncaughtException")
      process.once("uncaughtException", (error) => {
        for (const listener of listeners) process.on("uncaughtException", listener)
        resolve(error)
      })
    })
    server.on("client", (client) => {
      client.handle(() => "alive")
      throw new Error("a bug of the program")
    })
    const client = makeClient(endpoint)
    await client.connect()
    expect(await uncaught).toMatchObject({ message: "a bug of the program" })
    expect(await client.call("Ping")).toBe("alive")
  })
})

describe("auth", () => {
  it("gives the callback what the client said of itself", async () => {
    const { endpoint, server } = await listening({ protocols: ["a"] })
    const handshakes: Array<any> = []
    server.auth((accept, _, handshake) => {
      handshakes.push(handshake)
      accept()
    })
    const options = {
      identity: "CP 1",
      protocols: ["a", "b"],
      query: { q: "1" },
      headers: { "x-h": "2" },
      password: "secret",
    }
    await makeClient(`${endpoint}/long/path`, options).connect()
    await makeClient(endpoint, { protocols: ["a"] }).connect()
    const [{ headers, password, protocols, query, request, ...rest }, { endpoint: short }] = handshakes
    expect(rest).toEqual({ identity: "CP 1", endpoint: "/long/path", remoteAddress: "127.0.0.1" })
    expect(protocols).toEqual(new Set(["a", "b"]))
    expect(password).toEqual(Buffer.from("secret"))
    expect(query).toBeInstanceOf(URLSearchParams)
    expect(query.get("q")).toBe("1")
    expect(headers["x-h"]).toBe("2")
    expect(request.headers).toBe(headers)
    expect(short).toBe("/")
  })

  it("accept() lets the client in, with a session", async () => {
    const { endpoint, server } = await listening()
    const session = { sessionId: "XYZ123" }
    server.auth((accept) => accept(session))
    const accepted = next(server, "client")
    await makeClient(endpoint).connect()
    expect((await accepted)[0].session).toBe(session)
  })

  it("accept() without a session makes it an empty object", async () => {
    const { endpoint, server } = await listening()
    server.auth((accept) => accept())
    const accepted = next(server, "client")
    await makeClient(endpoint).connect()
    expect((await accepted)[0].session).toEqual({})
  })

  it("accept() may choose the subprotocol, also one that is not in `protocols`", async () => {
    const { endpoint, server } = await listening({ protocols: ["a"] })
    server.auth((accept) => accept({}, "b"))
    const client = makeClient(endpoint, { protocols: ["a", "b"] })
    await client.connect()
    expect(client.protocol).toBe("b")
  })

  it("accept() with a subprotocol that the client did not offer rejects it", async () => {
    const { endpoint, server } = await listening({ protocols: ["a"] })
    server.auth((accept) => accept({}, "b"))
    const aborted = next(server, "upgradeAborted")
    expect(await rejection(makeClient(endpoint, { protocols: ["a"] }).connect())).toMatchObject({ code: 400 })
    expect((await aborted)[0].error).toBeInstanceOf(WebsocketUpgradeError)
  })

  it("accept() may come later", async () => {
    const { endpoint, server } = await listening()
    server.auth(async (accept) => {
      await new Promise(setImmediate)
      accept({ late: true })
    })
    const accepted = next(server, "client")
    await makeClient(endpoint).connect()
    expect((await accepted)[0].session).toEqual({ late: true })
  })

  it("reject() answers 400 and nothing more by default", async () => {
    const { endpoint, server } = await listening()
    server.auth((_, reject) => reject())
    const answer = await ask(endpoint, ...upgradeLines("/CP001"))
    expect(answer).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/)
    expect(answer.endsWith("\r\n\r\n")).toBe(true)
  })

  it("reject() answers with its code, and its message as the body", async () => {
    const { endpoint, server } = await listening()
    server.auth((_, reject) => reject(401, "I don't recognise you\r\nX-Evil: 1"))
    const [head, ...body] = (await ask(endpoint, ...upgradeLines("/CP001"))).split("\r\n\r\n")
    expect(head).toMatch(/^HTTP\/1.1 401 Unauthorized\r\n/)
    expect(head).not.toContain("X-Evil")
    expect(body.join()).toBe("I don't recognise you\r\nX-Evil: 1")
    expect(await rejection(makeClient(endpoint).connect())).toBeInstanceOf(UnexpectedHttpResponse)
  })

  it.each<readonly [string, (accept: () => void, reject: () => void) => void, "accepted" | "rejected"]>([
    ["accept and accept", (accept) => [accept(), accept()], "accepted"],
    ["accept and reject", (accept, reject) => [accept(), reject()], "accepted"],
    ["reject and reject", (_, reject) => [reject(), reject()], "rejected"],
    ["reject and accept", (accept, reject) => [reject(), accept()], "rejected"],
  ])("only the first counts: %s", async (_, decide, outcome) => {
    const { endpoint, server } = await listening()
    server.auth((accept, reject) => decide(accept, reject))
    const clients = record(server, "client")
    const connecting = makeClient(endpoint).connect()
    expect(await connecting.then(() => "accepted").catch(() => "rejected")).toBe(outcome)
    expect(clients).toHaveLength(outcome === "accepted" ? 1 : 0)
  })

  it.each([
    [
      "throws",
      () => {
        throw new Error("oops")
      },
    ],
    ["rejects", () => Promise.reject(new Error("oops"))],
    [
      "throws no error",
      () => {
        throw "oops"
      },
    ],
    ["rejects with a status that is none", (_: unknown, reject: (code: number) => void) => reject(42)],
  ])("a callback that %s is answered with 500", async (_, callback) => {
    const { endpoint, server } = await listening()
    server.auth(callback as never)
    const aborted = next(server, "upgradeAborted")
    expect(await rejection(makeClient(endpoint).connect())).toMatchObject({ code: 500 })
    expect((await aborted)[0].error).toBeInstanceOf(Error)
  })

  it("the signal is not aborted when the client is accepted", async () => {
    const { endpoint, server } = await listening()
    const signals: Array<AbortSignal> = []
    server.auth((accept, _, __, signal) => {
      signals.push(signal)
      accept()
    })
    await makeClient(endpoint).connect()
    expect(signals[0]?.aborted).toBe(false)
  })

  it("the signal is aborted when the server closes; the client gets 503", async () => {
    const { endpoint, server } = await listening()
    const asked = new Promise<AbortSignal>((resolve) => server.auth((_, __, ___, signal) => resolve(signal)))
    const error = rejection(makeClient(endpoint).connect())
    const signal = await asked
    await server.close()
    expect(signal.aborted).toBe(true)
    expect(await error).toMatchObject({ code: 503 })
  })

  it("the last callback counts, and survives reconfigure()", async () => {
    const { endpoint, server } = await listening()
    server.auth((_, reject) => reject(401))
    server.auth((_, reject) => reject(403))
    server.reconfigure({ protocols: [] })
    expect(await rejection(makeClient(endpoint).connect())).toMatchObject({ code: 403 })
  })

  it("messages that a client sends with its upgrade request wait until it is accepted", async () => {
    const { endpoint, server } = await listening()
    server.on("client", (client) => client.handle(({ params }) => params))
    server.auth((accept) => setImmediate(accept))
    const client = makeClient(endpoint)
    const opened = client.connect()
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
    await opened
  })
})

describe("handleUpgrade", () => {
  it("is bound: it serves an HTTP server of your own", async () => {
    const server = new RPCServer()
    const httpServer = createServer((_, response) => response.end("mine"))
    httpServer.on("upgrade", server.handleUpgrade)
    await new Promise<void>((resolve) => httpServer.listen(0, "127.0.0.1", resolve))
    onTestFinished(async () => {
      await server.close({ force: true })
      httpServer.close()
    })
    server.on("client", (client) => client.call("Say", `Hello, ${client.identity}!`))
    const endpoint = endpointOf(httpServer)
    const client = makeClient(endpoint, { identity: "XYZ123" })
    const said = new Promise((resolve) => client.handle("Say", ({ params }) => resolve(params)))
    await client.connect()
    expect(await said).toBe("Hello, XYZ123!")
    expect(await (await fetch(endpoint.replace("ws", "http"))).text()).toBe("mine")
    await server.close()
    expect(httpServer.listening).toBe(true)
  })

  it("lets several servers share an HTTP server", async () => {
    const [one, two] = [new RPCServer({ protocols: ["a"] }), new RPCServer({ protocols: ["b"] })]
    const httpServer = createServer()
    httpServer.on("upgrade", (request, socket, head) => {
      const { handleUpgrade } = request.url?.startsWith("/one/") ? one : two
      handleUpgrade(request, socket, head)
    })
    await new Promise<void>((resolve) => httpServer.listen(0, "127.0.0.1", resolve))
    onTestFinished(async () => {
      await Promise.all([one.close({ force: true }), two.close({ force: true })])
      httpServer.close()
    })
    for (const [path, protocol] of [
      ["one", "a"],
      ["two", "b"],
    ]) {
      const client = makeClient(`${endpointOf(httpServer)}/${path}`, { protocols: ["a", "b"] })
      await client.connect()
      expect(client.protocol).toBe(protocol)
    }
  })

  it.each([
    ["has no Upgrade header", { headers: {}, method: "GET", url: "/CP001" }],
    ["upgrades to something else", { headers: { upgrade: "h2c" }, method: "GET", url: "/CP001" }],
    ["is no GET", { headers: { upgrade: "websocket" }, method: "POST", url: "/CP001" }],
  ])("answers 400 to a request that %s", async (_, request) => {
    const written = await new Promise<string>((resolve) => {
      const duplex = Net.createServer((socket) =>
        new RPCServer().handleUpgrade(request as never, socket, Buffer.alloc(0)),
      )
      duplex.listen(0, "127.0.0.1", () => {
        onTestFinished(() => void duplex.close())
        resolve(ask(endpointOf(duplex)))
      })
    })
    expect(written).toMatch(/^HTTP\/1.1 400 /)
  })

  it("does not mind a socket that is gone already", async () => {
    const server = new RPCServer()
    const socket = new Net.Socket()
    socket.destroy()
    const aborted = next(server, "upgradeAborted")
    server.auth((accept) => accept())
    server.handleUpgrade(
      { headers: { upgrade: "websocket" }, method: "GET", url: "/CP001", socket } as never,
      socket,
      Buffer.alloc(0),
    )
    expect((await aborted)[0].error).toBeInstanceOf(Error)
  })
})

describe("listen", () => {
  it("resolves to the HTTP server, on a free port by default", async () => {
    const { httpServer } = await listening()
    expect(httpServer).toHaveProperty("listening", true)
    const server = new RPCServer()
    onTestFinished(() => server.close())
    expect((await server.listen()).address()).toMatchObject({ port: expect.any(Number) })
  })

  it("may be called several times; all belong to one server", async () => {
    const { endpoint, server } = await listening()
    const second = await server.listen(0, "127.0.0.1")
    const clients = record(server, "client")
    await makeClient(endpoint, { identity: "A" }).connect()
    await makeClient(endpointOf(second), { identity: "B" }).connect()
    expect(clients.map(([, client]) => client.identity)).toEqual(["A", "B"])
    await server.close()
    expect(second.listening).toBe(false)
  })

  it("answers 404 to anything but an upgrade", async () => {
    const { endpoint } = await listening()
    const response = await fetch(endpoint.replace("ws", "http"))
    expect([response.status, await response.text()]).toEqual([404, ""])
  })

  it("rejects with the error of the HTTP server", async () => {
    const { httpServer } = await listening()
    const { port } = httpServer.address() as Net.AddressInfo
    expect(await rejection(new RPCServer().listen(port, "127.0.0.1"))).toMatchObject({ code: "EADDRINUSE" })
  })

  it("stops listening when its signal aborts", async () => {
    const server = new RPCServer()
    onTestFinished(() => server.close())
    const controller = new AbortController()
    const httpServer = await server.listen(0, "127.0.0.1", { signal: controller.signal })
    const closed = next(httpServer, "close")
    controller.abort()
    await closed
    expect(httpServer.listening).toBe(false)
  })

  it("rejects when its signal is aborted already, or aborts meanwhile", async () => {
    const server = new RPCServer()
    onTestFinished(() => server.close())
    const reason = new Error("no need")
    expect(await rejection(server.listen(0, "127.0.0.1", { signal: AbortSignal.abort(reason) }))).toBe(reason)
    const controller = new AbortController()
    const listening = rejection(server.listen(0, "127.0.0.1", { signal: controller.signal }))
    controller.abort(reason)
    expect(await listening).toBe(reason)
  })
})

describe("close", () => {
  it("closes the clients with 1000 and no reason by default, then the HTTP servers", async () => {
    const { client, httpServer, server } = await connected()
    const closed = next(client, "close")
    await server.close()
    expect(await closed).toEqual([{ code: 1000, reason: "" }])
    expect(httpServer.listening).toBe(false)
  })

  it("passes its code and reason on", async () => {
    const { client, server } = await connected()
    const closed = next(client, "close")
    await server.close({ code: 1012, reason: "restart" })
    expect(await closed).toEqual([{ code: 1012, reason: "restart" }])
  })

  it("resolves when every client is closed", async () => {
    const { server, station } = await connected()
    await server.close()
    expect(station.state).toBe(RPCClient.CLOSED)
  })

  it("awaitPending lets calls end first, and accepts no more", async () => {
    let answer!: (value: unknown) => void
    const { client, endpoint, server } = await connected({}, {}, (station) =>
      station.handle(
        () =>
          new Promise((resolve) => {
            answer = resolve
          }),
      ),
    )
    const call = client.call("Slow")
    await vi.waitFor(() => expect(answer).toBeDefined())
    const clients = record(server, "client")
    const closed = server.close({ awaitPending: true })
    await rejection(makeClient(endpoint, { identity: "LATE" }).connect())
    answer({ done: true })
    expect(await call).toEqual({ done: true })
    await closed
    expect(clients).toEqual([])
  })

  it("force drops all clients with 1006", async () => {
    const { client, server } = await connected({}, {}, (station) => station.handle(unanswered))
    const call = rejection(client.call("Slow"))
    const closed = next(client, "close")
    await server.close({ force: true, awaitPending: true })
    expect((await closed)[0].code).toBe(1006)
    await call
  })

  it("ends though a client never answers", async () => {
    const { endpoint, server } = await listening()
    const accepted = next(server, "client")
    const socket = await rawStation(endpoint)
    const [station] = await accepted
    const call = rejection(station.call("Slow", {}, { callTimeoutMs: 20 }))
    await server.close({ awaitPending: true })
    expect(await call).toBeInstanceOf(TimeoutError)
    expect((await socket.closed)[0]).toBe(1000)
  })

  it("without clients, and without listen(), resolves", async () => {
    const server = new RPCServer()
    const events = record(server, "closing", "close")
    await server.close()
    expect(events.map(([name]) => name)).toEqual(["closing", "close"])
  })
})

describe("reconfigure", () => {
  it("refuses what the constructor refuses, and then changes nothing", async () => {
    const { endpoint, server } = await listening({ protocols: ["a"] })
    expect(() => server.reconfigure({ strictMode: true })).toThrow('subprotocol "a"')
    expect(() => server.reconfigure({ callConcurrency: 0 })).toThrow("callConcurrency")
    const client = makeClient(endpoint, { protocols: ["a"] })
    await client.connect()
    expect(client.protocol).toBe("a")
  })

  it("is for the clients that connect from now on", async () => {
    const { client, endpoint, server, station } = await connected({ protocols: ["a"] }, { protocols: ["a", "b"] })
    server.reconfigure({ protocols: ["b", "a"], callTimeoutMs: 10 })
    const accepted = next(server, "client")
    const late = makeClient(endpoint, { protocols: ["a", "b"] })
    late.handle(unanswered)
    await late.connect()
    expect([client.protocol, late.protocol]).toEqual(["a", "b"])
    expect(await rejection((await accepted)[0].call("Slow"))).toBeInstanceOf(TimeoutError)
    client.handle(() => "in time")
    expect(await station.call("Slow")).toBe("in time")
  })

  it("wssOptions are for the clients that connect from now on", async () => {
    const { endpoint, server } = await listening()
    server.reconfigure({ wssOptions: { maxPayload: 20 } })
    const socket = await rawStation(endpoint)
    socket.send([2, "1", "Long", { text: "longer than twenty bytes" }])
    expect((await socket.closed)[0]).toBe(1009)
  })
})

describe("the documented example of a server and its client", () => {
  it("works as it is printed", async () => {
    const { endpoint, server } = await listening({ protocols: ["ocpp1.6"], strictMode: true })
    server.auth((accept) => accept({ sessionId: "XYZ123" }))
    const sessions: Array<string> = []
    server.on("client", async (client) => {
      sessions.push(client.session.sessionId)
      client.handle("BootNotification", () => ({
        status: "Accepted",
        interval: 300,
        currentTime: new Date().toISOString(),
      }))
      client.handle("Heartbeat", () => ({ currentTime: new Date().toISOString() }))
      client.handle("StatusNotification", () => ({}))
      client.handle(() => {
        throw createRPCError("NotImplemented")
      })
    })
    const client = makeClient(endpoint, { identity: "EXAMPLE", protocols: ["ocpp1.6"], strictMode: true })
    await client.connect()
    const boot = { chargePointVendor: "ocpp-rpc", chargePointModel: "ocpp-rpc" }
    expect((await client.call("BootNotification", boot)).status).toBe("Accepted")
    expect((await client.call("Heartbeat", {})).currentTime).toMatch(/^20/)
    expect(
      await client.call("StatusNotification", { connectorId: 0, errorCode: "NoError", status: "Available" }),
    ).toEqual({})
    expect((await rejection(client.call("Authorize", { idTag: "1" }))).rpcErrorCode).toBe("NotImplemented")
    expect(sessions).toEqual(["XYZ123"])
  })
})

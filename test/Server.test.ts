import * as Http from "node:http"
import * as Net from "node:net"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Client from "../src/Client.ts"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Protocol from "../src/Protocol.ts"
import * as Server from "../src/Server.ts"
import * as Network from "../src/testing/Network.ts"
import { Echo, settled } from "./support/rawPeer.ts"
import { next, serve, serveInMemory, soon, upgradeOf } from "./support/serve.ts"

const Other = Protocol.make("other1.0", [])

const echoing = Handlers.make(Echo, { Echo: Effect.succeed })

/** Writes raw bytes to a server, and gives what it answers until it closes. */
const raw = (port: number, ...writes: ReadonlyArray<string | Uint8Array>) =>
  Effect.callback<string>((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    const chunks: Array<Buffer> = []
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(chunks).toString("latin1"))))
    for (const write of writes) socket.write(write)
    return Effect.sync(() => socket.destroy())
  })

describe("a server", () => {
  it.live("talks with a station in both directions", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const handlers = [Handlers.make(Echo, { Slow: ({ text }) => Effect.succeed({ text: `${text}!` }) })]
      const client = yield* connect("CP001", { handlers })
      expect(yield* client.call(Echo.Echo, { text: "hi" })).toEqual({ text: "hi" })
      const station = yield* server.station("CP001")
      expect(yield* station.call(Echo.Slow, { text: "ho" })).toEqual({ text: "ho!" })
    }),
  )

  it.live("tells its handlers who is calling", () =>
    Effect.gen(function* () {
      const handlers = [
        Handlers.make(Echo, {
          Echo: Effect.fnUntraced(function* () {
            const { handshake, identity, protocol, session } = yield* Server.Station
            return { text: [identity, protocol, session, handshake.endpoint, handshake.query.get("q")].join() }
          }),
        }),
      ]
      const { connect } = yield* serve({ handlers, auth: ({ identity }) => Effect.succeed(`session of ${identity}`) })
      const client = yield* connect("a b:c", { query: { q: "5" } })
      expect(yield* client.call(Echo.Echo, { text: "" })).toEqual({ text: "a b:c,echo1.0,session of a b:c,,5" })
    }),
  )

  it.live("gives a station the first subprotocol, in its own order, that the station offers", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve({ protocols: [Other, Echo] })
      expect((yield* connect("CP001", { protocols: [Echo, Other] })).protocol).toBe("other1.0")
      expect((yield* connect("CP002", { protocols: [Echo] })).protocol).toBe("echo1.0")
    }),
  )

  it.live("without common subprotocol completes the handshake without one and closes", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const aborted = yield* soon(server, "UpgradeAborted")
      const error = yield* Effect.flip(connect("CP001", { protocols: [Other] }))
      expect(error).toMatchObject({ _tag: "ConnectError", retryable: false })
      expect((yield* Fiber.join(aborted)).identity).toBe("CP001")
      const close = Buffer.from([0x88, 0x80, 0, 0, 0, 0])
      const answer = yield* raw(server.port!, upgradeOf("/CP001"), close)
      expect(answer).toMatch(/^HTTP\/1.1 101 /)
      expect(answer).not.toMatch(/sec-websocket-protocol/i)
      expect(yield* server.stations).toEqual([])
    }),
  )

  it.live("lets a station in without subprotocol where it serves none, or is told so", () =>
    Effect.gen(function* () {
      for (const options of [{ protocols: [] }, { allowNoProtocol: true }]) {
        const { connect } = yield* serve({
          ...options,
          handlers: [Handlers.wildcard(() => Effect.succeed({ ok: true }))],
        })
        const client = yield* connect("CP001", { protocols: [] })
        expect([client.protocol, yield* client.call("Anything")]).toEqual(["", { ok: true }])
      }
    }),
  )

  it.live("answers what comes in the same segment as the upgrade request", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { server } = yield* serve({ auth: () => Deferred.await(gate) })
      const text = JSON.stringify([2, "1", "Echo", { text: "early" }])
      const masked = Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
      const request = Buffer.from(upgradeOf("/CP001", ["Sec-WebSocket-Protocol: echo1.0"]))
      const answer = yield* Effect.forkChild(raw(server.port!, Buffer.concat([request, masked])))
      yield* Effect.forkChild(Effect.andThen(Effect.yieldNow, Deferred.succeed(gate, undefined)))
      const { station } = yield* next(server, "Connected")
      yield* Effect.callback<void>((resume) => {
        station.subscribe(({ _tag }) => _tag === "CallResult" && resume(Effect.void))
      })
      yield* Effect.forkChild(station.close())
      yield* Effect.forkChild(station.close({ force: true }))
      expect(yield* Fiber.join(answer)).toContain('[3,"1",{"text":"early"}]')
    }),
  )

  it.live("answers plain HTTP with 404", () =>
    Effect.gen(function* () {
      const { server } = yield* serve()
      const response = yield* Effect.promise(() => fetch(`http://127.0.0.1:${server.port}/CP001`))
      expect(response.status).toBe(404)
    }),
  )

  it.live("fails when it cannot listen, saying where", () =>
    Effect.gen(function* () {
      const { server } = yield* serve()
      const other = yield* Server.make()
      const error = yield* Effect.flip(other.listen({ port: server.port!, host: "127.0.0.1" }))
      expect([error._tag, error.message]).toEqual(["ListenError", expect.stringContaining(`port ${server.port}`)])
    }),
  )

  it.live("takes the upgrades of an HTTP server that is not its own, and leaves that open", () =>
    Effect.gen(function* () {
      const httpServer = Http.createServer((_, response) => response.end("mine"))
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void httpServer.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => httpServer.close()),
      )
      const { port } = httpServer.address() as Net.AddressInfo
      yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Server.make({ protocols: [Echo], handlers: [echoing] })
          httpServer.on("upgrade", server.handleUpgrade)
          const client = yield* Client.make({
            endpoint: `ws://127.0.0.1:${port}/ocpp`,
            identity: "CP001",
            protocols: [Echo],
          })
          expect(yield* client.call(Echo.Echo, { text: "" })).toEqual({ text: "" })
          expect((yield* server.station("CP001")).handshake.endpoint).toBe("/ocpp")
        }),
      )
      expect(httpServer.listening).toBe(true)
    }),
  )

  it.live("is a Layer that listens", () =>
    Effect.gen(function* () {
      const server = yield* Server.Server
      const client = yield* Client.make({
        endpoint: `ws://localhost:${server.port}`,
        identity: "CP001",
        protocols: [Echo],
      })
      expect(yield* client.call(Echo.Echo, { text: "" })).toEqual({ text: "" })
    }).pipe(Effect.provide(Server.layer({ protocols: [Echo], handlers: [echoing] }))),
  )

  it.live("lets a client be a Layer", () =>
    Effect.gen(function* () {
      const { endpoint } = yield* serve()
      const call = Effect.flatMap(Client.Client, (client) => client.call(Echo.Echo, { text: "layer" }))
      const layer = Client.layer({ endpoint, identity: "CP001", protocols: [Echo] })
      expect(yield* Effect.provide(call, layer)).toEqual({ text: "layer" })
    }),
  )
})

describe("authentication", () => {
  it.live("refuses with the HTTP status and body of its rejection", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve({ auth: () => Server.reject(401, "who\r\nX-Injected: 1\r\nare you?") })
      const error = yield* Effect.flip(connect("CP001"))
      expect(error).toMatchObject({ _tag: "UnexpectedHttpResponse", code: 401 })
      const answer = yield* raw(server.port!, upgradeOf("/CP001"))
      const [head, body] = answer.split("\r\n\r\n") as [string, string]
      expect(head).not.toContain("X-Injected")
      expect(body).toContain("X-Injected")
    }),
  )

  it.live("sees the password as bytes", () =>
    Effect.gen(function* () {
      const password = Buffer.from([0xff, 0x00, 0x3a, 0xc3])
      const seen: Array<Buffer | undefined> = []
      const { connect } = yield* serve({ auth: (handshake) => Effect.sync(() => seen.push(handshake.password)) })
      yield* connect("with:colon", { password })
      yield* connect("CP002")
      expect(seen).toEqual([password, undefined])
    }),
  )

  it.live("may choose the subprotocol, among those that the station offers", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve({ protocols: [Echo], auth: () => Effect.succeed(Server.accept("s", Other)) })
      expect((yield* connect("CP001", { protocols: [Echo, Other] })).protocol).toBe("other1.0")
      expect(yield* Effect.flip(connect("CP002", { protocols: [Echo] }))).toMatchObject({ _tag: "ConnectError" })
    }),
  )

  it.live("that dies is a 500 and nothing else", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve({
        auth: ({ identity }) => {
          if (identity === "throw") throw new Error("bug")
          return identity === "die" ? Effect.die("bug") : Effect.succeed(undefined)
        },
      })
      for (const identity of ["throw", "die"]) {
        expect(yield* Effect.flip(connect(identity))).toMatchObject({ code: 500 })
      }
      yield* connect("fine")
      expect(yield* server.stations).toHaveLength(1)
    }),
  )

  it.effect("that takes too long is a 503", () =>
    Effect.gen(function* () {
      const { connect } = yield* serveInMemory({ auth: () => Effect.never })
      const connecting = yield* Effect.forkChild(Effect.flip(connect("CP001")), { startImmediately: true })
      yield* settled
      yield* TestClock.adjust("9999 millis")
      yield* settled
      expect(connecting.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(connecting)).toMatchObject({ code: 503 })
    }),
  )

  it.live("is interrupted when the station goes away meanwhile", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const { connect, server } = yield* serve({
        auth: () =>
          Effect.onInterrupt(Effect.andThen(Deferred.succeed(started, undefined), Effect.never), () =>
            Deferred.succeed(interrupted, undefined),
          ),
      })
      const connecting = yield* Effect.forkChild(connect("CP001"))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(connecting)
      yield* Deferred.await(interrupted)
      expect(yield* server.stations).toEqual([])
    }),
  )

  it.live("is done for so many at a time, and the others get 503", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const { connect } = yield* serve({
        maxPendingUpgrades: 1,
        auth: () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never),
      })
      yield* Effect.forkChild(connect("CP001"))
      yield* Deferred.await(started)
      expect(yield* Effect.flip(connect("CP002"))).toMatchObject({ code: 503 })
    }),
  )

  it("takes HTTP error statuses only", () => {
    for (const code of [200, 302, 399, 600, 401.5, Number.NaN]) expect(() => Server.reject(code)).toThrow(`${code}`)
  })
})

describe("a request that cannot be read", () => {
  for (const [path, status] of [
    ["/%E0%A4%A", 400],
    ["/", 400],
    ["//", 400],
    ["/%00", 400],
    ["/a%0d%0ab", 400],
    ["/..%2f", 400],
    ["http://other", 400],
    ["http://user@other/CP001", 400],
    [`/${"x".repeat(300)}`, 400],
  ] as const) {
    it.live(`is refused before authentication: ${path.slice(0, 20)}`, () =>
      Effect.gen(function* () {
        const { server } = yield* serve({ auth: () => Effect.die("not to be asked") })
        expect(yield* raw(server.port!, upgradeOf(path))).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
        expect(yield* server.stations).toEqual([])
      }),
    )
  }

  it.live("is refused when it is an upgrade to something else, or no handshake", () =>
    Effect.gen(function* () {
      const { server } = yield* serve()
      const h2c = upgradeOf("/CP001").replace("Upgrade: websocket", "Upgrade: h2c")
      const keyless = upgradeOf("/CP001").replace(/Sec-WebSocket-Key.*\r\n/, "")
      const protocols = upgradeOf("/CP001", ["Sec-WebSocket-Protocol: ,,"])
      for (const request of [h2c, keyless, protocols]) {
        expect(yield* raw(server.port!, request)).toMatch(/^HTTP\/1.1 400 /)
      }
    }),
  )
})

describe("the registry", () => {
  it.live("knows who is connected, and fails for the others", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      yield* connect("CP001")
      expect((yield* server.stations).map(({ identity }) => identity)).toEqual(["CP001"])
      const error = yield* Effect.flip(server.station("CP002"))
      expect([error._tag, error.identity, error.message]).toEqual([
        "NotConnectedError",
        "CP002",
        '"CP002" is not connected',
      ])
    }),
  )

  it.live(
    "gives an identity to its newest connection; the older is closed with 1008, and its end removes nothing",
    () =>
      Effect.gen(function* () {
        const { connect, server } = yield* serve()
        const older = yield* connect("CP001")
        const gone = yield* soon(server, "Disconnected")
        const handlers = [Handlers.make(Echo, { Slow: () => Effect.succeed({ text: "the newest" }) })]
        yield* connect("CP001", { handlers })
        expect(yield* older.closed).toEqual({ code: 1008, reason: "replaced by a newer connection" })
        yield* Fiber.join(gone)
        const station = yield* server.station("CP001")
        expect(yield* station.call(Echo.Slow, { text: "" })).toEqual({ text: "the newest" })
        expect(yield* server.stations).toHaveLength(1)
      }),
  )

  it.live("can reject the newer instead", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve({ duplicateIdentity: "reject" })
      const older = yield* connect("CP001")
      expect(yield* Effect.flip(connect("CP001"))).toMatchObject({ code: 409 })
      expect(older.state).toBe(Connection.State.OPEN)
    }),
  )

  it.live("can keep both, and falls back to the older when the newer goes", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve({ duplicateIdentity: "allow" })
      yield* connect("CP001")
      const first = yield* server.station("CP001")
      const newer = yield* connect("CP001")
      expect(yield* server.station("CP001")).not.toBe(first)
      const gone = yield* soon(server, "Disconnected")
      yield* newer.close()
      yield* Fiber.join(gone)
      expect(yield* server.station("CP001")).toBe(first)
    }),
  )

  it.live("is not entered by one who fails to authenticate, who replaces nobody", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve({
        auth: ({ password }) => (password?.toString() === "right" ? Effect.void : Server.reject(401)),
      })
      const client = yield* connect("CP001", { password: "right" })
      expect(yield* Effect.flip(connect("CP001", { password: "wrong" }))).toMatchObject({ code: 401 })
      expect(client.state).toBe(Connection.State.OPEN)
    }),
  )

  it.live("holds so many, and the others get 503", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve({ maxConnections: 1 })
      yield* connect("CP001")
      expect(yield* Effect.flip(connect("CP002"))).toMatchObject({ code: 503 })
    }),
  )
})

describe("shutting down", () => {
  it.live("closes stations and port, refuses newcomers, and ends the events", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const client = yield* connect("CP001")
      const events = yield* Effect.forkChild(Stream.runCollect(server.events), { startImmediately: true })
      yield* server.close({ code: 1012, reason: "restart" })
      expect(yield* client.closed).toEqual({ code: 1012, reason: "restart" })
      expect(yield* Effect.flip(connect("CP002"))).toMatchObject({ _tag: "ConnectError" })
      expect((yield* Fiber.join(events)).map(({ _tag }) => _tag)).toEqual(["Closing", "Disconnected", "Close"])
      expect(yield* server.stations).toEqual([])
    }),
  )

  it.live("with its Scope lets calls in flight end, then closes with 1001", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const started = yield* Deferred.make<void>()
      const handlers = [
        Handlers.make(Echo, {
          Slow: (request) =>
            Effect.as(Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate)), request),
        }),
      ]
      const serverScope = yield* Scope.make()
      const { connect, server } = yield* Scope.provide(serve({ handlers }), serverScope)
      const client = yield* connect("CP001")
      const call = yield* Effect.forkChild(client.call(Echo.Slow, { text: "in flight" }))
      yield* Deferred.await(started)
      const closing = yield* soon(server, "Closing")
      const shutdown = yield* Effect.forkChild(Scope.close(serverScope, Exit.void))
      yield* Fiber.join(closing)
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(call)).toEqual({ text: "in flight" })
      yield* Fiber.join(shutdown)
      expect(yield* client.closed).toMatchObject({ code: 1001 })
    }),
  )

  it.effect("does not wait longer than its grace for a handler that never ends", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const handlers = [
        Handlers.make(Echo, {
          Slow: () =>
            Effect.onInterrupt(Effect.andThen(Deferred.succeed(started, undefined), Effect.never), () =>
              Deferred.succeed(interrupted, undefined),
            ),
        }),
      ]
      const serverScope = yield* Scope.make()
      const server = yield* Scope.provide(Server.make({ protocols: [Echo], handlers }), serverScope)
      const client = yield* (yield* Network.of(server)).station({
        identity: "CP001",
        protocols: [Echo],
        reconnect: false,
      })
      yield* Effect.forkChild(client.call(Echo.Slow, { text: "" }))
      yield* Deferred.await(started)
      const closing = yield* Effect.forkChild(Scope.close(serverScope, Exit.void), { startImmediately: true })
      yield* settled
      yield* TestClock.adjust("4999 millis")
      yield* settled
      expect([client.state, yield* Deferred.isDone(interrupted)]).toEqual([Connection.State.OPEN, false])
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      yield* Deferred.await(interrupted)
      expect(yield* client.closed).toMatchObject({ code: 1001 })
    }),
  )
})

import { once } from "node:events"
import * as Net from "node:net"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Handlers from "../../src/Handlers.ts"
import { RPCClient, RPCServer } from "../../src/index.ts"
import * as Server from "../../src/Server.ts"
import * as Network from "../../src/testing/Network.ts"
import { makeAuthority } from "../support/Certificates.ts"
import { frame, Opcode } from "../support/RawClient.ts"
import { Echo, settled } from "../support/rawPeer.ts"
import { serve, serveInMemory, soon, upgradeOf } from "../support/serve.ts"
import { collectUncaught } from "../support/uncaught.ts"

/** A raw socket after its upgrade, which never closes by itself. */
const rawStation = (port: number, path: string, headers = ["Sec-WebSocket-Protocol: echo1.0"]) =>
  Effect.acquireRelease(
    Effect.callback<{ socket: Net.Socket; received: () => string }>((resume) => {
      const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })
      let all = ""
      socket.on("error", () => {})
      socket.on("data", (chunk) => {
        all += chunk.toString("latin1")
        if (all.includes("\r\n\r\n")) resume(Effect.succeed({ socket, received: () => all }))
      })
      socket.write(upgradeOf(path, headers))
    }),
    ({ socket }) => Effect.sync(() => socket.destroy()),
  )

const dataOf = (socket: Net.Socket) =>
  Effect.callback<void>((resume) => {
    socket.once("data", () => resume(Effect.void))
  })

describe("a server", () => {
  it.effect("maxConnections holds for stations that authenticate at the same time", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      let asked = 0
      const auth = () => (++asked === 2 ? Deferred.succeed(gate, undefined) : Deferred.await(gate))
      const { connect, server } = yield* serveInMemory({ maxConnections: 1, auth })
      const a = yield* Effect.forkScoped(Effect.exit(connect("A")))
      const b = yield* Effect.forkScoped(Effect.exit(connect("B")))
      yield* Fiber.join(a)
      yield* Fiber.join(b)
      expect(yield* server.stations).toHaveLength(1)
    }),
  )

  it.live("station() does not give a replaced connection back when its successor has left", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      yield* rawStation(server.port!, "/CP001")
      const scope = yield* Scope.make()
      yield* Scope.provide(connect("CP001"), scope)
      const gone = yield* soon(server, "Disconnected")
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(gone)
      const found = yield* Effect.exit(server.station("CP001"))
      expect(Exit.isSuccess(found) ? found.value.state : "none").toBe("none")
    }),
  )

  it.live("a station that is closed on Connected never opens", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const life: Array<string> = []
      server.subscribe((event) => {
        if (event._tag !== "Connected") return
        event.station.subscribe((own) => life.push(own._tag))
        Effect.runFork(event.station.close())
      })
      const gone = yield* soon(server, "Disconnected")
      const client = yield* connect("CP001")
      yield* client.closed
      yield* Fiber.join(gone)
      expect(life).toEqual(["Closing", "Disconnect", "Close"])
    }),
  )

  it.live("promise face: server.on('client', (client) => client.close())", () =>
    Effect.promise(async () => {
      const server = new RPCServer({ protocols: ["echo1.0"] })
      const life: Array<string> = []
      server.on("client", (client) => {
        for (const name of ["open", "closing", "close"] as const) client.on(name, () => void life.push(name))
        void client.close()
      })
      const http = await server.listen(0, "127.0.0.1")
      const { port } = http.address() as Net.AddressInfo
      const client = new RPCClient({
        endpoint: `ws://127.0.0.1:${port}`,
        identity: "A",
        protocols: ["echo1.0"],
        reconnect: false,
      })
      const closed = new Promise((resolve) => client.on("close", resolve))
      await client.connect()
      await closed
      await server.close()
      expect(life).toEqual(["closing", "close"])
    }),
  )

  it.live("a server without protocols lets in a station that offers some (wire.md)", () =>
    Effect.gen(function* () {
      const { server } = yield* serve({ protocols: [], handlers: [] })
      const connected = yield* soon(server, "Connected")
      const station = yield* rawStation(server.port!, "/CP001", ["Sec-WebSocket-Protocol: ocpp1.6"])
      yield* Fiber.join(connected)
      expect(station.received().startsWith("HTTP/1.1 101")).toBe(true)
      expect(yield* server.stations).toHaveLength(1)
    }),
  )

  it.live("a SEND after the peer's close frame fails instead of vanishing", () =>
    Effect.gen(function* () {
      const { server } = yield* serve()
      const { socket } = yield* rawStation(server.port!, "/CP001")
      const station = yield* server.station("CP001")
      socket.write(frame(Opcode.Close, Buffer.from([0x03, 0xe8])))
      yield* dataOf(socket)
      const exit = yield* Effect.exit(station.send(Echo.Note, { text: "lost" }))
      const error = yield* Effect.flip(station.call(Echo.Echo, { text: "lost" }))
      expect([Exit.isFailure(exit), error]).toMatchObject([true, { _tag: "DisconnectedError", sent: false }])
    }),
  )

  it.live("`handlers` that throws costs one CALLERROR, not the process", () =>
    Effect.gen(function* () {
      const seen = yield* collectUncaught(0)
      const { connect } = yield* serve({
        shutdownGrace: 100,
        handlers: () => {
          throw new Error("boom")
        },
      })
      const client = yield* connect("CP001", { callTimeout: 300, closeTimeout: 100 })
      const exit = yield* Effect.flip(client.call(Echo.Echo, { text: "" }))
      expect(seen).toEqual([])
      expect(exit._tag).toBe("RPCError")
    }),
  )

  it.live("a server that is closed does not listen again", () =>
    Effect.gen(function* () {
      const { server } = yield* serve()
      yield* server.close()
      const exit = yield* Effect.exit(server.listen({ port: 0, host: "127.0.0.1" }))
      expect(Exit.isFailure(exit)).toBe(true)
    }),
  )

  it.live("listen fails with ListenError for a port out of range and for a bad certificate", () =>
    Effect.gen(function* () {
      const server = yield* Server.make({})
      const port = yield* Effect.exit(server.listen({ port: 70_000 }))
      const tls = yield* Effect.exit(server.listen({ tls: { cert: "nonsense", key: "nonsense" } }))
      expect([Exit.hasFails(port), Exit.hasFails(tls)]).toEqual([true, true])
    }),
  )

  it.live("a station that leaves while it authenticates ends auth, also when it has sent something", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const { server } = yield* serve({
        auth: () =>
          Effect.onInterrupt(Effect.andThen(Deferred.succeed(started, undefined), Effect.never), () =>
            Deferred.succeed(interrupted, undefined),
          ),
      })
      const socket = Net.connect(server.port!, "127.0.0.1")
      socket.on("error", () => {})
      socket.write(upgradeOf("/CP001"))
      yield* Deferred.await(started)
      socket.write(frame(Opcode.Text, '[2,"1","Echo",{}]'))
      socket.end()
      yield* Deferred.await(interrupted)
      socket.destroy()
      expect(yield* server.stations).toEqual([])
    }),
  )

  it.effect("shutdown ends within its grace and 2 s though a handler cannot be interrupted", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const started = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const server = yield* Scope.provide(
        Server.make({
          protocols: [Echo],
          shutdownGrace: 100,
          handlers: [
            Handlers.make(Echo, {
              Slow: () =>
                Effect.uninterruptible(
                  Effect.as(Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(release)), {
                    text: "",
                  }),
                ),
            }),
          ],
        }),
        scope,
      )
      const client = yield* (yield* Network.of(server)).station({ identity: "CP001", protocols: [Echo] })
      yield* Effect.forkChild(Effect.exit(client.call("Slow", { text: "" })), { startImmediately: true })
      yield* Deferred.await(started)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      for (const millis of [100, 1_000, 1_000]) yield* Effect.andThen(settled, TestClock.adjust(millis))
      yield* settled
      const ended = closing.pollUnsafe()
      yield* Deferred.succeed(release, undefined)
      expect(ended).toBeDefined()
    }),
  )

  it.live("reject mode lets a station in whose old connection is being closed", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve({ duplicateIdentity: "reject" })
      yield* rawStation(server.port!, "/CP001")
      const old = yield* server.station("CP001")
      yield* Effect.forkChild(old.close(), { startImmediately: true })
      const exit = yield* Effect.exit(connect("CP001"))
      expect(Exit.isSuccess(exit)).toBe(true)
    }),
  )

  it.live.each([
    ["a TCP connection that never begins its TLS handshake", (port: number) => Net.connect(port, "127.0.0.1"), true],
    [
      "a client without a common subprotocol that does not close",
      (port: number) => Net.connect(port, "127.0.0.1").setEncoding("utf8"),
      false,
    ],
  ] as const)("its end does not wait for %s", ([, dial, isSecure]) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const tls = isSecure ? { tls: makeAuthority("ca").issue({ name: "localhost" }) } : {}
      const server = yield* Scope.provide(Server.make({ protocols: [Echo], shutdownGrace: 100 }), scope)
      const httpServer = yield* server.listen({ port: 0, host: "127.0.0.1", ...tls })
      const accepted = once(httpServer, "connection")
      const socket = dial(server.port!)
      socket.on("error", () => {})
      yield* Effect.promise(() => accepted)
      if (!isSecure) {
        const answered = once(socket, "data")
        socket.write(upgradeOf("/CP001"))
        expect((yield* Effect.promise(() => answered))[0]).toContain("101")
      }
      const ended = yield* Effect.timeoutOption(Scope.close(scope, Exit.void), "2.1 seconds")
      socket.destroy()
      expect(ended._tag).toBe("Some")
    }),
  )

  it.live("that refuses to be reconfigured is as it was", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const webSocket = { verifyClient: () => true }
      expect(() => server.reconfigure({ maxConnections: 1, webSocket })).toThrow("verifyClient")
      for (const identity of ["A", "B"]) yield* connect(identity)
      expect(yield* server.stations).toHaveLength(2)
    }),
  )

  it.effect("refuses strict mode for a subprotocol that it does not serve, from a station too", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serveInMemory()
      yield* connect("CP001")
      const station = yield* server.station("CP001")
      expect(() => station.reconfigure({ strictMode: ["echo10"] })).toThrow('strictMode names "echo10"')
      station.reconfigure({ strictMode: ["echo1.0"] })
    }),
  )
})

/** A server and all of its stations: who is connected, calls to everyone, what is logged. Stations connect in memory. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Handlers from "../src/Handlers.ts"
import * as Protocol from "../src/Protocol.ts"
import { RPCSecurityError } from "../src/RPCError.ts"
import * as Server from "../src/Server.ts"
import { connectTo, serve } from "./support/inMemory.ts"
import { Echo, settled } from "./support/rawPeer.ts"

const Other = Protocol.make("other1.0", [])

const echoing = Handlers.make(Echo, { Echo: Effect.succeed })

const identitiesOf = (stations: ReadonlyArray<Server.Station>) => stations.map(({ identity }) => identity)

describe("changes", () => {
  /** What a reader sees that reads at once. */
  const follow = Effect.fnUntraced(function* (server: Server.Server) {
    const seen = yield* Queue.unbounded<ReadonlyArray<string>>()
    yield* Effect.forkScoped(
      Stream.runForEach(server.changes, (stations) => Queue.offer(seen, identitiesOf(stations))),
      { startImmediately: true },
    )
    return seen
  })

  it.effect("are first who is connected now, then who is after each change", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo)
      const first = yield* connect("CP001")
      const seen = yield* follow(server)
      expect(yield* Queue.take(seen)).toEqual(["CP001"])
      yield* connect("CP002")
      expect(yield* Queue.take(seen)).toEqual(["CP001", "CP002"])
      yield* first.close()
      expect(yield* Queue.take(seen)).toEqual(["CP002"])
    }),
  )

  it.effect("begin with nobody where nobody is connected", () =>
    Effect.gen(function* () {
      const { server } = yield* serve(Echo)
      expect(yield* Stream.runHead(server.changes)).toMatchObject({ _tag: "Some", value: [] })
    }),
  )

  it.effect("are the latest only, for a reader that is slow", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo)
      const gate = yield* Deferred.make<void>()
      const seen: Array<ReadonlyArray<string>> = []
      yield* Effect.forkChild(
        Stream.runForEach(server.changes, (stations) =>
          Effect.andThen(
            Effect.sync(() => seen.push(identitiesOf(stations))),
            Deferred.await(gate),
          ),
        ),
        { startImmediately: true },
      )
      yield* settled
      for (const identity of ["CP001", "CP002", "CP003", "CP004"]) {
        yield* connect(identity)
        yield* settled
      }
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      expect(seen).toEqual([[], ["CP001", "CP002", "CP003", "CP004"]])
    }),
  )

  it.effect("end when the server has closed, with nobody", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo)
      yield* connect("CP001")
      const reader = yield* Effect.forkChild(Stream.runCollect(server.changes), { startImmediately: true })
      yield* settled
      yield* server.close()
      expect((yield* Fiber.join(reader)).map(identitiesOf)).toEqual([["CP001"], []])
      expect((yield* Stream.runCollect(server.changes)).map(identitiesOf)).toEqual([[]])
    }),
  )

  it.effect("can be followed by several readers, each at its own pace", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo)
      const [a, b] = [yield* follow(server), yield* follow(server)]
      expect([yield* Queue.take(a), yield* Queue.take(b)]).toEqual([[], []])
      yield* connect("CP001")
      expect([yield* Queue.take(a), yield* Queue.take(b)]).toEqual([["CP001"], ["CP001"]])
    }),
  )
})

describe("services that are taken apart", () => {
  it.effect("work without the object that they come from", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo, [echoing])
      const { broadcast, station } = server
      const { call } = yield* connect("CP001")
      expect(yield* call(Echo.Echo, { text: "hi" })).toEqual({ text: "hi" })
      expect((yield* station("CP001")).identity).toBe("CP001")
      expect(yield* broadcast(Echo.Echo, { text: "hi" })).toHaveLength(1)
    }),
  )
})

describe("broadcast", () => {
  const answering = [Handlers.make(Echo, { Slow: ({ text }) => Effect.succeed({ text: `${text}!` }) })]

  it.effect("calls everyone, and tells what came of each call", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo)
      yield* connect("CP001", { handlers: answering })
      yield* connect("CP002", { handlers: [Handlers.make(Echo, { Slow: () => new RPCSecurityError("no") })] })
      yield* connect("CP003")
      const results = yield* server.broadcast(Echo.Slow, { text: "hi" })
      expect(
        results.map(([{ identity }, exit]) => [
          identity,
          exit._tag === "Success" ? exit.value : exit.cause.reasons.map((reason) => "error" in reason && reason.error),
        ]),
      ).toEqual([
        ["CP001", { text: "hi!" }],
        ["CP002", [expect.objectContaining({ code: "SecurityError" })]],
        ["CP003", [expect.objectContaining({ code: "NotSupported" })]],
      ])
    }),
  )

  it.effect("calls nobody where nobody is connected", () =>
    Effect.gen(function* () {
      const { server } = yield* serve(Echo)
      expect(yield* server.broadcast(Echo.Slow, { text: "hi" })).toEqual([])
    }),
  )

  for (const [options, atOnce] of [
    [undefined, 16],
    [{ concurrency: 3 }, 3],
  ] as const) {
    it.effect(`makes at most ${atOnce} calls at a time ${options ? "when told to" : "by default"}`, () =>
      Effect.gen(function* () {
        let running = 0
        let most = 0
        const gate = yield* Deferred.make<void>()
        const counting = Handlers.make(Echo, {
          Slow: Effect.fnUntraced(function* (request) {
            most = Math.max(most, ++running)
            yield* Deferred.await(gate)
            running--
            return request
          }),
        })
        const { connect, server } = yield* serve(Echo)
        for (let i = 0; i < 20; i++) yield* connect(`CP${i}`, { handlers: [counting] })
        const all = yield* Effect.forkChild(server.broadcast(Echo.Slow, { text: "" }, options))
        yield* settled
        expect(running).toBe(atOnce)
        yield* Deferred.succeed(gate, undefined)
        expect(yield* Fiber.join(all)).toHaveLength(20)
        expect(most).toBe(atOnce)
      }),
    )
  }

  it.effect("does not call who speaks another subprotocol, nor whom `where` leaves out", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo, [], { protocols: [Echo, Other] })
      for (const identity of ["CP001", "CP002", "CP003"]) yield* connect(identity, { handlers: answering })
      yield* connectTo(server, "CP004", Other)
      const asked: Array<string> = []
      const results = yield* server.broadcast(
        Echo.Slow,
        { text: "" },
        { where: ({ identity }) => (asked.push(identity), identity !== "CP002") },
      )
      expect(results.map(([{ identity }]) => identity)).toEqual(["CP001", "CP003"])
      expect(asked).toEqual(["CP001", "CP002", "CP003"])
    }),
  )

  it.effect("gives every call the timeout that it is given", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo)
      const never = [Handlers.make(Echo, { Slow: () => Effect.never })]
      for (const identity of ["CP001", "CP002"]) yield* connect(identity, { handlers: never })
      const all = yield* Effect.forkChild(
        server.broadcast(Echo.Slow, { text: "" }, { timeout: "2 seconds", concurrency: 1 }),
      )
      yield* Effect.andThen(settled, TestClock.adjust("2 seconds"))
      yield* Effect.andThen(settled, TestClock.adjust("2 seconds"))
      for (const [, exit] of yield* Fiber.join(all)) {
        expect(exit).toMatchObject({ _tag: "Failure" })
        expect(String(exit)).toContain("TimeoutError")
      }
    }),
  )

  it.effect("tells of a station that leaves meanwhile, and goes on with the others", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve(Echo)
      const leaving = yield* connect("CP001", { handlers: [Handlers.make(Echo, { Slow: () => Effect.never })] })
      yield* connect("CP002", { handlers: answering })
      const all = yield* Effect.forkChild(server.broadcast(Echo.Slow, { text: "hi" }))
      yield* settled
      yield* leaving.close()
      const exits = (yield* Fiber.join(all)).map(([, exit]) => exit)
      expect(String(exits[0])).toContain("DisconnectedError")
      expect(exits[1]).toMatchObject({ _tag: "Success", value: { text: "hi!" } })
    }),
  )

  it.effect("that is interrupted takes back what has not been sent", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const { connect, server } = yield* serve(Echo)
      for (const identity of ["CP001", "CP002"]) {
        const hearing = Handlers.make(Echo, {
          Slow: () =>
            Effect.andThen(
              Effect.sync(() => heard.push(identity)),
              Effect.never,
            ),
        })
        yield* connect(identity, { handlers: [hearing] })
      }
      const all = yield* Effect.forkChild(server.broadcast(Echo.Slow, { text: "" }, { concurrency: 1 }))
      yield* settled
      yield* Fiber.interrupt(all)
      yield* settled
      expect(heard).toEqual(["CP001"])
    }),
  )
})

describe("layerLogging", () => {
  const recording = () => {
    const lines: Array<Record<string, unknown>> = []
    const logger = Logger.make(({ fiber, logLevel, message }) => {
      lines.push({ level: logLevel, text: [message].flat()[0], ...fiber.getRef(References.CurrentLogAnnotations) })
    })
    return { lines, layer: Logger.layer([logger]) }
  }

  const Csms = Layer.effect(Server.Server, Server.make({ protocols: [Echo], handlers: [echoing], maxConnections: 1 }))

  it.effect("logs who comes and who goes, from the moment at which it is there", () => {
    const { layer, lines } = recording()
    return Effect.gen(function* () {
      const server = yield* Server.Server
      const station = yield* connectTo(server, "CP001", Echo)
      yield* station.close({ code: 1000, reason: "done" })
      yield* server.close()
      yield* settled
      expect(lines).toEqual([
        { level: "Info", text: "connected", identity: "CP001", protocol: "echo1.0" },
        { level: "Info", text: "disconnected", identity: "CP001", code: 1000, reason: "done" },
        { level: "Info", text: "closing" },
        { level: "Info", text: "closed" },
      ])
    }).pipe(Effect.provide(Server.layerLogging.pipe(Layer.provideMerge(Csms), Layer.provideMerge(layer))))
  })

  it.effect("logs the closing of a server whose Scope closes", () => {
    const { layer, lines } = recording()
    return Effect.gen(function* () {
      const scope = yield* Effect.scope
      yield* Effect.scoped(
        Effect.gen(function* () {
          const logged = Server.layerLogging.pipe(Layer.provideMerge(Csms))
          const server = Context.get(yield* Layer.build(logged), Server.Server)
          yield* Scope.provide(connectTo(server, "CP001", Echo), scope)
        }),
      )
      yield* settled
      expect(lines.map(({ text }) => text)).toEqual(["connected", "closing", "disconnected", "closed"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("warns of upgrade requests that come to nothing", () => {
    const { layer, lines } = recording()
    const Refusing = Layer.effect(Server.Server, Server.make({ auth: () => Server.reject(401, "who?") }))
    return Effect.gen(function* () {
      yield* Effect.flip(connectTo(yield* Server.Server, "CP001", Echo))
      yield* settled
      const why = { reason: "who?", status: 401, path: "/CP001", remoteAddress: undefined }
      expect(lines).toEqual([{ level: "Warn", text: "refused", identity: "CP001", ...why }])
    }).pipe(Effect.provide(Server.layerLogging.pipe(Layer.provideMerge(Refusing), Layer.provideMerge(layer))))
  })
})

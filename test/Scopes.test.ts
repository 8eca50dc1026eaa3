/** Which Scope owns what: a call's, a connection's, a server's. Stations connect in memory; time is the test's. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Client from "../src/Client.ts"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Middleware from "../src/Middleware.ts"
import * as Server from "../src/Server.ts"
import * as Transport from "../src/Transport.ts"
import { Echo, settled } from "./support/rawPeer.ts"
import { serveInMemory } from "./support/serve.ts"

/** Counts what is open. */
const resources = () => {
  const counts = { opened: 0, open: 0 }
  const acquire = Effect.acquireRelease(
    Effect.sync(() => {
      counts.opened++
      counts.open++
    }),
    () => Effect.sync(() => void counts.open--),
  )
  return { counts, acquire }
}

describe("a handler's resources", () => {
  it.effect("are released when its call is answered, while the station stays connected", () =>
    Effect.gen(function* () {
      const { acquire, counts } = resources()
      const Echoing = Handlers.make(Echo, { Echo: (request) => Effect.as(acquire, request) })
      const { connect } = yield* serveInMemory({ handlers: [Echoing] })
      const station = yield* connect("CP001")
      for (let i = 0; i < 500; i++) yield* station.call(Echo.Echo, { text: "" })
      expect([counts, station.state]).toEqual([{ opened: 500, open: 0 }, Connection.State.OPEN])
    }),
  )

  it.effect("are released when its connection is lost before it has answered", () =>
    Effect.gen(function* () {
      const { acquire, counts } = resources()
      const Hanging = Handlers.make(Echo, { Echo: () => Effect.andThen(acquire, Effect.never) })
      const { connect, network } = yield* serveInMemory({ handlers: [Hanging] })
      const station = yield* connect("CP001")
      const call = yield* Effect.forkChild(Effect.exit(station.call(Echo.Echo, { text: "" })))
      yield* settled
      expect(counts).toEqual({ opened: 1, open: 1 })
      yield* network.link("CP001").reset
      yield* Fiber.join(call)
      yield* settled
      expect(counts).toEqual({ opened: 1, open: 0 })
    }),
  )

  it.effect("that are fibers end with the call, and those of the connection's Scope go on until it closes", () =>
    Effect.gen(function* () {
      const { acquire, counts } = resources()
      const forever = Effect.scoped(Effect.andThen(acquire, Effect.never))
      const Forking = Handlers.make(Echo, {
        Echo: Effect.fnUntraced(function* (request) {
          const station = yield* Server.Station
          yield* Effect.forkScoped(forever)
          yield* Effect.forkIn(forever, station.scope)
          yield* settled
          return request
        }),
      })
      const { connect } = yield* serveInMemory({ handlers: [Forking] })
      const station = yield* connect("CP001")
      yield* station.call(Echo.Echo, { text: "" })
      yield* settled
      expect(counts).toEqual({ opened: 2, open: 1 })
      yield* station.close()
      yield* settled
      expect(counts).toEqual({ opened: 2, open: 0 })
    }),
  )
})

describe("the Scope of a connection", () => {
  it.effect("of a station closes with the connection, in reverse order", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serveInMemory()
      const station = yield* connect("CP001")
      const { scope } = yield* server.station("CP001")
      const closed: Array<string> = []
      for (const name of ["first", "second"]) {
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => closed.push(name)),
        )
      }
      yield* settled
      expect(closed).toEqual([])
      yield* station.close()
      yield* settled
      expect(closed).toEqual(["second", "first"])
    }),
  )

  it.effect("of a client is that of its present connection, and closed while there is none", () =>
    Effect.gen(function* () {
      const { connect, network } = yield* serveInMemory()
      const client = yield* connect("CP001", { reconnect: Schedule.spaced("1 second") })
      const first = client.scope
      expect(first.state._tag).not.toBe("Closed")
      yield* network.link("CP001").reset
      yield* settled
      expect([first.state._tag, client.scope.state._tag]).toEqual(["Closed", "Closed"])
      yield* TestClock.adjust("1 second")
      yield* settled
      expect(client.state).toBe(Connection.State.OPEN)
      expect(client.scope).not.toBe(first)
      expect(client.scope.state._tag).not.toBe("Closed")
    }),
  )

  it.effect("is asked for by nobody: then there is none to close", () =>
    Effect.gen(function* () {
      const [near] = Transport.makePair(Echo.name)
      const connection = yield* Connection.make(near, { side: "csms", protocol: Echo })
      yield* connection.close({ force: true })
      expect(connection.scope.state._tag).toBe("Closed")
    }),
  )

  it.effect("waits, when the program's closes, for finalizers that take time", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const outer = yield* Scope.make()
      const [near] = Transport.makePair(Echo.name)
      const connection = yield* Scope.provide(Connection.make(near, { side: "csms", protocol: Echo }), outer)
      yield* Scope.addFinalizer(connection.scope, Deferred.await(gate))
      const closing = yield* Effect.forkChild(Scope.close(outer, Exit.void))
      yield* TestClock.adjust("1 minute")
      yield* settled
      expect(closing.pollUnsafe()).toBe(undefined)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(closing)
    }),
  )
})

describe("what auth acquires", () => {
  it.effect("belongs to the connection that it lets in", () =>
    Effect.gen(function* () {
      const { acquire, counts } = resources()
      const { connect, server } = yield* serveInMemory({ auth: () => Effect.as(acquire, "session") })
      const station = yield* connect("CP001")
      expect([counts.open, (yield* server.station("CP001")).session]).toEqual([1, "session"])
      yield* station.close()
      yield* settled
      expect(counts).toEqual({ opened: 1, open: 0 })
    }),
  )

  it.effect("is released when it refuses, when it dies, and when its verdict comes to nothing", () =>
    Effect.gen(function* () {
      const { acquire, counts } = resources()
      const verdicts = [
        Server.reject(401),
        Effect.die("bug"),
        Effect.succeed(Server.accept(undefined, { ...Echo, name: "x" })),
      ]
      const { connect } = yield* serveInMemory({
        auth: () => Effect.flatMap(acquire, (): Effect.Effect<unknown, Server.Rejected> => verdicts.shift()!),
      })
      for (const _ of [...verdicts]) yield* Effect.exit(connect("CP001"))
      yield* settled
      expect(counts).toEqual({ opened: 3, open: 0 })
    }),
  )

  it.effect("is released when the station leaves before the verdict", () =>
    Effect.gen(function* () {
      const { acquire, counts } = resources()
      const { connect } = yield* serveInMemory({ auth: () => Effect.andThen(acquire, Effect.never) })
      const dialling = yield* Effect.forkChild(connect("CP001"))
      yield* settled
      expect(counts.open).toBe(1)
      yield* Fiber.interrupt(dialling)
      yield* settled
      expect(counts).toEqual({ opened: 1, open: 0 })
    }),
  )
})

describe("onConnected", () => {
  it.effect(
    "runs once for each of 4,000 stations that connect in one tick, in the station's Scope",
    () =>
      Effect.gen(function* () {
        const { acquire, counts } = resources()
        const greeted = new Set<string>()
        const { connect, server } = yield* serveInMemory({
          onConnected: (station) =>
            Effect.gen(function* () {
              greeted.add(station.identity)
              yield* acquire
              return yield* Effect.never
            }).pipe(Effect.scoped),
        })
        const identities = Array.from({ length: 4_000 }, (_, i) => `CP${i}`)
        const stations = yield* Effect.forEach(identities, (identity) => connect(identity), {
          concurrency: "unbounded",
        })
        expect([greeted.size, counts.open]).toEqual([4_000, 4_000])
        yield* Effect.forEach(stations, (station) => station.close({ force: true }), { discard: true })
        yield* settled
        expect([counts.open, (yield* server.stations).length]).toEqual([0, 0])
      }),
    30_000,
  )

  it.effect("may call the station, and may ask for what handlers ask for", () =>
    Effect.gen(function* () {
      const Greeting = Context.Service<string>("test/Greeting")
      const { connect } = yield* Effect.provideService(
        serveInMemory({
          onConnected: (station) =>
            Effect.gen(function* () {
              yield* station.call(Echo.Echo, { text: yield* Greeting })
            }),
        }),
        Greeting,
        "hello",
      )
      const heard = yield* Deferred.make<string>()
      const Listening = Handlers.make(Echo, {
        Echo: (request) => Effect.as(Deferred.succeed(heard, request.text), request),
      })
      yield* connect("CP001", { handlers: [Listening] })
      expect(yield* Deferred.await(heard)).toBe("hello")
    }),
  )

  it.effect("that fails or throws harms no station", () =>
    Effect.gen(function* () {
      const failures = [
        () => Effect.fail("no"),
        () => Effect.die("bug"),
        () => {
          throw new Error("bug")
        },
      ]
      const { connect } = yield* serveInMemory({ onConnected: () => failures.shift()!() })
      for (const identity of ["CP1", "CP2", "CP3"]) {
        const station = yield* connect(identity)
        expect(yield* station.call(Echo.Echo, { text: identity })).toEqual({ text: identity })
      }
      expect(failures).toEqual([])
    }),
  )
})

describe("Middleware.perConnection", () => {
  it.effect("builds its Layer afresh for each connection, though the program has the same Layer elsewhere", () =>
    Effect.gen(function* () {
      class Counter extends Context.Service<Counter, { readonly id: number }>()("test/Counter") {}
      let built = 0
      const counter = Layer.sync(Counter, () => ({ id: ++built }))
      const Counting = Handlers.make(Echo, {
        Echo: () => Effect.map(Counter, ({ id }) => ({ text: String(id) })),
      })
      const program = Effect.gen(function* () {
        const own = yield* Counter
        const { connect } = yield* serveInMemory({ handlers: [Middleware.perConnection(counter)(Counting)] })
        const ids = [own.id]
        for (const identity of ["CP1", "CP2"]) {
          const station = yield* connect(identity)
          for (let call = 0; call < 2; call++) ids.push(Number((yield* station.call(Echo.Echo, { text: "" })).text))
        }
        return ids
      })
      expect(yield* Effect.provide(program, counter)).toEqual([1, 2, 2, 3, 3])
    }),
  )
})

describe("a client's fibers", () => {
  it.effect("end with its Scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      let dials = 0
      const dial = () =>
        Effect.andThen(
          Effect.sync(() => dials++),
          Effect.never,
        )
      const client = yield* Scope.provide(Client.makeUnconnected(dial, { identity: "CP001", protocols: [Echo] }), scope)
      const connecting = yield* Effect.forkChild(Effect.exit(client.connect))
      yield* settled
      expect(dials).toBe(1)
      yield* Scope.close(scope, Exit.void)
      expect((yield* Fiber.join(connecting))._tag).toBe("Failure")
      expect(client.state).toBe(Connection.State.CLOSED)
    }),
  )
})

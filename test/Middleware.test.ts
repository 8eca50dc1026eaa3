/** What is around a CSMS's handlers. Stations connect in memory; time is the test's. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as References from "effect/References"
import { TestClock } from "effect/testing"
import type * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Middleware from "../src/Middleware.ts"
import { RPCSecurityError } from "../src/RPCError.ts"
import * as Server from "../src/Server.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { connectTo, serve } from "./support/inMemory.ts"
import { Echo, settled } from "./support/rawPeer.ts"

const now = "2026-01-01T00:00:00Z"

/** The code of the error that a call is refused with, or "ok". */
const outcomeOf = <A>(call: Effect.Effect<A, Connection.CallFailure>) =>
  Effect.match(call, {
    onSuccess: () => "ok",
    onFailure: (error) => (error._tag === "RPCError" ? error.code : error._tag),
  })

describe("requireBoot", () => {
  type Status = "Accepted" | "Pending" | "Rejected"

  /** A CSMS that answers a boot with the status that its station gives as its model. */
  const CentralSystem = Handlers.make(Ocpp16, {
    BootNotification: ({ chargePointModel }) =>
      chargePointModel === "refused"
        ? new RPCSecurityError("who are you?")
        : Effect.succeed({ status: chargePointModel as Status, currentTime: now, interval: 300 }),
    Heartbeat: () => Effect.succeed({ currentTime: now }),
    Authorize: () => Effect.succeed({ idTagInfo: { status: "Accepted" } }),
  })

  const boot = (station: Connection.Connection<"station">, chargePointModel: Status | "refused") =>
    Effect.exit(station.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel }))

  const beat = (station: Connection.Connection<"station">) => outcomeOf(station.call(Ocpp16.Heartbeat, {}))

  const guarded = () => Middleware.requireBoot(CentralSystem)

  it.effect("lets a station in of which nothing is remembered, and one that was accepted", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve(Ocpp16, [guarded()])
      const station = yield* connect("CP001")
      expect(yield* beat(station)).toBe("ok")
      yield* boot(station, "Accepted")
      expect(yield* beat(station)).toBe("ok")
      expect(yield* outcomeOf(station.call(Ocpp16.Authorize, { idTag: "x" }))).toBe("ok")
    }),
  )

  it.effect(
    "answers SecurityError to a station whose boot is answered Pending or Rejected, until one is accepted",
    () =>
      Effect.gen(function* () {
        const { connect } = yield* serve(Ocpp16, [guarded()])
        const station = yield* connect("CP001")
        for (const status of ["Pending", "Rejected"] as const) {
          yield* boot(station, status)
          expect(yield* beat(station)).toBe("SecurityError")
          expect(yield* outcomeOf(station.call(Ocpp16.Authorize, { idTag: "x" }))).toBe("SecurityError")
          yield* boot(station, "Accepted")
          expect(yield* beat(station)).toBe("ok")
          yield* boot(station, status)
          expect(yield* beat(station)).toBe("SecurityError")
        }
      }),
  )

  it.effect("takes a boot that is refused with an error for no answer", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve(Ocpp16, [guarded()])
      const station = yield* connect("CP001")
      yield* boot(station, "refused")
      expect(yield* beat(station)).toBe("ok")
      yield* boot(station, "Pending")
      yield* boot(station, "refused")
      expect(yield* beat(station)).toBe("SecurityError")
    }),
  )

  it.effect("remembers by identity, not by connection", () =>
    Effect.gen(function* () {
      const { connect } = yield* serve(Ocpp16, [guarded()])
      for (const [identity, status, outcome] of [
        ["CP001", "Accepted", "ok"],
        ["CP002", "Pending", "SecurityError"],
        ["CP003", "Rejected", "SecurityError"],
      ] as const) {
        const first = yield* connect(identity)
        yield* boot(first, status)
        yield* first.close()
        const second = yield* connect(identity)
        expect([identity, yield* beat(second)]).toEqual([identity, outcome])
        yield* boot(second, "Accepted")
        expect(yield* beat(second)).toBe("ok")
      }
      expect(yield* beat(yield* connect("CP004"))).toBe("ok")
    }),
  )

  it.effect("lets through what is allowed anyway", () =>
    Effect.gen(function* () {
      for (const options of [["Heartbeat"], { allowed: ["Heartbeat"] }]) {
        const { connect } = yield* serve(Ocpp16, [Middleware.requireBoot(CentralSystem, options)])
        const station = yield* connect("CP001")
        yield* boot(station, "Rejected")
        expect(yield* beat(station)).toBe("ok")
        expect(yield* outcomeOf(station.call(Ocpp16.Authorize, { idTag: "x" }))).toBe("SecurityError")
      }
    }),
  )
})

describe("rateLimit", () => {
  const echoing = Handlers.make(Echo, { Echo: Effect.succeed, Slow: Effect.succeed })

  const inMemory = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))

  const ask = (station: Connection.Connection<"station">) => outcomeOf(station.call(Echo.Echo, { text: "" }))

  it.effect("answers GenericError to one call too many, until the bucket has a token again", () =>
    Effect.gen(function* () {
      const limited = Middleware.rateLimit({ limit: 2, window: "10 seconds" })(echoing)
      const { connect } = yield* serve(Echo, [limited])
      const station = yield* connect("CP001")
      expect([yield* ask(station), yield* ask(station), yield* ask(station)]).toEqual(["ok", "ok", "GenericError"])
      yield* TestClock.adjust("5 seconds")
      expect([yield* ask(station), yield* ask(station)]).toEqual(["ok", "GenericError"])
      yield* TestClock.adjust("10 seconds")
      expect([yield* ask(station), yield* ask(station), yield* ask(station)]).toEqual(["ok", "ok", "GenericError"])
    }).pipe(Effect.provide(inMemory)),
  )

  it.effect("can count afresh in every window instead", () =>
    Effect.gen(function* () {
      const limited = Middleware.rateLimit({ limit: 2, window: "10 seconds", algorithm: "fixed-window" })(echoing)
      const { connect } = yield* serve(Echo, [limited])
      const station = yield* connect("CP001")
      expect([yield* ask(station), yield* ask(station), yield* ask(station)]).toEqual(["ok", "ok", "GenericError"])
      yield* TestClock.adjust("9 seconds")
      expect(yield* ask(station)).toBe("GenericError")
      yield* TestClock.adjust("2 seconds")
      expect([yield* ask(station), yield* ask(station), yield* ask(station)]).toEqual(["ok", "ok", "GenericError"])
    }).pipe(Effect.provide(inMemory)),
  )

  it.effect("counts by identity: across actions and connections, and not for others", () =>
    Effect.gen(function* () {
      const limited = Middleware.rateLimit({ limit: 2, window: "10 seconds" })(echoing)
      const { connect } = yield* serve(Echo, [limited])
      const first = yield* connect("CP001")
      yield* ask(first)
      yield* first.call(Echo.Slow, { text: "" })
      yield* first.close()
      expect(yield* ask(yield* connect("CP001"))).toBe("GenericError")
      expect(yield* ask(yield* connect("CP002"))).toBe("ok")
    }).pipe(Effect.provide(inMemory)),
  )

  it.effect("does not say that calls are too many when the store has failed", () => {
    const broken = new RateLimiter.RateLimitStoreError({ message: "the store is gone" })
    const store = Layer.succeed(RateLimiter.RateLimiter, {
      [RateLimiter.TypeId]: RateLimiter.TypeId,
      consume: () => Effect.fail(new RateLimiter.RateLimiterError({ reason: broken })),
      adaptiveConsume: () => Effect.die("not asked"),
      adaptiveFeedback: () => Effect.die("not asked"),
    })
    return Effect.gen(function* () {
      const { connect } = yield* serve(Echo, [Middleware.rateLimit({ limit: 2, window: "10 seconds" })(echoing)])
      expect(yield* ask(yield* connect("CP001"))).toBe("InternalError")
    }).pipe(Effect.provide(store), Effect.provide(Logger.layer([])))
  })
})

describe("log", () => {
  /** A logger that keeps its lines. */
  const recording = () => {
    const lines: Array<Record<string, unknown>> = []
    const logger = Logger.make(({ fiber, logLevel, message }) => {
      const [text] = [message].flat()
      lines.push({ level: logLevel, text, ...fiber.getRef(References.CurrentLogAnnotations) })
    })
    return { lines, layer: Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "Debug")) }
  }

  const handlers = Handlers.make(Echo, {
    Echo: (request) => Effect.delay(Effect.succeed(request), "20 millis"),
    Slow: () => new RPCSecurityError("no"),
  })

  it.effect("says at level Debug who called what, what came of it, and how long it took", () => {
    const { layer, lines } = recording()
    return Effect.gen(function* () {
      const { connect } = yield* serve(Echo, [Middleware.log(handlers)])
      const station = yield* connect("CP001")
      const call = yield* Effect.forkChild(station.call(Echo.Echo, { text: "hi" }))
      yield* Effect.andThen(settled, TestClock.adjust("20 millis"))
      expect(yield* Fiber.join(call)).toEqual({ text: "hi" })
      expect(yield* outcomeOf(station.call(Echo.Slow, { text: "" }))).toBe("SecurityError")
      const common = { level: "Debug", identity: "CP001", messageId: expect.any(String) }
      expect(lines).toEqual([
        expect.objectContaining({ ...common, text: "answered", action: "Echo", duration: "20ms" }),
        expect.objectContaining({ ...common, text: "refused", action: "Slow", duration: expect.any(String) }),
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("tells of a call whose handler is interrupted", () => {
    const { layer, lines } = recording()
    return Effect.gen(function* () {
      const { connect } = yield* serve(Echo, [Middleware.log(handlers)], { handlerTimeout: "10 millis" })
      const station = yield* connect("CP001")
      const call = yield* Effect.forkChild(outcomeOf(station.call(Echo.Echo, { text: "hi" })))
      yield* Effect.andThen(settled, TestClock.adjust("10 millis"))
      expect(yield* Fiber.join(call)).toBe("InternalError")
      const told = lines.filter(({ level }) => level === "Debug")
      expect(told).toEqual([expect.objectContaining({ text: "interrupted", action: "Echo", duration: "10ms" })])
    }).pipe(Effect.provide(layer))
  })
})

describe("perConnection", () => {
  class Session extends Context.Service<Session, { readonly number: number }>()("test/Session") {}

  const showing = Handlers.make(Echo, {
    Echo: () => Effect.map(Session, ({ number }) => ({ text: `${number}` })),
    Slow: () => Effect.andThen(Session, Effect.never),
  })

  /** Sessions that are numbered as they are made, and say so when they end. */
  const numbered = (gate: Effect.Effect<unknown> = Effect.void) => {
    const ended: Array<number> = []
    let last = 0
    const layer = Layer.effect(
      Session,
      Effect.acquireRelease(
        Effect.suspend(() => {
          const number = ++last
          return Effect.as(gate, { number })
        }),
        ({ number }) => Effect.sync(() => ended.push(number)),
        { interruptible: true },
      ),
    )
    return { ended, layer, made: () => last }
  }

  const ask = (station: Connection.Connection<"station">) =>
    Effect.map(station.call(Echo.Echo, { text: "" }), ({ text }) => text)

  it.effect("builds the Layer once for each connection, when that first calls", () =>
    Effect.gen(function* () {
      const { layer, made } = numbered()
      const { connect } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)])
      const [a, b] = [yield* connect("CP001"), yield* connect("CP002")]
      yield* settled
      expect(made()).toBe(0)
      expect([yield* ask(a), yield* ask(a), yield* ask(b), yield* ask(a)]).toEqual(["1", "1", "2", "1"])
    }),
  )

  it.effect("closes its Scope with the connection, and the next of that identity has its own", () =>
    Effect.gen(function* () {
      const { ended, layer } = numbered()
      const { connect } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)])
      const first = yield* connect("CP001")
      yield* ask(first)
      const other = yield* connect("CP002")
      yield* ask(other)
      expect(ended).toEqual([])
      yield* first.close()
      yield* settled
      expect(ended).toEqual([1])
      expect(yield* ask(yield* connect("CP001"))).toBe("3")
      expect(yield* ask(other)).toBe("2")
    }),
  )

  it.effect("closes its Scope when the server closes", () =>
    Effect.gen(function* () {
      const { ended, layer } = numbered()
      const { connect, server } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)])
      yield* ask(yield* connect("CP001"))
      yield* server.close()
      yield* settled
      expect(ended).toEqual([1])
    }),
  )

  it.effect("builds for all calls that wait, though the first of them ends", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { layer, made } = numbered(Deferred.await(gate))
      const { connect } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)], {
        handlerTimeout: "10 seconds",
      })
      const station = yield* connect("CP001", { callConcurrency: 2 })
      const first = yield* Effect.forkChild(outcomeOf(ask(station)))
      yield* Effect.andThen(settled, TestClock.adjust("6 seconds"))
      const second = yield* Effect.forkChild(ask(station))
      yield* Effect.andThen(settled, TestClock.adjust("6 seconds"))
      expect(yield* Fiber.join(first)).toBe("InternalError")
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(second)).toBe("1")
      expect(made()).toBe(1)
    }),
  )

  it.effect("interrupts a build whose connection closes", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const { ended, layer } = numbered(
        Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
      )
      const { connect } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)])
      const station = yield* connect("CP001")
      yield* Effect.forkChild(Effect.exit(ask(station)))
      yield* settled
      yield* station.close()
      yield* Deferred.await(interrupted)
      expect(ended).toEqual([])
    }),
  )

  it.effect("keeps nothing open for a call that outlives its connection", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { ended, layer, made } = numbered()
      // What is around it holds the call up until the connection has gone, and cannot be interrupted.
      const handlers = Handlers.wrap(Middleware.perConnection(layer)(showing), (handle) =>
        Effect.uninterruptible(Effect.andThen(Deferred.await(gate), handle)),
      )
      const { connect } = yield* serve(Echo, [handlers])
      const station = yield* connect("CP001")
      yield* Effect.forkChild(Effect.exit(ask(station)))
      yield* settled
      yield* Effect.forkChild(station.close())
      yield* settled
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      expect(ended).toHaveLength(made())
    }),
  )

  it.effect("runs its finalizers where the server runs: with its clock and loggers", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const layer = Layer.effect(
        Session,
        Effect.acquireRelease(Effect.succeed({ number: 1 }), () =>
          Effect.andThen(Effect.sleep("1 hour"), Deferred.succeed(ended, undefined)),
        ),
      )
      const { connect } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)])
      const station = yield* connect("CP001")
      yield* ask(station)
      yield* station.close()
      yield* settled
      expect(Option.isNone(yield* Deferred.poll(ended))).toBe(true)
      yield* TestClock.adjust("1 hour")
      yield* Deferred.await(ended)
    }),
  )

  it.effect("does not log in the name of the call that was the first", () => {
    const lines: Array<Record<string, unknown>> = []
    const logger = Logger.make(({ fiber, message }) => {
      lines.push({ text: [message].flat()[0], ...fiber.getRef(References.CurrentLogAnnotations) })
    })
    const layer = Layer.effect(
      Session,
      Effect.acquireRelease(Effect.as(Effect.logInfo("begins"), { number: 1 }), () => Effect.logInfo("ends")),
    )
    return Effect.gen(function* () {
      const { connect } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)])
      const station = yield* connect("CP001")
      yield* ask(station)
      yield* station.close()
      yield* settled
      expect(lines).toEqual([
        { text: "begins", identity: "CP001", protocol: "echo1.0" },
        { text: "ends", identity: "CP001", protocol: "echo1.0" },
      ])
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("builds afresh for each connection where the server is a Layer itself", () => {
    const { layer } = numbered()
    const handlers = [Middleware.perConnection(layer)(showing)]
    const Csms = Layer.effect(
      Server.Server,
      Effect.map(serve(Echo, handlers), ({ server }) => server),
    )
    return Effect.gen(function* () {
      const server = yield* Server.Server
      const [a, b] = [yield* connectTo(server, "CP001", Echo), yield* connectTo(server, "CP002", Echo)]
      expect([yield* ask(a), yield* ask(b), yield* ask(a)]).toEqual(["1", "2", "1"])
    }).pipe(Effect.provide(Csms))
  })

  it.effect("answers InternalError to the calls of a connection whose Layer cannot be built", () =>
    Effect.gen(function* () {
      const layer = Layer.effect(Session, Effect.die("no session"))
      const { connect } = yield* serve(Echo, [Middleware.perConnection(layer)(showing)])
      const station = yield* connect("CP001")
      expect(yield* outcomeOf(ask(station))).toBe("InternalError")
      expect(yield* outcomeOf(ask(station))).toBe("InternalError")
    }).pipe(Effect.provide(Logger.layer([]))),
  )
})

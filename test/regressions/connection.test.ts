import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import { TestClock } from "effect/testing"
import * as Connection from "../../src/Connection.ts"
import * as Deadlines from "../../src/connection/Deadlines.ts"
import * as Handlers from "../../src/Handlers.ts"
import { RPCGenericError } from "../../src/RPCError.ts"
import { makePair, type Transport } from "../../src/Transport.ts"
import { altered, connect, Echo, RawPeer, settled } from "../support/rawPeer.ts"
import { collectUncaught } from "../support/uncaught.ts"

const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), settled)

const slowPeer = (buffered: { now: number }) => (transport: Transport) =>
  altered(transport, {
    get bufferedAmount() {
      return buffered.now
    },
  })

describe("a pair of transports in memory", () => {
  it.effect("delivers everything that came before it was listened to", () =>
    Effect.gen(function* () {
      const [ours, theirs] = makePair()
      for (const message of ["1", "2", "3"]) theirs.send(message)
      yield* settled
      const peer = new RawPeer(ours)
      yield* settled
      expect(peer.received).toEqual(["1", "2", "3"])
    }),
  )
})

describe("deadlines", () => {
  it.effect("that come back to a time at which they were set before leave no sleeper when they are cleared", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let sleepers = 0
      const sleep = (duration: Duration.Duration) =>
        Effect.acquireUseRelease(
          Effect.sync(() => sleepers++),
          () => clock.sleep(duration),
          () => Effect.sync(() => sleepers--),
        )
      const deadlines = Deadlines.of({ ...clock, sleep })
      const start = deadlines.now()
      const alarm: Deadlines.Deadline = { entry: undefined, expire: () => start + 5_000 }
      const other: Deadlines.Deadline = { entry: undefined, expire: () => start + 9_000 }
      deadlines.wakeBy(alarm, start + 5_000)
      deadlines.wakeBy(alarm, start + 300)
      yield* TestClock.adjust(300)
      deadlines.wakeBy(other, start + 9_000)
      deadlines.clear(other)
      expect(sleepers).toBe(1)
      deadlines.clear(alarm)
      yield* settled
      expect(sleepers).toBe(0)
    }),
  )
})

describe("outbound", () => {
  it.effect("a SEND that the 1013 limit keeps off the wire fails", () =>
    Effect.gen(function* () {
      const buffered = { now: 0 }
      const { connection, peer } = yield* connect({ wrap: slowPeer(buffered) })
      buffered.now = 2 ** 30
      const exit = yield* Effect.exit(connection.send(Echo.Note, { text: "lost" }))
      expect(peer.received).toEqual([])
      expect(Exit.isFailure(exit)).toBe(true)
    }),
  )

  it.effect("a call that the 1013 limit keeps off the wire says sent: false", () =>
    Effect.gen(function* () {
      const buffered = { now: 0 }
      const { connection, peer } = yield* connect({ wrap: slowPeer(buffered) })
      buffered.now = 2 ** 30
      const error = yield* Effect.flip(connection.call(Echo.Echo, { text: "lost" }))
      yield* settled
      expect(peer.received).toEqual([])
      expect(error).toMatchObject({ _tag: "DisconnectedError", sent: false })
    }),
  )

  it.effect("one AbortSignal that takes back many calls has none of those that waited sent", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({})
      const controller = new AbortController()
      const { signal } = controller
      for (let i = 0; i < 5; i++) Effect.runFork(connection.call("Echo", { text: `${i}` }), { signal })
      controller.abort()
      const next = yield* start(connection.call("Echo", { text: "next" }))
      expect(peer.take().map(([, , , payload]) => payload.text)).toEqual(["0", "next"])
      yield* Fiber.interrupt(next)
    }),
  )

  it.effect("a call that an observer makes when it hears of the closing never leaves", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({})
      const calls: Array<Fiber.Fiber<unknown, Connection.CallFailure>> = []
      connection.subscribe((event) => {
        if (event._tag === "Closing") calls.push(Effect.runFork(connection.call(Echo.Echo, { text: "late" })))
      })
      yield* connection.close()
      expect(peer.received).toEqual([])
      expect(yield* Effect.flip(Fiber.join(calls[0]!))).toMatchObject({ _tag: "DisconnectedError", sent: false })
    }),
  )

  it.effect("an observer that closes it when it hears that it closes hears of it once", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect({})
      connection.subscribe((event) => {
        if (event._tag === "Closing") Effect.runFork(connection.close())
      })
      peer.transport.close(1001, "restart")
      yield* settled
      expect(events.map(({ _tag }) => _tag)).toEqual(["Disconnect", "Closing", "Close"])
    }),
  )

  it.effect("close() fails queued calls at once, not when the peer answers the close frame", () =>
    Effect.gen(function* () {
      const { connection } = yield* connect({
        // a peer that never answers a close frame
        wrap: (transport) => altered(transport, { close: () => {} }),
      })
      const first = yield* start(Effect.exit(connection.call(Echo.Echo, { text: "1" })))
      const queued = yield* start(Effect.exit(connection.call(Echo.Echo, { text: "2" })))
      yield* start(connection.close())
      const late = yield* start(Effect.exit(connection.call(Echo.Echo, { text: "3" })))
      const done = [first, queued, late].map((fiber) => fiber.pollUnsafe() !== undefined)
      yield* TestClock.adjust("1 minute")
      expect(done).toEqual([true, true, true])
    }),
  )
})

describe("inbound", () => {
  it.effect("a CALL of what is only sent, and a SEND of what is called, run no handler in strict mode", () =>
    Effect.gen(function* () {
      let ran = 0
      const handlers = [Handlers.wildcard(() => Effect.sync(() => ran++))]
      const { events, peer } = yield* connect({ handlers, strictMode: true })
      yield* peer.send([2, "1", "Note", { text: "" }])
      yield* peer.send([6, "2", "Echo", { text: "" }])
      expect(peer.take()).toEqual([[4, "1", "ProtocolError", "Note is a SEND, which has no answer", {}]])
      expect(events.filter(({ _tag }) => _tag === "BadMessage")).toMatchObject([{ error: { code: "ProtocolError" } }])
      expect(ran).toBe(0)
    }),
  )

  it.effect("whatever strict mode refuses a call for is told as a ValidationFailure", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.wildcard(() => Effect.succeed({}))]
      const { events, peer } = yield* connect({ handlers, strictMode: true })
      yield* peer.send([2, "1", "Note", { text: "" }])
      yield* peer.send([2, "2", "Echo"])
      const told = events.filter((event) => event._tag === "ValidationFailure")
      expect(told.map(({ error, messageId, sender }) => [messageId, sender, error.code])).toEqual([
        ["1", "peer", "ProtocolError"],
        ["2", "peer", "FormatViolation"],
      ])
    }),
  )

  it.effect("a call without payload is let through where violations are only reported", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.wildcard((request) => Effect.succeed({ text: JSON.stringify(request) }))]
      const { events, peer } = yield* connect({ handlers, strictMode: true, validateInbound: "report" })
      yield* peer.send([2, "1", "Echo"])
      expect(peer.take()).toEqual([[3, "1", { text: "{}" }]])
      expect(events.filter(({ _tag }) => _tag === "ValidationFailure")).toHaveLength(1)
    }),
  )

  it.effect("a handler that closes its own connection before it suspends is interrupted", () =>
    Effect.gen(function* () {
      let interrupted = false
      let self: Connection.Connection<"csms"> | undefined
      const handlers = [
        Handlers.make(Echo, {
          Echo: () =>
            Effect.andThen(
              Effect.sync(() => void Effect.runFork(self!.close())),
              Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (interrupted = true))),
            ),
        }),
      ]
      const { connection, peer } = yield* connect({ handlers, handlerTimeout: "Infinity" })
      self = connection
      yield* peer.send([2, "1", "Echo", { text: "" }])
      yield* connection.closed
      yield* settled
      expect(interrupted).toBe(true)
    }),
  )

  it.effect("no handler starts once an observer has closed the connection", () =>
    Effect.gen(function* () {
      let ran = 0
      const handlers = [Handlers.make(Echo, { Echo: (request) => Effect.sync(() => (ran++, request)) })]
      const { connection, peer } = yield* connect({ handlers })
      connection.subscribe((event) => {
        if (event._tag === "Call") Effect.runFork(connection.close())
      })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      expect(ran).toBe(0)
    }),
  )

  it.effect("raising handlerConcurrency starts waiting calls at once", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.make(Echo, { Slow: () => Effect.never, Echo: Effect.succeed })]
      const { connection, peer } = yield* connect({ handlers, handlerConcurrency: 1 })
      yield* peer.send([2, "1", "Slow", { text: "" }])
      yield* peer.send([2, "2", "Echo", { text: "" }])
      connection.reconfigure({ handlerConcurrency: 2 })
      yield* settled
      expect(peer.take()).toEqual([[3, "2", { text: "" }]])
    }),
  )

  it.effect("an RPCError whose message is no string is still a CALLERROR", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.make(Echo, { Echo: () => new RPCGenericError(null as never) })]
      const { peer } = yield* connect({ handlers })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      expect(peer.take()).toMatchObject([[4, "1", "GenericError", "", {}]])
    }),
  )

  it.effect("errorDetails is always an object", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.make(Echo, { Echo: () => new RPCGenericError("", ["x"] as never) })]
      const { peer } = yield* connect({ handlers })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      expect(peer.take()).toEqual([[4, "1", "GenericError", "", {}]])
    }),
  )

  it.effect("a SEND that nothing handles is reported", () =>
    Effect.gen(function* () {
      const { peer, events } = yield* connect({})
      yield* peer.send([6, "1", "Nope", {}])
      expect(events.map((event) => event._tag).filter((tag) => tag !== "Frame" && tag !== "Call")).not.toEqual([])
    }),
  )

  it.effect("an action that nothing handles is quoted short, and cannot forge a line of a log", () =>
    Effect.gen(function* () {
      const { peer } = yield* connect({})
      yield* peer.send([2, "1", `Nope\r\n\u2028\u202e${"x".repeat(100)}`, {}])
      const quoted = `Nope\\u{d}\\u{a}\\u{2028}\\u{202e}${"x".repeat(56)}… has no handler`
      expect(peer.take()).toEqual([[4, "1", "NotImplemented", quoted, {}]])
    }),
  )

  it.effect("a router that throws costs one CALLERROR, not the process", () =>
    Effect.gen(function* () {
      const handlers = [
        Handlers.dynamic(() => {
          throw new Error("boom")
        }),
      ]
      const seen = yield* collectUncaught(0)
      const { peer } = yield* connect({ handlers })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      yield* settled
      expect(seen).toEqual([])
      expect(peer.take()).toMatchObject([[4, "1", "InternalError", "the handler failed", {}]])
    }),
  )
})

describe("events", () => {
  it.effect("every observer sees the events in the order in which they happen", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      connection.subscribe((event) => {
        if (event._tag === "CallResult") Effect.runFork(connection.send(Echo.Note, { text: "" }))
      })
      const second: Array<string> = []
      connection.subscribe((event) => second.push(event._tag))
      yield* start(connection.call(Echo.Echo, { text: "hi" }))
      second.length = 0
      yield* peer.send([3, peer.take()[0]![1], { text: "ho" }])
      expect(second).toEqual(["Frame", "CallResult", "Call", "Frame"])
    }),
  )

  it.effect("an observer that throws does not stop the clock of everybody else", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.make(Echo, { Slow: () => Effect.never })]
      const uncaught = yield* collectUncaught(1)
      const { connection, peer } = yield* connect({ handlers, handlerTimeout: "1 second", callTimeout: "5 seconds" })
      connection.subscribe((event) => {
        if (event._tag === "CallError" && !event.outbound) throw new Error("observer")
      })
      yield* peer.send([2, "1", "Slow", { text: "" }])
      const call = yield* start(Effect.exit(connection.call(Echo.Echo, { text: "" })))
      yield* TestClock.adjust("1 second")
      yield* settled
      yield* TestClock.adjust("1 minute")
      yield* settled
      expect(call.pollUnsafe()).toBeDefined()
      expect(uncaught).toMatchObject([{ message: "observer" }])
    }),
  )

  it.effect(
    "an observer that throws on Disconnect does not keep close() from ending",
    () =>
      Effect.gen(function* () {
        yield* collectUncaught(1)
        const { connection } = yield* connect()
        connection.subscribe((event) => {
          if (event._tag === "Disconnect") throw new Error("observer")
        })
        const closing = yield* start(connection.close())
        yield* settled
        const state = connection.state
        const done = closing.pollUnsafe() !== undefined
        // let the Scope of this test end
        yield* Fiber.interrupt(closing)
        expect([state, done]).toEqual([Connection.State.CLOSED, true])
      }).pipe(Effect.timeout("2 seconds")),
    4000,
  )
})

describe("deadlines", () => {
  it.effect("a cleared alarm is not kept in memory until its time", () =>
    Effect.gen(function* () {
      const { setFlagsFromString } = yield* Effect.promise(() => import("node:v8"))
      const { runInNewContext } = yield* Effect.promise(() => import("node:vm"))
      setFlagsFromString("--expose-gc")
      const gc = runInNewContext("gc") as () => void
      const deadlines = Deadlines.of(yield* Clock.Clock)
      const live: Deadlines.Deadline = { entry: undefined, expire: () => Number.POSITIVE_INFINITY }
      deadlines.wakeBy(live, deadlines.now() + 1000)
      const refs: Array<WeakRef<object>> = []
      const churn = () => {
        for (let i = 0; i < 1000; i++) {
          const connection = new Array(1000).fill(i)
          const alarm: Deadlines.Deadline = { entry: undefined, expire: () => connection.length }
          deadlines.wakeBy(alarm, deadlines.now() + 86_400_000)
          deadlines.clear(alarm)
          refs.push(new WeakRef(connection))
        }
      }
      churn()
      yield* settled
      gc()
      yield* settled
      gc()
      const kept = refs.filter((ref) => ref.deref() !== undefined).length
      deadlines.clear(live)
      expect(kept).toBeLessThan(10)
    }),
  )
})

describe("what a peer has chosen", () => {
  const answering = { handlers: [Handlers.wildcard(() => Effect.succeed({ text: "" }), Echo)] }

  it.effect("is not kept by the metrics when a wildcard handles it", () =>
    Effect.gen(function* () {
      const { peer } = yield* connect(answering)
      yield* settled
      yield* peer.send([2, "1", "Invented", { text: "" }])
      const actions = (yield* Metric.snapshot).map(({ attributes }) => attributes?.action)
      expect(actions).toContain("unknown")
      expect(actions).not.toContain("Invented")
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())),
  )

  it.effect("is short and harmless in the annotations of a handler's logs", () =>
    Effect.gen(function* () {
      const seen: Array<Readonly<Record<string, unknown>>> = []
      const logger = Logger.make(({ fiber }) => void seen.push(fiber.getRef(References.CurrentLogAnnotations)))
      const log = () => Effect.as(Effect.log("handled"), { text: "" })
      const { peer } = yield* Effect.provide(
        connect({ handlers: [Handlers.wildcard(log, Echo)] }),
        Logger.layer([logger]),
      )
      yield* settled
      yield* peer.send([2, "1\nforged", "A".repeat(1_000), { text: "" }])
      expect(seen).toMatchObject([{ action: `${"A".repeat(64)}…`, messageId: "1\\u{a}forged" }])
    }),
  )

  it.effect("is not remembered as the id of an answer, when it is longer than an id may be", () =>
    Effect.gen(function* () {
      const { events, peer } = yield* connect(answering)
      yield* settled
      for (const id of ["i".repeat(36), "i".repeat(100)]) {
        yield* peer.send([2, id, "Echo", { text: "" }])
        yield* peer.send([5, id, "InternalError", "", {}])
      }
      expect(events.map(({ _tag }) => _tag).filter((tag) => tag === "CallResultError" || tag === "BadMessage")).toEqual(
        ["CallResultError", "BadMessage"],
      )
    }),
  )

  it.effect(
    "waits for its handler up to 64 Mi characters; what is more is refused, until something has been answered",
    () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const slow = () => Effect.as(Deferred.await(gate), { text: "" })
        const { peer } = yield* connect({ handlers: [Handlers.wildcard(slow, Echo)], handlerConcurrency: 2 })
        yield* settled
        const text = "x".repeat(16 * 1024 * 1024)
        for (const id of ["1", "2", "3", "4", "5"]) yield* peer.send([2, id, "Echo", { text }])
        expect(peer.take().map((answer) => answer.slice(0, 3))).toEqual([
          [4, "4", "GenericError"],
          [4, "5", "GenericError"],
        ])
        yield* Deferred.succeed(gate, undefined)
        yield* settled
        yield* peer.send([2, "6", "Echo", { text }])
        expect(
          peer
            .take()
            .map(([type, id]) => `${type} ${id}`)
            .toSorted(),
        ).toEqual(["3 1", "3 2", "3 3", "3 6"])
      }),
  )
})

describe("close({ awaitPending: true })", () => {
  it.effect("waits for a call whose own timeout is longer than callTimeout", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ callTimeout: 100 })
      yield* settled
      const call = yield* start(connection.call(Echo.Echo, { text: "" }, { timeout: 5_000 }))
      const closing = yield* start(connection.close({ awaitPending: true }))
      yield* TestClock.adjust(400)
      const [[, id]] = peer.take() as [[number, string]]
      yield* peer.send([3, id, { text: "late" }])
      expect(yield* Fiber.join(call)).toEqual({ text: "late" })
      expect(yield* Fiber.join(closing)).toEqual({ code: 1000, reason: "" })
    }),
  )
})

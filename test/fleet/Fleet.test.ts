/** One outcome for each call, whatever becomes of nodes, links and stations; what it says of `sent` is true. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type * as Client from "../../src/Client.ts"
import * as Connection from "../../src/Connection.ts"
import * as Fleet from "../../src/Fleet.ts"
import * as Handlers from "../../src/Handlers.ts"
import { RPCGenericError, RPCSecurityError } from "../../src/RPCError.ts"
import { settled } from "../../src/testing/settled.ts"
import { answering, Echo, makeFleet, makeNode, Other, pass, silent } from "./support/nodes.ts"

const echo = (fleet: Fleet.Fleet, identity: string, text = "hi", timeout?: number) =>
  fleet.call(identity, Echo.Echo, { text }, timeout === undefined ? {} : { timeout })

/** What a call comes to, when time passes as long as it needs. */
const outcome = <A, E>(call: Effect.Effect<A, E>, within = 2_000) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(call, { startImmediately: true })
    for (let passed = 0; passed < within && fiber.pollUnsafe() === undefined; passed += 10) yield* pass(10)
    const exit = fiber.pollUnsafe()
    if (exit === undefined) yield* Fiber.interrupt(fiber)
    return exit
  })

const failure = <A, E>(call: Effect.Effect<A, E>, within?: number) => outcome(Effect.flip(call), within)

const failed = (error: object) => Exit.succeed(expect.objectContaining(error))

describe("a call", () => {
  it.effect("reaches a station of any node from any node", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      yield* a.connect("CP001")
      for (const { fleet } of [a, b, c]) {
        expect(yield* outcome(echo(fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
      }
    }),
  )

  it.effect("of a station of the same node does not touch the engine", () =>
    Effect.gen(function* () {
      const { a, hub } = yield* makeFleet
      yield* a.connect("CP001")
      hub.stop()
      expect(yield* echo(a.fleet, "CP001")).toEqual({ text: "CP001: hi" })
    }),
  )

  it.effect("reaches a station from its own node in the tick in which it has connected", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      yield* a.network.station({ identity: "CP001", protocols: [Echo], handlers: answering("CP001") })
      expect(yield* echo(a.fleet, "CP001")).toEqual({ text: "CP001: hi" })
      yield* pass(20)
      expect(yield* outcome(echo(b.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
    }),
  )

  it.effect("of a station that is connected nowhere was not sent, and fails at once", () =>
    Effect.gen(function* () {
      const { a } = yield* makeFleet
      expect(yield* Effect.flip(echo(a.fleet, "CP001"))).toMatchObject({ _tag: "NotConnectedError", identity: "CP001" })
    }),
  )

  it.effect("of a station that has gone was not sent", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      const station = yield* a.connect("CP001")
      expect(yield* outcome(echo(b.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
      yield* station.close()
      yield* pass(20)
      expect(yield* failure(echo(b.fleet, "CP001"))).toEqual(failed({ _tag: "NotConnectedError" }))
    }),
  )

  it.effect("brings the errors of the station back as the classes that they were", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      const errors = [new RPCSecurityError("no", { why: "because" }), new RPCGenericError("odd", {}, "VendorCode")]
      const refusing = [Handlers.make(Echo, { Echo: ({ text }) => errors[Number(text)] ?? Effect.die("no") })]
      yield* a.connect("CP001", { handlers: refusing })
      for (const [i, error] of errors.entries()) {
        const local = yield* Effect.flip(echo(a.fleet, "CP001", `${i}`))
        const remote = yield* failure(echo(b.fleet, "CP001", `${i}`))
        expect(remote).toEqual(Exit.succeed(local))
        expect(Exit.isSuccess(remote as never) && (remote as unknown as { value: object }).value).toBeInstanceOf(
          error instanceof RPCSecurityError ? RPCSecurityError : RPCGenericError,
        )
        expect(local).toMatchObject({ message: error.message, details: error.details })
      }
    }),
  )

  it.effect("that the station does not answer in time was sent; one that waits for its turn was not", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      const got: Array<string> = []
      yield* a.connect("CP001", { handlers: silent(got) })
      const first = yield* Effect.forkChild(failure(echo(b.fleet, "CP001", "first", 1_000)))
      yield* pass(100)
      const second = yield* failure(echo(c.fleet, "CP001", "second", 500))
      expect(second).toEqual(
        failed({ _tag: "TimeoutError", action: "Echo", timeout: expect.closeTo(500, -2), sent: false }),
      )
      expect(yield* Fiber.join(first)).toEqual(failed({ _tag: "TimeoutError", sent: true }))
      yield* pass(1_000)
      expect(got).toEqual(["first"])
    }),
  )

  it.effect("waits with all others in the one queue of its station, in order of arrival", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      const got: Array<string> = []
      const slow = Handlers.make(Echo, {
        Echo: (request) =>
          Effect.andThen(
            Effect.sync(() => got.push(request.text)),
            Effect.delay(Effect.succeed(request), 100),
          ),
      })
      yield* a.connect("CP001", { handlers: [slow] })
      const calls: Array<Fiber.Fiber<unknown, unknown>> = []
      for (const [i, { fleet }] of [a, b, c, a, b, c].entries()) {
        calls.push(yield* Effect.forkChild(echo(fleet, "CP001", `${i}`), { startImmediately: true }))
        yield* pass(10)
        expect(got).toHaveLength(1)
      }
      yield* pass(1_000)
      expect(got).toEqual(["0", "1", "2", "3", "4", "5"])
      yield* Effect.forEach(calls, Fiber.join)
    }),
  )

  it.effect("that finds the queue of the station full was not sent", () =>
    Effect.gen(function* () {
      const hub = yield* Fleet.MemoryHub.make
      const a = yield* makeNode(hub, "a", {}, { maxQueuedCalls: 0 })
      const b = yield* makeNode(hub, "b")
      yield* a.connect("CP001", { handlers: silent([]) })
      yield* Effect.forkChild(Effect.exit(echo(b.fleet, "CP001")), { startImmediately: true })
      yield* pass(50)
      expect(yield* failure(echo(b.fleet, "CP001"))).toEqual(
        failed({ _tag: "CallQueueFullError", action: "Echo", limit: 0 }),
      )
    }),
  )

  it.effect("that is interrupted while it waits is never sent", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      const got: Array<string> = []
      const station = yield* a.connect("CP001", { handlers: silent(got) })
      yield* Effect.forkChild(Effect.exit(echo(a.fleet, "CP001", "first", 1_000)), { startImmediately: true })
      const waiting = yield* Effect.forkChild(echo(b.fleet, "CP001", "second"), { startImmediately: true })
      yield* pass(100)
      yield* Fiber.interrupt(waiting)
      yield* pass(2_000)
      expect(got).toEqual(["first"])
      expect(station.state).toBe(1)
    }),
  )

  it.effect("that was interrupted while the engine was away is taken back when that returns", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      const got: Array<string> = []
      yield* a.connect("CP001", { handlers: silent(got) })
      yield* Effect.forkChild(Effect.exit(echo(a.fleet, "CP001", "first", 3_000)), { startImmediately: true })
      const waiting = yield* Effect.forkChild(echo(b.fleet, "CP001", "second"), { startImmediately: true })
      yield* pass(100)
      hub.stop()
      yield* Fiber.interrupt(waiting)
      yield* pass(300)
      hub.start()
      yield* pass(5_000)
      expect(got).toEqual(["first"])
    }),
  )

  it.effect("of an action of another subprotocol is refused as it would be locally", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      yield* a.connect("CP001")
      const wrong = { text: "hi" }
      const local = yield* Effect.flip(a.fleet.call("CP001", Other.Echo, wrong))
      expect(yield* failure(b.fleet.call("CP001", Other.Echo, wrong))).toEqual(Exit.succeed(local))
      expect(local).toMatchObject({ _tag: "RPCError", code: "ProtocolError" })
    }),
  )

  it.effect("whose payload cannot be written fails as it would locally", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      yield* a.connect("CP001")
      const cyclic: { self?: unknown } = {}
      cyclic.self = cyclic
      for (const { fleet } of [a, b]) {
        expect(yield* failure(fleet.call("CP001", "Echo", cyclic))).toEqual(
          failed({ _tag: "RPCError", code: "FormatViolation" }),
        )
      }
    }),
  )

  it.effect("that is longer than a message may be is not sent; a response that is, is an error", () =>
    Effect.gen(function* () {
      const hub = yield* Fleet.MemoryHub.make
      const a = yield* makeNode(hub, "a", { maxMessageBytes: 2_000 })
      const b = yield* makeNode(hub, "b", { maxMessageBytes: 2_000 })
      const long = Handlers.make(Echo, { Echo: () => Effect.succeed({ text: "x".repeat(3_000) }) })
      yield* a.connect("CP001", { handlers: [long] })
      expect(yield* failure(echo(b.fleet, "CP001", "x".repeat(3_000)))).toEqual(
        failed({ code: "InternalError", message: expect.stringContaining("Echo was not sent") }),
      )
      expect(yield* failure(echo(b.fleet, "CP001"))).toEqual(
        failed({ code: "InternalError", message: expect.stringContaining("the response of Echo is too long") }),
      )
      expect((yield* echo(a.fleet, "CP001", "x".repeat(3_000))).text).toHaveLength(3_000)
    }),
  )

  it.effect("without an answer to wait for is done when the station has been sent it; so is a SEND", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      const got: Array<string> = []
      const note = Handlers.make(Echo, { Note: ({ text }) => Effect.sync(() => void got.push(text)) })
      yield* a.connect("CP001", { handlers: [...silent(got), note] })
      expect(yield* outcome(b.fleet.call("CP001", Echo.Echo, { text: "1" }, { noReply: true }))).toEqual(Exit.void)
      expect(yield* outcome(b.fleet.send("CP001", Echo.Note, { text: "2" }))).toEqual(Exit.void)
      yield* settled
      expect(got).toEqual(["1", "2"])
    }),
  )
})

describe("a station that moves", () => {
  it.effect("is called at its new node, and its old connection is closed with 1008", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      const old = yield* a.connect("CP001", { handlers: answering("old") })
      expect(yield* outcome(echo(c.fleet, "CP001"))).toEqual(Exit.succeed({ text: "old: hi" }))
      yield* b.connect("CP001", { handlers: answering("new") })
      expect(yield* old.closed).toMatchObject({ code: 1008, reason: "replaced by a newer connection" })
      yield* pass(50)
      for (const { fleet } of [a, b, c]) {
        expect(yield* outcome(echo(fleet, "CP001"))).toEqual(Exit.succeed({ text: "new: hi" }))
      }
    }),
  )

  it.effect("and back again ends at its newest connection", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      for (let i = 0; i < 3; i++) {
        yield* a.connect("CP001", { handlers: answering(`a${i}`) })
        yield* b.connect("CP001", { handlers: answering(`b${i}`) })
      }
      yield* pass(50)
      expect(yield* outcome(echo(c.fleet, "CP001"))).toEqual(Exit.succeed({ text: "b2: hi" }))
      expect(yield* outcome(echo(a.fleet, "CP001"))).toEqual(Exit.succeed({ text: "b2: hi" }))
    }),
  )

  it.effect("ends what is in flight on the old connection as sent, and what waits there as not sent", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      const got: Array<string> = []
      yield* a.connect("CP001", { handlers: silent(got) })
      const inFlight = yield* Effect.forkChild(Effect.flip(echo(c.fleet, "CP001", "first")), { startImmediately: true })
      yield* pass(20)
      const waiting = yield* Effect.forkChild(Effect.flip(echo(c.fleet, "CP001", "second")), { startImmediately: true })
      yield* pass(20)
      yield* b.connect("CP001")
      yield* pass(100)
      const closed = { _tag: "DisconnectedError", code: 1008, reason: "replaced by a newer connection" }
      expect(yield* Fiber.join(inFlight)).toMatchObject({ ...closed, sent: true })
      expect(yield* Fiber.join(waiting)).toMatchObject({ ...closed, sent: false })
      expect(got).toEqual(["first"])
    }),
  )

  it.effect("is not forgotten because its old connection closes late", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      yield* a.connect("CP001")
      yield* a.network.link("CP001").halfOpen
      yield* b.connect("CP001", { handlers: answering("new") })
      yield* pass(10_000, 100)
      yield* a.network.link("CP001").heal
      yield* pass(100)
      expect(yield* outcome(echo(c.fleet, "CP001"))).toEqual(Exit.succeed({ text: "new: hi" }))
    }),
  )

  it.effect(
    "while its old node cannot be reached is found, and the old connection is closed when the node is back",
    () =>
      Effect.gen(function* () {
        const { a, b, c, hub } = yield* makeFleet
        const old = yield* a.connect("CP001", { handlers: answering("old") })
        hub.cut(a.id)
        yield* b.connect("CP001", { handlers: answering("new") })
        expect(yield* outcome(echo(c.fleet, "CP001"))).toEqual(Exit.succeed({ text: "new: hi" }))
        expect(yield* echo(a.fleet, "CP001")).toEqual({ text: "old: hi" })
        yield* pass(8_000, 100)
        hub.heal(a.id)
        yield* pass(500)
        expect(yield* old.closed).toMatchObject({ code: 1008 })
        expect(yield* outcome(echo(a.fleet, "CP001"))).toEqual(Exit.succeed({ text: "new: hi" }))
      }),
  )

  it.effect("during a short cut of its old node is closed there as soon as that is back", () =>
    Effect.gen(function* () {
      const { a, b, c, hub } = yield* makeFleet
      const old: Array<Client.Client> = []
      for (let i = 0; i < 300; i++) old.push(yield* a.connect(`CP${i}`, { handlers: answering("old") }))
      hub.cut(a.id)
      yield* b.connect("CP299", { handlers: answering("new") })
      yield* pass(500)
      hub.heal(a.id)
      yield* pass(400)
      expect(old[299]?.state).toBe(Connection.State.CLOSED)
      expect(old[0]?.state).toBe(Connection.State.OPEN)
      expect(yield* outcome(echo(c.fleet, "CP299"))).toEqual(Exit.succeed({ text: "new: hi" }))
    }),
  )

  it.effect("is found in the second call by a node that remembers an owner that does not answer", () =>
    Effect.gen(function* () {
      const { a, b, c, hub } = yield* makeFleet
      yield* a.connect("CP001")
      expect(yield* outcome(echo(c.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
      hub.stall(a.id)
      yield* b.connect("CP001", { handlers: answering("new") })
      expect(yield* failure(echo(c.fleet, "CP001", "hi", 500))).toEqual(failed({ _tag: "TimeoutError", sent: true }))
      expect(yield* outcome(echo(c.fleet, "CP001"))).toEqual(Exit.succeed({ text: "new: hi" }))
      hub.heal(a.id)
    }),
  )
})

describe("a connection to the engine that breaks while a call is being handed over", () => {
  it.effect("leaves open whether it was: that counts as sent, and the answer is still waited for", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      const got: Array<string> = []
      yield* a.connect("CP001", { handlers: silent(got) })
      // The owner becomes known.
      expect(yield* failure(b.fleet.call("CP001", "Nothing"))).toEqual(failed({ _tag: "RPCError" }))
      hub.faults = { latency: () => 50 }
      const call = yield* Effect.forkChild(failure(echo(b.fleet, "CP001", "hi", 1_000)), { startImmediately: true })
      yield* pass(80)
      hub.cut(b.id)
      yield* pass(100)
      expect(got).toEqual(["hi"])
      expect(call.pollUnsafe()).toBeUndefined()
      yield* pass(2_000)
      expect(yield* Fiber.join(call)).toEqual(failed({ _tag: "TimeoutError", sent: true }))
      hub.faults = {}
    }),
  )

  it.effect("does not lose the answer when it is back in time", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      expect(yield* outcome(echo(b.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
      hub.faults = { latency: () => 50 }
      const call = yield* Effect.forkChild(echo(b.fleet, "CP001", "again", 3_000), { startImmediately: true })
      yield* pass(80)
      hub.cut(b.id)
      hub.faults = {}
      yield* pass(300)
      hub.heal(b.id)
      yield* pass(1_000)
      expect(call.pollUnsafe()).toEqual(Exit.succeed({ text: "CP001: again" }))
    }),
  )
})

describe("an engine that is away", () => {
  it.effect("makes stations of other nodes unreachable at once, which is not the same as not connected", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      hub.stop()
      const unreachable = { _tag: "UnreachableError", identity: "CP001", part: "engine", sent: false }
      expect(yield* Effect.flip(echo(b.fleet, "CP001"))).toMatchObject(unreachable)
      expect(yield* Effect.flip(b.fleet.station("CP001"))).toMatchObject(unreachable)
      expect(yield* Effect.flip(b.fleet.stations)).toMatchObject({ _tag: "EngineError", sent: false })
      expect(yield* b.fleet.isUp).toBe(false)
      hub.start()
      yield* pass(500)
      expect(yield* outcome(echo(b.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
    }),
  )

  it.effect("and comes back empty is filled again", () =>
    Effect.gen(function* () {
      const { a, b, c, hub } = yield* makeFleet
      for (let i = 0; i < 30; i++) yield* (i % 2 === 0 ? a : b).connect(`CP${i}`)
      hub.stop()
      yield* pass(1_000)
      hub.start({ empty: true })
      yield* pass(500)
      for (let i = 0; i < 30; i++) {
        expect(yield* outcome(echo(c.fleet, `CP${i}`))).toEqual(Exit.succeed({ text: `CP${i}: hi` }))
      }
    }),
  )

  it.effect("that forgets everything without losing a connection is filled at the next beat", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      hub.directory.forget()
      expect(yield* failure(echo(b.fleet, "CP001"))).toEqual(failed({ _tag: "NotConnectedError" }))
      yield* pass(3_000, 50)
      expect(yield* outcome(echo(b.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
    }),
  )

  it.effect("that has lost one entry gets it again", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      hub.directory.release(a.id, [{ identity: "CP001", epoch: undefined }])
      yield* pass(5_000, 50)
      expect(yield* outcome(echo(b.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
    }),
  )

  it.effect("that names a node for a station which is not there is put right by the first call", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      hub.directory.claim(a.id, [{ identity: "CP001", protocol: "", age: 0 }])
      expect(yield* failure(echo(b.fleet, "CP001"))).toEqual(failed({ _tag: "NotConnectedError" }))
      yield* pass(50)
      expect(hub.directory.entries()).toEqual([])
    }),
  )

  it.effect("for less than a second does not end calls that are in flight", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      const slow = Handlers.make(Echo, { Echo: (request) => Effect.delay(Effect.succeed(request), 1_000) })
      yield* a.connect("CP001", { handlers: [slow] })
      const call = yield* Effect.forkChild(echo(b.fleet, "CP001"), { startImmediately: true })
      yield* pass(500)
      hub.stop()
      yield* pass(700)
      hub.start({ empty: true })
      yield* pass(1_000)
      expect(yield* Fiber.join(call)).toEqual({ text: "hi" })
    }),
  )
})

describe("a node", () => {
  it.effect("that crashes ends calls in flight as sent, and new ones are not sent", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001", { handlers: silent([]) })
      const call = yield* Effect.forkChild(failure(echo(b.fleet, "CP001"), 10_000), { startImmediately: true })
      yield* pass(500)
      hub.crash(a.id)
      const unreachable = { _tag: "UnreachableError", part: "owner", sent: false }
      expect(yield* failure(echo(b.fleet, "CP001"))).toEqual(failed(unreachable))
      yield* pass(2_000)
      expect(yield* failure(echo(b.fleet, "CP001"))).toEqual(failed({ _tag: "NotConnectedError" }))
      expect(yield* Fiber.join(call)).toEqual(
        failed({ _tag: "DisconnectedError", code: 1006, reason: "the node a is gone", sent: true }),
      )
    }),
  )

  it.effect("that crashes is forgotten by the directory though nobody calls its stations", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      yield* b.connect("CP002")
      hub.crash(a.id)
      yield* pass(12_000, 50)
      expect(hub.directory.entries().map(({ identity }) => identity)).toEqual(["CP002"])
    }),
  )

  it.effect("that has slept serves nothing of what has piled up, and afterwards what comes anew", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      const got: Array<string> = []
      const noting = Handlers.make(Echo, {
        Echo: (request) =>
          Effect.as(
            Effect.sync(() => got.push(request.text)),
            request,
          ),
      })
      yield* a.connect("CP001", { handlers: [noting] })
      hub.stall(a.id)
      const call = yield* Effect.forkChild(failure(echo(b.fleet, "CP001", "late", 400)), { startImmediately: true })
      yield* pass(1_000)
      expect(yield* Fiber.join(call)).toEqual(failed({ _tag: "TimeoutError", sent: true }))
      hub.heal(a.id)
      yield* pass(500)
      expect(got).toEqual([])
      expect(yield* outcome(echo(b.fleet, "CP001", "new"))).toEqual(Exit.succeed({ text: "new" }))
    }),
  )

  it.effect("without an engine takes back what waits, before the caller is told", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      const got: Array<string> = []
      const slow = Handlers.make(Echo, {
        Echo: (request) =>
          Effect.andThen(
            Effect.sync(() => got.push(request.text)),
            Effect.delay(Effect.succeed(request), 4_000),
          ),
      })
      yield* a.connect("CP001", { handlers: [slow] })
      yield* Effect.forkChild(echo(a.fleet, "CP001", "first"), { startImmediately: true })
      const call = yield* Effect.forkChild(failure(echo(b.fleet, "CP001", "second"), 10_000), {
        startImmediately: true,
      })
      yield* pass(100)
      hub.cut(a.id)
      yield* pass(3_000)
      expect(yield* Fiber.join(call)).toEqual(failed({ _tag: "DisconnectedError", sent: true }))
      yield* pass(5_000, 50)
      hub.heal(a.id)
      yield* pass(1_000)
      expect(got).toEqual(["first"])
    }),
  )

  it.effect("through whose inbox nothing comes any more connects again", () =>
    Effect.gen(function* () {
      const hub = yield* Fleet.MemoryHub.make
      const statuses: Array<string> = []
      const watched: typeof hub = Object.create(hub, {
        join: {
          value: (options: Fleet.Engine.JoinOptions, listener: Fleet.Engine.Listener) =>
            hub.join(options, {
              onMessage: (message) => listener.onMessage(message),
              onStatus: (status) => {
                statuses.push(status)
                listener.onStatus(status)
              },
            }),
        },
        nodes: { get: () => hub.nodes },
      })
      const a = yield* makeNode(watched, "a")
      yield* a.connect("CP001")
      yield* pass(20_000, 50)
      expect(statuses).toEqual([])
      hub.faults = { verdict: (to) => (to === a.id ? "drop" : "deliver") }
      yield* pass(10_000, 50)
      expect(statuses.slice(0, 2)).toEqual(["down", "up"])
    }),
  )

  it.effect("that leaves lets calls of others end, and is forgotten at once", () =>
    Effect.gen(function* () {
      const hub = yield* Fleet.MemoryHub.make
      const b = yield* makeNode(hub, "b")
      const scope = yield* Scope.make()
      const a = yield* Scope.provide(makeNode(hub, "a"), scope)
      const slow = Handlers.make(Echo, { Echo: (request) => Effect.delay(Effect.succeed(request), 1_000) })
      yield* Scope.provide(a.connect("CP001", { handlers: [slow] }), yield* Effect.scope)
      const call = yield* Effect.forkChild(echo(b.fleet, "CP001"), { startImmediately: true })
      yield* pass(100)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* pass(100)
      expect(yield* failure(echo(b.fleet, "CP001", "late"))).toEqual(failed({ _tag: "NotConnectedError" }))
      yield* pass(2_000)
      expect(yield* Fiber.join(call)).toEqual({ text: "hi" })
      yield* Fiber.join(closing)
      expect(hub.directory.entries()).toEqual([])
      expect(hub.nodes).toEqual([b.id])
    }),
  )
})

describe("messages", () => {
  it.effect("that come twice, at once or late, run a call once", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      const got: Array<string> = []
      const noting = Handlers.make(Echo, {
        Echo: (request) =>
          Effect.as(
            Effect.sync(() => got.push(request.text)),
            request,
          ),
      })
      yield* a.connect("CP001", { handlers: [noting] })
      for (const [i, duplicateAfter] of [1, 500, 1_200, 10_000].entries()) {
        hub.faults = { verdict: () => ({ duplicateAfter }) }
        expect(yield* outcome(echo(b.fleet, "CP001", `${i}`, 1_000))).toEqual(Exit.succeed({ text: `${i}` }))
      }
      yield* pass(15_000, 50)
      expect(got).toEqual(["0", "1", "2", "3"])
    }),
  )

  it.effect("that are none are dropped, and harm nobody", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      const intruder = yield* hub.join({ node: "x~1", lease: 6_000 }, { onMessage: () => {}, onStatus: () => {} })
      const texts = ["", "nonsense", "null", "[]", '{"v":1}', '{"v":2,"type":"call"}', '{"v":1,"type":"call","id":"1"}']
      const call = { v: 1, type: "call", id: 1, from: "x~1", identity: "CP001", epoch: 1, kind: "Call", action: "Echo" }
      const halves = [
        { ...call, timeout: null, expires: 1 },
        { ...call, timeout: 1, expires: 1, trace: { traceId: 1 } },
        { v: 1, type: "answer", id: 1, outcome: { _tag: "RPCError", code: 1 } },
        { v: 1, type: "replaced", stations: [{ identity: 1 }] },
        { v: 1, type: "cancel", id: 1 },
      ]
      for (const text of [...texts, ...halves.map((half) => JSON.stringify(half))]) yield* intruder.send(a.id, text)
      yield* pass(100)
      expect(yield* outcome(echo(b.fleet, "CP001"))).toEqual(Exit.succeed({ text: "CP001: hi" }))
    }),
  )
})

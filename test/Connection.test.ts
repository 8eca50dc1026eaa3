import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Protocol from "../src/Protocol.ts"
import { RPCFormatViolationError, RPCOccurrenceConstraintViolationError, RPCSecurityError } from "../src/RPCError.ts"
import * as Transport from "../src/Transport.ts"
import { connect, Echo, RawPeer, settled } from "./support/rawPeer.ts"

const echoing = Handlers.make(Echo, { Echo: (request) => Effect.succeed(request) })

/** A member of a transport, for those who put themselves in its place. */
const passed = (transport: Transport.Transport, key: string | symbol): unknown => {
  const member = Reflect.get(transport, key)
  return typeof member === "function" ? member.bind(transport) : member
}

/** Forks a call and lets it reach the wire. */
const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), settled)

describe("a call of ours", () => {
  it.effect("is a CALL, and succeeds with the payload of its CALLRESULT", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      const call = yield* start(connection.call(Echo.Echo, { text: "hi" }))
      const [[type, id, ...rest]] = peer.take() as [Array<unknown>]
      expect([type, ...rest]).toEqual([2, "Echo", { text: "hi" }])
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      yield* peer.send([3, id, { text: "ho" }])
      expect(yield* Fiber.join(call)).toEqual({ text: "ho" })
    }),
  )

  it.effect("fails with the class of the CALLERROR, in either spelling", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      for (const [code, expected] of [
        ["FormationViolation", RPCFormatViolationError],
        ["FormatViolation", RPCFormatViolationError],
        ["OccurenceConstraintViolation", RPCOccurrenceConstraintViolationError],
      ] as const) {
        const call = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "" })))
        yield* peer.send([4, peer.take()[0]![1], code, "no", { why: 1 }])
        const error = yield* Fiber.join(call)
        expect(error).toBeInstanceOf(expected)
        expect(error).toMatchObject({ message: "no", details: { why: 1 } })
      }
    }),
  )

  it.effect("fails at once with an unknown code as data, also one that every object has", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      for (const code of ["toString", "__proto__", "constructor", "Strange"]) {
        const call = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "" })))
        yield* peer.send([4, peer.take()[0]![1], code, "", {}])
        expect(yield* Fiber.join(call)).toMatchObject({ code: "GenericError", receivedCode: code })
      }
    }),
  )

  it.effect("waits for its turn, and turns come in order", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      const calls = yield* Effect.forEach(["a", "b", "c"], (text) => start(connection.call(Echo.Echo, { text })))
      for (const text of ["a", "b", "c"]) {
        const frames = peer.take()
        expect(frames.map((frame) => frame[3].text)).toEqual([text])
        yield* peer.send([3, frames[0]![1], { text }])
      }
      expect((yield* Fiber.joinAll(calls)).map(({ text }) => text)).toEqual(["a", "b", "c"])
    }),
  )

  it.effect("shares the wire with as many as callConcurrency says", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ callConcurrency: 2 })
      yield* Effect.forEach(["a", "b", "c"], (text) => start(connection.call(Echo.Echo, { text })))
      expect(peer.take().map((frame) => frame[3].text)).toEqual(["a", "b"])
    }),
  )

  it.effect("is answered by its message id, not by order", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ callConcurrency: 2 })
      const a = yield* start(connection.call(Echo.Echo, { text: "a" }))
      const b = yield* start(connection.call(Echo.Echo, { text: "b" }))
      const [first, second] = peer.take()
      yield* peer.send([3, second![1], { text: "for b" }])
      yield* peer.send([3, first![1], { text: "for a" }])
      expect([yield* Fiber.join(a), yield* Fiber.join(b)]).toEqual([{ text: "for a" }, { text: "for b" }])
    }),
  )

  it.effect("times out, gives its turn to the next, and a late answer resolves nothing", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect({ callTimeout: "10 seconds" })
      const first = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "first" })))
      const second = yield* start(connection.call(Echo.Echo, { text: "second" }, { timeout: "1 minute" }))
      const late = peer.take()[0]![1]
      yield* TestClock.adjust("9999 millis")
      expect(peer.received).toEqual([])
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(first)).toMatchObject({
        _tag: "TimeoutError",
        action: "Echo",
        timeout: 10_000,
        sent: true,
      })
      yield* settled
      const [[, id, , payload]] = peer.take() as [Array<unknown>]
      expect(payload).toEqual({ text: "second" })
      yield* peer.send([3, late, { text: "too late" }])
      expect(events.at(-1)).toMatchObject({ _tag: "LateAnswer", messageId: late })
      yield* peer.send([3, id, { text: "in time" }])
      expect(yield* Fiber.join(second)).toEqual({ text: "in time" })
    }),
  )

  it.effect("times out while it waits for its turn, and is then never transmitted", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      yield* start(connection.call(Echo.Echo, { text: "first" }))
      const waiting = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "x" }, { timeout: "1 second" })))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "TimeoutError", sent: false })
      yield* peer.send([3, peer.take()[0]![1], { text: "" }])
      expect(peer.take()).toEqual([])
    }),
  )

  it.effect("may wait for ever", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ callTimeout: "Infinity", pingInterval: "Infinity" })
      const call = yield* start(connection.call(Echo.Echo, { text: "" }))
      yield* TestClock.adjust("1000 days")
      yield* peer.send([3, peer.take()[0]![1], { text: "at last" }])
      expect(yield* Fiber.join(call)).toEqual({ text: "at last" })
    }),
  )

  it.effect("that is interrupted while it waits is never transmitted", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      const first = yield* start(connection.call(Echo.Echo, { text: "first" }))
      const second = yield* start(connection.call(Echo.Echo, { text: "second" }))
      yield* start(connection.call(Echo.Echo, { text: "third" }))
      yield* Fiber.interrupt(second)
      yield* peer.send([3, peer.take()[0]![1], { text: "" }])
      yield* Fiber.join(first)
      expect(peer.take().map((frame) => frame[3].text)).toEqual(["third"])
    }),
  )

  it.effect("that is interrupted in flight returns its turn", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      const first = yield* start(connection.call(Echo.Echo, { text: "first" }))
      yield* start(connection.call(Echo.Echo, { text: "second" }))
      yield* Fiber.interrupt(first)
      yield* settled
      expect(peer.take().map((frame) => frame[3].text)).toEqual(["first", "second"])
    }),
  )

  it.effect("fails when too many wait already", () =>
    Effect.gen(function* () {
      const { connection } = yield* connect({ maxQueuedCalls: 1 })
      yield* start(connection.call(Echo.Echo, { text: "in flight" }))
      yield* start(connection.call(Echo.Echo, { text: "waiting" }))
      const error = yield* Effect.flip(connection.call(Echo.Echo, { text: "" }))
      expect(error).toMatchObject({ _tag: "CallQueueFullError", action: "Echo", limit: 1 })
    }),
  )

  it.effect("fails in flight when the connection is lost, saying whether it was sent", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      const sent = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "" })))
      const waiting = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "" })))
      peer.transport.terminate()
      expect(yield* Fiber.join(sent)).toMatchObject({ _tag: "DisconnectedError", code: 1006, sent: true })
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "DisconnectedError", code: 1006, sent: false })
      expect(yield* Effect.flip(connection.call(Echo.Echo, { text: "" }))).toMatchObject({ _tag: "DisconnectedError" })
    }),
  )

  it.effect("with a payload that is not JSON fails and sends nothing", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      const cyclic: Record<string, unknown> = {}
      cyclic.self = cyclic
      for (const payload of [cyclic, { big: 1n }]) {
        const error = yield* Effect.flip(connection.call("Echo", payload))
        expect(error).toBeInstanceOf(RPCFormatViolationError)
      }
      yield* settled
      expect(peer.take()).toEqual([])
    }),
  )

  it.effect("of an action that belongs to another subprotocol fails and sends nothing", () =>
    Effect.gen(function* () {
      const Other = Protocol.make("other1.0", [])
      const { connection, peer } = yield* connect({ protocol: Other })
      const error = yield* Effect.flip(connection.call(Echo.Echo, { text: "" }))
      expect(error).toMatchObject({
        code: "ProtocolError",
        message: "this Echo is not an action of other1.0, which the connection speaks",
      })
      expect(peer.take()).toEqual([])
    }),
  )

  it.effect("without interest in the answer is done when it is sent", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect()
      expect(yield* connection.call("Echo", { text: "" }, { noReply: true })).toBeUndefined()
      yield* settled
      yield* peer.send([3, peer.take()[0]![1], {}])
      expect(events.at(-1)?._tag).toBe("LateAnswer")
    }),
  )

  it.effect("never sends null, and an empty payload is {}", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ callConcurrency: 3 })
      yield* start(connection.call("Echo"))
      yield* start(connection.call("Echo", null))
      expect(peer.take().map((frame) => frame[3])).toEqual([{}, {}])
    }),
  )
})

describe("a SEND of ours", () => {
  it.effect("leaves while a call is in flight, and has no result", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      yield* start(connection.call(Echo.Echo, { text: "" }))
      expect(yield* connection.send(Echo.Note, { text: "now" })).toBeUndefined()
      yield* settled
      expect(peer.take().map(([type, , action]) => [type, action])).toEqual([
        [2, "Echo"],
        [6, "Note"],
      ])
    }),
  )

  it.effect("cannot be made of a CALL, nor a call of a SEND", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      expect(yield* Effect.flip(connection.send("Echo", { text: "" }))).toMatchObject({ message: "Echo is a CALL" })
      const error = yield* Effect.flip(connection.call("Note", { text: "" }))
      expect(error).toMatchObject({ code: "ProtocolError", message: "Note is a SEND, which has no answer" })
      yield* settled
      expect(peer.take()).toEqual([])
    }),
  )

  it.effect("fails where the subprotocol has no SEND", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ protocol: Protocol.make("old1.0", []) })
      expect(yield* Effect.flip(connection.send("Note", {}))).toMatchObject({ code: "ProtocolError" })
      expect(peer.take()).toEqual([])
    }),
  )
})

describe("a call of the peer", () => {
  it.effect("is answered by its handler, which knows the action and the message id", () =>
    Effect.gen(function* () {
      const handlers = [
        Handlers.make(Echo, { Echo: (_, { action, messageId }) => Effect.succeed({ text: action + messageId }) }),
      ]
      const { peer } = yield* connect({ handlers })
      yield* peer.send([2, "7", "Echo", { text: "" }])
      expect(peer.take()).toEqual([[3, "7", { text: "Echo7" }]])
    }),
  )

  it.effect("gets NotSupported where the subprotocol has the action and nothing handles it", () =>
    Effect.gen(function* () {
      const { peer } = yield* connect({ handlers: [echoing] })
      yield* peer.send([2, "1", "Slow", {}])
      expect(peer.take()).toEqual([[4, "1", "NotSupported", "Slow has no handler", {}]])
    }),
  )

  it.effect("gets NotImplemented where the subprotocol has no such action, whatever its name", () =>
    Effect.gen(function* () {
      const { peer } = yield* connect({ handlers: [echoing] })
      for (const action of ["toString", "__proto__", "x".repeat(100_000)]) {
        yield* peer.send([2, "1", action, {}])
        const [[type, id, code, description]] = peer.take() as [Array<any>]
        expect([type, id, code]).toEqual([4, "1", "NotImplemented"])
        expect(description.length).toBeLessThan(100)
      }
    }),
  )

  it.effect("reaches the wildcard where no handler is more specific", () =>
    Effect.gen(function* () {
      const wildcard = Handlers.wildcard((request, { action }) => Effect.succeed({ action, request }))
      const { peer } = yield* connect({ handlers: [wildcard, echoing] })
      yield* peer.send([2, "1", "Echo", { text: "specific" }])
      yield* peer.send([2, "2", "Other", { a: 1 }])
      expect(peer.take()).toEqual([
        [3, "1", { text: "specific" }],
        [3, "2", { action: "Other", request: { a: 1 } }],
      ])
    }),
  )

  it.effect("gets the error that its handler fails with, as the subprotocol spells it", () =>
    Effect.gen(function* () {
      const failing = Handlers.make(Echo, {
        Echo: () => Effect.fail(new RPCOccurrenceConstraintViolationError("x".repeat(300), { a: 1 })),
        Slow: () => new RPCSecurityError("no"),
      })
      const { peer } = yield* connect({ handlers: [failing] })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      yield* peer.send([2, "2", "Slow", { text: "" }])
      expect(peer.take()).toEqual([
        [4, "1", "OccurrenceConstraintViolation", "x".repeat(255), { a: 1 }],
        [4, "2", "SecurityError", "no", {}],
      ])
    }),
  )

  it.effect("gets InternalError without a word of the reason when its handler dies", () =>
    Effect.gen(function* () {
      const dying = Handlers.make(Echo, {
        Echo: () => Effect.die(new Error("the database password is hunter2")),
        Slow: () => {
          throw new Error("hunter2")
        },
      })
      const { peer } = yield* connect({ handlers: [dying] })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      yield* peer.send([2, "2", "Slow", { text: "" }])
      expect(peer.take()).toEqual([
        [4, "1", "InternalError", "the handler failed", {}],
        [4, "2", "InternalError", "the handler failed", {}],
      ])
    }),
  )

  it.effect("gets InternalError when its response is not JSON, and the connection stays open", () =>
    Effect.gen(function* () {
      const cyclic: Record<string, unknown> = {}
      cyclic.self = cyclic
      const unwritable = [
        1n,
        cyclic,
        {
          toJSON: () => {
            throw null
          },
        },
      ]
      const handlers = [
        Handlers.wildcard((_, { messageId }) => Effect.succeed({ value: unwritable[Number(messageId)] })),
      ]
      const { peer } = yield* connect({ handlers })
      for (const id of ["0", "1", "2"]) {
        yield* peer.send([2, id, "Any", {}])
        expect(peer.take()).toEqual([[4, id, "InternalError", "the response cannot be written as JSON", {}]])
      }
      expect(peer.closes).toEqual([])
    }),
  )

  it.effect("is answered {} when its handler has nothing to say, and not at all with noReply", () =>
    Effect.gen(function* () {
      const answers: Record<string, unknown> = { a: undefined, b: null, c: Handlers.noReply }
      const { peer } = yield* connect({
        handlers: [Handlers.wildcard((_, { messageId }) => Effect.succeed(answers[messageId]))],
      })
      for (const id of ["a", "b", "c"]) yield* peer.send([2, id, "Any", {}])
      expect(peer.take()).toEqual([
        [3, "a", {}],
        [3, "b", {}],
      ])
    }),
  )

  it.effect("does not keep the next one waiting", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const handlers = [
        Handlers.make(Echo, { Echo: Effect.succeed, Slow: (request) => Effect.as(Deferred.await(gate), request) }),
      ]
      const { peer } = yield* connect({ handlers })
      yield* peer.send([2, "1", "Slow", { text: "slow" }])
      yield* peer.send([2, "2", "Echo", { text: "fast" }])
      expect(peer.take()).toEqual([[3, "2", { text: "fast" }]])
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      expect(peer.take()).toEqual([[3, "1", { text: "slow" }]])
    }),
  )

  it.effect("whose id is being handled is refused, and the first is answered once", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      let runs = 0
      const handlers = [
        Handlers.make(Echo, {
          Slow: (request) =>
            Effect.andThen(
              Effect.sync(() => runs++),
              Effect.as(Deferred.await(gate), request),
            ),
        }),
      ]
      const { peer } = yield* connect({ handlers })
      yield* peer.send([2, "1", "Slow", { text: "first" }])
      yield* peer.send([2, "1", "Slow", { text: "second" }])
      expect(peer.take()).toEqual([[4, "1", "RpcFrameworkError", "a call with this message id is being handled", {}]])
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      expect(peer.take()).toEqual([[3, "1", { text: "first" }]])
      yield* peer.send([2, "1", "Slow", { text: "a retry" }])
      expect(peer.take()).toEqual([[3, "1", { text: "a retry" }]])
      expect(runs).toBe(2)
    }),
  )

  it.effect("waits when enough handlers run, and is refused at once when enough wait", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const handlers = [Handlers.make(Echo, { Slow: (request) => Effect.as(Deferred.await(gate), request) })]
      const { peer } = yield* connect({ handlers, handlerConcurrency: 1, maxQueuedHandlers: 1 })
      for (const id of ["1", "2", "3"]) yield* peer.send([2, id, "Slow", { text: id }])
      expect(peer.take()).toEqual([[4, "3", "GenericError", "2 calls are being handled", {}]])
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      expect(peer.take().map((frame) => frame[1])).toEqual(["1", "2"])
    }),
  )

  it.effect("may call back from its handler while the peer's calls fill every place", () =>
    Effect.gen(function* () {
      const [ours, theirs] = Transport.makePair(Echo.name)
      const peer = new RawPeer(theirs)
      const connection: Connection.Connection<"csms"> = yield* Connection.make(ours, {
        side: "csms",
        protocol: Echo,
        handlerConcurrency: 1,
        handlers: [Handlers.make(Echo, { Slow: (request) => Effect.orDie(connection.call(Echo.Echo, request)) })],
      })
      yield* peer.send([2, "1", "Slow", { text: "a" }])
      yield* peer.send([2, "2", "Slow", { text: "b" }])
      const [[, back]] = peer.take() as [Array<unknown>]
      yield* peer.send([3, back, { text: "answered" }])
      expect(peer.take()[0]).toEqual([3, "1", { text: "answered" }])
    }),
  )

  it.effect("whose handler takes too long gets InternalError, and the handler is interrupted", () =>
    Effect.gen(function* () {
      let interrupted = false
      const handlers = [
        Handlers.make(Echo, {
          Slow: () =>
            Effect.onInterrupt(Effect.never, () =>
              Effect.sync(() => {
                interrupted = true
              }),
            ),
        }),
      ]
      const { peer } = yield* connect({ handlers, handlerTimeout: "5 seconds" })
      yield* peer.send([2, "1", "Slow", { text: "" }])
      yield* TestClock.adjust("5 seconds")
      yield* settled
      expect(peer.take()).toEqual([[4, "1", "InternalError", "the handler did not finish within 5000 ms", {}]])
      expect(interrupted).toBe(true)
      yield* TestClock.adjust("1 minute")
      expect(peer.take()).toEqual([])
    }),
  )

  it.effect("has its handler interrupted when the connection is lost", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const handlers = [
        Handlers.make(Echo, {
          Slow: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
        }),
      ]
      const { peer } = yield* connect({ handlers })
      yield* peer.send([2, "1", "Slow", { text: "" }])
      peer.transport.terminate()
      yield* Deferred.await(interrupted)
    }),
  )

  it.effect("may have null or no payload, which is an empty one", () =>
    Effect.gen(function* () {
      const { peer } = yield* connect({ handlers: [Handlers.wildcard((request) => Effect.succeed({ request }))] })
      yield* peer.send([2, "1", "Any", null])
      yield* peer.send([2, "2", "Any"])
      expect(peer.take()).toEqual([
        [3, "1", { request: {} }],
        [3, "2", { request: {} }],
      ])
    }),
  )

  it.effect("may have an id of any length, except in strict mode", () =>
    Effect.gen(function* () {
      const id = "x".repeat(37)
      for (const strictMode of [false, true]) {
        const { peer } = yield* connect({ handlers: [echoing], strictMode })
        yield* peer.send([2, id, "Echo", { text: "" }])
        expect(peer.take()[0]!.slice(0, 3)).toEqual(strictMode ? [4, id, "RpcFrameworkError"] : [3, id, { text: "" }])
      }
    }),
  )
})

describe("a SEND of the peer", () => {
  it.effect("is handled and never answered, however broken", () =>
    Effect.gen(function* () {
      const notes: Array<string> = []
      const handlers = [
        Handlers.make(Echo, {
          Note: ({ text }) => (text === "die" ? Effect.die("x") : Effect.sync(() => void notes.push(text))),
        }),
      ]
      const { events, peer } = yield* connect({ handlers, strictMode: true })
      yield* peer.send([6, "1", "Note", { text: "hi" }])
      yield* peer.send([6, "2", "Note", { text: "die" }])
      yield* peer.send([6, "3", "Note", { text: 5 }])
      yield* peer.send([6, "4", "Unknown", {}])
      yield* peer.send([6, 5, "Note", {}])
      yield* peer.send([6, "6", null, {}])
      expect(peer.take()).toEqual([])
      expect(notes).toEqual(["hi"])
      expect(events.filter(({ _tag }) => _tag === "BadMessage")).toHaveLength(4)
      expect(events.filter(({ _tag }) => _tag === "ValidationFailure")).toHaveLength(1)
    }),
  )
})

describe("a bad message", () => {
  it.effect("is answered as wire.md says, reported, and touches nothing else", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect({ protocol: Protocol.make("p", []) })
      const call = yield* start(connection.call("Echo", {}))
      const id = peer.take()[0]![1]
      for (const [sent, answer] of [
        ["nonsense", [4, "-1", "RpcFrameworkError"]],
        [{} as never, [4, "-1", "RpcFrameworkError"]],
        [[], [4, "-1", "RpcFrameworkError"]],
        [
          ["2", "a", "Echo", {}],
          [4, "-1", "RpcFrameworkError"],
        ],
        [
          [99, "a"],
          [4, "a", "MessageTypeNotSupported"],
        ],
        [
          [99, 7],
          [4, "-1", "MessageTypeNotSupported"],
        ],
        [
          [6, "a", "Note", {}],
          [4, "a", "MessageTypeNotSupported"],
        ],
        [
          [2, 7, "Echo", {}],
          [4, "-1", "RpcFrameworkError"],
        ],
        [
          [2, "a", 7, {}],
          [4, "a", "RpcFrameworkError"],
        ],
        [[3, "unknown", {}], undefined],
        [[3], undefined],
        [[4, "unknown", "GenericError", "", {}], undefined],
      ] as const) {
        yield* peer.send(sent)
        const taken = peer.take()
        expect(taken.map((frame) => frame.slice(0, 3))).toEqual(answer === undefined ? [] : [answer])
        const reported = events.at(-1)
        expect(reported?._tag).toBe("BadMessage")
        expect((reported as { response: unknown }).response === undefined).toBe(answer === undefined)
      }
      yield* peer.send([3, id, { fine: true }])
      expect(yield* Fiber.join(call)).toEqual({ fine: true })
    }),
  )

  it.effect("is not what an empty message is", () =>
    Effect.gen(function* () {
      const { events, peer } = yield* connect()
      yield* peer.send("")
      expect([peer.take(), events]).toEqual([[], []])
    }),
  )

  it.effect("closes with 1002 when there are too many in a row; a good one starts the count again", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ maxBadMessages: 2, handlers: [echoing] })
      for (const frame of ["x", "x", [2, "1", "Echo", { text: "" }], "x", "x"]) yield* peer.send(frame)
      expect(connection.state).toBe(Connection.State.OPEN)
      yield* peer.send("x")
      expect(peer.closes).toEqual([{ code: 1002, reason: "too many bad messages" }])
      expect(yield* connection.closed).toEqual({ code: 1002, reason: "too many bad messages" })
    }),
  )
})

describe("CALLRESULTERROR", () => {
  it.effect("answers a response of theirs that is not valid, and the call fails", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect({ strictMode: true })
      const call = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "" })))
      const id = peer.take()[0]![1]
      yield* peer.send([3, id, { text: 5 }])
      expect((yield* Fiber.join(call))._tag).toBe("RPCError")
      expect(peer.take()[0]!.slice(0, 2)).toEqual([5, id])
      expect(events.find(({ _tag }) => _tag === "ValidationFailure")).toMatchObject({
        sender: "peer",
        part: "response",
        outbound: true,
        messageId: id,
        action: "Echo",
        request: { text: "" },
        result: { text: 5 },
      })
    }),
  )

  it.effect("of theirs is an event when it speaks of an answer of ours, and a bad message otherwise", () =>
    Effect.gen(function* () {
      const { events, peer } = yield* connect({ handlers: [echoing] })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      yield* peer.send([5, "1", "FormationViolation", "what?", {}])
      expect(events.at(-1)).toMatchObject({
        _tag: "CallResultError",
        messageId: "1",
        error: { code: "FormatViolation" },
      })
      yield* peer.send([5, "1", "GenericError", "again?", {}])
      expect(events.at(-1)?._tag).toBe("BadMessage")
    }),
  )
})

describe("strict mode", () => {
  it.effect("sends no invalid request", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect({ strictMode: true })
      const error = yield* Effect.flip(connection.call("Echo", { text: 1 }))
      expect(error._tag).toBe("RPCError")
      expect(yield* Effect.flip(connection.call("Unknown", {}))).toMatchObject({ code: "ProtocolError" })
      expect(peer.take()).toEqual([])
      expect(events[0]).toMatchObject({ _tag: "ValidationFailure", sender: "us", part: "request", outbound: true })
    }),
  )

  it.effect("replaces an invalid response of ours by InternalError", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.wildcard(() => Effect.succeed({ text: 1 }), Echo)]
      const { events, peer } = yield* connect({ strictMode: [Echo.name], handlers })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      expect(peer.take()[0]!.slice(0, 3)).toEqual([4, "1", "InternalError"])
      expect(events.find(({ _tag }) => _tag === "ValidationFailure")).toMatchObject({
        sender: "us",
        part: "response",
        outbound: false,
      })
    }),
  )

  it.effect("keeps an invalid request from its handler", () =>
    Effect.gen(function* () {
      const { peer } = yield* connect({ strictMode: true, handlers: [echoing] })
      yield* peer.send([2, "1", "Echo", {}])
      expect(peer.take()[0]![0]).toBe(4)
    }),
  )

  it.effect("that reports instead lets it through and tells", () =>
    Effect.gen(function* () {
      for (const validateInbound of ["report", "ignore"] as const) {
        const { events, peer } = yield* connect({
          strictMode: true,
          validateInbound,
          handlers: [Handlers.make(Echo, { Echo: () => Effect.succeed({ text: "anyway" }) })],
        })
        yield* peer.send([2, "1", "Echo", { text: 1 }])
        expect(peer.take()).toEqual([[3, "1", { text: "anyway" }]])
        expect(events.some(({ _tag }) => _tag === "ValidationFailure")).toBe(validateInbound === "report")
      }
    }),
  )

  it.effect("holds for the subprotocols that are named only", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ strictMode: ["other"] })
      yield* start(connection.call("Echo", { text: 1 }))
      expect(peer.take()).toHaveLength(1)
    }),
  )
})

describe("a validator that throws", () => {
  it.effect("costs one call, not the connection", () =>
    Effect.gen(function* () {
      const validator = {
        subprotocol: Echo.name,
        check: () => {
          throw new Error("bug")
        },
      }
      const { connection, peer } = yield* connect({
        protocol: { ...Echo, validator },
        strictMode: true,
        handlers: [echoing],
      })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      expect(peer.take()).toEqual([[4, "1", "InternalError", "the validator failed: bug", {}]])
      expect(yield* Effect.flip(connection.call(Echo.Echo, { text: "" }))).toMatchObject({ code: "InternalError" })
      expect(connection.state).toBe(Connection.State.OPEN)
    }),
  )
})

describe("keep-alive", () => {
  const silent = (transport: Transport.Transport): Transport.Transport => ({
    protocol: transport.protocol,
    bufferedAmount: 0,
    writable: true,
    listen: (listener) => transport.listen({ ...forward(listener), onPong: () => {} }),
    send: (text) => transport.send(text),
    ping: () => transport.ping(),
    close: (code, reason) => transport.close(code, reason),
    terminate: () => transport.terminate(),
  })
  const forward = (listener: Transport.Listener): Transport.Listener => ({
    onMessage: (text) => listener.onMessage(text),
    onPing: () => listener.onPing(),
    onPong: () => listener.onPong(),
    onError: (error) => listener.onError(error),
    onClose: (code, reason) => listener.onClose(code, reason),
  })

  it.effect("pings every interval and tells how long the pong took", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect({ pingInterval: "30 seconds" })
      for (const pings of [1, 2, 3]) {
        yield* TestClock.adjust("30 seconds")
        yield* settled
        expect(peer.pings).toBe(pings)
      }
      expect(events.filter(({ _tag }) => _tag === "Pong")).toHaveLength(3)
      expect(connection.state).toBe(Connection.State.OPEN)
    }),
  )

  it.effect("ends a connection whose pings are not answered, and says why", () =>
    Effect.gen(function* () {
      const { connection } = yield* connect({ pingInterval: "30 seconds", wrap: silent })
      const call = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "" }, { timeout: "Infinity" })))
      yield* TestClock.adjust("60 seconds")
      expect(yield* connection.closed).toEqual({ code: 1006, reason: "ping timeout" })
      expect(yield* Fiber.join(call)).toMatchObject({ _tag: "DisconnectedError", reason: "ping timeout" })
    }),
  )

  it.effect("can take any message for a sign of life", () =>
    Effect.gen(function* () {
      const options = { pingInterval: "30 seconds", deferPingsOnActivity: true, wrap: silent } as const
      const { connection, peer } = yield* connect(options)
      for (let i = 0; i < 10; i++) {
        yield* TestClock.adjust("20 seconds")
        yield* peer.send([3, "anything", {}])
      }
      expect(peer.pings).toBe(0)
      yield* TestClock.adjust("30 seconds")
      yield* settled
      expect([peer.pings, connection.state]).toEqual([1, Connection.State.OPEN])
    }),
  )

  it.effect("can be switched off", () =>
    Effect.gen(function* () {
      const { peer } = yield* connect({ pingInterval: "Infinity" })
      yield* TestClock.adjust("10 days")
      yield* settled
      expect(peer.pings).toBe(0)
    }),
  )
})

describe("closing", () => {
  it.effect("tells code and reason to the peer, and fails what is in flight", () =>
    Effect.gen(function* () {
      const { connection, events, peer } = yield* connect()
      const call = yield* start(Effect.flip(connection.call(Echo.Echo, { text: "" })))
      const closed = yield* connection.close({ code: 4000, reason: "enough" })
      expect(closed).toEqual({ code: 4000, reason: "enough" })
      expect(peer.closes).toEqual([closed])
      expect(yield* Fiber.join(call)).toMatchObject({ _tag: "DisconnectedError", code: 4000, reason: "enough" })
      expect(events.map(({ _tag }) => _tag).slice(-3)).toEqual(["Closing", "Disconnect", "Close"])
    }),
  )

  it.effect("changes the state at once", () =>
    Effect.gen(function* () {
      const { connection } = yield* connect()
      const closing = yield* Effect.forkChild(connection.close(), { startImmediately: true })
      expect(connection.state).toBe(Connection.State.CLOSING)
      yield* Fiber.join(closing)
      expect(connection.state).toBe(Connection.State.CLOSED)
    }),
  )

  it.effect("twice keeps the first code", () =>
    Effect.gen(function* () {
      const { connection } = yield* connect()
      const first = yield* Effect.forkChild(connection.close({ code: 4001 }), { startImmediately: true })
      expect(yield* connection.close({ code: 4002 })).toMatchObject({ code: 4001 })
      expect(yield* Fiber.join(first)).toMatchObject({ code: 4001 })
    }),
  )

  it.effect("with a code that may not be sent uses 1000", () =>
    Effect.gen(function* () {
      for (const code of [0, 999, 1005, 1006, 1015, 2000, 5000, Number.NaN]) {
        const { connection } = yield* connect()
        expect(yield* connection.close({ code })).toMatchObject({ code: 1000 })
      }
    }),
  )

  it.effect("by force drops the connection with 1006", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      expect(yield* connection.close({ force: true })).toMatchObject({ code: 1006 })
      expect(peer.closes).toEqual([{ code: 1006, reason: "" }])
    }),
  )

  it.effect("that awaits what is pending lets both directions end, and refuses what is new", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const handlers = [Handlers.make(Echo, { Slow: (request) => Effect.as(Deferred.await(gate), request) })]
      const { connection, peer } = yield* connect({ handlers })
      yield* peer.send([2, "in", "Slow", { text: "theirs" }])
      const ours = yield* start(connection.call(Echo.Echo, { text: "ours" }))
      const closing = yield* start(connection.close({ awaitPending: true, code: 1001 }))
      expect(yield* Effect.flip(connection.call(Echo.Echo, { text: "new" }))).toMatchObject({
        _tag: "DisconnectedError",
      })
      yield* peer.send([2, "late", "Slow", { text: "" }])
      const [[, id], refused] = peer.take() as [Array<unknown>, Array<unknown>]
      expect(refused).toEqual([4, "late", "GenericError", "the connection is closing", {}])
      yield* peer.send([3, id, { text: "answered" }])
      expect(yield* Fiber.join(ours)).toEqual({ text: "answered" })
      expect(peer.closes).toEqual([])
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(closing)).toMatchObject({ code: 1001 })
      expect(peer.take()).toEqual([[3, "in", { text: "theirs" }]])
    }),
  )

  it.effect("that awaits what is pending ends with the last timeout at the latest", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.make(Echo, { Slow: () => Effect.never })]
      const { connection, peer } = yield* connect({ handlers, callTimeout: "10 seconds", pingInterval: "Infinity" })
      yield* peer.send([2, "in", "Slow", { text: "" }])
      yield* start(connection.call(Echo.Echo, { text: "" }))
      const closing = yield* start(connection.close({ awaitPending: true }))
      yield* TestClock.adjust("10 seconds")
      expect(yield* Fiber.join(closing)).toEqual({ code: 1000, reason: "" })
    }),
  )

  it.effect("that awaits what is pending ends with the call timeout where handlers have no deadline", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.make(Echo, { Slow: () => Effect.never })]
      const limits = { callTimeout: "10 seconds", handlerTimeout: "Infinity", pingInterval: "Infinity" } as const
      const { connection, peer } = yield* connect({ handlers, ...limits })
      yield* peer.send([2, "in", "Slow", { text: "" }])
      const closing = yield* start(connection.close({ awaitPending: true, code: 4000 }))
      yield* TestClock.adjust("9 seconds")
      expect(connection.state).toBe(Connection.State.CLOSING)
      expect(peer.closes).toEqual([])
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(closing)).toEqual({ code: 4000, reason: "" })
    }),
  )

  it.effect("drops a peer that does not answer the close", () =>
    Effect.gen(function* () {
      const { connection } = yield* connect({
        closeTimeout: "5 seconds",
        wrap: (transport) =>
          new Proxy(transport, {
            get: (target, key) => (key === "close" ? () => {} : passed(target, key)),
          }),
      })
      const closing = yield* start(connection.close({ code: 1000, reason: "bye" }))
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(closing)).toEqual({ code: 1006, reason: "bye" })
    }),
  )

  it.effect("comes with the Scope, which waits for the handlers to end", () =>
    Effect.gen(function* () {
      let ended = false
      const handlers = [
        Handlers.make(Echo, {
          Slow: () =>
            Effect.ensuring(
              Effect.never,
              Effect.andThen(
                settled,
                Effect.sync(() => {
                  ended = true
                }),
              ),
            ),
        }),
      ]
      const closes = yield* Effect.scoped(
        Effect.gen(function* () {
          const { peer } = yield* connect({ handlers })
          yield* peer.send([2, "1", "Slow", { text: "" }])
          return peer.closes
        }),
      )
      expect(ended).toBe(true)
      expect(closes).toEqual([{ code: 1001, reason: "" }])
    }),
  )

  it.effect("happens to a peer that reads too slowly, with 1013", () =>
    Effect.gen(function* () {
      let waiting = 0
      const { connection, peer } = yield* connect({
        maxBufferedBytes: 1000,
        callConcurrency: 10,
        wrap: (transport) =>
          new Proxy(transport, {
            get: (target, key) => {
              if (key === "bufferedAmount") return waiting
              if (key === "send")
                return (text: string) => {
                  waiting += text.length
                }
              return passed(target, key)
            },
          }),
      })
      const calls = yield* Effect.forEach([1, 2, 3], () =>
        start(Effect.flip(connection.call("Echo", { text: "x".repeat(600) }))),
      )
      const errors = yield* Fiber.joinAll(calls)
      expect(errors.map((error) => error._tag)).toEqual(["DisconnectedError", "DisconnectedError", "DisconnectedError"])
      expect(waiting).toBeLessThan(2000)
      yield* settled
      expect(peer.closes).toEqual([{ code: 1013, reason: "the peer reads too slowly" }])
    }),
  )
})

describe("observers", () => {
  it.effect("see every frame of both directions in order, until the close", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ handlers: [echoing] })
      const frames = yield* start(Stream.runCollect(connection.frames))
      yield* peer.send([2, "1", "Echo", { text: "" }])
      const call = yield* start(connection.call(Echo.Echo, { text: "" }))
      yield* peer.send([3, peer.take()[1]![1], { text: "" }])
      yield* Fiber.join(call)
      yield* connection.close()
      expect((yield* Fiber.join(frames)).map(({ frame, outbound }) => [outbound, frame._tag])).toEqual([
        [false, "Call"],
        [true, "CallResult"],
        [true, "Call"],
        [false, "CallResult"],
      ])
    }),
  )

  it.effect("hear of a call before it leaves", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect()
      const order: Array<string> = []
      connection.subscribe(({ _tag }) => order.push(`${_tag} ${peer.received.length}`))
      yield* start(connection.call(Echo.Echo, { text: "" }))
      expect(order).toEqual(["Call 0", "Frame 0"])
    }),
  )

  it.effect("that are slow lose the oldest events and delay nothing", () =>
    Effect.gen(function* () {
      const { connection, peer } = yield* connect({ handlers: [echoing] })
      const gate = yield* Deferred.make<void>()
      const seen: Array<string> = []
      const reader = yield* start(
        Stream.runForEach(connection.frames, ({ message }) =>
          Effect.andThen(
            Deferred.await(gate),
            Effect.sync(() => seen.push(message)),
          ),
        ),
      )
      for (let i = 0; i < 2000; i++) peer.transport.send(JSON.stringify([2, `${i}`, "Echo", { text: "" }]))
      yield* settled
      expect(peer.take()).toHaveLength(2000)
      yield* Deferred.succeed(gate, undefined)
      yield* connection.close()
      yield* Fiber.join(reader)
      expect(seen.length).toBeLessThan(1100)
      expect(seen.at(-1)).toContain('[3,"1999"')
    }),
  )
})

describe("options that make no sense", () => {
  for (const [name, value] of [
    ["callTimeout", 0],
    ["callTimeout", -1],
    ["callTimeout", Number.NaN],
    ["callConcurrency", 0],
    ["callConcurrency", 1.5],
    ["handlerConcurrency", 0],
    ["maxBadMessages", -1],
    ["pingInterval", 0],
    ["maxBufferedBytes", Number.NaN],
  ] as const) {
    it.effect(`are refused with their name: ${name} ${value}`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Effect.scoped(connect({ [name]: value })))
        expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(name)
      }),
    )
  }
})

/** Handlers put together: those of one side as one value, those of several versions, and what is around them. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import type * as Protocol from "../src/Protocol.ts"
import { RPCSecurityError } from "../src/RPCError.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../src/schemas/ocpp201.ts"
import * as Transport from "../src/Transport.ts"
import { Echo } from "./support/rawPeer.ts"

class Prefix extends Context.Service<Prefix, string>()("test/Prefix") {}

const answers = (text: string) => Handlers.make(Echo, { Echo: () => Effect.succeed({ text }) })

const call = { action: "Echo", messageId: "1" }

/** What some handlers answer to an action. */
const ask = <R>(
  handlers: Handlers.Handlers<"station" | "csms", R>,
  action: string,
  request: unknown = { text: "hi" },
  protocol: Protocol.Protocol = Echo,
) => {
  const handler = Handlers.route([handlers], protocol)(action)
  return handler === undefined ? Effect.succeed("nobody") : handler(request, { ...call, action })
}

/** A station whose calls are answered by some handlers. */
const stationOf = Effect.fnUntraced(function* (
  protocol: Protocol.Protocol,
  ...handlers: ReadonlyArray<Handlers.Handlers<"station">>
) {
  const [near, far] = Transport.makePair(protocol.name)
  const station = yield* Connection.make(near, { side: "station", protocol, strictMode: true })
  yield* Connection.make(far, { side: "csms", protocol, handlers, strictMode: true })
  return station
})

describe("merged handlers", () => {
  it.effect("answer what any of them answers, the first where several do", () =>
    Effect.gen(function* () {
      const both = Handlers.make(Echo, {
        Echo: () => Effect.succeed({ text: "second" }),
        Slow: () => Effect.succeed({ text: "only" }),
      })
      const merged = Handlers.merge(answers("first"), both)
      expect(yield* ask(merged, "Echo")).toEqual({ text: "first" })
      expect(yield* ask(merged, "Slow")).toEqual({ text: "only" })
      expect(yield* ask(merged, "Note")).toBe("nobody")
    }),
  )

  it.effect("leave to a wildcard only what none of them knows, wherever it stands", () =>
    Effect.gen(function* () {
      const merged = Handlers.merge(
        Handlers.wildcard((_, { action }) => Effect.succeed(`anything: ${action}`)),
        answers("its own"),
        Handlers.wildcard(() => Effect.succeed("a later wildcard")),
      )
      expect(yield* ask(merged, "Echo")).toEqual({ text: "its own" })
      expect(yield* ask(merged, "Slow")).toBe("anything: Slow")
    }),
  )

  it.effect("answer each subprotocol with its own", () =>
    Effect.gen(function* () {
      const merged = Handlers.merge(
        Handlers.make(Ocpp16, { Heartbeat: () => Effect.succeed({ currentTime: "1.6" }) }),
        Handlers.make(Ocpp201, { Heartbeat: () => Effect.succeed({ currentTime: "2.0.1" }) }),
        Handlers.wildcard(() => Effect.succeed("of 2.1 only"), Ocpp21),
      )
      expect(yield* ask(merged, "Heartbeat", {}, Ocpp16)).toEqual({ currentTime: "1.6" })
      expect(yield* ask(merged, "Heartbeat", {}, Ocpp201)).toEqual({ currentTime: "2.0.1" })
      expect(yield* ask(merged, "Heartbeat", {}, Ocpp21)).toBe("of 2.1 only")
      expect(yield* ask(merged, "Heartbeat", {}, Echo)).toBe("nobody")
    }),
  )

  it.effect("may be none, and may be merged again", () =>
    Effect.gen(function* () {
      const merged = Handlers.merge(Handlers.merge(), Handlers.merge(Handlers.merge(answers("deep"))))
      expect(yield* ask(merged, "Echo")).toEqual({ text: "deep" })
    }),
  )
})

describe("common handlers", () => {
  const now = "2026-01-01T00:00:00Z"
  const Common = Handlers.makeCommon([Ocpp16, Ocpp201, Ocpp21], {
    Heartbeat: () => Effect.succeed({ currentTime: now }),
    BootNotification: () => Effect.succeed({ status: "Accepted", currentTime: now, interval: 300 }),
  })

  it.effect("answer in every version that they are for, validly", () =>
    Effect.gen(function* () {
      for (const protocol of [Ocpp16, Ocpp201, Ocpp21]) {
        const station = yield* stationOf(protocol, Common)
        expect(yield* station.call("Heartbeat", {})).toEqual({ currentTime: now })
      }
      const station = yield* stationOf(Ocpp16, Common)
      const boot = { chargePointVendor: "V", chargePointModel: "M" }
      expect(yield* station.call(Ocpp16.BootNotification, boot)).toMatchObject({ status: "Accepted" })
    }),
  )

  it.effect("answer in no other", () =>
    Effect.gen(function* () {
      const TwoX = Handlers.makeCommon([Ocpp201, Ocpp21], { TransactionEvent: () => Effect.succeed({}) })
      expect(yield* ask(TwoX, "TransactionEvent", {}, Ocpp21)).toEqual({})
      expect(yield* ask(TwoX, "TransactionEvent", {}, Ocpp16)).toBe("nobody")
    }),
  )

  it.effect("give way to those of one version that are merged before them", () =>
    Effect.gen(function* () {
      const Own = Handlers.make(Ocpp21, { Heartbeat: () => Effect.succeed({ currentTime: "2.1's own" }) })
      const merged = Handlers.merge(Own, Common)
      expect(yield* ask(merged, "Heartbeat", {}, Ocpp21)).toEqual({ currentTime: "2.1's own" })
      expect(yield* ask(merged, "Heartbeat", {}, Ocpp201)).toEqual({ currentTime: now })
    }),
  )
})

describe("a middleware", () => {
  /** Notes when it is entered and left. */
  const noting =
    (notes: Array<string>, name: string) =>
    <Sender extends "station" | "csms", R>(handlers: Handlers.Handlers<Sender, R>) =>
      Handlers.wrap(handlers, (handle, _, { action }) =>
        Effect.sync(() => notes.push(`${name} ${action}`)).pipe(
          Effect.andThen(handle),
          Effect.ensuring(Effect.sync(() => notes.push(`${name} is done`))),
        ),
      )

  it.effect("is around the handlers: the last one outermost", () =>
    Effect.gen(function* () {
      const notes: Array<string> = []
      const handler = Handlers.make(Echo, { Echo: (request) => Effect.sync(() => (notes.push("handled"), request)) })
      const wrapped = noting(notes, "outer")(noting(notes, "inner")(handler))
      expect(yield* ask(wrapped, "Echo")).toEqual({ text: "hi" })
      expect(notes).toEqual(["outer Echo", "inner Echo", "handled", "inner is done", "outer is done"])
    }),
  )

  it.effect("provides what handlers require, and may require more itself", () =>
    Effect.gen(function* () {
      const greeting = Handlers.make(Echo, {
        Echo: ({ text }) => Effect.map(Prefix, (prefix) => ({ text: `${prefix} ${text}` })),
      })
      const provided = Handlers.wrap(greeting, (handle) => Effect.provideService(handle, Prefix, "provided"))
      expect(yield* ask(provided, "Echo")).toEqual({ text: "provided hi" })

      const requiring = Handlers.wrap(answers("refused"), (handle) =>
        Effect.flatMap(Prefix, (prefix) => (prefix === "let in" ? handle : new RPCSecurityError(prefix))),
      )
      expect(yield* Effect.provideService(ask(requiring, "Echo"), Prefix, "let in")).toEqual({ text: "refused" })
      const refused = yield* Effect.flip(Effect.provideService(ask(requiring, "Echo"), Prefix, "shut out"))
      expect(refused).toBeInstanceOf(RPCSecurityError)
    }),
  )

  it.effect("may answer itself, and then the handler is not asked", () =>
    Effect.gen(function* () {
      const never = Handlers.make(Echo, {
        Echo: () => {
          throw new Error("asked")
        },
      })
      const answering = Handlers.wrap(never, (_, request) => Effect.succeed(request))
      expect(yield* ask(answering, "Echo")).toEqual({ text: "hi" })
    }),
  )

  it.effect("sees what a handler throws as a defect of the handler's Effect", () =>
    Effect.gen(function* () {
      const throwing = Handlers.make(Echo, {
        Echo: () => {
          throw new Error("kaputt")
        },
      })
      const caught = Handlers.wrap(throwing, (handle) =>
        Effect.catchDefect(handle, () => Effect.succeed({ text: "caught" })),
      )
      expect(yield* ask(caught, "Echo")).toEqual({ text: "caught" })
    }),
  )

  it("is put around a handler once, not at every call", () => {
    const wrapped = Handlers.wrap(answers("one"), (handle) => handle)
    const router = Handlers.route([wrapped], Echo)
    expect(router("Echo")).toBeDefined()
    expect(router("Echo")).toBe(router("Echo"))
    expect(router("Slow")).toBeUndefined()
  })

  it.effect("is around wildcards, and around what dynamic handlers find at the time", () =>
    Effect.gen(function* () {
      const notes: Array<string> = []
      const found = new Map<string, Handlers.AnyHandler>()
      const wrapped = noting(
        notes,
        "wrap",
      )(
        Handlers.merge(
          Handlers.dynamic((action) => found.get(action)),
          Handlers.wildcard(() => Effect.succeed("wildcard")),
        ),
      )
      expect(yield* ask(wrapped, "Anything")).toBe("wildcard")
      found.set("Anything", () => Effect.succeed("found"))
      expect(yield* ask(wrapped, "Anything")).toBe("found")
      found.delete("Anything")
      expect(yield* ask(wrapped, "Anything")).toBe("wildcard")
      expect(notes.filter((note) => note === "wrap Anything")).toHaveLength(3)
    }),
  )

  it.effect("leaves handlers to their subprotocols, and the handlers that it was given as they were", () =>
    Effect.gen(function* () {
      const bare = answers("bare")
      const wrapped = Handlers.wrap(bare, () => Effect.succeed("wrapped"))
      expect(yield* ask(wrapped, "Echo", {}, Ocpp16)).toBe("nobody")
      expect(yield* ask(wrapped, "Echo")).toBe("wrapped")
      expect(yield* ask(bare, "Echo")).toEqual({ text: "bare" })
    }),
  )

  it.effect("answers a peer as a handler does, and its answer is held to the Schema", () =>
    Effect.gen(function* () {
      const good = Handlers.wrap(answers("x"), () => new RPCSecurityError("not you"))
      const bad = Handlers.wrap(answers("x"), () => Effect.succeed({ text: 5 }))
      const refused = yield* Effect.flip((yield* stationOf(Echo, good)).call(Echo.Echo, { text: "" }))
      expect(refused).toMatchObject({ code: "SecurityError" })
      const invalid = yield* Effect.flip((yield* stationOf(Echo, bad)).call(Echo.Echo, { text: "" }))
      expect(invalid).toMatchObject({ code: "InternalError" })
    }),
  )

  it.effect("is not run for a payload that is not valid, nor for what nobody handles", () =>
    Effect.gen(function* () {
      const notes: Array<string> = []
      const station = yield* stationOf(Echo, noting(notes, "ran")(answers("x")))
      yield* station.sendRaw('[2,"1","Echo",{"text":5}]')
      yield* Effect.flip(station.call(Echo.Slow, { text: "" }))
      expect(notes).toEqual([])
    }),
  )
})

/** Messages of vendors, over DataTransfer of all three versions. */
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import type { Client } from "../src/Client.ts"
import type * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import type * as Protocol from "../src/Protocol.ts"
import { RPCSecurityError } from "../src/RPCError.ts"
import * as Server from "../src/Server.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../src/schemas/ocpp201.ts"
import * as Network from "../src/testing/Network.ts"
import { settled } from "../src/testing/settled.ts"
import * as Vendor from "../src/Vendor.ts"

const SetPrice = Vendor.message("com.acme", "SetPrice", {
  request: Schema.Struct({ perKilowattHour: Schema.Number }),
  response: Schema.Struct({ since: Schema.String }),
})
const GetName = Vendor.message("com.acme", "GetName", { response: Schema.String })
const Log = Vendor.message("com.acme", undefined, { request: Schema.Array(Schema.String) })
const Wave = Vendor.message("org.example", "Wave")

const acme = Vendor.handlers(
  Vendor.handle(SetPrice, ({ perKilowattHour }) =>
    perKilowattHour < 0 ? Vendor.reject() : Effect.succeed({ since: `${perKilowattHour}` }),
  ),
  Vendor.handle(GetName, () => Effect.succeed("Acme")),
  Vendor.handle(Log, () => Effect.void),
)

type Known = typeof acme

/** A CSMS and its station, both of whom know the messages of acme; and what they say to each other. */
const pair = Effect.fnUntraced(function* (
  protocol: Protocol.Protocol,
  handlers: Known = acme,
  options: Connection.Options = { strictMode: true },
) {
  const network = yield* Network.make({ protocols: [protocol], handlers: [handlers], ...options })
  const client = yield* network.station({ identity: "CP001", protocols: [protocol], handlers: [handlers], ...options })
  const station = yield* network.csms.station("CP001")
  const frames: Array<unknown> = []
  client.subscribe((event) => {
    if (event._tag === "Frame") frames.push(JSON.parse(event.message))
  })
  return { client, station, frames, network }
})

/** A station that says what the test tells it to say, and asks so. */
const raw = Effect.fnUntraced(function* (protocol: Protocol.Protocol, handlers: Known, strictMode = true) {
  const { network, station } = yield* pair(protocol, handlers, { strictMode })
  const client = yield* network.station({ identity: "CP002", protocols: [protocol] })
  return {
    station,
    ask: (payload: unknown) =>
      Effect.match(client.call("DataTransfer", payload), {
        onSuccess: (response) => response,
        onFailure: (error) => (error._tag === "RPCError" ? [error.code, error.message] : error),
      }),
  }
})

const versions = [Ocpp16, Ocpp201, Ocpp21] as const
const latest = [Ocpp201, Ocpp21] as const

describe("a message", () => {
  it.effect.each(versions)("is called and answered by either side, in %s", (protocol) =>
    Effect.gen(function* () {
      const { client, station } = yield* pair(protocol)
      for (const peer of [client, station]) {
        expect(yield* Vendor.call(peer, SetPrice, { perKilowattHour: 0.3 })).toEqual({ since: "0.3" })
        expect(yield* Vendor.call(peer, GetName, undefined)).toBe("Acme")
        expect(yield* Vendor.call(peer, Log, ["a", "b"])).toBeUndefined()
      }
    }),
  )

  it.effect("travels as JSON text in 1.6", () =>
    Effect.gen(function* () {
      const { client, frames } = yield* pair(Ocpp16)
      yield* Vendor.call(client, SetPrice, { perKilowattHour: 0.3 })
      yield* Vendor.call(client, GetName, undefined)
      yield* Vendor.call(client, Log, [])
      const request = { vendorId: "com.acme", messageId: "SetPrice", data: '{"perKilowattHour":0.3}' }
      expect(frames).toEqual([
        [2, expect.any(String), "DataTransfer", request],
        [3, expect.any(String), { status: "Accepted", data: '{"since":"0.3"}' }],
        [2, expect.any(String), "DataTransfer", { vendorId: "com.acme", messageId: "GetName" }],
        [3, expect.any(String), { status: "Accepted", data: '"Acme"' }],
        [2, expect.any(String), "DataTransfer", { vendorId: "com.acme", data: "[]" }],
        [3, expect.any(String), { status: "Accepted" }],
      ])
    }),
  )

  it.effect.each(latest)("travels as a value in %s", (protocol) =>
    Effect.gen(function* () {
      const { frames, station } = yield* pair(protocol)
      yield* Vendor.call(station, SetPrice, { perKilowattHour: 0.3 })
      yield* Vendor.call(station, GetName, undefined)
      const request = { vendorId: "com.acme", messageId: "SetPrice", data: { perKilowattHour: 0.3 } }
      expect(frames).toEqual([
        [2, expect.any(String), "DataTransfer", request],
        [3, expect.any(String), { status: "Accepted", data: { since: "0.3" } }],
        [2, expect.any(String), "DataTransfer", { vendorId: "com.acme", messageId: "GetName" }],
        [3, expect.any(String), { status: "Accepted", data: "Acme" }],
      ])
    }),
  )

  it.effect("travels as text where nothing was agreed on: that is 1.6", () =>
    Effect.gen(function* () {
      const network = yield* Network.make({ protocols: [Ocpp16], handlers: [acme], allowNoProtocol: true })
      const client = yield* network.station({ identity: "CP001" })
      const sent: Array<unknown> = []
      client.subscribe((event) => {
        if (event._tag === "Call") sent.push(event.request)
      })
      expect(yield* Vendor.call(client, SetPrice, { perKilowattHour: 1 })).toEqual({ since: "1" })
      expect(sent).toEqual([{ vendorId: "com.acme", messageId: "SetPrice", data: '{"perKilowattHour":1}' }])
    }),
  )

  it.effect("of plain text travels as it is", () =>
    Effect.gen(function* () {
      const Say = Vendor.message("com.acme", "Say", {
        request: Schema.String,
        response: Schema.UndefinedOr(Schema.String),
        plainText: true,
      })
      const echoing = Vendor.handlers(Vendor.handle(Say, (text) => Effect.succeed(text === "" ? undefined : text)))
      for (const protocol of versions) {
        const { client, frames } = yield* pair(protocol, echoing)
        expect(yield* Vendor.call(client, Say, "{ 1;2")).toBe("{ 1;2")
        expect(yield* Vendor.call(client, Say, "")).toBeUndefined()
        expect(frames).toEqual([
          [2, expect.any(String), "DataTransfer", { vendorId: "com.acme", messageId: "Say", data: "{ 1;2" }],
          [3, expect.any(String), { status: "Accepted", data: "{ 1;2" }],
          [2, expect.any(String), "DataTransfer", { vendorId: "com.acme", messageId: "Say", data: "" }],
          [3, expect.any(String), { status: "Accepted" }],
        ])
      }
    }),
  )

  it.effect.each(versions)("that the other side does not know fails so, in %s", (protocol) =>
    Effect.gen(function* () {
      const { client, station } = yield* pair(protocol)
      const GetColor = Vendor.message("com.acme", "GetColor")
      const nameless = Vendor.message("org.example", undefined)
      for (const peer of [client, station]) {
        expect(yield* Effect.flip(Vendor.call(peer, Wave, undefined))).toMatchObject({
          _tag: "UnknownVendorId",
          vendorId: "org.example",
        })
        expect(yield* Effect.flip(Vendor.call(peer, nameless, undefined))).toMatchObject({ _tag: "UnknownVendorId" })
        expect(yield* Effect.flip(Vendor.call(peer, GetColor, undefined))).toMatchObject({
          _tag: "UnknownMessageId",
          vendorId: "com.acme",
          messageId: "GetColor",
        })
      }
    }),
  )

  it.effect.each(versions)("that is rejected fails so, in %s", (protocol) =>
    Effect.gen(function* () {
      const { client } = yield* pair(protocol)
      const rejected = yield* Effect.flip(Vendor.call(client, SetPrice, { perKilowattHour: -1 }))
      expect(rejected).toBeInstanceOf(Vendor.Rejected)
      expect(rejected).toMatchObject({ _tag: "VendorRejected", data: undefined, statusInfo: undefined })
    }),
  )

  it.effect.each(versions)("that is refused with an error fails with that, in %s", (protocol) =>
    Effect.gen(function* () {
      const refusing = Vendor.handlers(Vendor.handle(GetName, () => new RPCSecurityError("not you")))
      const { client } = yield* pair(protocol, refusing)
      expect(yield* Effect.flip(Vendor.call(client, GetName, undefined))).toMatchObject({ code: "SecurityError" })
    }),
  )

  it.effect("fails as a call does when there is no answer", () =>
    Effect.gen(function* () {
      const silent = Vendor.handlers(Vendor.handle(GetName, () => Effect.succeed(Handlers.noReply)))
      const { client } = yield* pair(Ocpp201, silent)
      const called = yield* Effect.forkChild(
        Effect.flip(Vendor.call(client, GetName, undefined, { timeout: "5 seconds" })),
      )
      yield* Effect.andThen(settled, TestClock.adjust("5 seconds"))
      expect(yield* Fiber.join(called)).toMatchObject({ action: "DataTransfer", sent: true })
    }),
  )
})

describe("a rejection", () => {
  const status = Vendor.reject({ data: { why: "closed" }, statusInfo: { reasonCode: "Closed" } })
  const text = Vendor.reject({ data: "closed" })

  it.effect("says more in 2.x", () =>
    Effect.gen(function* () {
      const { client } = yield* pair(Ocpp21, Vendor.handlers(Vendor.handle(GetName, () => status)))
      const rejected = yield* Effect.flip(Vendor.call(client, GetName, undefined))
      expect(rejected).toMatchObject({ data: { why: "closed" }, statusInfo: { reasonCode: "Closed" } })
    }),
  )

  it.effect("says a text in 1.6", () =>
    Effect.gen(function* () {
      const handlers = Vendor.handlers(
        Vendor.handle(GetName, () => status),
        Vendor.handle(Log, () => text),
      )
      const { client } = yield* pair(Ocpp16, handlers)
      const [ofValue, ofText] = [
        yield* Effect.flip(Vendor.call(client, GetName, undefined)),
        yield* Effect.flip(Vendor.call(client, Log, [])),
      ]
      expect(ofValue).toMatchObject({ data: '{"why":"closed"}', statusInfo: undefined })
      expect(ofText).toMatchObject({ data: "closed" })
    }),
  )
})

describe("data that is not what it should be", () => {
  const names = { vendorId: "com.acme", messageId: "SetPrice" }

  it.effect.each([true, false])("is refused as any payload is, by 1.6 (strict: %s)", (strict) =>
    Effect.gen(function* () {
      const { ask } = yield* raw(Ocpp16, acme, strict)
      const answers = [
        ['{"perKilowattHour":"1"}', "TypeConstraintViolation", '/data/perKilowattHour: expected number; got "1"'],
        ["{}", "OccurrenceConstraintViolation", '/data: property "perKilowattHour" is missing'],
        ["7", "TypeConstraintViolation", "/data: expected object; got 7"],
        ["{", "FormatViolation", '/data: expected JSON text; got "{"'],
        [`${"[".repeat(70)}${"]".repeat(70)}`, "FormatViolation", "/data: the payload nests deeper than 64 levels"],
      ] as const
      for (const [data, code, message] of answers) expect(yield* ask({ ...names, data })).toEqual([code, message])
      for (const none of [names, { ...names, data: "" }]) {
        expect(yield* ask(none)).toEqual(["OccurrenceConstraintViolation", '/: property "data" is missing'])
      }
    }),
  )

  it.effect.each(latest)("is refused as any payload is, by %s", (protocol) =>
    Effect.gen(function* () {
      const { ask } = yield* raw(protocol, acme)
      expect(yield* ask({ ...names, data: { perKilowattHour: "1" } })).toEqual([
        "TypeConstraintViolation",
        '/data/perKilowattHour: expected number; got "1"',
      ])
      expect(yield* ask({ ...names, data: '{"perKilowattHour":1}' })).toEqual([
        "TypeConstraintViolation",
        expect.stringMatching(/^\/data: expected object/),
      ])
    }),
  )

  it.effect.each(versions)("does not matter where none is asked for, in %s", (protocol) =>
    Effect.gen(function* () {
      const { ask } = yield* raw(protocol, acme)
      const data = protocol === Ocpp16 ? '"x"' : "x"
      expect(yield* ask({ vendorId: "com.acme", messageId: "GetName", data: "" })).toMatchObject({ status: "Accepted" })
      expect(yield* ask({ vendorId: "com.acme", messageId: "GetName", data })).toMatchObject({ status: "Accepted" })
    }),
  )

  it.effect("is found where nobody is strict: a DataTransfer that is none", () =>
    Effect.gen(function* () {
      const { ask } = yield* raw(Ocpp16, acme, false)
      expect(yield* ask({})).toEqual(["OccurrenceConstraintViolation", '/: property "vendorId" is missing'])
      expect(yield* ask({ ...names, data: { perKilowattHour: 1 } })).toEqual([
        "TypeConstraintViolation",
        "/data: expected string; got object",
      ])
      expect(yield* ask({ vendorId: 1 })).toEqual(["TypeConstraintViolation", "/vendorId: expected string; got 1"])
    }),
  )

  it.effect("is never sent", () =>
    Effect.gen(function* () {
      const { client, frames } = yield* pair(Ocpp16, acme, {})
      const wrong = { perKilowattHour: "1" } as unknown as Vendor.Request<typeof SetPrice>
      expect(yield* Effect.flip(Vendor.call(client, SetPrice, wrong))).toMatchObject({
        _tag: "RPCError",
        code: "TypeConstraintViolation",
      })
      const anything = Vendor.message("com.acme", "Any", { request: Schema.Unknown })
      expect(yield* Effect.flip(Vendor.call(client, anything, 1n))).toMatchObject({ code: "FormatViolation" })
      expect(frames).toEqual([])
    }),
  )

  it.effect("of a response is an error of the caller's", () =>
    Effect.gen(function* () {
      const answers: Array<unknown> = [
        { status: "Accepted", data: '{"since":1}' },
        { status: "Accepted", data: "{" },
        { status: "Accepted" },
        { status: "accepted" },
        { status: "Accepted", data: { since: "1" } },
        7,
      ]
      const sloppy = Handlers.wildcard(() => Effect.sync(() => answers.shift()))
      const network = yield* Network.make({ protocols: [Ocpp16], handlers: [sloppy] })
      const client = yield* network.station({ identity: "CP001", protocols: [Ocpp16] })
      const messages: Array<unknown> = []
      while (answers.length > 0) {
        const error = yield* Effect.flip(Vendor.call(client, SetPrice, { perKilowattHour: 1 }))
        messages.push(error._tag === "RPCError" ? error.message : error)
      }
      expect(messages).toEqual([
        "/data/since: expected string; got 1",
        '/data: expected JSON text; got "{"',
        '/: property "data" is missing',
        expect.stringMatching(/^\/status: expected one of "Accepted"/),
        "/data: expected string; got object",
        "/: expected object; got 7",
      ])
    }),
  )

  it.effect("of a response of ours is a fault of ours", () =>
    Effect.gen(function* () {
      const wrong = 7 as unknown as string
      const { client } = yield* pair(Ocpp201, Vendor.handlers(Vendor.handle(GetName, () => Effect.succeed(wrong))))
      expect(yield* Effect.flip(Vendor.call(client, GetName, undefined))).toMatchObject({ code: "InternalError" })
    }).pipe(Effect.provide(Logger.layer([]))),
  )
})

describe("the ids", () => {
  it.effect("are compared without regard to case in 1.6, and with it in 2.x", () =>
    Effect.gen(function* () {
      for (const protocol of versions) {
        const { ask } = yield* raw(protocol, acme)
        const answer = yield* ask({ vendorId: "COM.Acme", messageId: "getname" })
        expect(answer).toMatchObject({ status: protocol === Ocpp16 ? "Accepted" : "UnknownVendorId" })
        const other = yield* ask({ vendorId: "com.acme", messageId: "getname" })
        expect(other).toMatchObject({ status: protocol === Ocpp16 ? "Accepted" : "UnknownMessageId" })
      }
    }),
  )

  it("are those that OCPP allows", () => {
    expect(Vendor.message("x".repeat(255), "é".repeat(50))).toMatchObject({ sender: "both" })
    expect(() => Vendor.message("", "x")).toThrow("the id of a vendor must be a string of 1 to 255 characters")
    expect(() => Vendor.message("x".repeat(256), "x")).toThrow(RangeError)
    expect(() => Vendor.message("x", "")).toThrow("the id of a message must be a string of 1 to 50 characters")
    expect(() => Vendor.message("x", "x".repeat(51))).toThrow(RangeError)
  })

  it("have one handler each", () => {
    const again = Vendor.message("COM.ACME", "getname")
    const twice = () =>
      Vendor.handlers(
        Vendor.handle(GetName, () => Effect.succeed("")),
        Vendor.handle(again, () => Effect.void),
      )
    expect(twice).toThrow("two handlers are of the message COM.ACME getname")
  })
})

class Registry extends Context.Service<Registry, { readonly name: string }>()("test/Registry") {}
class Clerk extends Context.Service<Clerk, { readonly name: string }>()("test/Clerk") {}

describe("the handlers", () => {
  it.effect("may ask for services, and who is calling", () =>
    Effect.gen(function* () {
      const handlers = Vendor.handlers(
        Vendor.handle(GetName, () => Effect.map(Registry, ({ name }) => name)),
        Vendor.handle(Wave, () => Effect.andThen(Server.Station, ({ identity }) => Vendor.reject({ data: identity }))),
      )
      const network = yield* Network.make<Registry | Server.Station>({ protocols: [Ocpp21], handlers: [handlers] })
      const client = yield* network.station({ identity: "CP001", protocols: [Ocpp21] })
      expect(yield* Vendor.call(client, GetName, undefined)).toBe("R")
      expect(yield* Effect.flip(Vendor.call(client, Wave, undefined))).toMatchObject({ data: "CP001" })
    }).pipe(Effect.provideService(Registry, { name: "R" })),
  )

  it.effect("leave other actions to others", () =>
    Effect.gen(function* () {
      const others = Handlers.make(Ocpp16, { Heartbeat: () => Effect.succeed({ currentTime: "2026-01-01T00:00:00Z" }) })
      const network = yield* Network.make({ protocols: [Ocpp16], handlers: [acme, others] })
      const client = yield* network.station({ identity: "CP001", protocols: [Ocpp16] })
      expect(yield* client.call(Ocpp16.Heartbeat, {})).toMatchObject({ currentTime: expect.any(String) })
      expect(yield* Vendor.call(client, GetName, undefined)).toBe("Acme")
    }),
  )
})

describe("the types", () => {
  const never = () => false
  const ofCsms = Vendor.message("com.acme", "Reset", { sender: "csms", request: Schema.String })
  const ofStation = Vendor.message("com.acme", "Hello", { sender: "station", response: Schema.Number })
  const client = undefined as unknown as Client
  const station = undefined as unknown as Server.Station

  it("of a call are those of its message", () => {
    if (never()) {
      const called = Vendor.call(client, SetPrice, { perKilowattHour: 1 })
      expectTypeOf(called).toEqualTypeOf<Effect.Effect<{ readonly since: string }, Vendor.Failure>>()
      expectTypeOf(Vendor.call(client, ofStation, undefined)).toEqualTypeOf<Effect.Effect<number, Vendor.Failure>>()
      // @ts-expect-error a field of the wrong type
      Vendor.call(client, SetPrice, { perKilowattHour: "1" })
      // @ts-expect-error a required field is missing
      Vendor.call(client, SetPrice, {})
      // @ts-expect-error nothing is asked
      Vendor.call(client, GetName, "x")
      const handled = called.pipe(
        Effect.catchTags({
          UnknownVendorId: ({ vendorId }) => Effect.succeed(vendorId),
          UnknownMessageId: ({ messageId }) => Effect.succeed(messageId),
          VendorRejected: ({ data }) => Effect.succeed(data),
        }),
      )
      expectTypeOf<Effect.Error<typeof handled>>().toEqualTypeOf<Connection.CallFailure>()
    }
  })

  it("say who sends a message", () => {
    if (never()) {
      Vendor.call(station, ofCsms, "x")
      Vendor.call(client, ofStation, undefined)
      Vendor.call(client, Wave, undefined)
      Vendor.call(station, Wave, undefined)
      // @ts-expect-error the CSMS sends it
      Vendor.call(client, ofCsms, "x")
      // @ts-expect-error a station sends it
      Vendor.call(station, ofStation, undefined)
    }
  })

  it("of handlers say whose they are, and what they require", () => {
    expectTypeOf(acme).toEqualTypeOf<Handlers.Handlers>()
    const mixed = Vendor.handlers(
      Vendor.handle(ofStation, () => Effect.as(Registry, 1)),
      Vendor.handle(Wave, () => Effect.asVoid(Clerk)),
    )
    expectTypeOf(mixed).toEqualTypeOf<Handlers.Handlers<"station", Registry | Clerk>>()
    const forStation = Vendor.handlers(Vendor.handle(ofCsms, () => Effect.void))
    expectTypeOf(forStation).toEqualTypeOf<Handlers.Handlers<"csms">>()
    // @ts-expect-error what a station handles, a CSMS is never asked
    Server.make({ handlers: [forStation] })
    // @ts-expect-error the response of another message
    Vendor.handle(SetPrice, () => Effect.succeed("Acme"))
    // @ts-expect-error an error that cannot be sent
    Vendor.handle(GetName, () => Effect.fail(new Error("no")))
    Vendor.handle(SetPrice, (request) => {
      expectTypeOf(request).toEqualTypeOf<{ readonly perKilowattHour: number }>()
      return Effect.succeed({ since: "" })
    })
  })
})

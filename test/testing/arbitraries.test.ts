import { isDeepStrictEqual } from "node:util"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Action from "../../src/Action.ts"
import * as Codec from "../../src/Codec.ts"
import * as Protocol from "../../src/Protocol.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../../src/schemas/ocpp201.ts"
import { frame, request, response, sample } from "../../src/testing/arbitraries.ts"
import { ajvFor, compile, messages } from "../schemas/official.ts"

const versions = [Ocpp16, Ocpp201, Ocpp21]
const seed = Number(process.env.OCPP_SEED ?? 20250401)
console.info(`OCPP_SEED=${seed}`)

const arbitraryOf = (action: Action.Any, part: "request" | "response"): Arbitrary.Arbitrary<unknown> => {
  if (part === "request") return request(action)
  if (action.kind === "send") throw new Error(`${action.name} has no response`)
  return response(action)
}

describe.each(versions)("$name", ({ name, actions, validator }) => {
  it("generates requests and responses that the validator and the official schemas accept", () => {
    const ajv = ajvFor(name)
    for (const { action, part, schema } of messages.filter(({ subprotocol }) => subprotocol === name)) {
      const known = actions.get(action)
      if (known === undefined) throw new Error(`${name} has no ${action}`)
      const official = compile(ajv, schema)
      for (const payload of sample(arbitraryOf(known, part), { seed, count: 10 })) {
        expect(validator.check(action, part, payload)?.message, `${action} ${part}`).toBeUndefined()
        expect(official(JSON.parse(JSON.stringify(payload))), `${action} ${part}: ${JSON.stringify(payload)}`).toBe(
          true,
        )
      }
    }
  }, 20_000)
})

/** A frame, written and read again. */
const roundTrip = (one: Codec.Frame, { extendedFrames, spelling }: Protocol.Protocol) =>
  Codec.decode(Codec.encode(one, spelling), extendedFrames)

describe("encoding and decoding", () => {
  it.each(versions)(
    "leave every frame of $name as it was, prototypes and zeros included",
    (protocol) => {
      for (const one of sample(frame(protocol), { seed, count: 300 })) {
        const read = roundTrip(one, protocol)
        expect(read).toEqual(one)
        expect(isDeepStrictEqual(read, one), JSON.stringify(one)).toBe(true)
      }
    },
    20_000,
  )

  it.each(versions)(
    "leave every request and response of $name as it was",
    (protocol) => {
      for (const action of protocol.actions.values()) {
        for (const part of action.kind === "call" ? (["request", "response"] as const) : (["request"] as const)) {
          for (const payload of sample(arbitraryOf(action, part), { seed, count: 20 })) {
            const one: Codec.CallResult = { _tag: "CallResult", messageId: "1", payload: payload as Schema.Json }
            const read = roundTrip(one, protocol)
            expect(isDeepStrictEqual(read, one), `${action.name} ${part}: ${JSON.stringify(payload)}`).toBe(true)
          }
        }
      }
    },
    20_000,
  )

  it.each(versions)(
    "leave every frame of $name as it was, also when fast-check asks",
    (protocol) => {
      const frames = fc.nat().map((seed) => sample(frame(protocol), { seed, count: 1 })[0] as Codec.Frame)
      const property = fc.property(frames, (one) => {
        expect(roundTrip(one, protocol)).toEqual(one)
        // fast-check's own stringification and clones must not matter either.
        expect(roundTrip(structuredClone(one), protocol)).toEqual(one)
      })
      fc.assert(property, { seed, numRuns: 50 })
    },
    20_000,
  )

  it("leave a frame that was shrunk as it was", () => {
    const holds = (one: Codec.Frame) => one._tag !== "Call" || JSON.stringify(one).length < 80
    const result = Effect.runSync(
      Arbitrary.checkEffect(frame(Ocpp21), (one) => Effect.succeed(holds(one)), { seed, runs: 200 }),
    )
    if (result._tag !== "Falsified") throw new Error(`the property is ${result._tag}`)
    expect(isDeepStrictEqual(roundTrip(result.shrunkInput, Ocpp21), result.shrunkInput)).toBe(true)
  }, 20_000)
})

describe("values", () => {
  it("of other subprotocols have no member that is undefined, and keep their classes", () => {
    const Odd = Action.make("Odd", {
      request: Schema.Struct({ maybe: Schema.optional(Schema.String), zero: Schema.Literal(-0), at: Schema.Date }),
      response: Schema.Struct({}),
    })
    const payloads = sample(request(Odd), { seed, count: 50 })
    expect(payloads.some((payload) => Object.hasOwn(payload, "maybe"))).toBe(true)
    for (const { at, ...payload } of payloads) {
      expect(at).toBeInstanceOf(Date)
      expect(isDeepStrictEqual(JSON.parse(JSON.stringify(payload)), payload)).toBe(true)
    }
  })

  it("keep members of any name", () => {
    const Named = Action.make("Named", {
      request: Schema.Record(Schema.Literals(["__proto__", "constructor"]), Schema.Int),
      response: Schema.Struct({}),
    })
    for (const payload of sample(request(Named), { seed, count: 5 })) {
      expect(Object.keys(payload)).toEqual(["__proto__", "constructor"])
    }
  })
})

describe("frames", () => {
  it.each(versions)(
    "of $name are of every kind that it has, and their requests are valid",
    (protocol) => {
      const { extendedFrames, validator } = protocol
      const frames = sample(frame(protocol), { seed, count: 150 })
      const kinds = ["Call", "CallError", "CallResult", ...(extendedFrames ? ["CallResultError", "Send"] : [])]
      expect([...new Set(frames.map(({ _tag }) => _tag))].sort()).toEqual(kinds)
      for (const one of frames) {
        if (one._tag !== "Call" && one._tag !== "Send") continue
        expect(validator.check(one.action, "request", one.payload)).toBeUndefined()
      }
    },
    20_000,
  )

  it("of a subprotocol without CALLs, or without actions, are of the kinds that are left", () => {
    const Quiet = Protocol.make("quiet", [Action.makeSend("Note", { request: Schema.Struct({}) })], {
      extendedFrames: true,
    })
    const kinds = (protocol: Protocol.Protocol) =>
      [...new Set(sample(frame(protocol), { seed, count: 100 }).map(({ _tag }) => _tag))].sort()
    expect(kinds(Quiet)).toEqual(["CallError", "CallResultError", "Send"])
    expect(kinds(Protocol.make("empty", []))).toEqual(["CallError"])
  })
})

describe("sample", () => {
  it("draws the same payloads for the same seed", () => {
    const [once, again] = [1, 2].map(() => sample(request(Ocpp16.BootNotification), { seed, count: 5 }))
    expect(once).toEqual(again)
    expect(once).toHaveLength(5)
  })

  it("draws numbers with a decimal where OCPP 1.6 asks for multiples of 0.1", () => {
    const schedules = sample(response(Ocpp16.GetCompositeSchedule), { seed, count: 100 })
    const rates = schedules.flatMap(({ chargingSchedule }) => chargingSchedule?.minChargingRate ?? [])
    expect(rates.some((rate) => !Number.isInteger(rate))).toBe(true)
  })

  it("draws payloads for the actions of other subprotocols", () => {
    const Echo = Action.make("Echo", { request: Schema.Struct({ text: Schema.String }), response: Schema.Struct({}) })
    for (const { text } of sample(request(Echo), { seed, count: 5 })) expect(text).toBeTypeOf("string")
  })
})

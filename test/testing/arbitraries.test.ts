import type * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import * as Action from "../../src/Action.ts"
import * as Codec from "../../src/Codec.ts"
import * as Protocol from "../../src/Protocol.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../../src/schemas/ocpp201.ts"
import { frame, request, response, sample } from "../../src/testing/arbitraries.ts"
import { ajvFor, compile, messages } from "../schemas/official.ts"

const seed = Number(process.env.OCPP_SEED ?? 20250401)
console.info(`OCPP_SEED=${seed}`)

const arbitraryOf = (action: Action.Any, part: "request" | "response"): Arbitrary.Arbitrary<unknown> => {
  if (part === "request") return request(action)
  if (action.kind === "send") throw new Error(`${action.name} has no response`)
  return response(action)
}

describe.each([Ocpp16, Ocpp201, Ocpp21])("$name", ({ name, actions, validator }) => {
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

describe("frames", () => {
  it.each([Ocpp16, Ocpp201, Ocpp21])(
    "of $name are of every kind that it has, valid, and read as they were written",
    (protocol) => {
      const { extendedFrames, spelling, validator } = protocol
      const frames = sample(frame(protocol), { seed, count: 150 })
      const kinds = ["Call", "CallError", "CallResult", ...(extendedFrames ? ["CallResultError", "Send"] : [])]
      expect([...new Set(frames.map(({ _tag }) => _tag))].sort()).toEqual(kinds)
      for (const one of frames) {
        const text = Codec.encode(one, spelling)
        const read = Codec.decode(text, extendedFrames)
        if (read._tag === "Malformed") throw read.error
        expect(Codec.encode(read, spelling)).toBe(text)
        if (one._tag !== "Call" && one._tag !== "Send") continue
        expect(validator.check(one.action, "request", one.payload)).toBeUndefined()
      }
    },
    20_000,
  )

  it("of a subprotocol with SENDs only, or without actions, are those that there are", () => {
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
  it("gives the same payloads for the same seed", () => {
    const [once, again] = [1, 2].map(() => sample(request(Ocpp16.BootNotification), { seed, count: 5 }))
    expect(once).toEqual(again)
    expect(once).toHaveLength(5)
  })

  it("gives numbers with a decimal where OCPP 1.6 asks for multiples of 0.1", () => {
    const schedules = sample(response(Ocpp16.GetCompositeSchedule), { seed, count: 100 })
    const rates = schedules.flatMap(({ chargingSchedule }) => chargingSchedule?.minChargingRate ?? [])
    expect(rates.some((rate) => !Number.isInteger(rate))).toBe(true)
  })

  it("works for the actions of other subprotocols", () => {
    const Echo = Action.make("Echo", { request: Schema.Struct({ text: Schema.String }), response: Schema.Struct({}) })
    for (const { text } of sample(request(Echo), { seed, count: 5 })) expect(text).toBeTypeOf("string")
  })
})

import { describe, expect, it } from "vitest"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../../src/schemas/ocpp201.ts"
import type { Validator } from "../../src/Validator.ts"
import {
  ajvFor,
  compile,
  generate,
  invalidDateTimes,
  isoDateTimes,
  type Message,
  messages,
  mutations,
  randomFrom,
  type Style,
  validDateTimes,
} from "./official.ts"

const seed = Number(process.env.OCPP_SEED ?? 20250401)
console.info(`OCPP_SEED=${seed}`)

const subprotocols: Readonly<Record<Message["subprotocol"], { readonly validator: Validator }>> = {
  "ocpp1.6": Ocpp16,
  "ocpp2.0.1": Ocpp201,
  "ocpp2.1": Ocpp21,
}

const codes: Readonly<Record<string, string>> = {
  type: "TypeConstraintViolation",
  required: "OccurrenceConstraintViolation",
  minItems: "OccurrenceConstraintViolation",
  maxItems: "OccurrenceConstraintViolation",
  additionalProperties: "PropertyConstraintViolation",
  enum: "PropertyConstraintViolation",
  maxLength: "PropertyConstraintViolation",
  minimum: "PropertyConstraintViolation",
  maximum: "PropertyConstraintViolation",
  multipleOf: "PropertyConstraintViolation",
  format: "FormatViolation",
}

const styles: ReadonlyArray<Omit<Style, "random">> = [
  { values: "typical", optional: 0, lists: "one" },
  { values: "typical", optional: 0.5, lists: "any" },
  { values: "extreme", optional: 0.5, lists: "any" },
  { values: "extreme", optional: 1, lists: "one" },
]

const deepFreeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}

describe.each(Object.entries(subprotocols))("%s", (subprotocol, { validator }) => {
  const random = randomFrom(seed)
  const is16 = subprotocol === "ocpp1.6"
  const dateTimes = is16 ? [...validDateTimes, ...isoDateTimes] : validDateTimes
  const wrongDateTimes = is16 ? invalidDateTimes : [...invalidDateTimes, ...isoDateTimes]
  const ajv = ajvFor(subprotocol as Message["subprotocol"])
  const own = messages
    .filter((message) => message.subprotocol === subprotocol)
    .map((message) => ({ ...message, official: compile(ajv, message.schema) }))

  it("accepts the payloads that the official schemas accept, and changes nothing", () => {
    for (const { action, part, schema, official } of own) {
      for (const style of styles) {
        const payload = deepFreeze(generate(schema, { ...style, dateTimes, random }))
        expect(official(payload), `${action} ${part}: the payload is valid`).toBe(true)
        expect(validator.check(action, part, payload)?.message, `${action} ${part}`).toBeUndefined()
      }
    }
  })

  it("finds each keyword that is broken at each place, as ajv does, and answers with its code", () => {
    let cases = 0
    for (const { action, part, schema, official } of own) {
      const payload = generate(schema, { values: "typical", optional: 1, lists: "one", random })
      for (const mutation of mutations(schema, payload, wrongDateTimes)) {
        // A payload of `null` is taken for `{}`.
        if (mutation.payload === null) continue
        cases++
        const error = validator.check(action, part, deepFreeze(mutation.payload))
        const [expected] = official(mutation.payload) ? [] : (official.errors ?? [])
        const [violation] = (error?.details.errors ?? []) as ReadonlyArray<Record<string, unknown>>
        if (
          violation?.keyword !== expected?.keyword ||
          violation?.instancePath !== expected?.instancePath ||
          mutation.keyword !== expected?.keyword ||
          error?.code !== codes[mutation.keyword]
        ) {
          const where = `${action} ${part}, ${mutation.keyword}: ${JSON.stringify(mutation.payload).slice(0, 500)}`
          expect({ ...violation, code: error?.code }, where).toMatchObject({
            instancePath: expected?.instancePath,
            keyword: mutation.keyword,
            code: codes[mutation.keyword],
          })
        }
      }
    }
    console.info(`${subprotocol}: ${cases} broken payloads`)
    expect(cases).toBeGreaterThan(1000)
  }, 20_000)
})

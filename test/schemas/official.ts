/**
 * The official JSON Schemas: payloads made from them, ways to break each of their keywords, and ajv's verdict.
 *
 * Nothing here knows the Schemas under test.
 */
import { createRequire } from "node:module"
import { Ajv, type Options, type ValidateFunction } from "ajv"
import ajvFormats from "ajv-formats"

export interface JsonSchema {
  readonly $id?: string
  readonly $ref?: string
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean"
  readonly enum?: ReadonlyArray<string>
  readonly format?: string
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly multipleOf?: number
  readonly items?: JsonSchema
  readonly minItems?: number
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: ReadonlyArray<string>
  readonly additionalProperties?: boolean
  readonly definitions?: Readonly<Record<string, JsonSchema>>
}

export interface Message {
  readonly subprotocol: "ocpp1.6" | "ocpp2.0.1" | "ocpp2.1"
  readonly action: string
  readonly part: "request" | "response"
  readonly schema: JsonSchema
}

const require = createRequire(import.meta.url)
const carriers = { "ocpp1.6": "ocpp1_6", "ocpp2.0.1": "ocpp2_0_1", "ocpp2.1": "ocpp2_1" } as const

/** The 387 messages. */
export const messages: ReadonlyArray<Message> = Object.entries(carriers).flatMap(([subprotocol, file]) =>
  (require(`ocpp-rpc/lib/schemas/${file}.json`) as ReadonlyArray<JsonSchema>).map((schema): Message => {
    const [, action = "", response] = /^urn:(\w+?)(?:\.req|Request|(\.conf|Response))?$/.exec(schema.$id ?? "") ?? []
    const part = response === undefined ? "request" : "response"
    return { subprotocol: subprotocol as Message["subprotocol"], action, part, schema }
  }),
)

/** Numbers in [0, 1) that a seed decides (mulberry32). */
export const randomFrom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** How payloads look: `"typical"` ones as in the field, `"extreme"` ones at the edges of what is allowed. */
export interface Style {
  readonly random: () => number
  readonly values: "typical" | "extreme"
  /** The share of optional properties that are present. */
  readonly optional: number
  /** Whether lists have one item, or any number of them (within reason). */
  readonly lists: "one" | "any"
  /** The date-times of extreme payloads. Default: those that are valid in every version. */
  readonly dateTimes?: ReadonlyArray<string>
}

const pick = <A>(random: () => number, values: ReadonlyArray<A>): A => {
  const value = values[Math.floor(random() * values.length)]
  if (value === undefined) throw new Error("nothing to pick from")
  return value
}

/** Date-times of RFC 3339, so valid in every version. */
export const validDateTimes = [
  "2025-04-01T12:00:00Z",
  "2024-02-29T23:59:59.999Z",
  "2025-12-31T00:00:00+05:30",
  "1999-01-01t00:00:00.1z",
  "2016-12-31T23:59:60Z",
  "2016-12-31T15:59:60.5-08:00",
  "0000-02-29T12:00:00-00:00",
]

/** Date-times of ISO 8601 and not of RFC 3339, so valid in 1.6 only. */
export const isoDateTimes = [
  "2024-04-26T14:35:02+0200",
  "2024-04-26T14:35:02-0330",
  "2024-04-26T14:35:02+02",
  "2024-04-26T14:35:02.123-11",
  "2024-04-26T14:35:02",
  "2024-04-26t14:35:02.123",
  "2024-04-26 14:35:02",
  "2024-04-26 14:35:02Z",
  "2024-04-26 14:35:02.5+02:00",
  "2024-04-26T14:35:02,5Z",
  "2024-04-26 14:35:02,123",
  "2024-04-26T14:35",
  "2024-04-26T14:35Z",
  "2024-04-26T14:35+0200",
  "2024-04-26 14:35-23",
  "2024-02-29T23:59:59,999999999+02",
  "2016-12-31T23:59:60",
  "2017-01-01T00:59:60+01",
  "2017-01-01T05:29:60,25+0530",
]

/** Texts that are a date-time in no version. */
export const invalidDateTimes = [
  "",
  "yesterday",
  "2025-04-01",
  "12:00:00Z",
  "2025-13-01T12:00:00Z",
  "2025-00-01T12:00:00Z",
  "2025-04-31T12:00:00Z",
  "2025-02-29T12:00:00Z",
  "1900-02-29T12:00:00Z",
  "2025-04-01T24:00:00Z",
  "2025-04-01T12:60:00Z",
  "2025-04-01T12:00:60Z",
  "2025-04-01T23:59:61Z",
  "2025-04-01T12Z",
  "2025-04-01T12:00.5Z",
  "2025-04-01T12:00:00.Z",
  "2025-04-01T12:00:00,Z",
  "2025-04-01T12:00:00+24:00",
  "2025-04-01T12:00:00+05:60",
  "2025-04-01T12:00:00+0560",
  "2025-04-01T12:00:00+5",
  "2025-04-01T12:00:00+05:",
  "2025-04-01T12:00:00+05:3",
  "2025-04-01T12:00:00 +05:30",
  "2025-04-01T12:00:00 Z",
  "2025-04-01  12:00:00",
  "2025-04-01_12:00:00",
  "2016-12-31T23:59:60+01",
  "2016-12-31T22:59:60",
  "20250401T120000Z",
  "2025-091T12:00:00Z",
  "2025-W14-2T12:00:00Z",
  "25-04-01T12:00:00Z",
  "2025-4-1T12:00:00Z",
  " 2025-04-01T12:00:00Z",
  "2025-04-01T12:00:00Z\n",
  "٢٠٢٥-04-01T12:00:00Z",
]

export const validUris = [
  "https://example.com/a?b=c#d",
  "ftp://user:secret@[2001:db8::1]:21/logs/",
  "file:/firmware.bin",
  "urn:ocpp:firmware",
  "HTTP://EXAMPLE.COM/%7Euser",
]

export const invalidUris = ["", "example", "//example.com", "/firmware.bin", "https://a b", "1http://x", "https://%zz/"]

const characters = (random: () => number, length: number, values: Style["values"]): string => {
  const alphabet = values === "typical" ? "ABCDEF0123456789-" : 'aZ0 "\\/~\u0000é漢😀\ud800'
  const points = Array.from(alphabet)
  return Array.from({ length }, () => pick(random, points)).join("")
}

const anyJson = (random: () => number): unknown =>
  pick<unknown>(random, [null, true, 0, -1.5, "", "text", [], [null, { a: [] }], {}, { constructor: { "~/": 1 } }])

/** A valid payload. */
export const generate = (root: JsonSchema, style: Style): unknown => {
  const { dateTimes = validDateTimes, lists, optional, random, values } = style
  const go = (schema: JsonSchema): unknown => {
    if (schema.$ref !== undefined) return go(resolve(root, schema))
    const { minimum = -1000, maximum = 1000 } = schema
    switch (schema.type) {
      case "object": {
        const entries = Object.entries(schema.properties ?? {})
          .filter(([name]) => schema.required?.includes(name) || random() < optional)
          .map(([name, property]) => [name, go(property)])
        const others = schema.additionalProperties === false ? [] : [["extra", anyJson(random)]]
        return Object.fromEntries([...entries, ...others])
      }
      case "array": {
        const least = schema.minItems ?? 0
        const most = Math.min(schema.maxItems ?? least + 3, least + 3)
        const length = lists === "one" ? Math.max(1, least) : least + Math.floor(random() * (most - least + 1))
        return Array.from({ length }, () => go(schema.items ?? {}))
      }
      case "string": {
        if (schema.enum !== undefined) return pick(random, schema.enum)
        if (schema.format === "date-time") return values === "typical" ? validDateTimes[0] : pick(random, dateTimes)
        if (schema.format === "uri") return pick(random, validUris)
        const most = schema.maxLength ?? 40
        const length = values === "typical" ? Math.min(most, 4 + Math.floor(random() * 28)) : pick(random, [0, 1, most])
        return characters(random, Math.min(length, 600), values)
      }
      case "integer":
        if (values === "extreme" && schema.minimum === undefined && schema.maximum === undefined) {
          return pick(random, [0, -1, 2 ** 31, -(2 ** 31), 2 ** 53 + 2, -1e21])
        }
        return Math.floor(minimum + random() * (maximum - minimum + 1))
      case "number":
        if (schema.multipleOf !== undefined) return pick(random, [0, 8.1, 0.3, -0.7, 16, 32.5, 1e21, 123456.7])
        return pick(random, [minimum, maximum, Math.fround(minimum + random() * (maximum - minimum))])
      case "boolean":
        return random() < 0.5
      default:
        return anyJson(random)
    }
  }
  return go(root)
}

const resolve = (root: JsonSchema, schema: JsonSchema): JsonSchema => {
  const target = schema.$ref === undefined ? schema : root.definitions?.[schema.$ref.replace("#/definitions/", "")]
  if (target === undefined) throw new Error(`nothing defines ${schema.$ref}`)
  return target
}

/** A payload of which one keyword is broken in one place. */
export interface Mutation {
  readonly keyword: string
  readonly payload: unknown
}

const ofEachType: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  null: [null],
  boolean: [true],
  number: [1.5],
  integer: [1],
  string: ["1"],
  array: [[]],
  object: [{}],
}

const accepted: Readonly<Record<string, ReadonlyArray<string>>> = {
  number: ["number", "integer"],
  integer: ["integer"],
}

/**
 * Every way to break one keyword of the schema at every place that the payload has.
 *
 * @param wrongDateTimes the texts that break a date-time; default: those that are none in any version
 */
export function* mutations(
  root: JsonSchema,
  payload: unknown,
  wrongDateTimes: ReadonlyArray<string> = invalidDateTimes,
): Generator<Mutation> {
  yield* go(root, payload, (value) => value)

  function* go(unresolved: JsonSchema, value: unknown, put: (value: unknown) => unknown): Generator<Mutation> {
    const schema = resolve(root, unresolved)
    const broken = (keyword: string, ...values: ReadonlyArray<unknown>) =>
      values.map((each) => ({ keyword, payload: put(each) }))

    if (schema.type !== undefined) {
      const right = accepted[schema.type] ?? [schema.type]
      const wrong = Object.entries(ofEachType).filter(([type]) => !right.includes(type))
      yield* broken("type", ...wrong.flatMap(([, values]) => values))
    }
    if (schema.enum !== undefined) {
      const [first = ""] = schema.enum
      yield* broken("enum", "", `${first} `, first.toLowerCase() === first ? first.toUpperCase() : first.toLowerCase())
    }
    if (schema.maxLength !== undefined) {
      yield* broken("maxLength", "x".repeat(schema.maxLength + 1), "😀".repeat(schema.maxLength + 1))
    }
    if (schema.format === "date-time") yield* broken("format", ...wrongDateTimes)
    if (schema.format === "uri") yield* broken("format", ...invalidUris)
    if (schema.minimum !== undefined) yield* broken("minimum", schema.minimum - 1)
    if (schema.maximum !== undefined) yield* broken("maximum", schema.maximum + 1)
    if (schema.multipleOf !== undefined) yield* broken("multipleOf", 0.05, 8.11, 0.30000000000000004, -1e-7)
    if (Array.isArray(value)) {
      const [item] = value
      if (schema.minItems !== undefined) yield* broken("minItems", value.slice(0, schema.minItems - 1))
      if (schema.maxItems !== undefined) yield* broken("maxItems", Array(schema.maxItems + 1).fill(item))
      if (value.length > 0) {
        const last = value.length - 1
        yield* go(schema.items ?? {}, value[last], (other) => put(value.with(last, other)))
      }
    } else if (typeof value === "object" && value !== null) {
      for (const name of schema.required ?? []) {
        yield* broken("required", Object.fromEntries(Object.entries(value).filter(([key]) => key !== name)))
      }
      if (schema.additionalProperties === false) {
        for (const name of ["notAProperty", "__proto__", "constructor", "toString", ""]) {
          yield* broken("additionalProperties", Object.fromEntries([...Object.entries(value), [name, {}]]))
        }
      }
      for (const [name, property] of Object.entries(schema.properties ?? {})) {
        if (!Object.hasOwn(value, name)) continue
        yield* go(property, Reflect.get(value, name), (other) => put({ ...value, [name]: other }))
      }
    }
  }
}

const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)t(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:z|([+-])(\d\d):(\d\d))$/i
const iso8601 = /^(\d{4})-(\d\d)-(\d\d)[t ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?:z|([+-])(\d\d)(?::?(\d\d))?|)$/i

/** RFC 3339 §5.6 and §5.7, and what of ISO 8601 is sent in 1.6: both written down a second time. */
export const isDateTime = (value: string, notation: "RFC 3339" | "ISO 8601"): boolean => {
  const parts = (notation === "RFC 3339" ? rfc3339 : iso8601).exec(value)?.slice(1)
  if (parts === undefined) return false
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(0, 6)
    .map((part) => Number(part ?? 0))
  const [offsetHour = 0, offsetMinute = 0] = parts.slice(7).map((part) => Number(part ?? 0))
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return false
  if (hour > 23 || minute > 59 || second > 60 || offsetHour > 23 || offsetMinute > 59) return false
  date.setUTCHours(hour, minute - (parts[6] === "-" ? -1 : 1) * (60 * offsetHour + offsetMinute))
  return second < 60 || (date.getUTCHours() === 23 && date.getUTCMinutes() === 59)
}

/**
 * ajv with formats, except for what we say we do otherwise: `multipleOf` is judged on the number's decimal digits,
 * date-times by RFC 3339, and in 1.6 by ISO 8601.
 */
export const ajvFor = (subprotocol: Message["subprotocol"], options: Options = {}): Ajv => {
  const ajv = new Ajv({ strict: false, ...options })
  ajvFormats.default(ajv)
  ajv.addFormat("date-time", (value: string) => isDateTime(value, subprotocol === "ocpp1.6" ? "ISO 8601" : "RFC 3339"))
  ajv.removeKeyword("multipleOf")
  ajv.addKeyword({
    keyword: "multipleOf",
    type: "number",
    validate: (_step: number, value: number) => /^-?\d+(\.\d)?(e\+\d+)?$/.test(String(value)),
  })
  return ajv
}

/** ajv's verdict on a message. Current versions refuse `$id`s such as `urn:Echo.req`, so it gets none. */
export const compile = (ajv: Ajv, { $id: _, ...schema }: JsonSchema): ValidateFunction => ajv.compile(schema)

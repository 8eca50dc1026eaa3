import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Schema from "effect/Schema"
import { afterEach, describe, expect, it, vi } from "vitest"
import * as Action from "../src/Action.ts"
import * as Protocol from "../src/Protocol.ts"
import { isRPCError, maxDescriptionLength, type RPCError, RPCProtocolError } from "../src/RPCError.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../src/schemas/ocpp201.ts"
import type * as Validator from "../src/Validator.ts"
import { compile } from "../src/validator/compile.ts"
import { fromSchema } from "../src/validator/fromSchema.ts"
import { Search } from "../src/validator/Search.ts"
import type { Violation } from "../src/validator/Violation.ts"
import { generate, isoDateTimes, messages, mutations, randomFrom } from "./schemas/official.ts"

const check16 = (action: string, payload: unknown, part: Validator.Part = "request") =>
  Ocpp16.validator.check(action, part, payload)

const violationsOf = (error: RPCError | undefined) => (error?.details.errors ?? []) as ReadonlyArray<Violation>

/** The verdict of a validator made of one Schema. */
const judge = (request: Schema.Schema<unknown>) => {
  const action = Action.make("Test", { request, response: Schema.Struct({}) })
  const { validator } = Protocol.make("test", [action])
  return (payload: unknown) => validator.check("Test", "request", payload)
}

const start = { connectorId: 1, idTag: "tag", meterStart: 0, timestamp: "2025-04-01T12:00:00Z" }

const meterValues = (sample: object) => ({
  connectorId: 1,
  meterValue: [{ timestamp: "2025-04-01T12:00:00Z", sampledValue: [{ value: "1" }, { value: "2", ...sample }] }],
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

describe("the error of an invalid payload", () => {
  it.each([
    [
      "StartTransaction",
      { ...start, connectorId: "1" },
      "TypeConstraintViolation",
      '/connectorId: expected integer; got "1"',
    ],
    ["StartTransaction", { ...start, idTag: null }, "TypeConstraintViolation", "/idTag: expected string; got null"],
    ["Reset", {}, "OccurrenceConstraintViolation", '/: property "type" is missing'],
    ["Reset", { type: "Hard", now: true }, "PropertyConstraintViolation", '/: property "now" is unknown'],
    ["Reset", { type: "hard" }, "PropertyConstraintViolation", '/type: expected one of "Hard", "Soft"; got "hard"'],
    [
      "StartTransaction",
      { ...start, idTag: "123456789012345678901" },
      "PropertyConstraintViolation",
      "/idTag: expected at most 20 characters; got 21 characters",
    ],
    [
      "StartTransaction",
      { ...start, timestamp: "today" },
      "FormatViolation",
      '/timestamp: expected a date-time such as 2025-04-01T12:00:00Z; got "today"',
    ],
    ["Heartbeat", [], "TypeConstraintViolation", "/: expected object; got array"],
  ])("of %s names the place, what was expected and what came: %j", (action, payload, code, message) => {
    expect(check16(action, payload)).toMatchObject({ code, message })
  })

  it("points into lists and nested objects, and shortens long enumerations", () => {
    const error = check16("MeterValues", meterValues({ unit: "kwh" }))
    expect(error?.message).toMatch(
      /^\/meterValue\/0\/sampledValue\/1\/unit: expected one of "Wh", "kWh", .*, …; got "kwh"$/,
    )
    expect(error?.message.length).toBeLessThanOrEqual(maxDescriptionLength)
  })

  it("names the length of a list that is too short", () => {
    const error = check16("GetInstalledCertificateIds", { status: "Accepted", certificateHashData: [] }, "response")
    expect(error).toMatchObject({
      code: "OccurrenceConstraintViolation",
      message: "/certificateHashData: expected at least 1 item; got 0 items",
    })
  })

  it("lists all violations, missing properties first, then unknown ones, then wrong values", () => {
    const error = check16("StartTransaction", { extra: 1, timestamp: 5, connectorId: 0.5, idTag: "tag" })
    expect(violationsOf(error)).toEqual([
      {
        instancePath: "",
        keyword: "required",
        expected: 'property "meterStart"',
        actual: "none",
        message: 'property "meterStart" is missing',
      },
      {
        instancePath: "",
        keyword: "additionalProperties",
        expected: 'no property "extra"',
        actual: "one",
        message: 'property "extra" is unknown',
      },
      {
        instancePath: "/connectorId",
        keyword: "type",
        expected: "integer",
        actual: "0.5",
        message: "expected integer; got 0.5",
      },
      {
        instancePath: "/timestamp",
        keyword: "type",
        expected: "string",
        actual: "5",
        message: "expected string; got 5",
      },
    ])
    expect(error?.code).toBe("OccurrenceConstraintViolation")
  })

  it("is short, however large the payload and however many its violations", () => {
    const huge = "x".repeat(1_000_000)
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => ["key".repeat(1000) + index, huge]))
    for (const payload of [huge, [huge], many, { ...start, idTag: huge }, { ...start, timestamp: huge }]) {
      const error = check16("StartTransaction", payload)
      expect(isRPCError(error)).toBe(true)
      expect(violationsOf(error).length).toBeLessThanOrEqual(10)
      expect(JSON.stringify(error?.details).length).toBeLessThan(4000)
      expect(Array.from(error?.message ?? "").length).toBeLessThanOrEqual(maxDescriptionLength)
    }
  })
})

describe("the stack of an error about a payload", () => {
  it("has no frames: none of them would be about the payload", () => {
    const error = check16("Reset", { type: "hard" })
    expect(error?.stack).toBe(`RPCPropertyConstraintViolationError: ${error?.message}`)
    expect(new Error("another").stack).toContain("    at ")
  })

  it("may have some where the limit of frames cannot be changed", () => {
    const { stackTraceLimit } = Error
    Object.defineProperty(Error, "stackTraceLimit", { writable: false })
    const error = check16("Reset", { type: "hard" })
    Object.defineProperty(Error, "stackTraceLimit", { writable: true })
    expect(error?.code).toBe("PropertyConstraintViolation")
    expect(Error.stackTraceLimit).toBe(stackTraceLimit)
  })
})

describe("check", () => {
  it("takes null for an empty payload", () => {
    expect(check16("Heartbeat", null)).toBeUndefined()
    expect(check16("Reset", null)?.message).toBe('/: property "type" is missing')
  })

  it("answers ProtocolError where there is no schema", () => {
    for (const error of [
      check16("NoSuchAction", {}),
      check16("toString", {}),
      Ocpp21.validator.check("NotifyPeriodicEventStream", "response", {}),
    ]) {
      expect(error).toBeInstanceOf(RPCProtocolError)
    }
  })

  it("says the same where code generation is forbidden", () => {
    const generated = new Function("return true")
    expect(generated()).toBe(true)
    class Forbidden {
      constructor() {
        throw new EvalError("code generation from strings is disallowed")
      }
    }
    vi.stubGlobal("Function", Forbidden)
    const random = randomFrom(1)
    const protocols: ReadonlyArray<Protocol.Protocol> = [Ocpp16, Ocpp201, Ocpp21]
    for (const protocol of protocols) {
      const interpreted = Protocol.extend(protocol, []).validator
      for (const { action, part, schema } of messages.filter(({ subprotocol }) => subprotocol === protocol.name)) {
        const payload = generate(schema, { random, values: "typical", optional: 1, lists: "one" })
        expect(interpreted.check(action, part, payload)).toBeUndefined()
        for (const mutation of [...mutations(schema, payload)].filter((_, index) => index % 101 === 0)) {
          const error = protocol.validator.check(action, part, mutation.payload)
          expect(interpreted.check(action, part, mutation.payload)?.details).toEqual(error?.details)
        }
      }
    }
  })

  it("works in a process that forbids code generation", () => {
    const source = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
    const script = `
      const { Ocpp16 } = await import(${source("../src/schemas/ocpp16.ts")})
      const check = (payload) => Ocpp16.validator.check("Reset", "request", payload)?.message ?? "valid"
      console.log(check({ type: "Hard" }), check({ type: "hard" }))`
    const flags = [
      "--disallow-code-generation-from-strings",
      "--import",
      "tsx",
      "--input-type=module",
      "--eval",
      script,
    ]
    const cwd = fileURLToPath(new URL("..", import.meta.url))
    const output = execFileSync(process.execPath, flags, { cwd, encoding: "utf8" })
    expect(output.trim()).toBe('valid /type: expected one of "Hard", "Soft"; got "hard"')
  }, 20_000)
})

describe("a guard", () => {
  it("says yes at once to every valid payload that comes from the wire", () => {
    const random = randomFrom(1)
    for (const { subprotocol, action: name, part, schema } of messages) {
      const protocol = [Ocpp16, Ocpp201, Ocpp21].find((candidate) => candidate.name === subprotocol)
      const action = protocol?.actions.get(name)
      const own = part === "request" ? action?.request : action?.kind === "call" ? action.response : undefined
      if (own === undefined) throw new Error(`${subprotocol} has no ${part} of ${name}`)
      const { guard } = compile(fromSchema(own))
      for (const optional of [0, 0.5, 1]) {
        const payload = generate(schema, { random, values: "extreme", optional, lists: "any" })
        expect(guard(JSON.parse(JSON.stringify(payload))), `${subprotocol} ${name} ${part}`).toBe(true)
      }
    }
  })
})

describe("a date-time", () => {
  it.each(isoDateTimes)("such as %s, which is ISO 8601 and not RFC 3339, is one in 1.6 only", (timestamp) => {
    expect(check16("StartTransaction", { ...start, timestamp })).toBeUndefined()
    for (const { validator } of [Ocpp201, Ocpp21]) {
      expect(validator.check("Heartbeat", "response", { currentTime: timestamp })).toMatchObject({
        code: "FormatViolation",
        message: `/currentTime: expected a date-time such as 2025-04-01T12:00:00Z; got "${timestamp}"`,
      })
    }
  })
})

/** A list of so many objects that count how often one of their values is read. */
const countingList = (length: number, value: unknown) => {
  const seen = { reads: 0 }
  const item = Object.defineProperty({}, "value", { enumerable: true, get: () => (seen.reads++, value) })
  return { list: Array.from({ length }, () => item), seen }
}

describe("the search for violations", () => {
  it("stops after ten, however many there are", () => {
    const { list, seen } = countingList(100_000, 5)
    const error = check16("MeterValues", {
      connectorId: 1,
      meterValue: [{ timestamp: "2025-04-01T12:00:00Z", sampledValue: list }],
    })
    expect(violationsOf(error).map(({ instancePath }) => instancePath)).toEqual(
      Array.from({ length: 10 }, (_, index) => `/meterValue/0/sampledValue/${index}/value`),
    )
    expect(seen.reads).toBeLessThan(100)
  })

  it("stops after ten unknown properties", () => {
    let reads = 0
    const payload = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key${index}`, 1]))
    const counting = new Proxy(payload, { get: (target, key) => (reads++, Reflect.get(target, key)) })
    expect(violationsOf(check16("Heartbeat", counting))).toHaveLength(10)
    expect(reads).toBeLessThan(100)
  })

  it("stops after the first where Effect's parser searches, unless the payload is of ordinary size", () => {
    const check = judge(Schema.NullOr(Schema.Array(Schema.Struct({ value: Schema.String }))))
    const { list, seen } = countingList(100_000, 5)
    expect(violationsOf(check(list)).map(({ instancePath }) => instancePath)).toEqual(["/0/value"])
    expect(seen.reads).toBeLessThan(100)
    expect(violationsOf(check(list.slice(0, 50)))).toHaveLength(10)
  })

  it("reads a payload that contains itself in shape once, however deep it is", () => {
    interface Chain {
      readonly value: string
      readonly next?: Chain
    }
    const Chain: Schema.Codec<Chain> = Schema.Struct({
      value: Schema.String,
      next: Schema.optionalKey(Schema.suspend(() => Chain)),
    })
    const depth = 300
    let reads = 0
    let chain: object = { value: 5 }
    for (let level = 0; level < depth; level++) {
      chain = Object.defineProperties({} as object, {
        next: { enumerable: true, value: chain },
        value: { enumerable: true, get: () => (reads++, "text") },
      })
    }
    expect(judge(Chain)(chain)?.code).toBe("TypeConstraintViolation")
    expect(reads).toBeLessThan(10 * depth)
  })

  it("is at most five functions deep, wherever it ends", () => {
    const { stackTraceLimit } = Error
    const { add } = Search.prototype
    /** The functions of ours that are running when a violation is noted, each once. */
    const chains = new Set<string>()
    vi.spyOn(Search.prototype, "add").mockImplementation(function (this: Search, ...args) {
      const frames = [
        ...(new Error().stack ?? "").matchAll(/at (?:\w+\.)?(\w+) \(.*\/src\/(?:validator\/|Validator\.ts)/g),
      ]
      chains.add([...new Set(frames.map(([, name]) => name))].reverse().join(" > "))
      return add.apply(this, args)
    })
    Error.stackTraceLimit = 100
    const random = randomFrom(1)
    for (const { action, part, schema } of messages.filter(({ subprotocol }) => subprotocol === "ocpp2.1")) {
      const payload = generate(schema, { random, values: "typical", optional: 1, lists: "one" })
      for (const { payload: broken } of [...mutations(schema, payload)].filter((_, index) => index % 53 === 0)) {
        Ocpp21.validator.check(action, part, broken)
      }
    }
    Error.stackTraceLimit = stackTraceLimit
    // `check` and four others; the fifth call is that of `add`, which notes what was found.
    const lengths = Array.from(chains, (chain) => chain.split(" > ").length)
    expect([...chains].filter((chain) => !chain.startsWith("check > "))).toEqual([])
    expect(Math.max(...lengths)).toBe(5)
  })
})

describe("hostile and odd payloads", () => {
  it("keys that objects inherit are properties like any other", () => {
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty", "toJSON"]) {
      const payload = JSON.parse(`{ "type": "Hard", ${JSON.stringify(key)}: {} }`)
      expect(check16("Reset", payload)?.message).toBe(`/: property "${key}" is unknown`)
    }
  })

  it("an inherited property does not stand in for a missing one", () => {
    expect(check16("Reset", Object.create({ type: "Hard" }))?.code).toBe("OccurrenceConstraintViolation")
    const check = judge(Schema.Struct({ constructor: Schema.Unknown }))
    expect(check({})?.code).toBe("OccurrenceConstraintViolation")
    expect(check(JSON.parse('{ "constructor": 1 }'))).toBeUndefined()
  })

  it("a property that all objects were given does not stand in for a missing one", () => {
    const verdicts = () => [check16("Reset", {})?.code, check16("Heartbeat", {}), check16("StartTransaction", start)]
    const before = verdicts()
    Reflect.set(Object.prototype, "type", "Hard")
    const polluted = verdicts()
    Reflect.deleteProperty(Object.prototype, "type")
    expect(polluted).toEqual(before)
    expect(before).toEqual(["OccurrenceConstraintViolation", undefined, undefined])
  })

  it("an object of a class counts for its own properties", () => {
    class Start {
      connectorId = 1
      idTag = "tag"
      meterStart = 0
      timestamp = "2025-04-01T12:00:00Z"
      get cost() {
        return 5
      }
    }
    expect(check16("StartTransaction", new Start())).toBeUndefined()
    expect(check16("StartTransaction", Object.assign(new Start(), { extra: 1 }))?.code).toBe(
      "PropertyConstraintViolation",
    )
  })

  it("an object without a prototype is an object", () => {
    expect(check16("Reset", Object.assign(Object.create(null), { type: "Hard" }))).toBeUndefined()
  })

  it("a property that is undefined or cannot be enumerated is absent, as in JSON", () => {
    expect(check16("StartTransaction", { ...start, reservationId: undefined, extra: undefined })).toBeUndefined()
    expect(check16("Reset", { type: undefined })?.code).toBe("OccurrenceConstraintViolation")
    expect(check16("Reset", Object.defineProperty({}, "type", { value: "Hard" }))?.code).toBe(
      "OccurrenceConstraintViolation",
    )
    const custom = Object.defineProperty({}, "vendorId", { value: "vendor" })
    expect(Ocpp21.validator.check("Heartbeat", "request", { customData: custom })?.code).toBe(
      "OccurrenceConstraintViolation",
    )
  })

  it("an undefined item of a list is a violation", () => {
    expect(check16("GetConfiguration", { key: ["a", undefined] })?.message).toBe(
      "/key/1: expected string; got undefined",
    )
    expect(check16("GetConfiguration", { key: Array(2) })?.message).toBe("/key/0: expected string; got undefined")
  })

  it("what JSON writes as something else is not taken for what it looks like", () => {
    expect(check16("Heartbeat", new Date())?.message).toBe("/: expected object; got an instance of Date")
    expect(check16("StartTransaction", { ...start, timestamp: new Date() })?.code).toBe("TypeConstraintViolation")
    expect(check16("StartTransaction", { ...start, connectorId: Number.NaN })?.code).toBe("TypeConstraintViolation")
    expect(check16("StartTransaction", { ...start, connectorId: 1n })?.message).toContain("got bigint")
    const custom = { vendorId: "vendor", toJSON: () => 5 }
    expect(Ocpp21.validator.check("Heartbeat", "request", { customData: custom })?.code).toBe("TypeConstraintViolation")
  })

  it("a payload that cannot be read is refused, not thrown at", () => {
    const trap = Object.defineProperty({}, "type", {
      enumerable: true,
      get: () => {
        throw new Error("no")
      },
    })
    expect(check16("Reset", trap)?.code).toBe("FormatViolation")
  })

  it("cycles and any depth are no matter where any JSON is allowed", () => {
    const cycle: Record<string, unknown> = { vendorId: "vendor" }
    cycle.self = cycle
    const deep = JSON.parse(`${"[".repeat(200_000)}${"]".repeat(200_000)}`)
    const check = (data: unknown) => Ocpp21.validator.check("DataTransfer", "request", { vendorId: "vendor", data })
    expect(check(cycle)).toBeUndefined()
    expect(check(deep)).toBeUndefined()
    expect(Ocpp21.validator.check("Heartbeat", "request", { customData: cycle })).toBeUndefined()
  })

  it("a payload too deep for a Schema that refers to itself is refused", () => {
    interface Tree {
      readonly children: ReadonlyArray<Tree>
    }
    const Tree: Schema.Codec<Tree> = Schema.Struct({ children: Schema.Array(Schema.suspend(() => Tree)) })
    const check = judge(Tree)
    const nest = (depth: number) => JSON.parse(`${'{"children":['.repeat(depth)}${"]}".repeat(depth)}`)
    expect(check(nest(50))).toBeUndefined()
    expect(check({ children: [{ children: [{}] }] })?.message).toBe(
      '/children/0/children/0: property "children" is missing',
    )
    expect(check(nest(200_000))?.code).toBe("FormatViolation")
  })

  it("long strings do not exhaust the format checks", () => {
    const long = "a".repeat(2_000_000)
    for (const location of [`http://${long} `, `http://${"/".repeat(2_000_000)} `, `${long}:${long} `]) {
      expect(check16("GetDiagnostics", { location })?.code).toBe("FormatViolation")
    }
  })
})

describe("Schemas of one's own", () => {
  it("a Struct lets properties pass that it does not name", () => {
    const check = judge(Schema.Struct({ text: Schema.String }))
    expect(check({ text: "hello", more: 1 })).toBeUndefined()
    expect(check({ text: 1, more: 1 })?.message).toBe("/text: expected string; got 1")
  })

  it.each([
    [
      Schema.Union([Schema.String, Schema.Number]),
      true,
      "TypeConstraintViolation",
      "/value: expected string | number; got true",
    ],
    [
      Schema.NullOr(Schema.Struct({ a: Schema.String })),
      { a: 1 },
      "TypeConstraintViolation",
      "/value/a: expected string; got 1",
    ],
    [
      Schema.Record(Schema.String, Schema.Boolean),
      { "a/b": 1 },
      "TypeConstraintViolation",
      "/value/a~1b: expected boolean; got 1",
    ],
    [
      Schema.Tuple([Schema.String, Schema.Int]),
      ["a"],
      "OccurrenceConstraintViolation",
      '/value: property "1" is missing',
    ],
    [
      Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })),
      6,
      "PropertyConstraintViolation",
      "/value: expected a value between 1 and 5; got 6",
    ],
    [
      Schema.String.check(Schema.isPattern(/^a/)),
      "b",
      "FormatViolation",
      '/value: expected a string matching the RegExp ^a; got "b"',
    ],
    [
      Schema.String.check(Schema.makeFilter((s) => s === s.trim() || "has spaces around it")),
      " ",
      "FormatViolation",
      "/value: has spaces around it",
    ],
    [
      Schema.Array(Schema.Int).check(Schema.isUnique()),
      [1, 1],
      "FormatViolation",
      "/value: expected an array with unique items; got array",
    ],
    [Schema.Literal("yes"), "no", "PropertyConstraintViolation", '/value: expected "yes"; got "no"'],
  ])("%#: violations of any Schema have a place, a keyword and a code", (value, payload, code, message) => {
    const check = judge(Schema.Struct({ value }))
    expect(check({ value: payload })).toMatchObject({ code, message })
  })

  it("are judged on the side that `Type` describes", () => {
    const check = judge(Schema.Struct({ count: Schema.NumberFromString }))
    expect(check({ count: 1 })).toBeUndefined()
    expect(check({ count: "1" })?.code).toBe("TypeConstraintViolation")
  })
})

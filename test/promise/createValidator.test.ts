/** Validators of JSON Schemas, and the built-in ones. */
import { describe, expect, it } from "@effect/vitest"
import {
  createValidator,
  RPCError,
  RPCFormatViolationError,
  RPCOccurrenceConstraintViolationError,
  RPCPropertyConstraintViolationError,
  RPCProtocolError,
  RPCTypeConstraintViolationError,
  standardValidators,
} from "effect-ocpp"
import { record, rejection } from "../support/listeners.ts"
import { connected } from "../support/listening.ts"

/** The error with which a value is refused; `undefined` when it is not. */
const verdict = (validator: ReturnType<typeof createValidator>, id: string, value: unknown): any => {
  try {
    expect(validator.validate(id, value)).toBe(true)
    return undefined
  } catch (error) {
    return error
  }
}

const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** A validator with one schema, and whether it accepts a value. */
const judge = (schema: object) => {
  const validator = createValidator("test1.0", [{ $id: "urn:Test.req", ...schema }])
  return (value: unknown) => verdict(validator, "urn:Test.req", value) === undefined
}

const text = { type: "object", properties: { val: { type: "string" } }, required: ["val"] }

describe("a validator", () => {
  it("knows its subprotocol", () => {
    expect(createValidator("echo1.0", []).subprotocol).toBe("echo1.0")
  })

  it.each([
    ["urn:Echo.req", "urn:Echo.conf"],
    ["urn:EchoRequest", "urn:EchoResponse"],
    ["EchoRequest", "EchoResponse"],
  ])("made of %s and %s answers to both spellings of these ids", (request, response) => {
    const validator = createValidator("echo1.0", [
      { $id: request, ...text },
      { $id: response, type: "object", required: ["other"] },
    ])
    for (const id of ["urn:Echo.req", "urn:EchoRequest"]) {
      expect(verdict(validator, id, { val: "x" })).toBeUndefined()
      expect(verdict(validator, id, {})).toBeInstanceOf(RPCError)
    }
    for (const id of ["urn:Echo.conf", "urn:EchoResponse"]) {
      expect(verdict(validator, id, { other: 1 })).toBeUndefined()
      expect(verdict(validator, id, { val: "x" })).toBeInstanceOf(RPCError)
    }
  })

  it("takes `urn:Note` for the request of a SEND, which has no response", () => {
    const validator = createValidator("note1.0", [{ $id: "urn:Note", ...text }])
    for (const id of ["urn:Note", "urn:Note.req", "urn:NoteRequest"]) {
      expect(verdict(validator, id, { val: "x" })).toBeUndefined()
      expect(verdict(validator, id, { val: 1 })).toBeInstanceOf(RPCTypeConstraintViolationError)
    }
    expect(verdict(validator, "urn:Note.conf", {})).toBeInstanceOf(RPCProtocolError)
  })

  it("throws RPCProtocolError, with the action's name, where it has no schema", () => {
    const error = verdict(createValidator("echo1.0", []), "urn:Teleport.req", {})
    expect(error).toBeInstanceOf(RPCProtocolError)
    expect(error.message).toContain("Teleport")
    expect(error.message).toContain("echo1.0")
  })

  it("has no schema under the name of a property that every object has", () => {
    const validator = createValidator("echo1.0", [{ $id: "urn:Echo.req", ...text }])
    for (const id of ["urn:toString.req", "urn:__proto__.req", "constructor"]) {
      expect(verdict(validator, id, {})).toBeInstanceOf(RPCProtocolError)
    }
  })

  it("never changes a value, nor a schema", () => {
    const schema = { $id: "urn:Echo.req", ...text, properties: { val: { default: "x" } }, additionalProperties: false }
    const before = structuredClone(schema)
    const validator = createValidator("echo1.0", [schema])
    const value = Object.freeze({ other: 1 })
    verdict(validator, "urn:Echo.req", value)
    expect(value).toEqual({ other: 1 })
    expect(schema).toEqual(before)
  })

  it("can be reused, and is not affected by a later change of the schema", () => {
    const schema: any = { $id: "urn:Echo.req", type: "object", required: ["val"] }
    const validator = createValidator("echo1.0", [schema])
    schema.required = []
    expect(verdict(validator, "urn:Echo.req", {})).toBeInstanceOf(RPCError)
    expect(verdict(validator, "urn:Echo.req", {})).toBeInstanceOf(RPCError)
  })

  it("does not stand in the way of another with the same ids", () => {
    const one = createValidator("a", [{ $id: "urn:Echo.req", type: "string" }])
    const two = createValidator("b", [{ $id: "urn:Echo.req", type: "number" }])
    expect([verdict(one, "urn:Echo.req", "x"), verdict(two, "urn:Echo.req", 1)]).toEqual([undefined, undefined])
  })
})

describe("a schema may", () => {
  it.each(["urn:Colour", "urn:types:Colour", "https://example.com/colour.json"])(
    "refer to another by its $id %s, whatever their order",
    ($id) => {
      const colour = { $id, enum: ["red", "blue"] }
      const paint = { $id: "urn:Paint.req", properties: { colour: { $ref: $id } } }
      for (const schemas of [
        [colour, paint],
        [paint, colour],
      ]) {
        const validator = createValidator("paint1.0", schemas)
        expect(verdict(validator, "urn:Paint.req", { colour: "red" })).toBeUndefined()
        const error = verdict(validator, "urn:Paint.req", { colour: "green" })
        expect(error).toBeInstanceOf(RPCPropertyConstraintViolationError)
        expect(error.message).toBe('/colour: expected one of "red", "blue"; got "green"')
      }
    },
  )

  it("refer to a definition of another, and to one of its own", () => {
    const types = { $id: "urn:Types", definitions: { Id: { type: "string", maxLength: 3 } } }
    const validator = createValidator("refs1.0", [
      types,
      {
        $id: "urn:Test.req",
        definitions: { Count: { type: "integer" } },
        properties: { id: { $ref: "urn:Types#/definitions/Id" }, count: { $ref: "#/definitions/Count" } },
      },
    ])
    expect(verdict(validator, "urn:Test.req", { id: "abc", count: 1 })).toBeUndefined()
    expect(verdict(validator, "urn:Test.req", { id: "abcd" }).message).toContain("/id")
    expect(verdict(validator, "urn:Test.req", { count: 1.5 }).message).toContain("/count")
  })

  it("refer to itself", () => {
    const accepts = judge({ properties: { child: { $ref: "#" }, n: { type: "number" } } })
    expect([accepts({ child: { child: { n: 1 } } }), accepts({ child: { child: { n: "1" } } })]).toEqual([true, false])
  })

  it("have properties that are named like keywords", () => {
    const accepts = judge({ properties: { $ref: { type: "string" }, $id: { type: "string" } }, required: ["$ref"] })
    expect([accepts({ $ref: "urn:x", $id: "y" }), accepts({ $ref: 1 }), accepts({})]).toEqual([true, false, false])
  })

  it.each<readonly [string, object, ReadonlyArray<unknown>, ReadonlyArray<unknown>]>([
    [
      "if/then/else",
      // biome-ignore lint/suspicious/noThenProperty: this is what the keyword is called
      { if: { properties: { a: { const: 1 } } }, then: { required: ["b"] }, else: { required: ["c"] } },
      [
        { a: 1, b: 1 },
        { a: 2, c: 1 },
      ],
      [{ a: 1 }, { a: 2, b: 1 }],
    ],
    ["oneOf", { oneOf: [{ multipleOf: 2 }, { multipleOf: 3 }] }, [2, 3], [6, 5]],
    ["anyOf", { anyOf: [{ type: "string" }, { minimum: 5 }] }, ["x", 5], [4]],
    ["allOf", { allOf: [{ minimum: 1 }, { maximum: 3 }] }, [2], [0, 4]],
    ["not", { not: { type: "null" } }, [1], [null]],
    ["const", { const: { a: [1] } }, [{ a: [1] }], [{ a: [2] }]],
    ["contains", { contains: { const: 1 } }, [[2, 1]], [[2]]],
    ["propertyNames", { propertyNames: { maxLength: 2 } }, [{ ab: 1 }], [{ abc: 1 }]],
    ["patternProperties", { patternProperties: { "^n": { type: "number" } } }, [{ n1: 1, s: "x" }], [{ n1: "x" }]],
    ["dependencies", { dependencies: { a: ["b"] } }, [{ a: 1, b: 1 }, {}], [{ a: 1 }]],
    [
      "tuples",
      { items: [{ type: "string" }, { type: "number" }], additionalItems: false },
      [["a", 1]],
      [
        ["a", "b"],
        ["a", 1, 2],
      ],
    ],
    ["uniqueItems", { uniqueItems: true }, [[1, 2]], [[1, 1]]],
    ["several types", { type: ["string", "null"] }, ["x", null], [1]],
    ["true and false", { properties: { yes: true, no: false } }, [{ yes: 1 }], [{ no: 1 }]],
    [
      "format date-time",
      { format: "date-time" },
      ["2024-02-29T10:00:00Z", "2024-02-29T10:00:00.123+05:30"],
      ["yesterday", "2024-02-30T10:00:00Z"],
    ],
    ["format uri", { format: "uri" }, ["https://example.com/a?b"], ["not a uri"]],
    ["format email", { format: "email" }, ["a@example.com"], ["a"]],
    ["format ipv4", { format: "ipv4" }, ["127.0.0.1"], ["256.0.0.1"]],
    [
      "multipleOf 0.1, which is decimal",
      { multipleOf: 0.1 },
      [8.1, 0.1, 0.3, 21.4, 1e6 + 0.7, -8.1],
      [8.15, 0.01, 0.101],
    ],
    ["multipleOf 0.01", { multipleOf: 0.01 }, [19.99, 4.35], [19.995]],
  ])("use %s", (_, schema, valid, invalid) => {
    const accepts = judge(schema)
    expect(valid.filter((value) => !accepts(value))).toEqual([])
    expect(invalid.filter((value) => accepts(value))).toEqual([])
  })

  it("carry keywords that mean nothing, and no $schema, or the one of draft-07", () => {
    for (const $schema of [
      {},
      { $schema: "http://json-schema.org/draft-07/schema" },
      { $schema: "http://json-schema.org/draft-07/schema#" },
    ]) {
      expect(judge({ ...$schema, javaType: "Echo", comment: "see chapter 4", type: "string" })("x")).toBe(true)
    }
  })
})

describe("createValidator refuses", () => {
  it.each<readonly [string, unknown, RegExp]>([
    ["a keyword with a wrong value", [{ $id: "urn:A.req", type: "strin" }], /echo1.0.*type/],
    ["a reference that leads nowhere", [{ $id: "urn:A.req", $ref: "urn:Nowhere" }], /urn:Nowhere/],
    ["a definition that does not exist", [{ $id: "urn:A.req", $ref: "#/definitions/No" }], /definitions\/No/],
    ["two schemas with one id", [{ $id: "urn:A.req" }, { $id: "urn:A.req" }], /urn:A.req/],
    [
      "a pattern that is no regular expression",
      [{ $id: "urn:A.req", pattern: "(" }],
      /pattern|regular expression|regex/i,
    ],
    ["a negative length", [{ $id: "urn:A.req", maxLength: -1 }], /maxLength/],
    ["properties that are no object", [{ $id: "urn:A.req", properties: [] }], /properties/],
    ["something that is no array", { $id: "urn:A.req" }, /schemas must be an array/],
    ["an entry that is no schema", ["urn:A.req"], /echo1.0/],
    ["null", [null], /echo1.0/],
  ])("%s, with the reason", (_, schemas, reason) => {
    let error: any
    try {
      createValidator("echo1.0", schemas as never)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(reason)
    expect(error.message).not.toContain("json-schema:/")
  })

  it("a subprotocol that is no string", () => {
    expect(() => createValidator(undefined as never, [])).toThrow("subprotocol must be a string")
  })
})

describe("the error", () => {
  const validator = createValidator("test1.0", [
    {
      $id: "urn:Test.req",
      properties: {
        type: { type: "string" },
        enum: { enum: ["a"] },
        const: { const: 1 },
        length: { maxLength: 2, minLength: 2 },
        bounds: { minimum: 2, maximum: 2 },
        exclusive: { exclusiveMinimum: 1, exclusiveMaximum: 3 },
        step: { multipleOf: 0.1 },
        items: { minItems: 1, maxItems: 1 },
        object: { required: ["a"], additionalProperties: false, properties: { a: {} } },
        date: { format: "date-time" },
        pattern: { pattern: "^a" },
        not: { not: {} },
      },
    },
  ])

  it.each([
    [{ type: 1 }, RPCTypeConstraintViolationError],
    [{ enum: "b" }, RPCPropertyConstraintViolationError],
    [{ const: 2 }, RPCPropertyConstraintViolationError],
    [{ length: "a" }, RPCPropertyConstraintViolationError],
    [{ length: "aaa" }, RPCPropertyConstraintViolationError],
    [{ bounds: 1 }, RPCPropertyConstraintViolationError],
    [{ bounds: 3 }, RPCPropertyConstraintViolationError],
    [{ exclusive: 1 }, RPCPropertyConstraintViolationError],
    [{ exclusive: 3 }, RPCPropertyConstraintViolationError],
    [{ step: 0.15 }, RPCPropertyConstraintViolationError],
    [{ object: { a: 1, b: 1 } }, RPCPropertyConstraintViolationError],
    [{ object: {} }, RPCOccurrenceConstraintViolationError],
    [{ items: [] }, RPCOccurrenceConstraintViolationError],
    [{ items: [1, 2] }, RPCOccurrenceConstraintViolationError],
    [{ date: "today" }, RPCFormatViolationError],
    [{ pattern: "b" }, RPCFormatViolationError],
    [{ not: 1 }, RPCFormatViolationError],
  ])("for %j is an %o", (value, ErrorClass) => {
    const error = verdict(validator, "urn:Test.req", value)
    expect(error).toBeInstanceOf(ErrorClass)
    const [violation] = error.details.errors
    expect(error.message.startsWith(`/${Object.keys(value)[0]}`)).toBe(true)
    expect(violation).toMatchObject({
      instancePath: `/${Object.keys(value)[0]}`,
      keyword: expect.any(String),
      message: expect.any(String),
      expected: expect.any(String),
      actual: expect.any(String),
    })
  })

  it("lists all violations in its details, the first in its message", () => {
    const error = verdict(validator, "urn:Test.req", { type: 1, enum: "b", items: [] })
    expect(error.details.errors.map((violation: any) => violation.keyword)).toEqual(["type", "enum", "minItems"])
    expect(error.message).toContain("/type: expected string; got 1")
  })

  it("is short, and never holds the payload", () => {
    const long = "x".repeat(100_000)
    const error = verdict(validator, "urn:Test.req", { enum: long, object: { [long]: 1 } })
    expect(error.message.length).toBeLessThanOrEqual(255)
    expect(JSON.stringify(error.details).length).toBeLessThan(2_000)
  })
})

/** Objects that count how often one of their values is read. */
const countingItems = (length: number) => {
  const seen = { reads: 0 }
  const items = Array.from({ length }, (_, index) =>
    Object.defineProperty({}, "value", { enumerable: true, get: () => (seen.reads++, index) }),
  )
  return { items, seen }
}

describe("the work on a payload", () => {
  const texts = { items: { properties: { value: { type: "string" } } } }

  it("finds ten violations of a payload of ordinary size", () => {
    const validator = createValidator("test1.0", [{ $id: "urn:Test.req", ...texts }])
    const { items } = countingItems(100)
    const paths = verdict(validator, "urn:Test.req", items).details.errors.map((error: any) => error.instancePath)
    expect(paths).toEqual(Array.from({ length: 10 }, (_, index) => `/${index}/value`))
  })

  it("ends at the first violation of a large one", () => {
    const validator = createValidator("test1.0", [{ $id: "urn:Test.req", ...texts }])
    const { items, seen } = countingItems(100_000)
    const error = verdict(validator, "urn:Test.req", items)
    expect(error.details.errors).toHaveLength(1)
    expect(error.message).toBe("/0/value: expected string; got 0")
    expect(seen.reads).toBeLessThan(10)
  })

  it.each([
    ["many properties", Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`key${index}`, 1]))],
    ["long keys", Object.fromEntries(Array.from({ length: 20 }, (_, index) => ["k".repeat(2000) + index, 1]))],
    ["depth", JSON.parse(`${'{"a":'.repeat(2000)}1${"}".repeat(2000)}`)],
  ])("ends at the first violation of one that is large because of its %s", (_, payload) => {
    const schema = { $id: "urn:Test.req", additionalProperties: { $ref: "urn:Test.req" }, type: "object" }
    const validator = createValidator("test1.0", [{ ...schema, required: ["x", "y"] }])
    expect(verdict(validator, "urn:Test.req", payload).details.errors).toHaveLength(1)
    expect(verdict(validator, "urn:Test.req", { a: 1 }).details.errors).toHaveLength(3)
  })

  it("grows with the number of unique items, not with its square", () => {
    const accepts = judge({ uniqueItems: true })
    const { items, seen } = countingItems(2000)
    expect(accepts(items)).toBe(true)
    expect(seen.reads).toBeLessThan(10_000)
  })
})

describe("uniqueItems", () => {
  it.each<readonly [ReadonlyArray<unknown>, boolean]>([
    [[], true],
    [[1, "1", true, null, [1], { a: 1 }, ["1"], "[1]", '{"a":1}'], true],
    [[{ a: 1, b: [2] }, 0, { b: [2], a: 1 }], false],
    [
      [
        [1, 2],
        [2, 1],
      ],
      true,
    ],
    [[[[]], [[]]], false],
    [["a", "b", "a"], false],
    [[null, null], false],
    [[{ a: "1,b" }, { a: "1", b: "" }], true],
    [[{ valueOf: 1 }, { valueOf: 1 }], false],
  ])("of %j is %j", (items, expected) => {
    expect(judge({ uniqueItems: true })(items)).toBe(expected)
    expect(judge({ uniqueItems: false })(items)).toBe(true)
  })
})

describe("a payload that cannot be read", () => {
  const tree = createValidator("test1.0", [
    { $id: "urn:Test.req", properties: { value: { type: "string" }, child: { $ref: "urn:Test.req" } } },
  ])

  it.each([
    [
      "because a getter throws",
      Object.defineProperty({}, "value", {
        enumerable: true,
        get: () => {
          throw new Error("no")
        },
      }),
    ],
    ["because it nests deeper than the stack", JSON.parse(`${'{"child":'.repeat(100_000)}{}${"}".repeat(100_000)}`)],
    ["because it is a revoked proxy", revoked()],
  ])("is refused %s", (_, payload) => {
    const error = verdict(tree, "urn:Test.req", payload)
    expect(error).toBeInstanceOf(RPCFormatViolationError)
    expect(error.message).toBe("/: expected a readable payload; got one that cannot be read")
  })
})

describe("the error that validate throws", () => {
  it("names the line that called it", () => {
    const validator = createValidator("test1.0", [{ $id: "urn:Test.req", type: "string" }])
    const userCode = () => validator.validate("urn:Test.req", 1)
    expect(userCode).toThrow("expected string; got 1")
    try {
      userCode()
    } catch (error) {
      expect((error as Error).stack?.split("\n")[1]).toContain("userCode")
    }
  })
})

describe("standardValidators", () => {
  const [v16, v201, v21] = standardValidators as readonly [any, any, any]

  it("are those of 1.6, 2.0.1 and 2.1", () => {
    expect(standardValidators.map(({ subprotocol }) => subprotocol)).toEqual(["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
  })

  it("answer to both spellings of the ids", () => {
    const currentTime = "2024-01-01T00:00:00Z"
    for (const validator of standardValidators) {
      for (const id of ["urn:Heartbeat.req", "urn:HeartbeatRequest"]) {
        expect(verdict(validator as never, id, {})).toBeUndefined()
        expect(verdict(validator as never, id, { a: 1 })).toBeInstanceOf(RPCPropertyConstraintViolationError)
      }
      for (const id of ["urn:Heartbeat.conf", "urn:HeartbeatResponse"]) {
        expect(verdict(validator as never, id, { currentTime })).toBeUndefined()
        expect(verdict(validator as never, id, {})).toBeInstanceOf(RPCOccurrenceConstraintViolationError)
      }
    }
  })

  it("know the SEND of 2.1, and nothing of other versions", () => {
    expect(verdict(v21, "urn:NotifyPeriodicEventStream", {})).toBeInstanceOf(RPCOccurrenceConstraintViolationError)
    expect(verdict(v201, "urn:NotifyPeriodicEventStream", {})).toBeInstanceOf(RPCProtocolError)
    expect(verdict(v16, "urn:TransactionEvent.req", {})).toBeInstanceOf(RPCProtocolError)
  })

  it("take multipleOf 0.1 for decimal", () => {
    const profile = (limit: number) => ({
      connectorId: 0,
      csChargingProfiles: {
        chargingProfileId: 1,
        stackLevel: 0,
        chargingProfilePurpose: "TxDefaultProfile",
        chargingProfileKind: "Absolute",
        chargingSchedule: { chargingRateUnit: "A", chargingSchedulePeriod: [{ startPeriod: 0, limit }] },
      },
    })
    expect(verdict(v16, "urn:SetChargingProfile.req", profile(21.4))).toBeUndefined()
    expect(verdict(v16, "urn:SetChargingProfile.req", profile(21.45))).toBeInstanceOf(RPCError)
  })
})

describe("strictModeValidators", () => {
  // The example of the documentation.
  const echoValidator = createValidator("echo1.0", [
    {
      $schema: "http://json-schema.org/draft-07/schema",
      $id: "urn:Echo.req",
      type: "object",
      properties: { val: { type: "string" } },
      additionalProperties: false,
      required: ["val"],
    },
    {
      $schema: "http://json-schema.org/draft-07/schema",
      $id: "urn:Echo.conf",
      type: "object",
      properties: { val: { type: "string" } },
      additionalProperties: false,
      required: ["val"],
    },
  ])
  const strict = { protocols: ["echo1.0"], strictModeValidators: [echoValidator], strictMode: true }

  it("make the documented example work, on both sides", async () => {
    for (const [server, client] of [
      [strict, { protocols: ["echo1.0"] }],
      [{ protocols: ["echo1.0"] }, strict],
      [strict, strict],
    ]) {
      const ends = await connected(server, client, (station) => station.handle("Echo", ({ params }) => params))
      expect(await ends.client.call("Echo", { val: "foo" })).toEqual({ val: "foo" })
      expect(await rejection(ends.client.call("Echo", ["bar"]))).toBeInstanceOf(RPCTypeConstraintViolationError)
    }
  })

  it("check results too", async () => {
    const { client, station } = await connected(strict, { protocols: ["echo1.0"] }, (station) =>
      station.handle("Echo", () => ({ val: 5 })),
    )
    const failures = record(station, "strictValidationFailure")
    expect((await rejection(client.call("Echo", { val: "foo" }))).rpcErrorCode).toBe("InternalError")
    expect(failures).toMatchObject([["strictValidationFailure", { outbound: true, isCall: false, result: { val: 5 } }]])
  })

  it("answer NotImplemented to a call that a wildcard would handle but no schema describes", async () => {
    const { client } = await connected(strict, { protocols: ["echo1.0"] }, (station) => station.handle(() => ({})))
    expect((await rejection(client.call("Other"))).rpcErrorCode).toBe("NotImplemented")
  })

  it("override a built-in validator", async () => {
    const mine = createValidator("ocpp1.6", [
      { $id: "urn:Heartbeat.req", required: ["mine"] },
      { $id: "urn:Heartbeat.conf" },
    ])
    const options = { protocols: ["ocpp1.6"], strictMode: true, strictModeValidators: [mine] }
    const { client } = await connected(options, { protocols: ["ocpp1.6"] }, (station) =>
      station.handle(() => ({ any: 1 })),
    )
    expect(await client.call("Heartbeat", { mine: 1 })).toEqual({ any: 1 })
    // And 1.6 keeps its spelling.
    expect((await rejection(client.call("Heartbeat", {}))).rpcErrorCode).toBe("OccurrenceConstraintViolation")
    expect((await rejection(client.call("Reset", {}))).rpcErrorCode).toBe("ProtocolError")
  })

  it("the last of two for one subprotocol counts", async () => {
    const lax = createValidator("echo1.0", [{ $id: "urn:Echo.req" }, { $id: "urn:Echo.conf" }])
    const options = { ...strict, strictModeValidators: [echoValidator, lax] }
    const { client } = await connected(options, options, (station) => station.handle(({ params }) => params))
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
  })
})

import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as Codec from "../src/Codec.ts"
import type { Code } from "../src/RPCError.ts"
import { frameArray, mutated } from "./support/wireArbitraries.ts"

const call = (payload: unknown): Codec.Call => ({ _tag: "Call", messageId: "1", action: "A", payload }) as Codec.Call

const objects = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`
const arrays = (levels: number) => "[".repeat(levels) + "]".repeat(levels)

describe("decode reads", () => {
  it.each<[text: string, frame: Codec.Frame]>([
    [
      '[2,"19223201","BootNotification",{"chargePointVendor":"V"}]',
      { _tag: "Call", messageId: "19223201", action: "BootNotification", payload: { chargePointVendor: "V" } },
    ],
    [
      '[3,"19223201",{"status":"Accepted"}]',
      {
        _tag: "CallResult",
        messageId: "19223201",
        payload: { status: "Accepted" },
      },
    ],
    [
      '[4,"162376037","NotSupported","SetDisplayMessageRequest not implemented",{"a":1}]',
      {
        _tag: "CallError",
        messageId: "162376037",
        code: "NotSupported",
        description: "SetDisplayMessageRequest not implemented",
        details: { a: 1 },
      },
    ],
    [
      '[5,"1","FormatViolation","why",{}]',
      {
        _tag: "CallResultError",
        messageId: "1",
        code: "FormatViolation",
        description: "why",
        details: {},
      },
    ],
    [
      '[6,"1","NotifyPeriodicEventStream",{"id":1}]',
      {
        _tag: "Send",
        messageId: "1",
        action: "NotifyPeriodicEventStream",
        payload: { id: 1 },
      },
    ],
  ])("%s", (text, frame) => {
    expect(Codec.decode(text, true)).toEqual(frame)
  })

  it.each<[what: string, text: string, frame: object]>([
    ["blanks around", ' \r\n\t[2 , "1","A", {} ] ', { _tag: "Call", payload: {} }],
    ["further elements", '[2,"1","A",{},5,[6]]', { _tag: "Call", messageId: "1", action: "A", payload: {} }],
    ["further elements of a result", '[3,"1",{},"x"]', { _tag: "CallResult", payload: {} }],
    ["further elements, however deep", `[2,"1","A",{},${arrays(5000)}]`, { _tag: "Call", payload: {} }],
    ["a missing payload", '[2,"1","A"]', { _tag: "Call", payload: undefined }],
    ["a null payload", '[2,"1","A",null]', { _tag: "Call", payload: null }],
    ["a missing payload of a result", '[3,"1"]', { _tag: "CallResult", payload: undefined }],
    ["a null payload of a result", '[3,"1",null]', { _tag: "CallResult", payload: null }],
    ["a payload of any type", '[2,"1","A",[1,"x"]]', { _tag: "Call", payload: [1, "x"] }],
    ["an id over 36 characters", `[2,"${"i".repeat(100)}","A",{}]`, { _tag: "Call", messageId: "i".repeat(100) }],
    ["an empty id", '[2,"","A",{}]', { _tag: "Call", messageId: "" }],
    ["an id that is half a surrogate pair", '[2,"\\ud800","A",{}]', { _tag: "Call", messageId: "\ud800" }],
    ["an inherited name as action", '[2,"1","__proto__",{}]', { _tag: "Call", action: "__proto__" }],
    [
      "an error without a code",
      '[4,"1"]',
      { _tag: "CallError", messageId: "1", code: "", description: "", details: {} },
    ],
    ["an error whose code is a number", '[4,"1",3,"text",{}]', { _tag: "CallError", code: "3", description: "text" }],
    ["an error whose code is an object", '[4,"1",{},"",{}]', { _tag: "CallError", code: "" }],
    [
      "an error whose details have 65 levels",
      `[4,"1","X","",${objects(65)}]`,
      { _tag: "CallError", code: "X", details: {} },
    ],
    ["an error whose details hold 1e400", '[4,"1","X","",{"a":1e400}]', { _tag: "CallError", code: "X", details: {} }],
    ["an inherited name as code", '[4,"1","toString","",{}]', { _tag: "CallError", code: "toString" }],
    [
      "1.6's spelling as it is",
      '[4,"1","FormationViolation","",{}]',
      { _tag: "CallError", code: "FormationViolation" },
    ],
    ["a description over 255 characters", `[4,"1","X","${"d".repeat(300)}",{}]`, { description: "d".repeat(300) }],
    ["nothing behind the code", '[4,"1","X"]', { _tag: "CallError", description: "", details: {} }],
    ["a description that is a number", '[4,"1","X",5,{}]', { _tag: "CallError", description: "" }],
    ["a description that is null", '[4,"1","X",null,{"a":1}]', { description: "", details: { a: 1 } }],
    ["a description that is an object", '[5,"1","X",{"a":1},{}]', { _tag: "CallResultError", description: "" }],
    ["details that are an array", '[4,"1","X","",[1]]', { _tag: "CallError", details: {} }],
    ["details that are null", '[4,"1","X","",null]', { _tag: "CallError", details: {} }],
    ["details that are a string", '[4,"1","X","","why"]', { _tag: "CallError", details: {} }],
    ["details that are a deep array", `[4,"1","X","",${arrays(65)}]`, { _tag: "CallError", details: {} }],
    ["details that are a number out of range", '[4,"1","X","",1e400]', { _tag: "CallError", details: {} }],
    ["64 levels of objects", `[2,"1","A",${objects(64)}]`, { _tag: "Call" }],
    ["64 levels of arrays", `[3,"1",${arrays(64)}]`, { _tag: "CallResult" }],
    ["the last of two equal keys", '[2,"1","A",{"a":1,"a":2}]', { payload: { a: 2 } }],
    ["a whole number beyond 2^53, rounded", '[2,"1","A",9007199254740993]', { payload: 9007199254740992 }],
    ["-0", '[2,"1","A",-0]', { payload: -0 }],
    ["a number too small, as 0", '[2,"1","A",1e-400]', { payload: 0 }],
  ])("%s", (_, text, frame) => {
    expect(Codec.decode(text, true)).toMatchObject(frame)
  })

  it("2,000,000 further levels, ignored", () => {
    expect(Codec.decode(`[2,"1","A",{},${arrays(2_000_000)}]`, true)).toMatchObject({ _tag: "Call", payload: {} })
  })

  it("__proto__ and constructor as plain keys", () => {
    const text = '[2,"1","A",{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}]'
    const { payload } = Codec.decode(text, true) as { payload: object }
    expect(Object.keys(payload)).toEqual(["__proto__", "constructor"])
    expect(Object.getPrototypeOf(payload)).toBe(Object.prototype)
    expect([payload, {}, []].some((value) => "polluted" in value)).toBe(false)
  })

  it("__proto__ in details as a plain key", () => {
    const { details } = Codec.decode('[4,"1","X","",{"__proto__":{"polluted":1}}]', true) as { details: object }
    expect(Object.keys(details)).toEqual(["__proto__"])
    expect("polluted" in details).toBe(false)
  })
})

/** What a broken frame gets: told to the peer or not, under which id, with which code, by both kinds of protocol. */
const broken: ReadonlyArray<[what: string, text: string, reply: boolean, messageId: string, code: Code]> = [
  ["empty text", "", true, "-1", "RpcFrameworkError"],
  ["not JSON", "hello", true, "-1", "RpcFrameworkError"],
  ["JSON cut short", '[2,"1","A",{', true, "-1", "RpcFrameworkError"],
  ["a byte order mark", '\ufeff[2,"1","A",{}]', true, "-1", "RpcFrameworkError"],
  ["an object", "{}", true, "-1", "RpcFrameworkError"],
  ["an object that looks like an array", '{"0":2,"1":"1","2":"A","length":3}', true, "-1", "RpcFrameworkError"],
  ["null", "null", true, "-1", "RpcFrameworkError"],
  ["a string", '"[2]"', true, "-1", "RpcFrameworkError"],
  ["a number", "2", true, "-1", "RpcFrameworkError"],
  ["an empty array", "[]", true, "-1", "RpcFrameworkError"],
  ["a type that is a string", '["2","1","A",{}]', true, "-1", "RpcFrameworkError"],
  ["a type that is null", '[null,"1","A",{}]', true, "-1", "RpcFrameworkError"],
  ["a type that is an array", '[[2],"1","A",{}]', true, "-1", "RpcFrameworkError"],
  ["type 99", '[99,"1","A",{}]', true, "1", "MessageTypeNotSupported"],
  ["type 2.5", '[2.5,"1","A",{}]', true, "1", "MessageTypeNotSupported"],
  ["type 0", '[0,"1"]', true, "1", "MessageTypeNotSupported"],
  ["type -2", '[-2,"1"]', true, "1", "MessageTypeNotSupported"],
  ["type 1e400", '[1e400,"1"]', true, "1", "MessageTypeNotSupported"],
  ["type 7 without an id", "[7]", true, "-1", "MessageTypeNotSupported"],
  ["type 7 with an id that is a number", "[7,1]", true, "-1", "MessageTypeNotSupported"],
  ["type 7 with a payload too deep, unread", `[7,"1","A",${arrays(5000)}]`, true, "1", "MessageTypeNotSupported"],
  ["a CALL without an id", "[2]", true, "-1", "RpcFrameworkError"],
  ["a CALL whose id is a number", '[2,1,"A",{}]', true, "-1", "RpcFrameworkError"],
  ["a CALL whose id is null", '[2,null,"A",{}]', true, "-1", "RpcFrameworkError"],
  ["a CALL whose id is an object", '[2,{},"A",{}]', true, "-1", "RpcFrameworkError"],
  ["a CALL without an action", '[2,"1"]', true, "1", "RpcFrameworkError"],
  ["a CALL whose action is a number", '[2,"1",7,{}]', true, "1", "RpcFrameworkError"],
  ["a CALL whose action is null", '[2,"1",null,{}]', true, "1", "RpcFrameworkError"],
  ["a CALL of 65 levels of objects", `[2,"1","A",${objects(65)}]`, true, "1", "FormatViolation"],
  ["a CALL of 65 levels of arrays", `[2,"1","A",${arrays(65)}]`, true, "1", "FormatViolation"],
  ["a CALL of 5,000 levels", `[2,"1","A",${objects(5000)}]`, true, "1", "FormatViolation"],
  ["a CALL with 1e400", '[2,"1","A",{"a":[1e400]}]', true, "1", "FormatViolation"],
  ["a CALL with -1e400 behind what is fine", '[2,"1","A",{"a":1,"b":-1e400}]', true, "1", "FormatViolation"],
  ["a CALL with 1e400 under __proto__", '[2,"1","A",{"__proto__":1e400}]', true, "1", "FormatViolation"],
  ["a CALLRESULT without an id", "[3]", false, "-1", "FormatViolation"],
  ["a CALLRESULT whose id is a number", "[3,1,{}]", false, "-1", "FormatViolation"],
  ["a CALLRESULT of 65 levels", `[3,"1",${arrays(65)}]`, false, "1", "FormatViolation"],
  ["a CALLRESULT with 1e400", '[3,"1",1e400]', false, "1", "FormatViolation"],
  ["a CALLERROR without an id", "[4]", false, "-1", "FormatViolation"],
  ["a CALLERROR whose id is a number", '[4,1,"X","",{}]', false, "-1", "FormatViolation"],
]

const extendedOnly: typeof broken = [
  ["2,000,000 levels", arrays(2_000_000), true, "-1", "RpcFrameworkError"],
  ["a CALL of 2,000,000 levels", `[2,"1","A",${objects(2_000_000)}]`, true, "1", "FormatViolation"],
  ["a CALLRESULTERROR whose id is a number", '[5,1,"X","",{}]', false, "-1", "FormatViolation"],
  ["a SEND whose id is a number", '[6,1,"A",{}]', false, "-1", "RpcFrameworkError"],
  ["a SEND without an action", '[6,"1"]', false, "1", "RpcFrameworkError"],
  ["a SEND of 65 levels", `[6,"1","A",${arrays(65)}]`, false, "1", "FormatViolation"],
]

const plainOnly: typeof broken = [
  ["type 5", '[5,"1","X","",{}]', true, "1", "MessageTypeNotSupported"],
  ["type 6", '[6,"1","A",{}]', true, "1", "MessageTypeNotSupported"],
  ["type 6 with an id that is a number", '[6,1,"A",{}]', true, "-1", "MessageTypeNotSupported"],
]

describe.each([
  ["before 2.1", false, [...broken, ...plainOnly]],
  ["in 2.1", true, [...broken, ...extendedOnly]],
] as const)("%s decode answers", (_, extendedFrames, table) => {
  it.each(table)("%s", (_, text, reply, messageId, code) => {
    expect(Codec.decode(text, extendedFrames)).toMatchObject({ _tag: "Malformed", reply, messageId, error: { code } })
  })
})

it.each([
  "secret",
  '{"secret":"secret"}',
  '["secret"]',
  '[99,"1","secret","secret"]',
  '[99,["secret"],"secret"]',
  '[2,["secret"],"secret"]',
  '[2,"1",["secret"],"secret"]',
  '[2,"1","secret",{"secret":["secret",1e400]}]',
  `[2,"1","secret",{"secret":${objects(65)}}]`,
  '[3,["secret"]]',
  '[3,"1",{"secret":1e400}]',
])("the malformed of %s quotes nothing of it", (text) => {
  const malformed = Codec.decode(text, true) as Codec.Malformed
  expect(malformed._tag).toBe("Malformed")
  expect(malformed.error.message).not.toBe("")
  expect(`${malformed.error.stack} ${JSON.stringify(malformed)}`).not.toContain("secret")
})

describe("encode", () => {
  const failure = { messageId: "1", code: "FormatViolation", description: "why", details: { a: 1 } }

  it.each<[frame: Codec.Frame, text: string]>([
    [{ _tag: "Call", messageId: "1", action: "A", payload: { b: [1] } }, '[2,"1","A",{"b":[1]}]'],
    [{ _tag: "CallResult", messageId: "1", payload: { b: 1 } }, '[3,"1",{"b":1}]'],
    [{ _tag: "CallError", ...failure }, '[4,"1","FormatViolation","why",{"a":1}]'],
    [{ _tag: "CallResultError", ...failure }, '[5,"1","FormatViolation","why",{"a":1}]'],
    [{ _tag: "Send", messageId: "1", action: "A", payload: { b: 1 } }, '[6,"1","A",{"b":1}]'],
  ])("writes %o as %s", (frame, text) => {
    expect(Codec.encode(frame, "2.x")).toBe(text)
  })

  it.each([undefined, null])("a payload %s is sent as {}", (payload) => {
    expect(Codec.encode({ _tag: "Call", messageId: "1", action: "A", payload }, "2.x")).toBe('[2,"1","A",{}]')
    expect(Codec.encode({ _tag: "CallResult", messageId: "1", payload }, "1.6")).toBe('[3,"1",{}]')
    expect(Codec.encode({ _tag: "Send", messageId: "1", action: "A", payload }, "2.x")).toBe('[6,"1","A",{}]')
  })

  it.each([[0], [""], [false], [[]]])("a payload %j is sent as it is", (payload) => {
    expect(Codec.encode({ _tag: "CallResult", messageId: "1", payload }, "2.x")).toBe(
      `[3,"1",${JSON.stringify(payload)}]`,
    )
  })

  it("fields without a value are left out", () => {
    expect(Codec.encode(call({ a: undefined, b: 1 }), "2.x")).toBe('[2,"1","A",{"b":1}]')
  })

  it.each([
    ["FormatViolation", "FormationViolation", "FormatViolation"],
    ["FormationViolation", "FormationViolation", "FormatViolation"],
    ["OccurrenceConstraintViolation", "OccurenceConstraintViolation", "OccurrenceConstraintViolation"],
    ["OccurenceConstraintViolation", "OccurenceConstraintViolation", "OccurrenceConstraintViolation"],
    ["SecurityError", "SecurityError", "SecurityError"],
    ["RpcFrameworkError", "RpcFrameworkError", "RpcFrameworkError"],
    ["toString", "toString", "toString"],
  ])("%s is spelt %s in 1.6 and %s later", (code, legacy, current) => {
    for (const [_tag, type] of [
      ["CallError", 4],
      ["CallResultError", 5],
    ] as const) {
      const frame: Codec.Frame = { _tag, ...failure, code }
      expect(Codec.encode(frame, "1.6")).toBe(`[${type},"1","${legacy}","why",{"a":1}]`)
      expect(Codec.encode(frame, "2.x")).toBe(`[${type},"1","${current}","why",{"a":1}]`)
    }
  })

  it("a description is cut to 255 characters, between characters", () => {
    const frame: Codec.Frame = { _tag: "CallError", ...failure, description: "😀".repeat(300) }
    expect(Codec.encode(frame, "2.x")).toBe(`[4,"1","FormatViolation","${"😀".repeat(255)}",{"a":1}]`)
  })

  const cycle = { self: {} }
  cycle.self = cycle

  it.each([
    ["a cycle", cycle],
    ["a BigInt", { a: 1n }],
    [
      "a toJSON that throws a TypeError",
      {
        toJSON() {
          throw new TypeError("no")
        },
      },
    ],
    [
      "a toJSON that throws anything else",
      {
        toJSON() {
          throw new RangeError("no")
        },
      },
    ],
    [
      "a getter that throws",
      {
        get a() {
          throw new Error("no")
        },
      },
    ],
    ["more levels than the stack holds", JSON.parse(objects(200_000))],
  ])("refuses %s with a TypeError", (_, value) => {
    expect(() => Codec.encode(call(value), "2.x")).toThrow(TypeError)
    expect(() => Codec.encode({ _tag: "CallError", ...failure, details: { value } } as Codec.Frame, "2.x")).toThrow(
      TypeError,
    )
  })

  it.each([
    ["a function", () => 1],
    ["a symbol", Symbol("s")],
    ["NaN", Number.NaN],
    ["a toJSON that gives nothing", { toJSON: () => undefined }],
  ])("never sends null, not even for %s", (_, payload) => {
    let text: string | undefined
    try {
      text = Codec.encode(call(payload), "2.x")
    } catch (error) {
      expect(error).toBeInstanceOf(TypeError)
    }
    expect(text ?? "refused").not.toBe('[2,"1","A",null]')
  })
})

const isFrame = (result: Codec.Frame | Codec.Malformed): result is Codec.Frame => result._tag !== "Malformed"
const throughJson = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

describe("for any", () => {
  it.prop(
    "frame, what is encoded is decoded again",
    [Codec.Frame],
    ([frame]) => {
      const expected = throughJson("payload" in frame ? { ...frame, payload: frame.payload ?? {} } : frame)
      expect(Codec.decode(Codec.encode(frame, "2.x"), true)).toEqual(expected)
    },
    { arbitrary: { runs: 2000 } },
  )

  it("JSON array, decode and the Schema of a frame agree", () => {
    const decodeSchema = Schema.decodeUnknownExit(Codec.Frame)
    const kinds = { frames: 0, faults: 0 }
    fc.assert(
      fc.property(fc.oneof(frameArray, mutated(frameArray), mutated(mutated(frameArray))), (array) => {
        const text = JSON.stringify(array)
        const decoded = Codec.decode(text, true)
        const reference = decodeSchema(JSON.parse(text))
        kinds[isFrame(decoded) ? "frames" : "faults"]++
        expect(isFrame(decoded)).toBe(reference._tag === "Success")
        if (reference._tag === "Success") expect(decoded).toEqual(reference.value)
      }),
      { numRuns: 5000 },
    )
    expect(Math.min(kinds.frames, kinds.faults)).toBeGreaterThan(1000)
  })

  it("string, decode gives a frame or a fault and never throws", () => {
    const json = frameArray.map((array) => JSON.stringify(array))
    const cut = fc.tuple(json, fc.nat()).map(([text, at]) => text.slice(0, at % (text.length + 1)))
    const changed = fc
      .tuple(json, fc.nat(), fc.nat(3), fc.string({ unit: "binary", maxLength: 4 }))
      .map(([text, at, drop, insert]) => {
        const start = at % (text.length + 1)
        return text.slice(0, start) + insert + text.slice(start + drop)
      })
    const unicode = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), fc.json())
    fc.assert(
      fc.property(fc.oneof(unicode, cut, changed), fc.boolean(), (text, extendedFrames) => {
        const result = Codec.decode(text, extendedFrames)
        expect(["Call", "CallResult", "CallError", "CallResultError", "Send", "Malformed"]).toContain(result._tag)
        expect(typeof result.messageId).toBe("string")
      }),
      { numRuns: 20_000 },
    )
  })
})

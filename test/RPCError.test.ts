import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as RPCError from "../src/RPCError.ts"

const classes = [
  ["NotImplemented", RPCError.RPCNotImplementedError],
  ["NotSupported", RPCError.RPCNotSupportedError],
  ["InternalError", RPCError.RPCInternalError],
  ["ProtocolError", RPCError.RPCProtocolError],
  ["SecurityError", RPCError.RPCSecurityError],
  ["FormatViolation", RPCError.RPCFormatViolationError],
  ["PropertyConstraintViolation", RPCError.RPCPropertyConstraintViolationError],
  ["OccurrenceConstraintViolation", RPCError.RPCOccurrenceConstraintViolationError],
  ["TypeConstraintViolation", RPCError.RPCTypeConstraintViolationError],
  ["GenericError", RPCError.RPCGenericError],
  ["MessageTypeNotSupported", RPCError.RPCMessageTypeNotSupportedError],
  ["RpcFrameworkError", RPCError.RPCFrameworkError],
] as const

const legacy = [
  ["FormationViolation", "FormatViolation"],
  ["OccurenceConstraintViolation", "OccurrenceConstraintViolation"],
] as const

const inherited = ["toString", "constructor", "__proto__", "hasOwnProperty", ""]

describe("a class per code", () => {
  it("covers every code once", () => {
    expect(classes.map(([code]) => code).sort()).toEqual([...RPCError.codes].sort())
    expect(new Set(classes.map(([, Class]) => Class)).size).toBe(RPCError.codes.length)
  })

  it.each(classes)("%s is an RPCError with that code, and of no other class", (code, Class) => {
    const error = new Class("why", { field: 1 })
    expect(error).toBeInstanceOf(RPCError.RPCError)
    expect(error).toBeInstanceOf(Error)
    expect(classes.filter(([, Other]) => error instanceof Other)).toEqual([[code, Class]])
    expect(error).toMatchObject({ _tag: "RPCError", code, name: Class.name, message: "why", details: { field: 1 } })
    expect(RPCError.isRPCError(error)).toBe(true)
  })

  it.each(classes)("%s needs neither message nor details", (_, Class) => {
    expect(new Class()).toMatchObject({ message: "", details: {} })
  })

  it("is named in a stack trace", () => {
    expect(new RPCError.RPCSecurityError("who are you?").stack).toMatch(/^RPCSecurityError: who are you\?/)
  })

  it("holds for errors only", () => {
    expect(
      [new Error("x"), { _tag: "RPCError", code: "GenericError" }, null, undefined].some(RPCError.isRPCError),
    ).toBe(false)
  })
})

describe("in an Effect", () => {
  it.effect("yielding an error fails with that very error", () =>
    Effect.gen(function* () {
      const error = new RPCError.RPCSecurityError("unknown tag")
      const failure = yield* Effect.flip(
        Effect.gen(function* () {
          return yield* error
        }),
      )
      expect(failure).toBe(error)
    }),
  )

  it.effect("one catchTag catches every code", () =>
    Effect.gen(function* () {
      const caught = yield* Effect.forEach(classes, ([, Class]) =>
        Effect.fail(new Class()).pipe(Effect.catchTag("RPCError", (error) => Effect.succeed(error.code))),
      )
      expect(caught).toEqual(classes.map(([code]) => code))
    }),
  )
})

describe("createRPCError", () => {
  it.each(classes)("makes the class of %s", (code, Class) => {
    const error = RPCError.createRPCError(code, "why", { field: 1 })
    expect(error).toBeInstanceOf(Class)
    expect(error).toMatchObject({ code, message: "why", details: { field: 1 } })
  })

  it.each(legacy)("takes 1.6's %s for %s", (old, code) => {
    expect(RPCError.createRPCError(old).code).toBe(code)
  })

  it.each([...inherited, "Nonsense"])("refuses %j, and names it", (code) => {
    const make = () => RPCError.createRPCError(code as RPCError.Code)
    expect(make).toThrow(TypeError)
    expect(make).toThrow(JSON.stringify(code))
  })
})

describe("fromWire", () => {
  it.each(classes)("makes the class of %s", (code, Class) => {
    const error = RPCError.fromWire(code, "why", { field: 1 })
    expect(error).toBeInstanceOf(Class)
    expect(error).toMatchObject({ code, message: "why", details: { field: 1 } })
    expect("receivedCode" in error ? error.receivedCode : undefined).toBeUndefined()
  })

  it.each(legacy)("takes 1.6's %s for %s", (old, code) => {
    expect(RPCError.fromWire(old, "", {}).code).toBe(code)
  })

  it.each([...inherited, "genericerror", "VendorSpecific"])("%j becomes a generic error that keeps it", (code) => {
    const error = RPCError.fromWire(code, "why", { field: 1 })
    expect(error).toBeInstanceOf(RPCError.RPCGenericError)
    expect(error).toMatchObject({ code: "GenericError", receivedCode: code, message: "why", details: { field: 1 } })
  })
})

describe("wireCode", () => {
  it.each(legacy)("1.6 writes %s where the others write %s, whichever is given", (old, current) => {
    for (const code of [old, current]) {
      expect(RPCError.wireCode(code, "1.6")).toBe(old)
      expect(RPCError.wireCode(code, "2.x")).toBe(current)
    }
  })

  it("every other code is the same in every version", () => {
    const odd: ReadonlyArray<string> = legacy.map(([, code]) => code)
    for (const code of RPCError.codes.filter((code) => !odd.includes(code))) {
      expect([RPCError.wireCode(code, "1.6"), RPCError.wireCode(code, "2.x")]).toEqual([code, code])
    }
  })
})

describe("wireDescription", () => {
  it.each([
    ["255 characters are kept", "a".repeat(255), "a".repeat(255)],
    ["the 256th is cut off", `${"a".repeat(255)}b`, "a".repeat(255)],
    ["255 emoji, 510 code units, are kept", "😀".repeat(255), "😀".repeat(255)],
    ["the 256th emoji is cut off", "😀".repeat(256), "😀".repeat(255)],
    ["an emoji across the border stays whole", `${"a".repeat(254)}😀b`, `${"a".repeat(254)}😀`],
    ["an emoji behind the border goes whole", `${"a".repeat(255)}😀`, "a".repeat(255)],
    ["odd alignment splits no pair", `a${"😀".repeat(400)}`, `a${"😀".repeat(254)}`],
  ])("%s", (_, message, expected) => {
    expect(RPCError.wireDescription(message)).toBe(expected)
  })
})

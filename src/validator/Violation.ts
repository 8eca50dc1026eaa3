/**
 * Violations, and the errors that tell of them.
 *
 * A violation is one thing wrong with a payload. It has a place, the JSON Schema keyword that is broken there, the expectation,
 * and the actual value in a few words.
 */
import { type Code, createRPCError, maxDescriptionLength, type RPCError } from "../RPCError.ts"
import { quoted, shortened } from "./wording.ts"

/** One violation, with the field names of ajv. */
export interface Violation {
  /** JSON Pointer to the broken value; for a missing or unknown property, to the object. Empty at the root. */
  readonly instancePath: string
  /** The JSON Schema keyword that is broken. */
  readonly keyword: string
  readonly message: string
  readonly expected: string
  readonly actual: string
}

/** The number of violations that an error lists at most. */
export const maxViolations = 10

/** The keyword, expectation, value and message when an object lacks a property. */
export const missing = (name: string) =>
  ["required", `property ${quoted(name)}`, "none", `property ${quoted(name)} is missing`] as const

/** The keyword, expectation, value and message when an object has a property that it must not have. */
export const unknown = (name: string) =>
  ["additionalProperties", `no property ${quoted(name)}`, "one", `property ${quoted(name)} is unknown`] as const

const codes: ReadonlyMap<string, Code> = new Map<string, Code>([
  ["type", "TypeConstraintViolation"],
  ["required", "OccurrenceConstraintViolation"],
  ["minItems", "OccurrenceConstraintViolation"],
  ["maxItems", "OccurrenceConstraintViolation"],
  ["additionalProperties", "PropertyConstraintViolation"],
  ["enum", "PropertyConstraintViolation"],
  ["const", "PropertyConstraintViolation"],
  ["minLength", "PropertyConstraintViolation"],
  ["maxLength", "PropertyConstraintViolation"],
  ["minimum", "PropertyConstraintViolation"],
  ["maximum", "PropertyConstraintViolation"],
  ["exclusiveMinimum", "PropertyConstraintViolation"],
  ["exclusiveMaximum", "PropertyConstraintViolation"],
  ["multipleOf", "PropertyConstraintViolation"],
])

/** The code that OCPP asks for when a keyword is broken; `FormatViolation` for a keyword without a code of its own. */
export const codeOf = (keyword: string): Code => codes.get(keyword) ?? "FormatViolation"

/** The error for some violations. The first decides its code and description; `details.errors` lists all. */
export const toError = (violations: readonly [Violation, ...Array<Violation>]): RPCError => {
  const [first] = violations
  const description = `${first.instancePath === "" ? "/" : first.instancePath}: ${first.message}`
  return refusal(codeOf(first.keyword), shortened(description, maxDescriptionLength), { errors: violations })
}

/** The error for an unreadable payload: a getter throws, or the payload nests deeper than the stack. */
export const unreadable = (): RPCError =>
  refusal("FormatViolation", "/: expected a readable payload; got one that cannot be read")

/**
 * Makes an error without a stack trace. It is about a payload and not about a place in a program, and capturing the frames of
 * the dispatcher takes longer than finding the violations.
 */
export const refusal = (code: Code, message: string, details: Readonly<Record<string, unknown>> = {}): RPCError => {
  const { stackTraceLimit } = Error
  // Changes nothing, and throws nothing, where the intrinsics are frozen.
  Reflect.set(Error, "stackTraceLimit", 0)
  const error = createRPCError(code, message, details)
  Reflect.set(Error, "stackTraceLimit", stackTraceLimit)
  return error
}

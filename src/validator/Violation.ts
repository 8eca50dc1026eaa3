/**
 * One thing that is wrong with a payload, and the error that tells of some of them.
 *
 * A violation is a place, the JSON Schema keyword that is broken there, what was expected, and what came.
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

/** How many violations an error lists. */
export const maxViolations = 10

/** Keyword, expectation, value and message for an object that lacks a property. */
export const missing = (name: string) =>
  ["required", `property ${quoted(name)}`, "none", `property ${quoted(name)} is missing`] as const

/** Keyword, expectation, value and message for an object that has a property it must not have. */
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

/** The code that OCPP asks for when a keyword is broken: `FormatViolation` for those that have no other. */
export const codeOf = (keyword: string): Code => codes.get(keyword) ?? "FormatViolation"

/** The error for these violations: the first decides its code and description, all are in `details.errors`. */
export const toError = (violations: readonly [Violation, ...Array<Violation>]): RPCError => {
  const [first] = violations
  const description = `${first.instancePath === "" ? "/" : first.instancePath}: ${first.message}`
  return refusal(codeOf(first.keyword), shortened(description, maxDescriptionLength), { errors: violations })
}

/** The error for a payload that cannot be looked at: a getter throws, or it nests deeper than the stack. */
export const unreadable = (): RPCError =>
  refusal("FormatViolation", "/: expected a readable payload; got one that cannot be read")

/**
 * An error without a stack trace. It is about a payload, not about a place in a program: the frames would be those of the
 * dispatcher, the same for every payload, and they take longer than finding the violation.
 */
export const refusal = (code: Code, message: string, details: Readonly<Record<string, unknown>> = {}): RPCError => {
  const { stackTraceLimit } = Error
  // Where the intrinsics are frozen this changes nothing, and throws nothing.
  Reflect.set(Error, "stackTraceLimit", 0)
  const error = createRPCError(code, message, details)
  Reflect.set(Error, "stackTraceLimit", stackTraceLimit)
  return error
}

/**
 * What is wrong with a payload, and the error that says so.
 *
 * A fault is a place, the JSON Schema keyword that is broken there, what was expected, and what came. It is made for a
 * person to act on: what came is described, never copied, and everything is short, however large the payload.
 */
import { type Code, createRPCError, maxDescriptionLength, type RPCError } from "../RPCError.ts"
import { counted } from "./Formats.ts"

/** One fault, with the field names of ajv. */
export interface Fault {
  /** JSON Pointer to the value that is at fault; for a missing or unknown property, to the object. Empty at the root. */
  readonly instancePath: string
  /** The JSON Schema keyword that is broken. */
  readonly keyword: string
  readonly message: string
  readonly expected: string
  readonly actual: string
}

/** How many faults an error lists. */
export const maxFaults = 10

/** No OCPP message has a longer pointer; the payload of a Schema that refers to itself may. */
const maxPointerLength = 200

/** A search for faults: what has been found, and where the search is. It takes no more than so many. */
export class Search {
  readonly faults: Array<Fault> = []
  private readonly path: Array<PropertyKey> = []
  private readonly guards: ReadonlyMap<object, (value: unknown) => boolean>
  private readonly most: number

  constructor(guards: ReadonlyMap<object, (value: unknown) => boolean> = new Map(), most = maxFaults) {
    this.guards = guards
    this.most = most
  }

  get isFull(): boolean {
    return this.faults.length >= this.most
  }

  /** Whether there is certainly nothing to find in a value of this type. */
  canSkip(type: object, value: unknown): boolean {
    // A property that someone gave to all objects would pass for the value's own.
    for (const _ in Object.prototype) return false
    return this.guards.get(type)?.(value) ?? false
  }

  /** Goes to a member of the value. */
  enter(key: PropertyKey): void {
    this.path.push(key)
  }

  /** Goes back. */
  leave(): void {
    this.path.pop()
  }

  /** Notes that the object at which the search is lacks a property. */
  addMissing(name: string): void {
    this.add(...missing(name))
  }

  /** Notes that the object at which the search is has a property that it must not have. */
  addUnknown(name: string): void {
    this.add(...unknown(name))
  }

  /** Notes a fault of the value at which the search is. */
  add(keyword: string, expected: string, actual: string, message?: string): void {
    if (this.isFull) return
    this.faults.push({
      instancePath: shortened(this.path.map(pointerStep).join(""), maxPointerLength),
      keyword,
      message: message === undefined ? `expected ${expected}; got ${actual}` : shortened(message, maxDescriptionLength),
      expected,
      actual,
    })
  }
}

/** The fault of an object that lacks a property. */
export const missing = (name: string) =>
  ["required", `property ${quoted(name)}`, "none", `property ${quoted(name)} is missing`] as const

/** The fault of an object that has a property it must not have. */
export const unknown = (name: string) =>
  ["additionalProperties", `no property ${quoted(name)}`, "one", `property ${quoted(name)} is unknown`] as const

/** A step of a JSON Pointer (RFC 6901). Keys that came with the payload may be long. */
const pointerStep = (key: PropertyKey): string =>
  `/${shortened(String(key), 64).replace(/~/g, "~0").replace(/\//g, "~1")}`

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

/** The error for these faults: the first decides its code and description, all are in `details.errors`. */
export const toError = (faults: readonly [Fault, ...Array<Fault>]): RPCError => {
  const [first] = faults
  const description = `${first.instancePath === "" ? "/" : first.instancePath}: ${first.message}`
  return createRPCError(codeOf(first.keyword), shortened(description, maxDescriptionLength), { errors: faults })
}

/** The beginning of a text, of at most so many code points. */
export const shortened = (text: string, length: number): string => {
  if (text.length <= length) return text
  const points = Array.from(text.slice(0, 2 * length + 2))
  return points.length <= length ? text : `${points.slice(0, length - 1).join("")}…`
}

/** A property's name or a string, in quotes, shortened. */
export const quoted = (text: string): string => JSON.stringify(shortened(text, 40))

/** Alternatives in quotes, as many as a description has room for. */
export const alternatives = (values: ReadonlyArray<unknown>): string => {
  const words = values.map((value) => (typeof value === "string" ? quoted(value) : String(value)))
  if (words.length === 1) return words.join()
  const list = words.join(", ")
  return `one of ${list.length <= maxListLength ? list : `${list.slice(0, list.lastIndexOf(", ", maxListLength))}, …`}`
}

const maxListLength = 120

/** What a value is, in a few words. */
export const describe = (value: unknown): string => {
  switch (typeof value) {
    case "string":
      return quoted(value)
    case "object":
      if (value === null) return "null"
      if (Array.isArray(value)) return "array"
      return hasToJson(value) ? shortened(`an instance of ${value.constructor?.name}`, 40) : "object"
    case "number":
    case "boolean":
    case "undefined":
      return String(value)
    default:
      return typeof value
  }
}

/** What a value is that broke a keyword, in a few words: how long it is where that is the point. */
export const describeFor = (keyword: string, value: unknown): string => {
  if (Array.isArray(value) && keyword.endsWith("Items")) return counted(value.length, "item")
  return typeof value === "string" && keyword.endsWith("Length")
    ? counted(codePoints(value), "character")
    : describe(value)
}

const codePoints = (text: string): number => {
  let count = 0
  for (const _ of text) count++
  return count
}

/** Whether `JSON.stringify` would write something else than the object's own properties. */
export const hasToJson = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function"

/** Constraints on values beside their types, each under its JSON Schema keyword. */
import { codePoints, isDateTime, isIsoDateTime, isTenths, isUri } from "./Formats.ts"
import type { Place, Search } from "./Search.ts"
import { counted } from "./wording.ts"

/** A constraint on values of a type that has been checked before. */
export interface Constraint {
  readonly keyword: string
  /** The expectation in words. */
  readonly expected: string
  readonly accepts: (value: unknown) => boolean
  /** A JavaScript expression over a variable; where it is true, {@link accepts} need not be asked. */
  readonly quick: ((variable: string) => string) | undefined
  /** Notes the violations of a value that is not accepted; `undefined` where keyword and expectation say enough. */
  readonly explain: ((value: unknown, at: Place, search: Search) => void) | undefined
  /** Hides the constraints after it when it is broken. */
  readonly isFinal: boolean
  /** The constraint as data; `undefined` when its kind is not one of {@link kinds}. */
  readonly data: Data | undefined
}

/** The kind of a constraint, and its bound if it has one. */
export type Data = readonly [kind: Kind, bound?: number]

export type Kind = keyof typeof kinds

interface Definition {
  readonly keyword: string
  /** The id of the same constraint in the `representation` annotation of a Schema. */
  readonly id: string
  readonly expected: (bound: number) => string
  readonly accepts: (value: never, bound: number) => boolean
  readonly quick?: (variable: string, bound: number) => string
}

const constant = (text: string) => (): string => text

const dateTime = constant("a date-time such as 2025-04-01T12:00:00Z")

/** The kinds of constraints. */
export const kinds = {
  integer: {
    keyword: "type",
    id: "effect-ocpp/integer",
    expected: constant("integer"),
    accepts: (value: number) => Number.isInteger(value),
    quick: (value) => `Number.isInteger(${value})`,
  },
  tenths: {
    keyword: "multipleOf",
    id: "effect-ocpp/tenths",
    expected: constant("a multiple of 0.1"),
    accepts: isTenths,
  },
  dateTime: { keyword: "format", id: "effect-ocpp/dateTime", expected: dateTime, accepts: isDateTime },
  isoDateTime: { keyword: "format", id: "effect-ocpp/isoDateTime", expected: dateTime, accepts: isIsoDateTime },
  uri: { keyword: "format", id: "effect-ocpp/uri", expected: constant("an absolute URI"), accepts: isUri },
  minimum: {
    keyword: "minimum",
    id: "effect/schema/isGreaterThanOrEqualTo",
    expected: (bound) => `at least ${bound}`,
    accepts: (value: number, bound) => value >= bound,
    quick: (value, bound) => `${value} >= ${bound}`,
  },
  maximum: {
    keyword: "maximum",
    id: "effect/schema/isLessThanOrEqualTo",
    expected: (bound) => `at most ${bound}`,
    accepts: (value: number, bound) => value <= bound,
    quick: (value, bound) => `${value} <= ${bound}`,
  },
  maxLength: {
    keyword: "maxLength",
    id: "effect/schema/isMaxCodePoints",
    expected: (bound) => `at most ${counted(bound, "character")}`,
    accepts: (value: string, bound) =>
      value.length <= bound || (value.length <= 2 * bound && codePoints(value) <= bound),
    quick: (value, bound) => `${value}.length <= ${bound}`,
  },
  minItems: {
    keyword: "minItems",
    id: "effect/schema/isMinLength",
    expected: (bound) => `at least ${counted(bound, "item")}`,
    accepts: (value: ReadonlyArray<unknown>, bound) => value.length >= bound,
    quick: (value, bound) => `${value}.length >= ${bound}`,
  },
  maxItems: {
    keyword: "maxItems",
    id: "effect/schema/isMaxLength",
    expected: (bound) => `at most ${counted(bound, "item")}`,
    accepts: (value: ReadonlyArray<unknown>, bound) => value.length <= bound,
    quick: (value, bound) => `${value}.length <= ${bound}`,
  },
} as const satisfies Record<string, Definition>

/** The id of the filter that makes a Schema refuse the properties that it does not name. */
export const unknownPropertyId = "effect-ocpp/unknownProperty"

/** The kinds by their ids. */
export const kindsById: ReadonlyMap<unknown, Kind> = new Map(
  (Object.keys(kinds) as Array<Kind>).map((kind) => [kinds[kind].id, kind] as const),
)

/** Says whether constraints of a kind have a bound. */
export const isBounded = (kind: Kind): boolean => kinds[kind].expected.length > 0

/** Makes a constraint of one of the {@link kinds}. */
export const known = (...data: Data): Constraint => {
  const [kind, bound = 0] = data
  const { accepts, keyword, quick, ...words }: Definition = kinds[kind]
  const expected = words.expected(bound)
  return {
    keyword,
    expected,
    // The shape has checked the type that the kind is about.
    accepts: data.length === 1 ? (accepts as Constraint["accepts"]) : (value) => accepts(value as never, bound),
    quick: quick && ((variable) => quick(variable, bound)),
    explain: undefined,
    isFinal: false,
    data,
  }
}

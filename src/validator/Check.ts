/** The checks that OCPP's messages have beside their types, each under the JSON Schema keyword that it stands for. */
import { describeFor, type Search } from "./Fault.ts"
import { counted, isAtMost, isDateTime, isDateTimeMaybeLocal, isTenths, isUri } from "./Formats.ts"
import type { Code } from "./Guard.ts"

/** One check of a value whose type has been checked before. */
export interface Check {
  /** The keyword; `undefined` when JSON Schema has none for it or we do not know it. */
  readonly keyword: string | undefined
  /** What it expects, in words. */
  readonly expected: string
  /** A JavaScript expression that is true when nothing is wrong with the value of a variable. */
  readonly emit: (value: string, code: Code) => string
  /** Notes what is wrong with a value. Returns whether the checks that follow do not matter any more. */
  readonly explain: (value: unknown, search: Search) => boolean
  /** The same as data; `undefined` when it is not one of {@link kinds}. */
  readonly data: Data | undefined
}

/** The name of a check, and its bound if it has one. */
export type Data = readonly [kind: Kind, bound?: number]

export type Kind = keyof typeof kinds

interface Definition {
  readonly keyword: string
  readonly expected: (bound: number) => string
  readonly accepts: (value: never, bound: number) => boolean
  /** The same as `accepts`, without the call, for the checks that nearly every payload has. */
  readonly inline?: (value: string, bound: number, code: Code) => string
}

const constant = (text: string) => (): string => text

const aDateTime = constant("a date-time such as 2025-04-01T12:00:00Z")

/** The kinds of checks. */
export const kinds = {
  integer: {
    keyword: "type",
    expected: constant("integer"),
    accepts: (value: number) => Number.isInteger(value),
    inline: (value) => `Number.isInteger(${value})`,
  },
  tenths: { keyword: "multipleOf", expected: constant("a multiple of 0.1"), accepts: isTenths },
  dateTime: { keyword: "format", expected: aDateTime, accepts: isDateTime },
  dateTimeMaybeLocal: { keyword: "format", expected: aDateTime, accepts: isDateTimeMaybeLocal },
  uri: { keyword: "format", expected: constant("an absolute URI"), accepts: isUri },
  minimum: {
    keyword: "minimum",
    expected: (bound) => `at least ${bound}`,
    accepts: (value: number, bound) => value >= bound,
    inline: (value, bound) => `${value} >= ${bound}`,
  },
  maximum: {
    keyword: "maximum",
    expected: (bound) => `at most ${bound}`,
    accepts: (value: number, bound) => value <= bound,
    inline: (value, bound) => `${value} <= ${bound}`,
  },
  maxLength: {
    keyword: "maxLength",
    expected: (bound) => `at most ${counted(bound, "character")}`,
    accepts: (value: string, bound) => value.length <= bound || isAtMost(bound, value),
    inline: (value, bound, code) => `(${value}.length <= ${bound} || ${code.constant(isAtMost)}(${bound}, ${value}))`,
  },
  minItems: {
    keyword: "minItems",
    expected: (bound) => `at least ${counted(bound, "item")}`,
    accepts: (value: ReadonlyArray<unknown>, bound) => value.length >= bound,
    inline: (value, bound) => `${value}.length >= ${bound}`,
  },
  maxItems: {
    keyword: "maxItems",
    expected: (bound) => `at most ${counted(bound, "item")}`,
    accepts: (value: ReadonlyArray<unknown>, bound) => value.length <= bound,
    inline: (value, bound) => `${value}.length <= ${bound}`,
  },
} as const satisfies Record<string, Definition>

/** Whether a check of this kind has a bound. */
export const isBounded = (kind: Kind): boolean => kinds[kind].expected.length > 0

/** A check of a known kind. */
export const known = (...data: Data): Check => {
  const [kind, bound = 0] = data
  const { accepts, expected, inline, keyword }: Definition = kinds[kind]
  return {
    keyword,
    expected: expected(bound),
    emit: (value, code) => inline?.(value, bound, code) ?? `${code.constant(accepts)}(${value})`,
    explain: (value, search) => {
      // The value has the type that the kind is about: its shape says so.
      if (!accepts(value as never, bound)) search.add(keyword, expected(bound), describeFor(keyword, value))
      return false
    },
    data,
  }
}

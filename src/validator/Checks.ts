/** The checks of a Schema's node, as the JSON Schema keywords that they stand for. */
import type * as SchemaAST from "effect/SchemaAST"
import type * as SchemaIssue from "effect/SchemaIssue"
import { checkId, isAtMost } from "../schemas/payload.ts"
import type { Code } from "./Guard.ts"

/** One check of a node. */
export interface Check {
  /** The keyword; `undefined` when JSON Schema has none for it or we do not know it. */
  readonly keyword: string | undefined
  readonly filter: SchemaAST.Filter<never>
  /** What is wrong with a value of the node's type, if anything. */
  readonly run: (value: unknown) => SchemaIssue.Issue | undefined
  /** A JavaScript expression that is true when nothing is wrong with the value of a variable. */
  readonly emit: (value: string, code: Code) => string
}

const keywords: ReadonlyMap<unknown, string> = new Map<string, string>([
  [checkId.integer, "type"],
  [checkId.tenths, "multipleOf"],
  [checkId.dateTime, "format"],
  [checkId.uri, "format"],
  ["effect/schema/isInt", "type"],
  ["effect/schema/isFinite", "type"],
  ["effect/schema/isMultipleOf", "multipleOf"],
  ["effect/schema/isGreaterThan", "exclusiveMinimum"],
  ["effect/schema/isGreaterThanOrEqualTo", "minimum"],
  ["effect/schema/isLessThan", "exclusiveMaximum"],
  ["effect/schema/isLessThanOrEqualTo", "maximum"],
  ["effect/schema/isBetween", "minimum"],
  ["effect/schema/isMinCodePoints", "minLength"],
  ["effect/schema/isMaxCodePoints", "maxLength"],
  ["effect/schema/isBetweenCodePoints", "minLength"],
  ["effect/schema/isMinLength", "minLength"],
  ["effect/schema/isMaxLength", "maxLength"],
  ["effect/schema/isBetweenLength", "minLength"],
  ["effect/schema/isPattern", "pattern"],
])

const keywordsOfArrays: ReadonlyMap<unknown, string> = new Map<string, string>([
  ["effect/schema/isMinLength", "minItems"],
  ["effect/schema/isMaxLength", "maxItems"],
  ["effect/schema/isBetweenLength", "minItems"],
])

/** The keyword that a check stands for, on an array or on anything else. */
export const keywordOf = (filter: SchemaAST.Filter<never>, onArray: boolean): string | undefined =>
  (onArray ? keywordsOfArrays : keywords).get(filter.annotations?.representation?.id)

/** What a check expects, in words. */
export const expectedBy = (filter: SchemaAST.Filter<never>): string => filter.annotations?.expected ?? "a valid value"

const options: SchemaAST.ParseOptions = {}

/** The checks of a node, those of groups included. */
export const checksOf = (ast: SchemaAST.AST): ReadonlyArray<Check> =>
  (ast.checks ?? []).flatMap(filtersOf).map((filter) => ({
    keyword: keywordOf(filter, ast._tag === "Arrays"),
    filter,
    // The node's type has been checked before.
    run: (value) => filter.run(value as never, ast, options),
    emit: (value, code) =>
      inlined(filter, value, code) ??
      `${code.constant(filter)}.run(${value}, ${code.constant(ast)}, ${code.constant(options)}) === undefined`,
  }))

const filtersOf = (check: SchemaAST.Check<never>): ReadonlyArray<SchemaAST.Filter<never>> =>
  check._tag === "Filter" ? [check] : check.checks.flatMap(filtersOf)

/** The same as a check's `run`, without the call, for the checks that nearly every payload has. */
const inlined = (filter: SchemaAST.Filter<never>, value: string, code: Code): string | undefined => {
  const { id, payload } = filter.annotations?.representation ?? {}
  const bound = typeof payload === "object" && payload !== null ? Object.values(payload)[0] : undefined
  if (id === checkId.integer) return `Number.isInteger(${value})`
  if (typeof bound !== "number") return undefined
  switch (id) {
    case "effect/schema/isMaxCodePoints":
      return `(${value}.length <= ${bound} || ${code.constant(isAtMost)}(${bound}, ${value}))`
    case "effect/schema/isGreaterThanOrEqualTo":
      return `${value} >= ${bound}`
    case "effect/schema/isLessThanOrEqualTo":
      return `${value} <= ${bound}`
    case "effect/schema/isMinLength":
      return `${value}.length >= ${bound}`
    case "effect/schema/isMaxLength":
      return `${value}.length <= ${bound}`
    default:
      return undefined
  }
}

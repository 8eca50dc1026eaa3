/** The issues of Effect's parser as violations. */
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import { kinds } from "./Constraint.ts"
import type { Place, Search } from "./Search.ts"
import { missing, unknown } from "./Violation.ts"
import { alternatives, describe, describeFor, shortened } from "./wording.ts"

/** Notes the violations that an issue reports about a value. */
export const addIssue = (issue: SchemaIssue.Issue, value: unknown, at: Place, search: Search): void => {
  switch (issue._tag) {
    case "Pointer":
      addPointer(issue.path, issue.issue, value, at, search)
      break
    case "Encoding":
      addIssue(issue.issue, value, at, search)
      break
    case "Composite":
      for (const part of issue.issues) addIssue(part, value, at, search)
      break
    case "Filter":
      addFilter(issue.filter, issue.issue, value, at, search)
      break
    case "InvalidType":
      if (issue.ast._tag === "Literal" && typeof issue.ast.literal === typeof value) {
        search.add(at, "const", alternatives([issue.ast.literal]), describe(value))
      } else {
        search.add(at, "type", expectedOf(issue), describe(value))
      }
      break
    case "AnyOf":
      if (issue.issues.length === 0) {
        const isOfSomeType = issue.ast.types.some((type) => typesOf(type).has(typeOf(value)))
        search.add(at, isOfSomeType ? "anyOf" : "type", expectedOf(issue), describe(value))
      }
      for (const part of issue.issues) addIssue(part, value, at, search)
      break
    case "OneOf":
      search.add(at, "oneOf", "exactly one of the alternatives", `${issue.successes.length} of them`)
      break
    case "MissingKey":
      search.add(at, "required", "a value", "none")
      break
    case "UnexpectedKey":
      search.add(at, "additionalProperties", "no value", describe(value))
      break
    case "InvalidValue": {
      const { expected, message } = issue.annotations ?? {}
      search.add(at, "check", expected ?? "a valid value", describe(value), message)
      break
    }
    case "Forbidden":
      search.add(at, "check", "a value that is allowed", describe(value))
      break
  }
}

/** Notes the violation that a filter found: in the filter's own words where it has some, else by its expectation. */
export const addFilter = (
  filter: SchemaAST.Filter<never>,
  issue: SchemaIssue.Issue,
  value: unknown,
  at: Place,
  search: Search,
): void => {
  const saysMore = issue._tag !== "InvalidValue" || issue.annotations !== undefined
  if (saysMore && filter.annotations?.message === undefined) {
    addIssue(issue, value, at, search)
  } else {
    const keyword = keywordOf(filter, Array.isArray(value)) ?? "check"
    search.add(at, keyword, expectedBy(filter), describeFor(keyword, value), filter.annotations?.message)
  }
}

const addPointer = (
  [key, ...rest]: ReadonlyArray<PropertyKey>,
  issue: SchemaIssue.Issue,
  value: unknown,
  at: Place,
  search: Search,
): void => {
  if (key === undefined) {
    addIssue(issue, value, at, search)
  } else if (rest.length === 0 && issue._tag === "MissingKey") {
    search.add(at, ...missing(String(key)))
  } else if (rest.length === 0 && (issue._tag === "UnexpectedKey" || isNever(issue))) {
    search.add(at, ...unknown(String(key)))
  } else {
    const isOwn = typeof value === "object" && value !== null && Object.hasOwn(value, key)
    addPointer(rest, issue, isOwn ? Reflect.get(value, key) : undefined, { of: at, key }, search)
  }
}

/** Says whether a property must not exist: `closed` refuses unknown properties by this. */
const isNever = (issue: SchemaIssue.Issue): boolean => issue._tag === "InvalidType" && issue.ast._tag === "Never"

const format = SchemaIssue.makeFormatterDefault()

const expectedOf = (issue: SchemaIssue.Issue): string => shortened(format(issue).replace(/^Expected /, ""), 120)

const typeOf = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value)

const typesOf = (ast: SchemaAST.AST): ReadonlySet<string> => {
  switch (ast._tag) {
    case "Union":
      return new Set(ast.types.flatMap((type) => [...typesOf(type)]))
    case "Literal":
      return new Set([typeof ast.literal])
    case "Enum":
      return new Set(ast.enums.map(([, value]) => typeof value))
    case "TemplateLiteral":
      return new Set(["string"])
    case "Arrays":
      return new Set(["array"])
    case "Objects":
      return new Set(["object"])
    default:
      return new Set([ast._tag.toLowerCase()])
  }
}

const keywords: ReadonlyMap<unknown, string> = new Map<string, string>([
  ...Object.values(kinds).map(({ id, keyword }) => [id, keyword] as const),
  ["effect/schema/isInt", "type"],
  ["effect/schema/isFinite", "type"],
  ["effect/schema/isMultipleOf", "multipleOf"],
  ["effect/schema/isGreaterThan", "exclusiveMinimum"],
  ["effect/schema/isLessThan", "exclusiveMaximum"],
  ["effect/schema/isBetween", "minimum"],
  ["effect/schema/isMinCodePoints", "minLength"],
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

/** The JSON Schema keyword of a filter, on an array or on any other value; `undefined` when there is none. */
export const keywordOf = (filter: SchemaAST.Filter<never>, onArray: boolean): string | undefined =>
  (onArray ? keywordsOfArrays : keywords).get(filter.annotations?.representation?.id)

/** The expectation of a filter in words. */
export const expectedBy = (filter: SchemaAST.Filter<never>): string => filter.annotations?.expected ?? "a valid value"

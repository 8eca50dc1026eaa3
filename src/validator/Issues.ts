/** The issues of Effect's parser as faults. */
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import { checkId } from "../schemas/payload.ts"
import { alternatives, describe, describeFor, type Search, shortened } from "./Fault.ts"

/** Adds the faults that an issue reports about the value at which a search is. */
export const addIssue = (issue: SchemaIssue.Issue, value: unknown, search: Search): void => {
  switch (issue._tag) {
    case "Pointer":
      addPointer(issue.path, issue.issue, value, search)
      break
    case "Encoding":
      addIssue(issue.issue, value, search)
      break
    case "Composite":
      for (const part of issue.issues) addIssue(part, value, search)
      break
    case "Filter":
      addFilter(issue.filter, issue.issue, value, search)
      break
    case "InvalidType":
      if (issue.ast._tag === "Literal" && typeof issue.ast.literal === typeof value) {
        search.add("const", alternatives([issue.ast.literal]), describe(value))
      } else {
        search.add("type", expectedOf(issue), describe(value))
      }
      break
    case "AnyOf":
      if (issue.issues.length === 0) {
        const isOfSomeType = issue.ast.types.some((type) => typesOf(type).has(typeOf(value)))
        search.add(isOfSomeType ? "anyOf" : "type", expectedOf(issue), describe(value))
      }
      for (const part of issue.issues) addIssue(part, value, search)
      break
    case "OneOf":
      search.add("oneOf", "exactly one of the alternatives", `${issue.successes.length} of them`)
      break
    case "MissingKey":
      search.add("required", "a value", "none")
      break
    case "UnexpectedKey":
      search.add("additionalProperties", "no value", describe(value))
      break
    case "InvalidValue": {
      const { expected, message } = issue.annotations ?? {}
      search.add("check", expected ?? "a valid value", describe(value), message)
      break
    }
    case "Forbidden":
      search.add("check", "a value that is allowed", describe(value))
      break
  }
}

/** What a check found: its own words where it has some, else what it says it expects. */
export const addFilter = (
  filter: SchemaAST.Filter<never>,
  issue: SchemaIssue.Issue,
  value: unknown,
  search: Search,
): void => {
  const saysMore = issue._tag !== "InvalidValue" || issue.annotations !== undefined
  if (saysMore && filter.annotations?.message === undefined) {
    addIssue(issue, value, search)
  } else {
    const keyword = keywordOf(filter, Array.isArray(value)) ?? "check"
    search.add(keyword, expectedBy(filter), describeFor(keyword, value), filter.annotations?.message)
  }
}

const addPointer = (
  [key, ...rest]: ReadonlyArray<PropertyKey>,
  issue: SchemaIssue.Issue,
  value: unknown,
  search: Search,
): void => {
  if (key === undefined) {
    addIssue(issue, value, search)
  } else if (rest.length === 0 && issue._tag === "MissingKey") {
    search.addMissing(String(key))
  } else if (rest.length === 0 && (issue._tag === "UnexpectedKey" || isNever(issue))) {
    search.addUnknown(String(key))
  } else {
    const isOwn = typeof value === "object" && value !== null && Object.hasOwn(value, key)
    search.enter(key)
    addPointer(rest, issue, isOwn ? Reflect.get(value, key) : undefined, search)
    search.leave()
  }
}

/** Whether a property may have no value at all: so `closed` refuses the properties that it does not know. */
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
  [checkId.integer, "type"],
  [checkId.tenths, "multipleOf"],
  [checkId.dateTime, "format"],
  [checkId.dateTimeMaybeLocal, "format"],
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

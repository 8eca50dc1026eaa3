/**
 * The shape of a Schema's `Type`.
 *
 * Nodes that JSON Schema has too (objects, arrays, strings, numbers, enumerations) have shapes of their own; any other node,
 * and any check that is not one of ours, is left to Effect.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaParser from "effect/SchemaParser"
import { checkId } from "../schemas/payload.ts"
import * as Check from "./Check.ts"
import { addFilter, addIssue, expectedBy, keywordOf } from "./Issues.ts"
import { anything, type Shape } from "./Shape.ts"

const shapes = new WeakMap<SchemaAST.AST, Shape>()

/** The shape of a Schema's `Type`. */
export const fromSchema = (schema: Schema.Constraint): Shape => fromAst(SchemaAST.toType(schema.ast))

const fromAst = (ast: SchemaAST.AST): Shape => {
  let shape = shapes.get(ast)
  if (shape === undefined) {
    shape = shapeOf(ast) ?? parsed(ast)
    shapes.set(ast, shape)
  }
  return shape
}

/** The shape of a node that JSON Schema has too. */
const shapeOf = (ast: SchemaAST.AST): Shape | undefined => {
  switch (ast._tag) {
    case "String":
      return { is: "string", checks: checksOf(ast) }
    case "Number":
      // Every JSON number is finite.
      return { is: "number", checks: checksOf(ast, ({ id }) => id !== "effect/schema/isFinite") }
    case "Arrays":
      return arrayOf(ast)
    case "Suspend":
      return { is: "suspended", shape: () => fromAst(SchemaAST.toType(ast.thunk())) }
  }
  if (ast.checks !== undefined) return undefined
  switch (ast._tag) {
    case "Any":
    case "Unknown":
      return anything
    case "Boolean":
      return { is: "boolean" }
    case "Literal":
      return { is: "enumeration", values: [ast.literal] }
    case "Union":
      return ast.types.every(isPlainLiteral)
        ? { is: "enumeration", values: ast.types.map((type) => type.literal) }
        : undefined
    case "Objects":
      return objectOf(ast)
    default:
      return undefined
  }
}

const isPlainLiteral = (ast: SchemaAST.AST): ast is SchemaAST.Literal =>
  ast._tag === "Literal" && ast.checks === undefined

const arrayOf = (ast: SchemaAST.Arrays): Shape | undefined => {
  const [item, ...others] = ast.rest
  const checks = checksOf(ast)
  const isList =
    ast.elements.length === 0 && others.length === 0 && checks.every(({ keyword }) => keyword !== undefined)
  return item !== undefined && isList ? { is: "array", item: fromAst(item), checks } : undefined
}

const objectOf = (ast: SchemaAST.Objects): Shape | undefined => {
  const others = othersOf(ast)
  if (others === undefined) return undefined
  const properties = ast.propertySignatures.map(({ name, type }) => ({
    name: String(name),
    shape: fromAst(type),
    isRequired: !SchemaAST.isOptional(type),
  }))
  return { is: "object", properties, others: others === "none" ? undefined : others }
}

/** The shape of the properties that an object does not name; nothing when JSON Schema has no such objects. */
const othersOf = (ast: SchemaAST.Objects): Shape | "none" | undefined => {
  const [index, ...more] = ast.indexSignatures
  if (ast.propertySignatures.some(({ name }) => typeof name === "symbol") || more.length > 0) return undefined
  // Effect takes a Struct without properties for anything that is not null or undefined.
  if (index === undefined) return ast.propertySignatures.length === 0 ? undefined : anything
  if (index.parameter._tag !== "String") return undefined
  const [check, ...checks] = index.parameter.checks ?? []
  if (check === undefined) {
    const others = fromAst(index.type)
    // An index signature is about the named properties, too.
    return others === anything || ast.propertySignatures.length === 0 ? others : undefined
  }
  return checks.length === 0 && check.annotations?.representation?.id === checkId.unknownProperty ? "none" : undefined
}

/** Any other node: the verdict of Effect's parser. */
const parsed = (ast: SchemaAST.AST): Shape => {
  const schema = Schema.make<Schema.Codec<unknown>>(ast)
  const accepts = SchemaParser.is(schema)
  const decode = SchemaParser.decodeUnknownResult(schema)
  return {
    is: "foreign",
    rule: {
      emit: (value, code) => `${code.constant(accepts)}(${value})`,
      explain: (value, search) => {
        const result = decode(value, { errors: "all" })
        if (Result.isFailure(result)) addIssue(result.failure, value, search)
      },
    },
  }
}

type Representation = { readonly id?: unknown; readonly payload?: unknown }

/** The checks of a node, those of groups included. */
const checksOf = (
  ast: SchemaAST.AST,
  matters: (representation: Representation) => boolean = () => true,
): ReadonlyArray<Check.Check> =>
  (ast.checks ?? [])
    .flatMap(filtersOf)
    .filter((filter) => matters(filter.annotations?.representation ?? {}))
    .map((filter) => knownBy(filter, ast) ?? checkBy(filter, ast))

const filtersOf = (check: SchemaAST.Check<never>): ReadonlyArray<SchemaAST.Filter<never>> =>
  check._tag === "Filter" ? [check] : check.checks.flatMap(filtersOf)

const kindsById: ReadonlyMap<unknown, Check.Kind> = new Map<string, Check.Kind>([
  [checkId.integer, "integer"],
  [checkId.tenths, "tenths"],
  [checkId.dateTime, "dateTime"],
  [checkId.dateTimeMaybeLocal, "dateTimeMaybeLocal"],
  [checkId.uri, "uri"],
  ["effect/schema/isMaxCodePoints", "maxLength"],
  ["effect/schema/isGreaterThanOrEqualTo", "minimum"],
  ["effect/schema/isLessThanOrEqualTo", "maximum"],
  ["effect/schema/isMinLength", "minItems"],
  ["effect/schema/isMaxLength", "maxItems"],
])

/** A check that is one of ours, and has no words of its own. */
const knownBy = (filter: SchemaAST.Filter<never>, ast: SchemaAST.AST): Check.Check | undefined => {
  const { id, payload } = filter.annotations?.representation ?? {}
  const kind = kindsById.get(id)
  const isAboutItems = kind === "minItems" || kind === "maxItems"
  if (kind === undefined || filter.aborted || isAboutItems !== (ast._tag === "Arrays")) return undefined
  const bound = typeof payload === "object" && payload !== null ? Object.values(payload)[0] : undefined
  const hasBound = typeof bound === "number"
  if (hasBound !== Check.isBounded(kind) || filter.annotations?.message !== undefined) return undefined
  const check = hasBound ? Check.known(kind, bound) : Check.known(kind)
  return filter.annotations?.expected === check.expected ? check : undefined
}

const options: SchemaAST.ParseOptions = {}

const checkBy = (filter: SchemaAST.Filter<never>, ast: SchemaAST.AST): Check.Check => {
  // The node's type has been checked before.
  const run = (value: unknown) => filter.run(value as never, ast, options)
  return {
    keyword: keywordOf(filter, ast._tag === "Arrays"),
    expected: expectedBy(filter),
    emit: (value, code) => `${code.constant(run)}(${value}) === undefined`,
    explain: (value, search) => {
      const issue = run(value)
      if (issue === undefined) return false
      addFilter(filter, issue, value, search)
      return filter.aborted
    },
    data: undefined,
  }
}

/**
 * Makes shapes of Schemas.
 *
 * Objects, arrays, strings, numbers and enumerations become shapes of their own. Effect decides about all other nodes, and about
 * filters that are not one of our constraints.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaParser from "effect/SchemaParser"
import * as Constraint from "./Constraint.ts"
import { addFilter, addIssue, expectedBy, keywordOf } from "./Issues.ts"
import { anything, type Property, type Shape } from "./Shape.ts"
import { isOrdinary } from "./size.ts"

const shapes = new WeakMap<SchemaAST.AST, Shape>()

/** The shape of a Schema's `Type`. */
export const fromSchema = (schema: Schema.Constraint): Shape => fromAst(SchemaAST.toType(schema.ast))

const fromAst = (ast: SchemaAST.AST): Shape => {
  let shape = shapes.get(ast)
  if (shape === undefined) {
    shape = shapeOf(ast) ?? foreign(ast)
    shapes.set(ast, shape)
  }
  return shape
}

/** The shape of a node that JSON Schema has, too; `undefined` for any other. */
const shapeOf = (ast: SchemaAST.AST): Shape | undefined => {
  switch (ast._tag) {
    case "String":
      return { is: "string", constraints: constraintsOf(ast) }
    case "Number":
      // Every JSON number is finite.
      return { is: "number", constraints: constraintsOf(ast, ({ id }) => id !== "effect/schema/isFinite") }
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
  if (item === undefined || others.length > 0 || ast.elements.length > 0) return undefined
  const areKeywords = filtersOf(ast).every((filter) => keywordOf(filter, true) !== undefined)
  return areKeywords ? { is: "array", item: fromAst(item), constraints: constraintsOf(ast) } : undefined
}

const objectOf = (ast: SchemaAST.Objects): Shape | undefined => {
  const others = othersOf(ast)
  if (others === undefined) return undefined
  const properties = ast.propertySignatures.map(({ name, type }): readonly [string, Property] => [
    String(name),
    { shape: fromAst(type), isRequired: !SchemaAST.isOptional(type) },
  ])
  return { is: "object", properties: new Map(properties), others: others === "none" ? undefined : others }
}

/** The shape of the properties that an object does not name; `undefined` when JSON Schema has no such objects. */
const othersOf = (ast: SchemaAST.Objects): Shape | "none" | undefined => {
  const [index, ...more] = ast.indexSignatures
  if (ast.propertySignatures.some(({ name }) => typeof name === "symbol") || more.length > 0) return undefined
  // Effect takes a Struct without properties for anything that is not null or undefined.
  if (index === undefined) return ast.propertySignatures.length === 0 ? undefined : anything
  if (index.parameter._tag !== "String") return undefined
  const [filter, ...filters] = filtersOf(index.parameter)
  if (filter === undefined) {
    const others = fromAst(index.type)
    // An index signature is about the named properties, too.
    return others === anything || ast.propertySignatures.length === 0 ? others : undefined
  }
  const refusesAll = filters.length === 0 && filter.annotations?.representation?.id === Constraint.unknownPropertyId
  return refusesAll ? "none" : undefined
}

/** The shape of any other node: Effect's parser decides. */
const foreign = (ast: SchemaAST.AST): Shape => {
  const schema = Schema.make<Schema.Codec<unknown>>(ast)
  const decode = SchemaParser.decodeUnknownResult(schema)
  return {
    is: "foreign",
    accepts: SchemaParser.is(schema),
    explain: (value, at, search) => {
      // The parser stops after the first issue or after the last.
      const result = decode(value, { errors: isOrdinary(value) ? "all" : "first" })
      if (Result.isFailure(result)) addIssue(result.failure, value, at, search)
    },
  }
}

/** The filters of a node, including those in groups. */
const filtersOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.Filter<never>> => (ast.checks ?? []).flatMap(ungrouped)

const ungrouped = (check: SchemaAST.Check<never>): ReadonlyArray<SchemaAST.Filter<never>> =>
  check._tag === "Filter" ? [check] : check.checks.flatMap(ungrouped)

type Representation = { readonly id?: unknown; readonly payload?: unknown }

/** Makes constraints of a node's filters. */
const constraintsOf = (
  ast: SchemaAST.AST,
  matters: (representation: Representation) => boolean = () => true,
): ReadonlyArray<Constraint.Constraint> =>
  filtersOf(ast)
    .filter((filter) => matters(filter.annotations?.representation ?? {}))
    .map((filter) => known(filter, ast) ?? foreignConstraint(filter, ast))

/** The constraint of a filter that is one of our kinds and has no words of its own; `undefined` for any other. */
const known = (filter: SchemaAST.Filter<never>, ast: SchemaAST.AST): Constraint.Constraint | undefined => {
  const { id, payload } = filter.annotations?.representation ?? {}
  const kind = Constraint.kindsById.get(id)
  if (kind === undefined || filter.aborted || filter.annotations?.message !== undefined) return undefined
  const isAboutItems = kind === "minItems" || kind === "maxItems"
  const bound = typeof payload === "object" && payload !== null ? Object.values(payload)[0] : undefined
  const hasBound = typeof bound === "number"
  if (hasBound !== Constraint.isBounded(kind) || isAboutItems !== (ast._tag === "Arrays")) return undefined
  const constraint = hasBound ? Constraint.known(kind, bound) : Constraint.known(kind)
  return filter.annotations?.expected === constraint.expected ? constraint : undefined
}

const options: SchemaAST.ParseOptions = {}

/** The constraint of any other filter: its predicate decides. */
const foreignConstraint = (filter: SchemaAST.Filter<never>, ast: SchemaAST.AST): Constraint.Constraint => {
  // The node's type has been checked before.
  const run = (value: unknown) => filter.run(value as never, ast, options)
  return {
    keyword: keywordOf(filter, ast._tag === "Arrays") ?? "check",
    expected: expectedBy(filter),
    accepts: (value) => run(value) === undefined,
    quick: undefined,
    explain: (value, at, search) => {
      const issue = run(value)
      if (issue !== undefined) addFilter(filter, issue, value, at, search)
    },
    isFinal: filter.aborted,
    data: undefined,
  }
}

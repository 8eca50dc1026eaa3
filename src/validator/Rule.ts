/**
 * What a Schema asks of a JSON value.
 *
 * Rules are made from the Schema's AST, node by node. Nodes that JSON Schema has too (objects, arrays, strings, numbers,
 * enumerations) have rules of their own; any other node is left to Effect's parser.
 *
 * A rule judges what `JSON.stringify` would send: only an object's own enumerable properties count, one whose value is
 * `undefined` is absent, and what has a `toJSON` method is no object.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaParser from "effect/SchemaParser"
import { checkId } from "../schemas/payload.ts"
import { type Check, checksOf, expectedBy } from "./Checks.ts"
import { alternatives, describe, hasToJson, maxFaults, type Search } from "./Fault.ts"
import type { Code } from "./Guard.ts"
import { addFilter, addIssue } from "./Issues.ts"

/** What a value has to be, told twice: as code that is quick to say yes, and as a search for what is wrong. */
export interface Rule {
  /**
   * A JavaScript expression over a variable. When it is true, {@link explain} finds no fault in the variable's value; for
   * a value that is made of what `JSON.parse` makes, it is true for every value without fault.
   */
  readonly emit: (value: string, code: Code) => string
  /**
   * Finds the faults of a value. In an object first the missing properties, then the unknown ones, then the faults of the
   * values, each in the order of the Schema (the unknown ones: of the payload).
   */
  readonly explain: (value: unknown, search: Search) => void
}

const rules = new WeakMap<SchemaAST.AST, Rule>()

/** The rule for a Schema's `Type`. */
export const fromSchema = (schema: Schema.Constraint): Rule => fromAst(SchemaAST.toType(schema.ast))

const fromAst = (ast: SchemaAST.AST): Rule => {
  let rule = rules.get(ast)
  if (rule === undefined) {
    rule = ruleOf(ast) ?? parsed(ast)
    rules.set(ast, rule)
  }
  return rule
}

/** The rule for a node that JSON Schema has too. */
const ruleOf = (ast: SchemaAST.AST): Rule | undefined => {
  switch (ast._tag) {
    case "String":
      return string(checksOf(ast))
    case "Number":
      return number(checksOf(ast))
    case "Arrays":
      return array(ast)
    case "Suspend":
      return suspended(ast)
  }
  if (ast.checks !== undefined) return undefined
  switch (ast._tag) {
    case "Any":
    case "Unknown":
      return anything
    case "Boolean":
      return boolean
    case "Literal":
      return enumeration([ast.literal])
    case "Union":
      return ast.types.every(isPlainLiteral) ? enumeration(ast.types.map((type) => type.literal)) : undefined
    case "Objects":
      return object(ast)
    default:
      return undefined
  }
}

const isPlainLiteral = (ast: SchemaAST.AST): ast is SchemaAST.Literal =>
  ast._tag === "Literal" && ast.checks === undefined

const anything: Rule = { emit: () => "true", explain: () => {} }

const boolean: Rule = {
  emit: (value) => `typeof ${value} === "boolean"`,
  explain: (value, search) => {
    if (typeof value !== "boolean") search.add("type", "boolean", describe(value))
  },
}

const string = (checks: ReadonlyArray<Check>): Rule => ({
  emit: (value, code) => [`typeof ${value} === "string"`, ...checks.map(({ emit }) => emit(value, code))].join(" && "),
  explain: (value, search) => {
    if (typeof value !== "string") search.add("type", "string", describe(value))
    else explainChecks(checks, value, search)
  },
})

const number = (all: ReadonlyArray<Check>): Rule => {
  // Every JSON number is finite.
  const checks = all.filter(({ filter }) => filter.annotations?.representation?.id !== "effect/schema/isFinite")
  const narrower = checks.find(({ keyword }) => keyword === "type")
  const type = narrower === undefined ? "number" : expectedBy(narrower.filter)
  return {
    emit: (value, code) => [`Number.isFinite(${value})`, ...checks.map(({ emit }) => emit(value, code))].join(" && "),
    explain: (value, search) => {
      if (!Number.isFinite(value)) search.add("type", type, describe(value))
      else explainChecks(checks, value, search)
    },
  }
}

const enumeration = (literals: ReadonlyArray<SchemaAST.LiteralValue>): Rule => {
  const values: ReadonlySet<unknown> = new Set(literals)
  const types = [...new Set(literals.map((literal) => typeof literal))]
  return {
    emit: (value, code) => `${code.constant(values)}.has(${value})`,
    explain: (value, search) => {
      if (values.has(value)) return
      if (types.some((type) => type === typeof value)) search.add("enum", alternatives(literals), describe(value))
      else search.add("type", types.join(" or "), describe(value))
    },
  }
}

const array = (ast: SchemaAST.Arrays): Rule | undefined => {
  const [itemAst, ...others] = ast.rest
  const checks = checksOf(ast)
  const isList =
    ast.elements.length === 0 && others.length === 0 && checks.every(({ keyword }) => keyword !== undefined)
  if (itemAst === undefined || !isList) return undefined
  const item = fromAst(itemAst)
  return {
    emit: (value, code) => {
      const name = code.function(ast, () => {
        const isList = ["Array.isArray(v)", ...checks.map(({ emit }) => emit("v", code))].join(" && ")
        return `
          if (!(${isList})) return false
          for (let i = 0; i < v.length; i++) { const x = v[i]; if (!(${item.emit("x", code)})) return false }
          return true`
      })
      return `${name}(${value})`
    },
    explain: (value, search) => {
      if (search.canSkip(ast, value)) return
      if (!Array.isArray(value)) {
        search.add("type", "array", describe(value))
        return
      }
      explainChecks(checks, value, search)
      for (let index = 0; index < value.length && !search.isFull; index++) {
        search.enter(index)
        item.explain(value[index], search)
        search.leave()
      }
    },
  }
}

interface Property {
  readonly name: string
  readonly rule: Rule
  readonly isRequired: boolean
}

const object = (ast: SchemaAST.Objects): Rule | undefined => {
  const others = othersOf(ast)
  if (others === undefined) return undefined
  const properties = ast.propertySignatures.map(({ name, type }) => ({
    name: String(name),
    rule: fromAst(type),
    isRequired: !SchemaAST.isOptional(type),
  }))
  const names = new Set(properties.map(({ name }) => name))
  return {
    emit: (value, code) => `${code.function(ast, () => emitObject(properties, others, code))}(${value})`,
    explain: (value, search) => {
      if (search.canSkip(ast, value)) return
      if (!isObject(value)) {
        search.add("type", "object", describe(value))
        return
      }
      const explainMember = (name: string, rule: Rule) => {
        search.enter(name)
        rule.explain(value[name], search)
        search.leave()
      }
      const present = new Set(Object.keys(value).filter((name) => value[name] !== undefined))
      for (const { name, isRequired } of properties) {
        if (isRequired && !present.has(name)) search.addMissing(name)
      }
      const unknown = [...present].filter((name) => !names.has(name))
      if (others === none) {
        for (const name of unknown.slice(0, maxFaults)) {
          search.addUnknown(name)
        }
      }
      for (const { name, rule } of properties) {
        if (present.has(name)) explainMember(name, rule)
      }
      if (others !== none) {
        for (const name of unknown) explainMember(name, others)
      }
    },
  }
}

/** The body of a function of `v`. What it says no to by mistake, {@link Rule.explain} puts right. */
const emitObject = (properties: ReadonlyArray<Property>, others: Rule, code: Code): string => {
  const required = properties.filter(({ isRequired }) => isRequired)
  const members = properties.map(({ name, rule, isRequired }) => {
    const valid = rule.emit("x", code)
    return isRequired
      ? `x = v[${JSON.stringify(name)}]; if (x === undefined || !(${valid})) return false`
      : `x = v[${JSON.stringify(name)}]; if (x !== undefined) { if (!(${valid})) return false; n++ }`
  })
  return `
    if (typeof v !== "object" || v === null) return false
    const p = Object.getPrototypeOf(v)
    if (p !== Object.prototype && p !== null) return false
    let x, n = 0
    ${members.join("\n")}
    ${others === none ? emitNoOthers(required) : emitOthers(required, others, code)}`
}

/** All properties are known when there are as many as have been found: the required ones and `n` others. */
const emitNoOthers = (required: ReadonlyArray<Property>): string => `
  for (const k in v) n--
  return n === ${-required.length}`

/** A required property is looked for once more, because one that cannot be enumerated is not sent. */
const emitOthers = (required: ReadonlyArray<Property>, others: Rule, code: Code): string => {
  const check =
    others === anything
      ? `if (n === ${required.length}) return true`
      : `x = v[k]; if (x !== undefined && !(${others.emit("x", code)})) return false`
  return `
    if (typeof v.toJSON === "function") return false
    n = 0
    for (const k in v) {
      ${required.map(({ name }) => `if (k === ${JSON.stringify(name)}) n++`).join("\n")}
      ${check}
    }
    return n === ${required.length}`
}

/** What an unknown property has to be where there must be none. */
const none: Rule = { emit: () => "false", explain: () => {} }

/** The rule for the properties that an object does not name; nothing when JSON Schema has no such objects. */
const othersOf = (ast: SchemaAST.Objects): Rule | undefined => {
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
  return checks.length === 0 && check.annotations?.representation?.id === checkId.unknownProperty ? none : undefined
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !hasToJson(value)

const suspended = (ast: SchemaAST.Suspend): Rule => {
  const rule = () => fromAst(SchemaAST.toType(ast.thunk()))
  return {
    emit: (value, code) => `${code.function(ast, () => `return ${rule().emit("v", code)}`)}(${value})`,
    explain: (value, search) => rule().explain(value, search),
  }
}

/** The rule for any other node: the verdict of Effect's parser. */
const parsed = (ast: SchemaAST.AST): Rule => {
  const schema = Schema.make<Schema.Codec<unknown>>(ast)
  const accepts = SchemaParser.is(schema)
  const decode = SchemaParser.decodeUnknownResult(schema)
  return {
    emit: (value, code) => `${code.constant(accepts)}(${value})`,
    explain: (value, search) => {
      const result = decode(value, { errors: "all" })
      if (Result.isFailure(result)) addIssue(result.failure, value, search)
    },
  }
}

const explainChecks = (checks: ReadonlyArray<Check>, value: unknown, search: Search): void => {
  for (const { filter, run } of checks) {
    const issue = run(value)
    if (issue === undefined) continue
    addFilter(filter, issue, value, search)
    if (filter.aborted) return
  }
}

/**
 * What a shape asks of a JSON value.
 *
 * A rule judges what `JSON.stringify` would send: only an object's own enumerable properties count, one whose value is
 * `undefined` is absent, and what has a `toJSON` method is no object.
 */
import type { Check } from "./Check.ts"
import { alternatives, describe, hasToJson, maxFaults, type Search } from "./Fault.ts"
import type { Code } from "./Guard.ts"
import type { ObjectShape, Property, Shape } from "./Shape.ts"

/** What a value has to be, told twice: as code that is quick to say yes, and as a search for what is wrong. */
export interface Rule {
  /**
   * A JavaScript expression over a variable. When it is true, {@link explain} finds no fault in the variable's value; for
   * a value that is made of what `JSON.parse` makes, it is true for every value without fault.
   */
  readonly emit: (value: string, code: Code) => string
  /**
   * Finds the faults of a value. In an object first the missing properties, then the unknown ones, then the faults of the
   * values, each in the order of the shape (the unknown ones: of the payload).
   */
  readonly explain: (value: unknown, search: Search) => void
}

const rules = new WeakMap<Shape, Rule>()

/** The rule of a shape. */
export const of = (shape: Shape): Rule => {
  let rule = rules.get(shape)
  if (rule === undefined) {
    rule = ruleOf(shape)
    rules.set(shape, rule)
  }
  return rule
}

const ruleOf = (shape: Shape): Rule => {
  switch (shape.is) {
    case "anything":
      return anything
    case "boolean":
      return boolean
    case "string":
      return string(shape.checks)
    case "number":
      return number(shape.checks)
    case "enumeration":
      return enumeration(shape.values)
    case "array":
      return array(shape)
    case "object":
      return object(shape)
    case "suspended":
      return suspended(shape)
    case "foreign":
      return shape.rule
  }
}

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

const number = (checks: ReadonlyArray<Check>): Rule => {
  const type = checks.find(({ keyword }) => keyword === "type")?.expected ?? "number"
  return {
    emit: (value, code) => [`Number.isFinite(${value})`, ...checks.map(({ emit }) => emit(value, code))].join(" && "),
    explain: (value, search) => {
      if (!Number.isFinite(value)) search.add("type", type, describe(value))
      else explainChecks(checks, value, search)
    },
  }
}

const enumeration = (literals: ReadonlyArray<unknown>): Rule => {
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

const array = (shape: Shape & { readonly is: "array" }): Rule => {
  const { checks } = shape
  const item = of(shape.item)
  return {
    emit: (value, code) => {
      const name = code.function(shape, () => {
        const isList = ["Array.isArray(v)", ...checks.map(({ emit }) => emit("v", code))].join(" && ")
        return `
          if (!(${isList})) return false
          for (let i = 0; i < v.length; i++) { const x = v[i]; if (!(${item.emit("x", code)})) return false }
          return true`
      })
      return `${name}(${value})`
    },
    explain: (value, search) => {
      if (search.canSkip(shape, value)) return
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

interface Member {
  readonly name: string
  readonly rule: Rule
  readonly isRequired: boolean
}

const memberOf = ({ isRequired, name, shape }: Property): Member => ({ name, rule: of(shape), isRequired })

const object = (shape: ObjectShape): Rule => {
  const members = shape.properties.map(memberOf)
  const others = shape.others === undefined ? none : of(shape.others)
  const names = new Set(members.map(({ name }) => name))
  return {
    emit: (value, code) => `${code.function(shape, () => emitObject(members, others, code))}(${value})`,
    explain: (value, search) => {
      if (search.canSkip(shape, value)) return
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
      for (const { name, isRequired } of members) {
        if (isRequired && !present.has(name)) search.addMissing(name)
      }
      const unknown = [...present].filter((name) => !names.has(name))
      if (others === none) {
        for (const name of unknown.slice(0, maxFaults)) {
          search.addUnknown(name)
        }
      }
      for (const { name, rule } of members) {
        if (present.has(name)) explainMember(name, rule)
      }
      if (others !== none) {
        for (const name of unknown) explainMember(name, others)
      }
    },
  }
}

/** The body of a function of `v`. What it says no to by mistake, {@link Rule.explain} puts right. */
const emitObject = (properties: ReadonlyArray<Member>, others: Rule, code: Code): string => {
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
const emitNoOthers = (required: ReadonlyArray<Member>): string => `
  for (const k in v) n--
  return n === ${-required.length}`

/** A required property is looked for once more, because one that cannot be enumerated is not sent. */
const emitOthers = (required: ReadonlyArray<Member>, others: Rule, code: Code): string => {
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

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !hasToJson(value)

const suspended = (shape: Shape & { readonly is: "suspended" }): Rule => {
  const rule = () => of(shape.shape())
  return {
    emit: (value, code) => `${code.function(shape, () => `return ${rule().emit("v", code)}`)}(${value})`,
    explain: (value, search) => rule().explain(value, search),
  }
}

const explainChecks = (checks: ReadonlyArray<Check>, value: unknown, search: Search): void => {
  for (const { explain } of checks) if (explain(value, search)) return
}

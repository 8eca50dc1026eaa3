/**
 * Compiles a shape to guards: generated code that quickly says whether a value is valid.
 *
 * A guard's yes is final. Its no is not: the code is written for values from `JSON.parse`, and says no to instances of classes and
 * to properties that are `undefined`. After a no, `explain` decides.
 */
import type { Constraint } from "./Constraint.ts"
import type { ArrayShape, ObjectShape, Property, Shape } from "./Shape.ts"

/** Says whether a value is certainly valid. */
export type Guard = (value: unknown) => boolean

/** The guard of a shape, and those of the shapes inside. */
export interface Guards {
  readonly guard: Guard
  /** Empty for a recursive shape: asking at each level would read a payload as often as it is deep. */
  readonly inside: ReadonlyMap<Shape, Guard>
}

/** Compiles a shape. Where code generation is forbidden, its guard always says no. */
export const compile = (shape: Shape): Guards => {
  const code = new Code()
  const isValid = code.expression(shape, "v")
  const source = [
    '"use strict"',
    ...code.functions,
    // A property that a program gave to all objects would pass for the payload's own.
    "const guard = (v) => {\nfor (const k in Object.prototype) return false",
    `return ${isValid}\n}`,
    `return [guard, [${[...code.names.values()].join(", ")}]]`,
  ].join("\n")
  try {
    const [guard, inside] = new Function(...code.constants.map((_, i) => `c${i}`), source)(...code.constants)
    const shapes = code.isRecursive ? [] : [...code.names.keys()]
    return { guard, inside: new Map(shapes.map((shape, index) => [shape, inside[index]])) }
  } catch {
    return { guard: () => false, inside: new Map() }
  }
}

/** The code of one guard, while it is being written. */
class Code {
  readonly constants: Array<unknown> = []
  readonly functions: Array<string> = []
  /** The names of the functions, by shape. */
  readonly names = new Map<Shape, string>()
  isRecursive = false
  readonly #constantNames = new Map<unknown, string>()

  /** An expression that is true when the value of a variable certainly has a shape. */
  expression(shape: Shape, x: string): string {
    switch (shape.is) {
      case "anything":
        return "true"
      case "boolean":
        return `typeof ${x} === "boolean"`
      case "string":
        return this.#all(`typeof ${x} === "string"`, shape.constraints, x)
      case "number":
        return this.#all(`Number.isFinite(${x})`, shape.constraints, x)
      case "enumeration":
        return `${this.#constant(shape, new Set(shape.values))}.has(${x})`
      case "array":
        return `${this.#function(shape, () => this.#array(shape))}(${x})`
      case "object":
        return `${this.#function(shape, () => this.#object(shape))}(${x})`
      case "suspended":
        this.isRecursive = true
        return `${this.#function(shape, () => `return ${this.expression(shape.shape(), "v")}`)}(${x})`
      case "foreign":
        return `${this.#constant(shape.accepts)}(${x})`
    }
  }

  /** An expression that is true when `type` is true and all constraints are satisfied. */
  #all(type: string, constraints: ReadonlyArray<Constraint>, x: string): string {
    const satisfied = constraints.map(({ accepts, quick }) => {
      const call = `${this.#constant(accepts)}(${x})`
      return quick === undefined ? call : `(${quick(x)} || ${call})`
    })
    return [type, ...satisfied].join(" && ")
  }

  /** The name of a constant; equal keys share one. */
  #constant(key: unknown, value = key): string {
    let name = this.#constantNames.get(key)
    if (name === undefined) {
      name = `c${this.constants.push(value) - 1}`
      this.#constantNames.set(key, name)
    }
    return name
  }

  /** The name of a function of `v`; each shape has one. */
  #function(shape: Shape, body: () => string): string {
    let name = this.names.get(shape)
    if (name === undefined) {
      name = `f${this.names.size}`
      // A shape may contain itself, so the name comes before the body.
      this.names.set(shape, name)
      this.functions.push(`const ${name} = (v) => {\n${body()}\n}`)
    }
    return name
  }

  #array({ constraints, item }: ArrayShape): string {
    const isArray = this.#all("Array.isArray(v)", constraints, "v")
    if (item.is === "anything") return `return ${isArray}`
    return `
      if (!(${isArray})) return false
      for (let i = 0; i < v.length; i++) { const x = v[i]; if (!(${this.expression(item, "x")})) return false }
      return true`
  }

  #object({ others, properties }: ObjectShape): string {
    const members = Array.from(properties, ([name, property]) => this.#member(name, property))
    const required = [...properties].flatMap(([name, { isRequired }]) => (isRequired ? [name] : []))
    return `
      if (typeof v !== "object" || v === null) return false
      const p = Object.getPrototypeOf(v)
      if (p !== Object.prototype && p !== null) return false
      let x, n = 0
      ${members.join("\n")}
      ${others === undefined ? noOthers(required) : this.#others(required, others)}`
  }

  /** Checks a named property, and counts it in `n` when it is optional and present. */
  #member(name: string, { isRequired, shape }: Property): string {
    const isValid = this.expression(shape, "x")
    return isRequired
      ? `x = v[${JSON.stringify(name)}]; if (x === undefined || !(${isValid})) return false`
      : `x = v[${JSON.stringify(name)}]; if (x !== undefined) { if (!(${isValid})) return false; n++ }`
  }

  /** Looks for the required properties once more: a property that is not enumerable is not sent. */
  #others(required: ReadonlyArray<string>, others: Shape): string {
    const check =
      others.is === "anything"
        ? `if (n === ${required.length}) return true`
        : `x = v[k]; if (x !== undefined && !(${this.expression(others, "x")})) return false`
    return `
      if (typeof v.toJSON === "function") return false
      n = 0
      for (const k in v) {
        ${required.map((name) => `if (k === ${JSON.stringify(name)}) n++`).join("\n")}
        ${check}
      }
      return n === ${required.length}`
  }
}

/** Says yes when there are no more properties than have been found: the required ones and `n` others. */
const noOthers = (required: ReadonlyArray<string>): string => `
      for (const k in v) n--
      return n === ${-required.length}`

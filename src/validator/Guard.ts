/**
 * Compiles a rule to a function that says whether a payload is valid: generated code where `new Function` is allowed,
 * otherwise the rule's own search for faults.
 *
 * A guard's yes is final. Its no is not: code that is generated for payloads as `JSON.parse` makes them also says no to
 * objects of a class and to properties that are `undefined`, and whoever asks has to see if there is a fault.
 */
import { Search } from "./Fault.ts"
import type { Rule } from "./Rule.ts"

/** The code of one guard, while it is being written. */
export class Code {
  readonly constants: Array<unknown> = []
  readonly functions = new Map<object, string>()
  readonly bodies: Array<string> = []
  private readonly indexes = new Map<unknown, number>()

  /** The name of a constant. */
  constant(value: unknown): string {
    let index = this.indexes.get(value)
    if (index === undefined) {
      index = this.constants.push(value) - 1
      this.indexes.set(value, index)
    }
    return `c${index}`
  }

  /** The name of a function of `v`, which is written once for each type. */
  function(type: object, body: () => string): string {
    let name = this.functions.get(type)
    if (name === undefined) {
      name = `f${this.functions.size}`
      // A type may refer to itself, so its function has a name before it has a body.
      this.functions.set(type, name)
      this.bodies.push(`const ${name} = (v) => {\n${body()}\n}`)
    }
    return name
  }
}

/** Says whether a value is certainly valid. */
export type Guard = (value: unknown) => boolean

export interface Compiled {
  readonly guard: Guard
  /** Guards of the types inside. */
  readonly parts: ReadonlyMap<object, Guard>
}

/** The guard of a rule. */
export const compile = (rule: Rule): Compiled => {
  const code = new Code()
  const valid = rule.emit("v", code)
  const names = code.constants.map((_, index) => `c${index}`)
  const source = [
    '"use strict"',
    ...code.bodies,
    // A property that someone gave to all objects would pass for the payload's own.
    "const guard = (v) => {\nfor (const k in Object.prototype) return false",
    `return ${valid}\n}`,
    `return [guard, [${[...code.functions.values()].join(", ")}]]`,
  ].join("\n")
  try {
    const [guard, parts] = new Function(...names, source)(...code.constants)
    return { guard, parts: new Map([...code.functions.keys()].map((type, index) => [type, parts[index]])) }
  } catch {
    const guard = (payload: unknown) => {
      const search = new Search(new Map(), 1)
      rule.explain(payload, search)
      return search.faults.length === 0
    }
    return { guard, parts: new Map() }
  }
}

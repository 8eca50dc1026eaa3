/** A search for violations in one payload. */
import { maxDescriptionLength } from "../RPCError.ts"
import { maxViolations, type Violation } from "./Violation.ts"
import { shortened } from "./wording.ts"

/** The place of a value: a member of the value at another place, or `undefined` for the payload itself. */
export type Place = { readonly of: Place; readonly key: PropertyKey } | undefined

/** Collects violations. */
export class Search {
  readonly violations: Array<Violation> = []
  readonly #guards: ReadonlyMap<object, (value: unknown) => boolean>

  /** @param guards by shape; they say whether a value is certainly valid */
  constructor(guards: ReadonlyMap<object, (value: unknown) => boolean>) {
    this.#guards = guards
  }

  /** Says whether there are as many violations as an error lists: then the search may end. */
  get isFull(): boolean {
    return this.violations.length >= maxViolations
  }

  /** Says whether a value certainly has no violations. */
  canSkip(shape: object, value: unknown): boolean {
    // A property that a program gave to all objects would pass for the value's own.
    for (const _ in Object.prototype) return false
    return this.#guards.get(shape)?.(value) ?? false
  }

  /** Notes a violation, unless the search is full. */
  add(at: Place, keyword: string, expected: string, actual: string, message?: string): void {
    if (this.isFull) return
    this.violations.push({
      instancePath: pointerTo(at),
      keyword,
      message: message === undefined ? `expected ${expected}; got ${actual}` : shortened(message, maxDescriptionLength),
      expected,
      actual,
    })
  }
}

/** The longest pointer in characters. Only the payload of a recursive Schema reaches it. */
const maxPointerLength = 200

/** The JSON Pointer (RFC 6901) to a place. Long keys of a payload are shortened. */
const pointerTo = (place: Place): string => {
  const steps: Array<string> = []
  for (let at = place; at !== undefined; at = at.of) {
    steps.push(`/${shortened(String(at.key), 64).replace(/~/g, "~0").replace(/\//g, "~1")}`)
  }
  return shortened(steps.reverse().join(""), maxPointerLength)
}

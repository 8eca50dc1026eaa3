/** A search for violations in one payload. */
import { maxDescriptionLength } from "../RPCError.ts"
import { maxViolations, type Violation } from "./Violation.ts"
import { shortened } from "./wording.ts"

/** The place of a value in a payload: the key of a member of the value at another place, or nothing for the payload itself. */
export type Place = { readonly of: Place; readonly key: PropertyKey } | undefined

/** The violations that have been found. */
export class Search {
  readonly violations: Array<Violation> = []
  readonly #guards: ReadonlyMap<object, (value: unknown) => boolean>

  /** @param guards say of values of some shapes whether they are certainly valid */
  constructor(guards: ReadonlyMap<object, (value: unknown) => boolean>) {
    this.#guards = guards
  }

  /** Whether there are as many violations as an error lists: then nothing needs to be looked at any more. */
  get isFull(): boolean {
    return this.violations.length >= maxViolations
  }

  /** Whether there is certainly nothing to find in a value. */
  canSkip(shape: object, value: unknown): boolean {
    // A property that someone gave to all objects would pass for the value's own.
    for (const _ in Object.prototype) return false
    return this.#guards.get(shape)?.(value) ?? false
  }

  /** Notes a violation; one too many is forgotten. */
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

/** No OCPP message has a longer pointer; the payload of a Schema that refers to itself may. */
const maxPointerLength = 200

/** The JSON Pointer (RFC 6901) to a place. Keys that came with the payload may be long. */
const pointerTo = (place: Place): string => {
  const steps: Array<string> = []
  for (let at = place; at !== undefined; at = at.of) {
    steps.push(`/${shortened(String(at.key), 64).replace(/~/g, "~0").replace(/\//g, "~1")}`)
  }
  return shortened(steps.reverse().join(""), maxPointerLength)
}

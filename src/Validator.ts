/**
 * "Does this payload satisfy that action?"
 *
 * A validator answers with nothing when a payload is valid, otherwise with the {@link RPCError} that OCPP asks for. The error
 * names the place, the expectation and the actual value. A validator never changes a value.
 */
import type { RPCError } from "./RPCError.ts"
import { compile, type Guards } from "./validator/compile.ts"
import { explain } from "./validator/explain.ts"
import { Search } from "./validator/Search.ts"
import type { Shape } from "./validator/Shape.ts"
import { refusal, toError, unreadable } from "./validator/Violation.ts"

/** One of the two payloads of an action: that of its CALL or SEND, or that of its CALLRESULT. */
export type Part = "request" | "response"

/** Judges the payloads of one subprotocol. */
export interface Validator {
  /** The name of the subprotocol. */
  readonly subprotocol: string
  /**
   * Judges a payload: `undefined` means valid. The first violation decides the error's code and description; its details list
   * all violations, at most ten. `null` is taken for `{}`. An unknown action or part gives a `ProtocolError`. The error has no
   * stack trace: it is about the payload.
   */
  readonly check: (action: string, part: Part, payload: unknown) => RPCError | undefined
}

/** Makes a validator of shapes. Each shape is compiled when its first payload arrives. */
export const fromShapes = (
  subprotocol: string,
  shapeOf: (action: string, part: Part) => Shape | undefined,
): Validator => {
  const compiled = { request: new Map<string, Compiled>(), response: new Map<string, Compiled>() }
  const compiledFor = (action: string, part: Part): Compiled | undefined => {
    const known = compiled[part].get(action)
    if (known !== undefined) return known
    const shape = shapeOf(action, part)
    if (shape === undefined) return undefined
    const added = { shape, ...compile(shape) }
    compiled[part].set(action, added)
    return added
  }
  return {
    subprotocol,
    check: (action, part, payload) => {
      const known = compiledFor(action, part)
      if (known === undefined)
        return refusal("ProtocolError", `${subprotocol} has no schema for the ${part} of ${action}`)
      const value = payload === null ? {} : payload
      try {
        if (known.guard(value)) return undefined
        const search = new Search(known.inside)
        explain(known.shape, value, undefined, search)
        const [first, ...others] = search.violations
        return first === undefined ? undefined : toError([first, ...others])
      } catch {
        // A getter that throws, or nesting deeper than the stack.
        return unreadable()
      }
    },
  }
}

interface Compiled extends Guards {
  readonly shape: Shape
}

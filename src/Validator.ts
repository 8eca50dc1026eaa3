/**
 * "Does this payload satisfy that action?"
 *
 * A validator gives the verdict on one payload: nothing when it is valid, otherwise the {@link RPCError} that says where
 * it fails, what was expected and what came, with the code that OCPP asks for. It never changes a value.
 */
import type { RPCError } from "./RPCError.ts"
import { compile, type Guards } from "./validator/compile.ts"
import { explain } from "./validator/explain.ts"
import { Search } from "./validator/Search.ts"
import type { Shape } from "./validator/Shape.ts"
import { refusal, toError, unreadable } from "./validator/Violation.ts"

/** Which payload of an action: of the CALL or SEND, or of the CALLRESULT. */
export type Part = "request" | "response"

/** The verdict on the payloads of one subprotocol. */
export interface Validator {
  /** The subprotocol whose payloads it knows. */
  readonly subprotocol: string
  /**
   * Judges a payload: `undefined` when it is valid, otherwise the error. The first violation decides its code and description,
   * all of them (at most ten) are in its details. `null` is taken for `{}`. An action or part that the validator does not know
   * gives an error of the code `ProtocolError`.
   */
  readonly check: (action: string, part: Part, payload: unknown) => RPCError | undefined
}

/** A validator of payloads whose shapes are known. Each shape is compiled when its first payload arrives. */
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

/**
 * "Does this payload satisfy that action?"
 *
 * A validator gives the verdict on one payload: nothing when it is valid, otherwise the {@link RPCError} that says where
 * it fails, what was expected and what came, with the code that OCPP asks for. It never changes a value.
 */
import { type RPCError, RPCFormatViolationError, RPCProtocolError } from "./RPCError.ts"
import { Search, toError } from "./validator/Fault.ts"
import * as Guard from "./validator/Guard.ts"
import * as Rule from "./validator/Rule.ts"
import type { Shape } from "./validator/Shape.ts"

/** Which payload of an action: of the CALL or SEND, or of the CALLRESULT. */
export type Part = "request" | "response"

/** The verdict on the payloads of one subprotocol. */
export interface Validator {
  /** The subprotocol whose payloads it knows. */
  readonly subprotocol: string
  /**
   * `undefined` when the payload is valid, otherwise the error: the first fault decides its code and description, all of
   * them (at most ten) are in its details. `null` is taken for `{}`. An action or part that the validator does not know
   * gives an {@link RPCProtocolError}.
   */
  readonly check: (action: string, part: Part, payload: unknown) => RPCError | undefined
}

/** A validator of payloads whose shapes are known. Each shape is compiled when its first payload arrives. */
export const fromShapes = (
  subprotocol: string,
  shapeOf: (action: string, part: Part) => Shape | undefined,
): Validator => {
  const judges = { request: new Map<string, Judge>(), response: new Map<string, Judge>() }
  const judgeOf = (action: string, part: Part): Judge | undefined => {
    const known = judges[part].get(action)
    if (known !== undefined) return known
    const shape = shapeOf(action, part)
    if (shape === undefined) return undefined
    const judge = judgeBy(Rule.of(shape))
    judges[part].set(action, judge)
    return judge
  }
  return {
    subprotocol,
    check: (action, part, payload) => {
      const judge = judgeOf(action, part)
      if (judge === undefined) return new RPCProtocolError(`${subprotocol} has no schema for the ${part} of ${action}`)
      return judge(payload === null ? {} : payload)
    },
  }
}

type Judge = (payload: unknown) => RPCError | undefined

const judgeBy = (rule: Rule.Rule): Judge => {
  const { guard, parts } = Guard.compile(rule)
  return (payload) => {
    try {
      if (guard(payload)) return undefined
      const search = new Search(parts)
      rule.explain(payload, search)
      const [first, ...others] = search.faults
      return first === undefined ? undefined : toError([first, ...others])
    } catch {
      // A getter that throws, or nesting deeper than the stack.
      return unreadable()
    }
  }
}

const unreadable = () => new RPCFormatViolationError("/: expected a readable payload; got one that cannot be read")

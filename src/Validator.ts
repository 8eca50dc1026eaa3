/**
 * "Does this payload satisfy that action?"
 *
 * A validator gives the verdict on one payload: nothing when it is valid, otherwise the {@link RPCError} that says where
 * it fails, what was expected and what came, with the code that OCPP asks for. It never changes a value.
 */
import type * as Schema from "effect/Schema"
import type * as Action from "./Action.ts"
import { type RPCError, RPCFormatViolationError, RPCProtocolError } from "./RPCError.ts"
import { Search, toError } from "./validator/Fault.ts"
import * as Guard from "./validator/Guard.ts"
import * as Rule from "./validator/Rule.ts"

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

/** A validator made of the Schemas of some actions. Each is compiled when its first payload arrives. */
export const fromActions = (subprotocol: string, actions: ReadonlyMap<string, Action.Any>): Validator => {
  const requests = new Map<string, Judge>()
  const responses = new Map<string, Judge>()
  const judgeOf = (name: string, part: Part): Judge | undefined => {
    const judges = part === "request" ? requests : responses
    const known = judges.get(name)
    if (known !== undefined) return known
    const schema = schemaOf(actions.get(name), part)
    if (schema === undefined) return undefined
    const judge = judgeBy(Rule.fromSchema(schema))
    judges.set(name, judge)
    return judge
  }
  return {
    subprotocol,
    check: (name, part, payload) => {
      const judge = judgeOf(name, part)
      if (judge === undefined) return new RPCProtocolError(`${subprotocol} has no schema for the ${part} of ${name}`)
      return judge(payload === null ? {} : payload)
    },
  }
}

const schemaOf = (action: Action.Any | undefined, part: Part): Schema.Constraint | undefined =>
  part === "request" ? action?.request : action?.kind === "call" ? action.response : undefined

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

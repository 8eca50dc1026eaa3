/**
 * One subprotocol: its name, its actions, the frame types it knows, how it spells its errors, and its validator.
 *
 * A protocol is an open value. `Ocpp16`, `Ocpp201` and `Ocpp21` are made with the same {@link make} as one of your own,
 * and {@link extend} adds actions to either. The actions are reachable by name on the protocol itself:
 *
 * ```ts
 * const Echo10 = Protocol.make("echo1.0", [Echo])
 * station.call(Echo10.Echo, { text: "hello" })
 * ```
 */
import type * as Action from "./Action.ts"
import type { Spelling } from "./RPCError.ts"
import type { Subprotocol } from "./Subprotocol.ts"
import * as Validator from "./Validator.ts"
import { fromSchema } from "./validator/fromSchema.ts"
import type { Shape } from "./validator/Shape.ts"

/** A subprotocol without its actions as properties. */
export interface Protocol<out Name extends string = string, out Actions extends Action.Any = Action.Any>
  extends Subprotocol {
  readonly name: Name
  readonly actions: ReadonlyMap<string, Actions>
  readonly validator: Validator.Validator
}

/** A subprotocol with its actions as properties. */
export type WithActions<Name extends string, Actions extends Action.Any> = Protocol<Name, Actions> & {
  readonly [A in Actions as A["name"]]: A
}

/** What {@link make} can be told beside the name and the actions. */
export interface Options {
  /** Whether frames of type 5 (CALLRESULTERROR) and 6 (SEND) exist. Default `false`: OCPP 2.1 brought them. */
  readonly extendedFrames?: boolean
  /** How the two codes with two spellings leave. Default `"2.x"`. */
  readonly spelling?: Spelling
  /** Default: one made of the actions' Schemas. */
  readonly validator?: Validator.Validator
}

/**
 * A subprotocol of some actions.
 *
 * @throws {TypeError} when two actions have the same name, or one is a SEND and `extendedFrames` is off.
 */
export const make = <const Name extends string, const Actions extends ReadonlyArray<Action.Any>>(
  name: Name,
  actions: Actions,
  options: Options = {},
): WithActions<Name, Actions[number]> => {
  const byName = new Map<string, Actions[number]>()
  const extendedFrames = options.extendedFrames ?? false
  for (const action of actions) {
    if (byName.has(action.name)) throw new TypeError(`${name}: two actions are named ${action.name}`)
    if (action.kind === "send" && !extendedFrames) {
      throw new TypeError(`${name}: ${action.name} is a SEND, which needs extendedFrames: true`)
    }
    byName.set(action.name, action)
  }
  return Object.assign(Object.fromEntries(byName), {
    name,
    actions: byName,
    extendedFrames,
    spelling: options.spelling ?? "2.x",
    validator: options.validator ?? Validator.fromShapes(name, (action, part) => shapeOf(byName.get(action), part)),
  }) as WithActions<Name, Actions[number]>
}

/** What the payload of an action has to look like; nothing for the response of a SEND, which has none. */
export const shapeOf = (action: Action.Any | undefined, part: Validator.Part): Shape | undefined => {
  const schema = part === "request" ? action?.request : action?.kind === "call" ? action.response : undefined
  return schema === undefined ? undefined : fromSchema(schema)
}

/** The same subprotocol with further actions; an action whose name exists already takes its place. */
export const extend = <Name extends string, Actions extends Action.Any, const Added extends ReadonlyArray<Action.Any>>(
  protocol: Protocol<Name, Actions>,
  added: Added,
): WithActions<Name, Exclude<Actions, { readonly name: Added[number]["name"] }> | Added[number]> =>
  make(
    protocol.name,
    [...new Map<string, Action.Any>([...protocol.actions, ...added.map((a) => [a.name, a] as const)]).values()],
    { extendedFrames: protocol.extendedFrames, spelling: protocol.spelling },
  ) as never

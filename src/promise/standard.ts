/** The three versions of OCPP as the promise face speaks them: no Schemas, and each read when it is first spoken. */
import type { Subprotocol } from "../Subprotocol.ts"
import { fromShapes, type Part, type Validator } from "../Validator.ts"
import { unpack } from "../validator/Packed.ts"
import { type Messages, messages } from "./messages.ts"

const read = new Map<string, Subprotocol>()

/** The names of the versions. */
export const names: ReadonlyArray<string> = Object.keys(messages)

/** A version by the name of its subprotocol. */
export const standard = (name: string): Subprotocol | undefined => {
  let subprotocol = read.get(name)
  if (subprotocol === undefined && Object.hasOwn(messages, name)) {
    subprotocol = fromText(name, (messages[name] as () => string)())
    read.set(name, subprotocol)
  }
  return subprotocol
}

const fromText = (name: string, text: string): Subprotocol => {
  const { calls, extendedFrames, payloads, sends, spelling } = JSON.parse(text) as Messages
  const shapeOf = unpack(payloads)
  return {
    name,
    actions: new Map<string, { readonly kind: "call" | "send" }>([
      ...calls.map((action) => [action, { kind: "call" }] as const),
      ...sends.map((action) => [action, { kind: "send" }] as const),
    ]),
    extendedFrames,
    spelling,
    validator: fromShapes(name, (action, part) => shapeOf(`${part} ${action}`)),
  }
}

/** The verdict of a version's own validator. */
export const checkBy =
  (name: string): Validator["check"] =>
  (action: string, part: Part, payload: unknown) =>
    standard(name)?.validator?.check(action, part, payload)

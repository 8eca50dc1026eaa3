/**
 * What a connection has to know of the subprotocol that it speaks. `Protocol` has that, and Schemas and types besides.
 */
import type { Spelling } from "./RPCError.ts"
import type { Validator } from "./Validator.ts"

/** What a connection has to know of a subprotocol. */
export interface Subprotocol {
  /** The subprotocol's name in `Sec-WebSocket-Protocol`, for instance `ocpp1.6`. */
  readonly name: string
  /** The actions by name. */
  readonly actions: ReadonlyMap<string, { readonly kind: "call" | "send" }>
  /** Whether frames of type 5 (CALLRESULTERROR) and 6 (SEND) exist. */
  readonly extendedFrames: boolean
  /** How the two codes with two spellings leave. */
  readonly spelling: Spelling
  /** Says whether a payload satisfies an action; `undefined` when nothing is known about payloads. */
  readonly validator: Validator | undefined
}

/** The subprotocol of a subprotocol of which nothing but its name is known; `""` for no subprotocol. */
export const unknown = (name = ""): Subprotocol => ({
  name,
  actions: new Map(),
  extendedFrames: false,
  spelling: "2.x",
  validator: undefined,
})

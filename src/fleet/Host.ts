/** What a fleet needs of the server of its node: both faces' servers have it. */
import type * as Effect from "effect/Effect"
import type { CallOptions, CloseInfo, CloseOptions } from "../Connection.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { CallFailure } from "./failures.ts"
import { isRecord, isString } from "./guards.ts"

/** A station that is connected to this node. */
export interface HostStation {
  readonly identity: string
  readonly protocol: string
  readonly state: number
  readonly call: (action: string, request?: unknown, options?: CallOptions) => Effect.Effect<unknown, CallFailure>
  readonly send: (action: string, request?: unknown) => Effect.Effect<void, CallFailure>
  readonly close: (options?: CloseOptions) => Effect.Effect<CloseInfo>
}

/** What happens to a server, as far as a fleet is interested. */
export type HostEvent<S> =
  | { readonly _tag: "Connected" | "Disconnected"; readonly station: S }
  | { readonly _tag: "Other" }

/** The server of this node. */
export interface Host<S extends HostStation> {
  /** The stations that are connected now, the newest of each identity last. */
  readonly stations: Effect.Effect<ReadonlyArray<S>>
  readonly subscribe: (observer: (event: HostEvent<S>) => void) => () => void
  /** The subprotocols that it serves, where they are known. */
  readonly protocols: ReadonlyArray<Subprotocol>
}

/** Whether a value is a list of subprotocols. */
export const isDialects = (value: unknown): value is ReadonlyArray<Subprotocol> =>
  Array.isArray(value) && value.every((one) => isRecord(one) && isString(one.name) && one.actions instanceof Map)

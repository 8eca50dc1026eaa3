/** The signing of a program. */
import * as Context from "effect/Context"
import { make } from "./Session.ts"
import type { Signing as Port } from "./Signing.ts"

/** {@link Port} */
export type Signing = Port

/**
 * How connections sign and verify where they are told nothing else. The default signs nothing and verifies nothing, but
 * understands what is signed, as every receiver must.
 */
export const Signing = Context.Reference<Port>("effect-ocpp/Signing", { defaultValue: () => make({}) })

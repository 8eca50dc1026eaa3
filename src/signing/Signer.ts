/** Who signs. `Signing.signer` makes one of a key, or of whatever else can sign. */
import type * as Effect from "effect/Effect"
import type { Algorithm } from "./Algorithm.ts"

/** Signs: with a key in memory, or by way of a secure element that never lets its key out. */
export interface Signer {
  readonly algorithm: Algorithm
  /** The SHA-256 of the certificate of its key, base64url, by which a receiver finds that (`x5t#S256`). */
  readonly certificateHash: string | undefined
  /** Signs some bytes. Of `ES256` the signature is the 64 bytes of R and S, never DER. */
  readonly sign: (input: Uint8Array) => Effect.Effect<Uint8Array, unknown>
}

/** What a handler can know of the signature of its message. */
import * as Context from "effect/Context"
import type { Header } from "./Jws.ts"
import type { VerificationKey } from "./Keys.ts"

/**
 * The signature of a message that was signed.
 *
 * Where `verified` is `false` nobody has looked at the signature: anyone may have written the header.
 */
export interface Signed {
  /** The protected header. */
  readonly header: Header
  /** The SHA-256 of the certificate that the header names (`x5t#S256`), base64url. */
  readonly certificateHash: string | undefined
  /** Whether the signature is that of `key`, and was made for a message of this action and type. */
  readonly verified: boolean
  /** The key with which the signature was verified: the very one that the program's `Keys` have given. */
  readonly key: VerificationKey | undefined
  /** The payload as the signer wrote it. */
  readonly text: string
}

/** The signature of the message that is being handled; `undefined` when it was not signed. */
export const Signed = Context.Reference<Signed | undefined>("effect-ocpp/Signing/Signed", {
  defaultValue: () => undefined,
})

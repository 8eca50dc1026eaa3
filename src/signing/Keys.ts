/** Whose signatures are believed: a key for each signer, found by what a message says of it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Algorithm } from "./Algorithm.ts"
import type { Header } from "./Jws.ts"
import type { Message } from "./Policy.ts"

/** A key that verifies signatures. `Signing.verificationKey` makes one of what is usual; anything that can verify is one. */
export interface VerificationKey {
  /** The algorithms whose signatures it verifies; one that is made with another is refused. */
  readonly algorithms: ReadonlyArray<Algorithm>
  /** The SHA-256 of the certificate that it was read from, base64url. */
  readonly certificateHash?: string | undefined
  /** Whom the certificate that it was read from names, a line for each part: `CN=CP001`. */
  readonly subject?: string | undefined
  /**
   * Whether these are the signed bytes. Of `ES256` the signature is the 64 bytes of R and S, never DER. Bytes that are no
   * signature at all are `false`, no failure.
   */
  readonly verify: (algorithm: Algorithm, input: Uint8Array, signature: Uint8Array) => Effect.Effect<boolean>
}

/** What a message claims of its signature, when its key is wanted. */
export interface Claim {
  /** The SHA-256 of the signer's certificate that the header names (`x5t#S256`), base64url; it need not name any. */
  readonly certificateHash: string | undefined
  /** The algorithm of the signature. */
  readonly algorithm: Algorithm
  /** The whole header, as yet unverified: a key that it brings along (`jwk`, `x5c`) is that of whoever wrote it. */
  readonly header: Header
  /** What was signed, and on which station's connection it came. */
  readonly message: Message
}

/**
 * The keys that the program believes. `Option.none()` refuses the message with SecurityError; a defect refuses it with
 * InternalError.
 *
 * Messages that follow wait until the key has been found, so that they are handled in order. It must not call the station
 * whose message it is asked about: the answer would wait for itself.
 */
export class Keys extends Context.Service<
  Keys,
  { readonly find: (claim: Claim) => Effect.Effect<Option.Option<VerificationKey>> }
>()("effect-ocpp/Signing/Keys") {}

/** Keys by the SHA-256 of their certificates. Whoever names no certificate is nobody. */
export const byCertificateHash = (keys: Iterable<VerificationKey>): Keys["Service"] => {
  const byHash = new Map<string | undefined, VerificationKey>()
  for (const key of keys) {
    if (key.certificateHash === undefined) throw new RangeError("every key must be one of a certificate")
    byHash.set(key.certificateHash, key)
  }
  return { find: ({ certificateHash }) => Effect.succeed(Option.fromUndefinedOr(byHash.get(certificateHash))) }
}

/** Finds the key of a signer; `undefined`, now or later, for one that is not believed. */
export type FindKey = (claim: Claim) => VerificationKey | undefined | PromiseLike<VerificationKey | undefined>

/** Keys that a function finds. One that throws or rejects refuses the message with InternalError. */
export const byFunction = (find: FindKey): Keys["Service"] => ({
  find: (claim) => {
    const found = find(claim)
    // A function in JavaScript may find null.
    if (found == null || !("then" in found)) return Effect.succeed(Option.fromNullishOr(found))
    return Effect.map(
      Effect.promise(() => found),
      Option.fromNullishOr,
    )
  },
})

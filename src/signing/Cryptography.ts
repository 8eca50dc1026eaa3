/**
 * Signs and verifies with the cryptography of Node, on its threads, not on that of the program. ECDSA signatures are R and S, as JWS
 * has them, in and out.
 */
import * as Crypto from "node:crypto"
import * as Effect from "effect/Effect"
import type { Algorithm } from "./Algorithm.ts"
import type { Usable } from "./KeyMaterial.ts"

const digests = { ES256: "sha256", RS256: "sha256", RS384: "sha384" } as const

const parameters = {
  ES256: { name: "ECDSA", hash: "SHA-256" },
  RS256: { name: "RSASSA-PKCS1-v1_5" },
  RS384: { name: "RSASSA-PKCS1-v1_5" },
} as const

const { subtle } = Crypto.webcrypto

/** The signature of some bytes. */
export const sign = (key: Usable, algorithm: Algorithm, input: Uint8Array): Effect.Effect<Uint8Array, unknown> => {
  if ("cryptoKey" in key) {
    const signature = Effect.tryPromise(() => subtle.sign(parameters[algorithm], key.cryptoKey, input))
    return Effect.map(signature, (bytes) => new Uint8Array(bytes))
  }
  return Effect.callback((resume) => {
    const options = { key: key.keyObject, dsaEncoding: "ieee-p1363" } as const
    Crypto.sign(digests[algorithm], input, options, (error, signature) =>
      resume(error === null ? Effect.succeed(signature) : Effect.fail(error)),
    )
  })
}

/** Whether a signature is that of some bytes. What is no signature at all is not. */
export const verify = (
  key: Usable,
  algorithm: Algorithm,
  input: Uint8Array,
  signature: Uint8Array,
): Effect.Effect<boolean> => {
  if ("cryptoKey" in key) {
    const right = Effect.tryPromise(() => subtle.verify(parameters[algorithm], key.cryptoKey, signature, input))
    return Effect.orElseSucceed(right, () => false)
  }
  return Effect.callback((resume) => {
    const options = { key: key.keyObject, dsaEncoding: "ieee-p1363" } as const
    Crypto.verify(digests[algorithm], input, options, signature, (error, right) =>
      resume(Effect.succeed(error === null && right)),
    )
  })
}

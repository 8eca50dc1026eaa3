/** Makes signers and verification keys of the keys and certificates that a program has. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { type Check, checkOptions, must, whenRead } from "../connection/OptionChecks.ts"
import { type Algorithm, isAlgorithm } from "./Algorithm.ts"
import * as Certificate from "./Certificate.ts"
import * as Cryptography from "./Cryptography.ts"
import * as KeyMaterial from "./KeyMaterial.ts"
import type { VerificationKey } from "./Keys.ts"
import type { Signer } from "./Signer.ts"

/** By what a receiver finds the key of a signer. */
interface Named {
  /** The certificate of the key: PEM (the first of a chain), DER, or an `X509Certificate`. Default none. */
  readonly certificate?: Certificate.Certificate
  /** The SHA-256 of the certificate's DER, base64url, for who has no more of it. Default: that of `certificate`. */
  readonly certificateHash?: string
}

/** A signer that has its key. */
export interface KeyOptions extends Named {
  /** P-256, or RSA of 2,048 bits or more: PEM as text or bytes, either of them Redacted, a JWK, a `KeyObject` or a `CryptoKey`. */
  readonly key: KeyMaterial.Key | Redacted.Redacted<string | Uint8Array>
  /** What a PEM is encrypted with. Default: it is not. */
  readonly passphrase?: string | Redacted.Redacted<string>
  /** Default `ES256` for a P-256 key, `RS256` for an RSA key that says nothing else of itself. */
  readonly algorithm?: Algorithm
}

/** A signer that has others sign, a secure element for instance. */
export interface CustomOptions extends Named {
  readonly algorithm: Algorithm
  /** Signs some bytes: with P-256 the signature is the 64 bytes of R and S, not DER. What it throws fails the message. */
  readonly sign: (input: Uint8Array) => Uint8Array | PromiseLike<Uint8Array> | Effect.Effect<Uint8Array, unknown>
}

const checks: Readonly<Record<string, Check>> = {
  key: whenRead,
  passphrase: whenRead,
  algorithm: whenRead,
  sign: whenRead,
  certificate: whenRead,
  certificateHash: must(
    "the SHA-256 of a certificate, base64url without padding",
    (value) => typeof value === "string" && /^[\w-]{43}$/.test(value),
  ),
}

/**
 * Who signs: a key, or a function that can.
 *
 * ```ts
 * const signer = Signing.signer({ key: readFileSync("station.key"), certificate: readFileSync("station.pem") })
 * ```
 *
 * @throws {RangeError} when the key cannot be used, is not that of the certificate, or is none for the algorithm. A `CryptoKey` and a
 * function are not compared with the certificate: nothing can be read of them.
 */
export const signer = (options: KeyOptions | CustomOptions): Signer => {
  checkOptions(options, checks)
  return "sign" in options ? custom(options) : ofKey(options)
}

const ofKey = ({ algorithm, certificate, certificateHash, key, passphrase }: KeyOptions): Signer => {
  const secret = Redacted.isRedacted(passphrase) ? Redacted.value(passphrase) : passphrase
  const usable = KeyMaterial.toSign(Redacted.isRedacted(key) ? Redacted.value(key) : key, secret)
  const chosen = algorithm ?? usable.algorithms[0]
  if (chosen === undefined || !usable.algorithms.includes(chosen)) {
    throw new RangeError(`algorithm must be one of the key's, ${usable.algorithms.join(" or ")}`)
  }
  if (certificate !== undefined && "keyObject" in usable) {
    const isItsOwn = Certificate.read(certificate).checkPrivateKey(usable.keyObject)
    if (!isItsOwn) throw new RangeError("certificate is that of another key")
  }
  return {
    algorithm: chosen,
    certificateHash: hashOf({ certificate, certificateHash }),
    sign: (input) => Cryptography.sign(usable, chosen, input),
  }
}

const custom = ({ algorithm, certificate, certificateHash, sign }: CustomOptions): Signer => {
  if (!isAlgorithm(algorithm)) throw new RangeError("algorithm must be ES256, RS256 or RS384")
  if (typeof sign !== "function") throw new RangeError("sign must be a function")
  return {
    algorithm,
    certificateHash: hashOf({ certificate, certificateHash }),
    sign: (input) => {
      const signature = sign(input)
      if (Effect.isEffect(signature)) return signature
      return signature instanceof Uint8Array ? Effect.succeed(signature) : Effect.tryPromise(() => signature)
    },
  }
}

const hashOf = ({
  certificate,
  certificateHash,
}: { readonly [Name in keyof Named]: Named[Name] | undefined }): string | undefined => {
  if (certificate === undefined) return certificateHash
  if (certificateHash !== undefined) throw new RangeError("certificateHash cannot be given beside certificate")
  return Certificate.hashOf(certificate)
}

/**
 * A key that verifies: the public key or the certificate of a signer, PEM as text or bytes, a JWK, a `KeyObject`, a `CryptoKey` or an
 * `X509Certificate`. Of a certificate it knows the hash and the subject. That it has expired, or was revoked, or by whom it was
 * issued, is looked at by whoever gives the key.
 *
 * @throws {RangeError} when the key cannot be used.
 */
export const verificationKey = (key: KeyMaterial.Key | Certificate.Certificate): VerificationKey => {
  const certificate = Certificate.isCertificate(key) ? Certificate.read(key) : undefined
  // What is no certificate is a key.
  const usable = KeyMaterial.toVerify(certificate?.publicKey ?? (key as KeyMaterial.Key))
  return {
    algorithms: usable.algorithms,
    certificateHash: certificate === undefined ? undefined : Certificate.hashOf(certificate),
    subject: certificate?.subject,
    verify: (algorithm, input, signature) => Cryptography.verify(usable, algorithm, input, signature),
  }
}

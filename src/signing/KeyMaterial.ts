/**
 * Keys as programs have them: PEM, JWK, those of `node:crypto` and of Web Crypto.
 *
 * A key that cannot be used (no P-256, RSA of fewer than 2,048 bits, meant for something else) is refused with a RangeError, which
 * shows nothing of it.
 */
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject, type webcrypto } from "node:crypto"
import { types } from "node:util"
import { type Algorithm, isAlgorithm } from "./Algorithm.ts"

/** A key: PEM as text or bytes, a JWK, one of `node:crypto`, or one of Web Crypto. */
export type Key = string | Uint8Array | JsonWebKey | KeyObject | webcrypto.CryptoKey

/** A key that can be used, by these algorithms and no other. */
export type Usable = { readonly algorithms: ReadonlyArray<Algorithm> } & (
  | { readonly keyObject: KeyObject }
  | { readonly cryptoKey: webcrypto.CryptoKey }
)

type Use = "sign" | "verify"

/** A key to sign with. */
export const toSign = (key: Key, passphrase: string | undefined): Usable => {
  if (types.isCryptoKey(key)) return ofCryptoKey(key, "sign")
  if (types.isKeyObject(key)) return ofKeyObject(key, "sign")
  if (!isPem(key)) return ofJwk(key, "sign")
  const pem = { key: pemOf(key), format: "pem", ...(passphrase === undefined ? undefined : { passphrase }) } as const
  return ofKeyObject(
    readable(() => createPrivateKey(pem)),
    "sign",
  )
}

/** A key to verify with. */
export const toVerify = (key: Key): Usable => {
  if (types.isCryptoKey(key)) return ofCryptoKey(key, "verify")
  if (types.isKeyObject(key)) return ofKeyObject(key.type === "private" ? createPublicKey(key) : key, "verify")
  if (!isPem(key)) return ofJwk(key, "verify")
  return ofKeyObject(
    readable(() => createPublicKey({ key: pemOf(key), format: "pem" })),
    "verify",
  )
}

const isPem = (key: unknown): key is string | Uint8Array => typeof key === "string" || key instanceof Uint8Array

const pemOf = (key: string | Uint8Array): string => (typeof key === "string" ? key : new TextDecoder().decode(key))

/** What the library says of a key that it cannot read may quote it. */
const readable = (read: () => KeyObject): KeyObject => {
  try {
    return read()
  } catch (error) {
    const code = error instanceof Error && "code" in error ? ` (${error.code})` : ""
    throw new RangeError(`key cannot be read${code}`)
  }
}

const ofKeyObject = (keyObject: KeyObject, use: Use): Usable => {
  if (keyObject.type !== (use === "sign" ? "private" : "public")) throw new RangeError(`key is no key to ${use} with`)
  const { asymmetricKeyDetails: details, asymmetricKeyType: type } = keyObject
  if (type === "ec" && details?.namedCurve === "prime256v1") return { algorithms: ["ES256"], keyObject }
  if (type === "rsa" && (details?.modulusLength ?? 0) >= leastModulus) return { algorithms: ofRsa, keyObject }
  return wrongKind()
}

const leastModulus = 2048

const ofRsa: ReadonlyArray<Algorithm> = ["RS256", "RS384"]

const wrongKind = (): never => {
  throw new RangeError(`key must be an EC key of the curve P-256, or an RSA key of ${leastModulus} bits or more`)
}

/** A JWK may say what it is for (RFC 7517 §4.2 to §4.4). */
const ofJwk = (jwk: JsonWebKey, use: Use): Usable => {
  if (typeof jwk !== "object" || jwk === null)
    throw new RangeError("key must be PEM, a JWK, a KeyObject or a CryptoKey")
  const { alg, key_ops: operations, use: purpose } = jwk
  if (purpose !== undefined && purpose !== "sig") throw new RangeError("key is a JWK whose use is not sig")
  if (Array.isArray(operations) && !operations.includes(use))
    throw new RangeError(`key is a JWK whose key_ops has no ${use}`)
  const create = use === "sign" ? createPrivateKey : createPublicKey
  const usable = ofKeyObject(
    readable(() => create({ key: jwk, format: "jwk" })),
    use,
  )
  if (alg === undefined) return usable
  if (!isAlgorithm(alg) || !usable.algorithms.includes(alg)) throw new RangeError("key is a JWK of another alg")
  return { ...usable, algorithms: [alg] }
}

const ofCryptoKey = (cryptoKey: webcrypto.CryptoKey, use: Use): Usable => {
  const { algorithm, usages } = cryptoKey
  if (!usages.includes(use)) throw new RangeError(`key is a CryptoKey whose usages have no ${use}`)
  if (algorithm.name === "ECDSA" && "namedCurve" in algorithm && algorithm.namedCurve === "P-256") {
    return { algorithms: ["ES256"], cryptoKey }
  }
  if (algorithm.name === "RSASSA-PKCS1-v1_5") {
    const { hash, modulusLength } = algorithm as webcrypto.RsaHashedKeyAlgorithm
    const name = hash.name === "SHA-256" ? "RS256" : hash.name === "SHA-384" ? "RS384" : undefined
    if (name !== undefined && modulusLength >= leastModulus) return { algorithms: [name], cryptoKey }
  }
  return wrongKind()
}

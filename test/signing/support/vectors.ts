/** Signed messages that are pinned, and their keys. What made each of them is written beside it. */
import { createHash, createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto"
import { readFileSync } from "node:fs"
import * as Frame from "../../../src/Frame.ts"
import * as Signing from "../../../src/Signing.ts"

interface KeyPair {
  readonly jwk: JsonWebKey
  readonly certificate: string
}

interface Pinned {
  readonly kind: Signing.Message["kind"]
  readonly action: string
  readonly messageId: string
  /** The text that was signed. */
  readonly payload: string
  /** The text on the wire. */
  readonly frame: string
}

/** A message signed with one of the keys. */
export interface Vector extends Pinned {
  readonly name: string
  readonly madeWith: string
  readonly key: "station" | "rsa"
  readonly algorithm: Signing.Algorithm
}

const file = JSON.parse(readFileSync(new URL("../vectors.json", import.meta.url), "utf8")) as {
  readonly keys: Readonly<Record<Vector["key"], KeyPair>>
  readonly vectors: ReadonlyArray<Vector>
  /** What ocpp-kit documents: a key whose 32 bytes are all the same, and a text in the place of a certificate. */
  readonly published: Pinned & { readonly scalarByte: number; readonly certificateText: string }
}

export const { keys, published, vectors } = file

/** The frame of a pinned message. */
export const frameOf = ({ frame }: Pinned): Frame.Call | Frame.CallResult | Frame.Send => {
  const decoded = Frame.decode(frame, true)
  if (decoded._tag === "Call" || decoded._tag === "CallResult" || decoded._tag === "Send") return decoded
  throw new Error(`no frame that is signed: ${frame}`)
}

/** The JWS of a pinned message. */
export const jwsOf = (pinned: Pinned): Signing.Jws => frameOf(pinned).payload as Signing.Jws

/** The private key of a pair. */
export const privateKey = (name: Vector["key"]): KeyObject => createPrivateKey({ key: keys[name].jwk, format: "jwk" })

/** The public key of a pair. */
export const publicKey = (name: Vector["key"]): KeyObject => createPublicKey(privateKey(name))

/** Signs with a pair. */
export const signerOf = (name: Vector["key"], algorithm?: Signing.Algorithm): Signing.Signer => {
  const { certificate, jwk } = keys[name]
  return Signing.signer({ key: jwk, certificate, ...(algorithm && { algorithm }) })
}

/** Believes all pairs. */
export const believed = Signing.byCertificateHash(
  Object.values(keys).map(({ certificate }) => Signing.verificationKey(certificate)),
)

/** The SHA-256 of some bytes, as `x5t#S256` holds it. */
export const sha256 = (bytes: string | Uint8Array): string => createHash("sha256").update(bytes).digest("base64url")

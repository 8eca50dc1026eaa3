/**
 * A signed payload on the wire: a JWS in flattened JSON serialization (RFC 7515 §7.2.2), whose three members are base64url
 * without padding. This file knows its form; whether what it says is true is asked elsewhere.
 *
 * What is signed are the encoded members as they stand. So they are kept as they came, and never written again.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Schema from "effect/Schema"
import { payloadFault } from "../Frame.ts"
import { RPCFormatViolationError } from "../RPCError.ts"

/** A signed payload. A type, not an interface: it is JSON. */
export type Jws = {
  /** The protected header. */
  readonly protected: string
  /** The text of the payload that was signed. */
  readonly payload: string
  readonly signature: string
}

/** A protected header. What it says was said by whoever wrote it: it is true once the signature has been verified. */
export interface Header {
  readonly [name: string]: Schema.Json | undefined
  /** The algorithm. */
  readonly alg?: Schema.Json
  /** The action, without `-Signed`. */
  readonly OCPPAction?: Schema.Json
  /** The number of the message type, in the spelling of the specification. */
  readonly OCPPMessageTypedId?: Schema.Json
  /** The SHA-256 of the signer's certificate, base64url. */
  readonly "x5t#S256"?: Schema.Json
}

/** What a signed payload holds. */
export interface Contents {
  readonly jws: Jws
  readonly header: Header
  /** The payload, as the signer wrote it. */
  readonly text: string
  /** The same, parsed. */
  readonly payload: { readonly [name: string]: Schema.Json }
  readonly signature: Uint8Array
}

/** How many characters a protected header may have, encoded: room for a chain of certificates, and for no more. */
export const maxHeaderLength = 16_384

/** How many characters a signature may have, encoded: those of an RSA key of 16,384 bits. */
export const maxSignatureLength = 2_731

/** What the action of a signed request ends in. */
export const suffix = "-Signed"

/** What a signed request calls its action. */
export const signedAction = (action: string): string => `${action}${suffix}`

/** Whether a payload has the members of a JWS, of whatever kind. */
export const isJws = (payload: unknown): boolean =>
  typeof payload === "object" &&
  payload !== null &&
  "protected" in payload &&
  "payload" in payload &&
  "signature" in payload

/** Reads a signed payload. What is wrong with one that cannot be read is said without quoting it. */
export const read = (value: unknown): Contents | RPCFormatViolationError => {
  if (!hasMembers(value)) return malformed("it must have the strings protected, payload and signature")
  if (value.protected.length > maxHeaderLength) return malformed(`its header has over ${maxHeaderLength} characters`)
  if (value.signature.length > maxSignatureLength)
    return malformed(`its signature has over ${maxSignatureLength} characters`)
  const signature = bytesOf(value.signature)
  if (signature === undefined) return malformed("its signature is not base64url without padding")
  const headerText = textOf(value.protected)
  const header = headerText === undefined ? undefined : objectOf(headerText)
  if (header === undefined) return malformed("its header is not a JSON object in base64url without padding")
  const text = textOf(value.payload)
  const payload = text === undefined ? undefined : objectOf(text)
  if (text === undefined || payload === undefined) {
    return malformed("its payload is not a JSON object in base64url without padding")
  }
  const wrong = payloadFault(payload)
  if (wrong !== undefined) return new RPCFormatViolationError(wrong)
  const jws = { protected: value.protected, payload: value.payload, signature: value.signature }
  return { jws, header, text, payload, signature }
}

const malformed = (why: string) => new RPCFormatViolationError(`the signed payload is no JWS: ${why}`)

const hasMembers = (value: unknown): value is Jws =>
  typeof value === "object" &&
  value !== null &&
  "protected" in value &&
  typeof value.protected === "string" &&
  "payload" in value &&
  typeof value.payload === "string" &&
  "signature" in value &&
  typeof value.signature === "string"

/** The bytes of the one text that encodes them: no padding, no white space, no bits that nobody reads. */
const bytesOf = (encoded: string): Uint8Array | undefined => {
  const bytes = Base64Url.decode(encoded)
  return bytes._tag === "Success" && Base64Url.encode(bytes.success) === encoded ? bytes.success : undefined
}

// A byte order mark is text, which is no JSON.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const textOf = (encoded: string): string | undefined => {
  const bytes = bytesOf(encoded)
  if (bytes === undefined) return undefined
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

const objectOf = (text: string): { readonly [name: string]: Schema.Json } | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value)
    return isObject ? (value as { readonly [name: string]: Schema.Json }) : undefined
  } catch {
    return undefined
  }
}

/** The members of a JWS that is to be signed. */
export const unsigned = (header: Header, payload: string): Pick<Jws, "protected" | "payload"> => ({
  protected: Base64Url.encode(JSON.stringify(header)),
  payload: Base64Url.encode(payload),
})

/** What is signed (RFC 7515 §5.1): the two encoded members, as they stand. */
export const signingInput = (jws: Pick<Jws, "protected" | "payload">): Uint8Array =>
  new TextEncoder().encode(`${jws.protected}.${jws.payload}`)

/** The whole JWS. */
export const signed = (jws: Pick<Jws, "protected" | "payload">, signature: Uint8Array): Jws => ({
  ...jws,
  signature: Base64Url.encode(signature),
})

/**
 * The AuthorizationKey of OCPP 1.6 (security whitepaper, A00.FR.205): a password of 16 to 20 bytes that is configured as the text
 * of its hexadecimal digits.
 */
import { Buffer } from "node:buffer"

/** How many bytes an AuthorizationKey has. */
export const keyLength = { least: 16, most: 20 } as const

/** What tells an AuthorizationKey from other bytes, whichever copy of the library has made it. */
const brand: unique symbol = Symbol.for("effect-ocpp/Security/AuthorizationKey")

/**
 * An AuthorizationKey: its bytes, which are the password that a station has to give, and their text in {@link hex}, which is
 * what `ChangeConfiguration` sends.
 */
export class AuthorizationKey extends Uint8Array {
  // A part of a key is no key.
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array
  }

  get [brand](): true {
    return true
  }

  /** The bytes as hexadecimal digits in upper case, for the value of the configuration key `AuthorizationKey`. */
  get hex(): string {
    return toAuthorizationKey(this)
  }
}

/** Whether a value is an {@link AuthorizationKey}. */
export const isAuthorizationKey = (value: unknown): value is AuthorizationKey =>
  value instanceof Uint8Array && brand in value

/**
 * The bytes of an AuthorizationKey that is given as the text of its hexadecimal digits, in either case.
 *
 * The vector of the specification: the station `AL1000` with the key `0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF` sends
 * `Authorization: Basic QUwxMDAwOgABAgMEBQYH////////////////`.
 *
 * @throws {RangeError} when the text is not 32 to 40 hexadecimal digits, two for each byte. It does not quote the text.
 */
export const fromAuthorizationKey = (hex: string): AuthorizationKey => {
  const bytes = typeof hex === "string" ? bytesOfHex(hex) : undefined
  if (bytes !== undefined) return new AuthorizationKey(bytes)
  throw new RangeError("an AuthorizationKey is the text of 32 to 40 hexadecimal digits, two for each of its bytes")
}

/** Bytes as {@link fromAuthorizationKey} reads them: hexadecimal digits in upper case. */
export const toAuthorizationKey = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex").toUpperCase()

/** The bytes of which a text has the hexadecimal digits, where they are as many as those of a key. */
const bytesOfHex = (text: string): Buffer | undefined =>
  /^(?:[0-9a-f]{2}){16,20}$/i.test(text) ? Buffer.from(text, "hex") : undefined

/**
 * The key that a station has given: itself, or as the text of its hexadecimal digits. No password can be meant as both, because
 * the text is longer than any key.
 */
export const givenKey = (given: Uint8Array): Uint8Array => {
  if (given.length < 2 * keyLength.least || given.length > 2 * keyLength.most) return given
  return bytesOfHex(Buffer.from(given.buffer, given.byteOffset, given.byteLength).toString("latin1")) ?? given
}

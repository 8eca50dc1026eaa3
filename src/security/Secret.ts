/** Passwords as programs hold them, and as bytes. */
import { Buffer } from "node:buffer"
import * as Redacted from "effect/Redacted"

/** A password: bytes, or a string, which stands for its UTF-8, or a `Redacted` of either. */
export type Secret = string | Uint8Array | Redacted.Redacted<string | Uint8Array>

/** What a `Redacted` hides; anything else is itself. */
export const revealed = (secret: Secret): string | Uint8Array =>
  Redacted.isRedacted(secret) ? Redacted.value(secret) : secret

/**
 * The bytes of a password.
 *
 * @throws {RangeError} when it is no password. It does not quote it.
 */
export const bytesOf = (secret: Secret): Uint8Array => {
  const plain = revealed(secret)
  if (typeof plain === "string") return Buffer.from(plain)
  if (plain instanceof Uint8Array) return plain
  throw new RangeError("a password must be a string, bytes, or either of them Redacted")
}

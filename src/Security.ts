/**
 * What `auth` has to decide, decided with care: is the password right (security profiles 1 and 2), and is the client
 * certificate the station's own (security profile 3)? And passwords themselves: made, stored as hashes, changed.
 *
 * ```ts
 * const auth = (handshake: Server.Handshake) =>
 *   Security.requirePassword(handshake, { hash: hashes.get(handshake.identity) })
 * ```
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { TLSSocket } from "node:tls"
import * as Effect from "effect/Effect"
import type { Handshake } from "./Handshake.ts"
import { givenKey, isAuthorizationKey } from "./security/AuthorizationKey.ts"
import { type Hashing, verifyPassword } from "./security/PasswordHash.ts"
import { bytesOf, revealed, type Secret } from "./security/Secret.ts"
import { type Rejected, reject } from "./server/Upgrade.ts"

export {
  type AuthorizationKey,
  fromAuthorizationKey,
  isAuthorizationKey,
  toAuthorizationKey,
} from "./security/AuthorizationKey.ts"
export { generatePassword, type PasswordOptions } from "./security/generatePassword.ts"
export { type Hashing, hashPassword, needsRehash, verifyPassword } from "./security/PasswordHash.ts"
export type { Secret } from "./security/Secret.ts"

/**
 * Whether a station has given the expected password. A string is compared as UTF-8.
 *
 * Where an AuthorizationKey is expected (`fromAuthorizationKey`, `generatePassword`), either its bytes are right, as the
 * specification asks, or the text of its hexadecimal digits, which many stations of 1.6 send. Of a string or of other bytes nothing
 * but themselves is right, whatever they look like.
 *
 * How long it takes tells nothing of the password: digests are compared, and in constant time. No password at all is never
 * right, not even where the expected one is empty.
 */
export const passwordMatches = (handshake: Pick<Handshake, "password">, expected: Secret): boolean => {
  const given = handshake.password ?? new Uint8Array()
  const meant = isAuthorizationKey(revealed(expected)) ? givenKey(given) : given
  const isEqual = timingSafeEqual(digest(meant), digest(bytesOf(expected)))
  return handshake.password !== undefined && isEqual
}

const digest = (secret: Uint8Array) => createHash("sha256").update(secret).digest()

/** A password that is stored as its hash; `undefined` where there is none. */
export interface Hashed extends Hashing {
  readonly hash: string | undefined
}

/**
 * Lets a station go on that has given the expected password, and refuses any other with 401: what `auth` can end with.
 *
 * @param expected the password; or its hash, as `hashPassword` has made it, in an object. `undefined`, in either form, for an
 * identity that is not known: it is refused like one whose password is wrong, after the same work.
 */
export const requirePassword = (
  handshake: Pick<Handshake, "password">,
  expected: Secret | Hashed | undefined,
): Effect.Effect<void, Rejected> => {
  const verdict = isHashed(expected)
    ? verifyPassword(handshake.password, expected.hash, expected)
    : Effect.sync(() => passwordMatches(handshake, expected ?? "") && expected !== undefined)
  return Effect.flatMap(verdict, (isRight) => (isRight ? Effect.void : reject(401)))
}

const isHashed = (expected: Secret | Hashed | undefined): expected is Hashed =>
  typeof expected === "object" && "hash" in expected

/**
 * Whether a station has shown a certificate that is valid and its own: the TLS server trusts it (`requestCert: true`, with the
 * `ca` of the stations), and its common name is the station's identity, as the OCPP security whitepaper asks.
 */
export const certificateMatches = ({ identity, request }: Pick<Handshake, "identity" | "request">): boolean => {
  const { socket } = request
  if (!(socket instanceof TLSSocket) || !socket.authorized) return false
  const { subject } = socket.getPeerCertificate()
  return subject?.CN === identity
}

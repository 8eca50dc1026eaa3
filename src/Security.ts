/**
 * What `auth` has to decide, decided with care: is the password right (security profiles 1 and 2), and is the client
 * certificate the station's own (security profile 3)?
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { TLSSocket } from "node:tls"
import type { Handshake } from "./Handshake.ts"

/**
 * Whether a station has given the expected password. A string is compared as UTF-8.
 *
 * How long it takes tells nothing of the password: digests are compared, and in constant time. No password at all is never
 * right, not even where the expected one is empty.
 */
export const passwordMatches = (handshake: Pick<Handshake, "password">, expected: string | Uint8Array): boolean => {
  const given = handshake.password
  const isEqual = timingSafeEqual(digest(given ?? new Uint8Array()), digest(expected))
  return given !== undefined && isEqual
}

const digest = (secret: string | Uint8Array) => createHash("sha256").update(secret).digest()

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

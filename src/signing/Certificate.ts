/** Certificates: whose key is it, and by which hash is it found. */
import { createHash, X509Certificate } from "node:crypto"

/** A certificate: PEM (the first one of a chain) or DER, or one that has been read. */
export type Certificate = string | Uint8Array | X509Certificate

/** Reads a certificate. @throws {RangeError} when it is none. */
export const read = (certificate: Certificate): X509Certificate => {
  if (certificate instanceof X509Certificate) return certificate
  try {
    return new X509Certificate(certificate)
  } catch {
    throw new RangeError("certificate must be one, in PEM or DER")
  }
}

/** Whether what may be a key or a certificate is a certificate: PEM says so, and DER is never a key here. */
export const isCertificate = (value: unknown): value is Certificate => {
  if (value instanceof X509Certificate) return true
  if (value instanceof Uint8Array) return value[0] === 0x30 || isCertificate(new TextDecoder().decode(value))
  return typeof value === "string" && value.includes("-----BEGIN CERTIFICATE-----")
}

/** The SHA-256 of a certificate's DER, base64url: what `x5t#S256` holds (RFC 7515 §4.1.8). */
export const hashOf = (certificate: Certificate): string =>
  createHash("sha256").update(read(certificate).raw).digest("base64url")

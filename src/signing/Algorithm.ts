/** The algorithms by which OCPP messages may be signed (2.x part 4 §7.3). There is no other: neither `none` nor `PS256`. */

/** ECDSA on P-256 with SHA-256; RSASSA-PKCS1-v1_5 with SHA-256; the same with SHA-384. */
export type Algorithm = "ES256" | "RS256" | "RS384"

/** All of them. */
export const algorithms: ReadonlyArray<Algorithm> = ["ES256", "RS256", "RS384"]

/** Whether a header's `alg` is one of them. */
export const isAlgorithm = (alg: unknown): alg is Algorithm => algorithms.some((algorithm) => algorithm === alg)

/** What `ES256` signs has this many bytes: R, then S. DER, which many chips and libraries write, has another length. */
export const es256Length = 64

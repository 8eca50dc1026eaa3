/**
 * Signed messages (OCPP 2.x part 4 chapter 7): which of ours are signed, with what, and whose signatures are asked for.
 *
 * A message is signed by whoever made it, so that its receiver can tell even where a Local Controller stands between the two. Every
 * receiver understands signed messages: with no options at all they are opened, and handled as if they had not been signed. 1.6
 * knows none of this.
 *
 * ```ts
 * const Signed = Signing.layer({
 *   signer: Signing.signer({ key: readFileSync("csms.key"), certificate: readFileSync("csms.pem") }),
 *   sign: ["Reset", "RequestStartTransaction"],
 *   verify: "ifPresent",
 * }).pipe(Layer.provide(Signing.layerKeys([readFileSync("station.pem")])))
 * ```
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Checks, checkOptions, isObject, must, record, shown, whenRead } from "./connection/OptionChecks.ts"
import type { Certificate } from "./signing/Certificate.ts"
import { Signing } from "./signing/Current.ts"
import { byCertificateHash, byFunction, type FindKey, Keys } from "./signing/Keys.ts"
import { verificationKey } from "./signing/makeKeys.ts"
import * as Policy from "./signing/Policy.ts"
import * as Session from "./signing/Session.ts"
import type { Signer } from "./signing/Signer.ts"

export type { Algorithm } from "./signing/Algorithm.ts"
export { type Certificate, hashOf as certificateHash } from "./signing/Certificate.ts"
export { Signing } from "./signing/Current.ts"
export { type Header, type Jws, signedAction } from "./signing/Jws.ts"
export type { Key } from "./signing/KeyMaterial.ts"
export { byCertificateHash, type Claim, type FindKey, Keys, type VerificationKey } from "./signing/Keys.ts"
export { type CustomOptions, type KeyOptions, signer, verificationKey } from "./signing/makeKeys.ts"
export type { Message, Sign, Verification, Verify } from "./signing/Policy.ts"
export { Signed } from "./signing/Signed.ts"
export type { Signer } from "./signing/Signer.ts"
export type {
  Connection,
  MaybeSigned,
  Session,
  SignedRequest,
  SignedResult,
  SignPayload,
} from "./signing/Signing.ts"

/** How messages are signed and verified. */
export interface Options {
  /** Who signs what we send. Default nobody. */
  readonly signer?: Signer
  /** What is signed beside the answers to signed requests. Needs a `signer`. Default `"nothing"`. */
  readonly sign?: Policy.Sign
  /** What is asked of the signatures of what we get. Default `"ignore"`: signed messages are opened, and nothing is asked. */
  readonly verify?: Policy.Verify
}

/** {@link Options}, with the keys that `verify` needs. */
export interface MakeOptions extends Options {
  /** Whose signatures are believed: what finds their keys. {@link byCertificateHash} makes one of certificates. */
  readonly keys?: Keys["Service"] | FindKey
}

const checks: Checks<MakeOptions> = {
  signer: record,
  sign: whenRead,
  verify: whenRead,
  keys: must("Keys or a function", (value) => typeof value === "function" || (isObject(value) && "find" in value)),
}

/**
 * How messages are signed and verified, as a value.
 *
 * @throws {RangeError} naming the option that makes no sense, or lacks another.
 */
export const make = (options: MakeOptions = {}): Signing => {
  checkOptions(options, checks)
  const { keys, sign = "nothing", signer, verify = "ignore" } = options
  const isKnown = sign === "nothing" || sign === "everything" || typeof sign === "function" || Array.isArray(sign)
  if (!isKnown) throw new RangeError(`sign must be "nothing", "everything", actions or a function; got ${shown(sign)}`)
  if (sign !== "nothing" && signer === undefined) throw new RangeError("sign needs a signer")
  const isVerification = typeof verify === "function" || ["ignore", "ifPresent", "required"].includes(verify)
  if (!isVerification) {
    throw new RangeError(`verify must be "ignore", "ifPresent", "required" or a function; got ${shown(verify)}`)
  }
  const ask = Policy.verifies(verify)
  if (ask !== undefined && keys === undefined) throw new RangeError("verify needs keys")
  return Session.make({
    signer,
    signs: Policy.signs(sign),
    verifies:
      ask === undefined || keys === undefined
        ? undefined
        : { ask, keys: typeof keys === "function" ? byFunction(keys) : keys },
  })
}

/**
 * How connections sign and verify that are made with this Layer.
 *
 * @throws {RangeError} as {@link make} does.
 */
export function layer(options: Options & { readonly verify?: "ignore" }): Layer.Layer<never>
export function layer(options: Options): Layer.Layer<never, never, Keys>
export function layer(options: Options): Layer.Layer<never, never, Keys> {
  const asksNothing = options.verify === undefined || options.verify === "ignore"
  if (asksNothing) return Layer.succeed(Signing, make(options))
  return Layer.effect(
    Signing,
    Effect.map(Keys, (keys) => make({ ...options, keys })),
  )
}

/**
 * Believes these certificates, each found by its hash: those of stations, or of the CSMS.
 *
 * @throws {RangeError} when one cannot be read.
 */
export const layerKeys = (certificates: Iterable<Certificate>): Layer.Layer<Keys> =>
  Layer.succeed(Keys, byCertificateHash(Array.from(certificates, verificationKey)))

/** Makes the signature of one message, and verifies it. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { MessageType } from "../Frame.ts"
import { RPCInternalError, RPCSecurityError } from "../RPCError.ts"
import { type Algorithm, es256Length, isAlgorithm } from "./Algorithm.ts"
import * as Jws from "./Jws.ts"
import type { Keys, VerificationKey } from "./Keys.ts"
import type { Message } from "./Policy.ts"
import type { Signer } from "./Signer.ts"

/** Signs the text of a message's payload. When the signer fails, the cause is logged: it is nobody else's business. */
export const sign = (
  signer: Signer,
  { action, kind }: Message,
  text: string,
): Effect.Effect<Jws.Jws, RPCInternalError> => {
  const { algorithm, certificateHash } = signer
  const header: Jws.Header = {
    alg: algorithm,
    OCPPAction: action,
    OCPPMessageTypedId: MessageType[kind],
    ...(certificateHash === undefined ? undefined : { "x5t#S256": certificateHash }),
  }
  const jws = Jws.unsigned(header, text)
  const signature = Effect.suspend(() => signer.sign(Jws.signingInput(jws)))
  return Effect.catchCause(Effect.flatMap(signature, usable(algorithm)), (cause) => {
    const failure = new RPCInternalError(`${action} could not be signed`)
    return Effect.andThen(Effect.logError(failure.message, cause), failure)
  }).pipe(Effect.map((bytes) => Jws.signed(jws, bytes)))
}

/** A signature in DER would be refused by every receiver: it is better refused here. */
const usable = (algorithm: Algorithm) => (signature: Uint8Array) => {
  if (algorithm !== "ES256" || signature.length === es256Length) return Effect.succeed(signature)
  const text = `an ES256 signature has ${es256Length} bytes, R and S; the signer has given ${signature.length} (DER?)`
  return Effect.fail(new RangeError(text))
}

/** The key with which the signature of a message was made. */
export const verify = (
  { header, jws, signature }: Jws.Contents,
  message: Message,
  keys: Keys["Service"],
): Effect.Effect<VerificationKey, RPCSecurityError> => {
  const { alg } = header
  if (!isAlgorithm(alg)) return refuse("it is made with an algorithm that OCPP does not allow")
  const fault = faultOf(header, message)
  if (fault !== undefined) return refuse(fault)
  const claim = { algorithm: alg, certificateHash: certificateHashOf(header), header, message }
  const found = Effect.suspend(() => keys.find(claim))
  return Effect.flatMap(found, (option): Effect.Effect<VerificationKey, RPCSecurityError> => {
    if (Option.isNone(option)) return refuse("the signer is not known")
    const key = option.value
    if (!key.algorithms.includes(alg)) return refuse("its algorithm is not that of the signer's key")
    const isRight = key.verify(alg, Jws.signingInput(jws), signature)
    return Effect.flatMap(isRight, (right) => (right === true ? Effect.succeed(key) : refuse("it does not fit")))
  })
}

const refuse = (why: string) => Exit.fail(new RPCSecurityError(`the signature is refused: ${why}`))

/** What the header says of a message that is another one. A header parameter that must be understood (`crit`) never is. */
const faultOf = (header: Jws.Header, { action, kind }: Message): string | undefined => {
  if (header.crit !== undefined) return "its header has crit"
  if (header.OCPPAction !== action) return "it was made for another action"
  // What other implementations write beside the name with the slip; where both stand, both count.
  const types = [header.OCPPMessageTypedId, header.OCPPMessageTypeId].filter((type) => type !== undefined)
  const isOfType = types.length > 0 && types.every((type) => type === MessageType[kind])
  return isOfType ? undefined : "it was made for another message type"
}

/** The certificate that a header names. */
export const certificateHashOf = (header: Jws.Header): string | undefined => {
  const hash = header["x5t#S256"]
  return typeof hash === "string" ? hash : undefined
}

/** Which messages are signed, and which signatures are asked for. */

/** A message that may be signed. Errors (CALLERROR, CALLRESULTERROR) never are: the specification has no signed form of them. */
export interface Message {
  readonly kind: "Call" | "CallResult" | "Send"
  /** The action, without `-Signed`; of a result that of the request that it answers. */
  readonly action: string
  /** The station on whose connection it is, at either end. */
  readonly identity: string
}

/**
 * What is signed: `"nothing"`, messages of some actions (results among them), `"everything"`, or those to which a function
 * says yes. Signed requests are answered signed in any case.
 */
export type Sign = "nothing" | "everything" | ReadonlyArray<string> | ((message: Message) => boolean)

/**
 * What is asked of a signature: it is not looked at; it must be right where there is one; there must be a right one.
 *
 * `"ifPresent"` keeps nobody from taking the signature off on the way: only `"required"` does.
 */
export type Verification = "ignore" | "ifPresent" | "required"

/** The same for all messages, or by message. */
export type Verify = Verification | ((message: Message) => Verification)

/** Whether a message is signed; `undefined` when none is. */
export const signs = (sign: Sign): ((message: Message) => boolean) | undefined => {
  if (typeof sign === "function") return sign
  switch (sign) {
    case "nothing":
      return undefined
    case "everything":
      return () => true
  }
  const actions = new Set(sign)
  return ({ action }) => actions.has(action)
}

/** What is asked of a message's signature; `undefined` when nothing is asked of any. */
export const verifies = (verify: Verify): ((message: Message) => Verification) | undefined => {
  if (typeof verify === "function") return verify
  return verify === "ignore" ? undefined : () => verify
}

/** The session of a connection: asks the policies, and has signatures made and verified. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Frame from "../Frame.ts"
import { isRPCError, type RPCError, RPCSecurityError } from "../RPCError.ts"
import * as Jws from "./Jws.ts"
import type { Keys, VerificationKey } from "./Keys.ts"
import type { Message, Verification } from "./Policy.ts"
import * as Signature from "./Signature.ts"
import type { Signed } from "./Signed.ts"
import type { Signer } from "./Signer.ts"
import type { Connection, MaybeSigned, Session, SignedRequest, SignedResult, Signing, SignPayload } from "./Signing.ts"

/** How messages are signed and verified, once that has been found to make sense. */
export interface Parts {
  readonly signer?: Signer | undefined
  /** Whether a message of ours is signed; left out when none is. */
  readonly signs?: ((message: Message) => boolean) | undefined
  /** What is asked of the signature of a message of theirs; left out when nothing is asked of any. */
  readonly verifies?: { readonly ask: (message: Message) => Verification; readonly keys: Keys["Service"] } | undefined
}

/** How messages are signed and verified. */
export const make = (parts: Parts): Signing => ({
  // A subprotocol that spells its errors as 1.6 does is that, or that with further actions.
  connect: (connection) =>
    connection.subprotocol.spelling === "1.6" ? undefined : new PartsSession(parts, connection),
})

class PartsSession implements Session {
  readonly #parts: Parts
  readonly #identity: string
  readonly #actions: Connection["subprotocol"]["actions"]

  constructor(parts: Parts, { subprotocol, identity }: Connection) {
    this.#parts = parts
    this.#identity = identity
    this.#actions = subprotocol.actions
  }

  request(kind: "Call" | "Send", action: string): SignPayload | undefined {
    const { signer, signs } = this.#parts
    if (signer === undefined || signs === undefined) return undefined
    return signIf(signs, signer, { kind, action, identity: this.#identity })
  }

  result({ action, signed }: MaybeSigned<Frame.Call>): SignPayload | undefined {
    const { signer, signs } = this.#parts
    if (signer === undefined || (signs === undefined && signed === undefined)) return undefined
    const message = { kind: "CallResult", action, identity: this.#identity } as const
    return signed === undefined && signs !== undefined ? signIf(signs, signer, message) : signWith(signer, message)
  }

  openRequest<F extends Frame.Call | Frame.Send>(request: F): Effect.Effect<SignedRequest<F>, RPCError> | undefined {
    if (!request.action.endsWith(Jws.suffix) || this.#actions.has(request.action)) {
      return this.#pass(request._tag, request.action)
    }
    const action = request.action.slice(0, -Jws.suffix.length)
    const opening = this.#open(request.payload, { kind: request._tag, action, identity: this.#identity })
    return Effect.mapEager(opening, ({ payload, signed }) => ({ ...request, action, payload, signed }))
  }

  openResult(result: Frame.CallResult, action: string): Effect.Effect<SignedResult, RPCError> | undefined {
    if (!Jws.isJws(result.payload)) return this.#pass("CallResult", action)
    const opening = this.#open(result.payload, { kind: "CallResult", action, identity: this.#identity })
    return Effect.mapEager(opening, ({ payload, signed }) => ({ ...result, payload, signed }))
  }

  /** Lets a message pass that is not signed, where it may be. */
  #pass(kind: Message["kind"], action: string): Exit.Exit<never, RPCError> | undefined {
    const { verifies } = this.#parts
    if (verifies === undefined) return undefined
    const asked = ask(verifies.ask, { kind, action, identity: this.#identity })
    if (typeof asked !== "string") return asked
    return asked === "required" ? Exit.fail(new RPCSecurityError("the message must be signed")) : undefined
  }

  #open(value: unknown, message: Message): Effect.Effect<Opened, RPCError> {
    const contents = Jws.read(value)
    if (isRPCError(contents)) return Exit.fail(contents)
    const { verifies } = this.#parts
    if (verifies === undefined) return Exit.succeed(opened(contents))
    const asked = ask(verifies.ask, message)
    if (typeof asked !== "string") return asked
    if (asked === "ignore") return Exit.succeed(opened(contents))
    return Effect.map(Signature.verify(contents, message, verifies.keys), (key) => opened(contents, key))
  }
}

/** What stands in a signed message. */
interface Opened {
  readonly payload: Jws.Contents["payload"]
  readonly signed: Signed
}

const opened = ({ header, payload, text }: Jws.Contents, key?: VerificationKey): Opened => ({
  payload,
  signed: { header, certificateHash: Signature.certificateHashOf(header), verified: key !== undefined, key, text },
})

const signWith =
  (signer: Signer, message: Message): SignPayload =>
  (text) =>
    Signature.sign(signer, message, text)

/** The program's function may throw; then the message fails, for it may not be meant to leave unsigned. */
const signIf = (signs: (message: Message) => boolean, signer: Signer, message: Message): SignPayload | undefined => {
  try {
    return signs(message) ? signWith(signer, message) : undefined
  } catch (defect) {
    return () => Exit.die(defect)
  }
}

/** The program's function may throw, or return anything, where it is written in JavaScript: then the message fails. */
const ask = (verifies: (message: Message) => Verification, message: Message): Verification | Exit.Exit<never> => {
  try {
    const asked: unknown = verifies(message)
    if (asked === "ignore" || asked === "ifPresent" || asked === "required") return asked
    throw new RangeError('verify must be "ignore", "ifPresent" or "required", or a function that returns one of them')
  } catch (defect) {
    return Exit.die(defect)
  }
}

/**
 * The port by which a connection signs what it sends and opens what it gets (2.x part 4 chapter 7).
 *
 * A connection asks {@link Signing.connect} once for its {@link Session}, and the session about every message:
 *
 * - A method that returns `undefined` has nothing to do with the message, which goes on as it is, in the same tick.
 * - Otherwise it returns an Effect. Where nothing has to be waited for, that is an `Exit`, which needs no fiber. Where a signature
 *   is made or verified it takes its time, and the messages behind it must wait for it: `Lane` keeps them in order.
 * - An Effect fails with the {@link RPCError} that answers the request, or with which the call fails. It may die when what the
 *   program gave (a policy, `Keys`) dies. It never needs to be interrupted, and may be at any time: a message that takes too
 *   long is let go by whatever deadline it has anyway, a call's or a handler's.
 *
 * Errors are never signed: a CALLERROR or CALLRESULTERROR has nothing to do with a session.
 */
import type * as Effect from "effect/Effect"
import type * as Frame from "../Frame.ts"
import type { RPCError } from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Contents, Jws } from "./Jws.ts"
import type { Signed } from "./Signed.ts"

/** Of whose connection a {@link Session} is. */
export interface Connection {
  /** The station's identity, at either end. */
  readonly identity: string
  readonly subprotocol: Pick<Subprotocol, "actions" | "spelling">
}

/** How messages are signed and verified. */
export interface Signing {
  /** What a connection needs; `undefined` where its subprotocol knows no signed messages, as 1.6. */
  readonly connect: (connection: Connection) => Session | undefined
}

/**
 * Signs the text of a payload, as it would stand in the frame. The frame of a request then has the action
 * `signedAction(action)`, and the result as its payload. Fails with InternalError, when the signer fails; the cause is logged.
 */
export type SignPayload = (text: string) => Effect.Effect<Jws, RPCError>

/** A message that may have been signed. */
export type MaybeSigned<F> = F & { readonly signed?: Signed }

/** A request that was signed, as if it had not been: its own action, its own payload. */
export type SignedRequest<F extends Frame.Call | Frame.Send = Frame.Call | Frame.Send> = F & { readonly signed: Signed }

/** A result that was signed, as if it had not been. */
export type SignedResult = Frame.CallResult & { readonly signed: Signed; readonly payload: Contents["payload"] }

/** The signing of one connection. It keeps nothing of a message: that a request was signed is written on the request. */
export interface Session {
  /** How a request of ours is to be signed; `undefined` when it is not. */
  readonly request: (kind: "Call" | "Send", action: string) => SignPayload | undefined
  /**
   * How our result of a request is to be signed; `undefined` when it is not. A request that was signed (it has come out of
   * {@link openRequest}) is answered signed, if there is a signer.
   */
  readonly result: (request: MaybeSigned<Frame.Call>) => SignPayload | undefined
  /**
   * Opens a request of the peer's. `undefined`: it is not signed, and need not be. What comes out is not to be opened again.
   *
   * Fails with SecurityError when it is not signed and must be, or its signature is not right; with FormatViolation when it is
   * called signed and holds no JWS.
   */
  readonly openRequest: <F extends Frame.Call | Frame.Send>(
    request: F,
  ) => Effect.Effect<SignedRequest<F>, RPCError> | undefined
  /** Opens a result of the peer's, that of a request of ours of this action. The same as {@link openRequest}. */
  readonly openResult: (result: Frame.CallResult, action: string) => Effect.Effect<SignedResult, RPCError> | undefined
}

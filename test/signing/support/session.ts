/** One end of a connection that signs or opens messages, without the connection. */
import type * as Effect from "effect/Effect"
import type * as Frame from "../../../src/Frame.ts"
import type { RPCError } from "../../../src/RPCError.ts"
import * as Signing from "../../../src/Signing.ts"
import { Ocpp21 } from "../../../src/schemas/ocpp21.ts"

/** A frame that may be signed. */
export type Signable = Frame.Call | Frame.CallResult | Frame.Send

/** The session of a connection that speaks 2.1. */
export const sessionOf = (options: Signing.MakeOptions = {}): Signing.Session => {
  const session = Signing.make(options).connect({ identity: "CP001", subprotocol: Ocpp21 })
  if (session === undefined) throw new Error("2.1 knows signed messages")
  return session
}

/** What a session makes of a frame of the peer's; nothing when it has nothing to do with it. */
export const receive = (
  session: Signing.Session,
  frame: Signable,
  action: string,
): Effect.Effect<Signing.SignedRequest | Signing.SignedResult, RPCError> | undefined =>
  frame._tag === "CallResult" ? session.openResult(frame, action) : session.openRequest(frame)

/** What a session makes of a frame of the peer's that is its business. */
export const open = (session: Signing.Session, frame: Signable, action: string) => {
  const opening = receive(session, frame, action)
  if (opening === undefined) throw new Error("the session has nothing to do with this frame")
  return opening
}

/** Signs a payload as that of a request or a result. */
export const sign = (
  session: Signing.Session,
  message: { readonly kind: Signing.Message["kind"]; readonly action: string },
  payload: string,
) => {
  const { action, kind } = message
  const signPayload =
    kind === "CallResult"
      ? session.result({ _tag: "Call", messageId: "1", action, payload: {} })
      : session.request(kind, action)
  if (signPayload === undefined) throw new Error("the session does not sign this message")
  return signPayload(payload)
}

/** The frame of a signed payload. */
export const frame = (
  { action, kind }: { readonly kind: Signing.Message["kind"]; readonly action: string },
  payload: Frame.Call["payload"],
): Signable =>
  kind === "CallResult"
    ? { _tag: kind, messageId: "1", payload }
    : { _tag: kind, messageId: "1", action: `${action}-Signed`, payload }

/** The events of a connection: its life, and what is said on it. */
import type { Frame, Malformed } from "../Frame.ts"
import type { RPCError } from "../RPCError.ts"
import type { Part } from "../Validator.ts"

/** A frame that was received, or is being sent. */
export interface FrameEvent {
  readonly _tag: "Frame"
  /** `true` when it is ours. */
  readonly outbound: boolean
  /** The text on the wire. */
  readonly message: string
  /** The frame that the text is, or why it is none. */
  readonly frame: Frame | Malformed
}

/** The call that an event is about. */
interface About {
  /** `true` when the call is ours. */
  readonly outbound: boolean
  readonly messageId: string
  readonly action: string
  /** The payload of the call. */
  readonly request: unknown
}

/** An answer, of either side. */
interface Answered {
  /** `false` when it is ours and could not be sent: the connection was ending. */
  readonly sent: boolean
}

/** Describes a call in an event. */
export const about = (
  call: { readonly messageId: string; readonly action: string; readonly payload: unknown },
  outbound: boolean,
): About => ({
  outbound,
  messageId: call.messageId,
  action: call.action,
  request: call.payload,
})

/** The events of a connection, in the order in which they happen. */
export type Event =
  | FrameEvent
  /** The states of a connection change. */
  | { readonly _tag: "Connecting"; readonly protocols: ReadonlyArray<string> }
  | { readonly _tag: "Open"; readonly protocol: string }
  | { readonly _tag: "Disconnect"; readonly code: number; readonly reason: string }
  | { readonly _tag: "Closing" }
  | { readonly _tag: "Close"; readonly code: number; readonly reason: string }
  /** The socket broke; a Disconnect follows. */
  | { readonly _tag: "SocketError"; readonly error: Error }
  /** A CALL or SEND is about to be sent, or about to be handled. */
  | ({ readonly _tag: "Call"; readonly kind: "Call" | "Send" } & About)
  /** A call was answered with a CALLRESULT. */
  | ({ readonly _tag: "CallResult"; readonly result: unknown } & Answered & About)
  /** A call was answered with a CALLERROR, or the payload of its answer is invalid. */
  | ({ readonly _tag: "CallError"; readonly error: RPCError } & Answered & About)
  /** An attempt to connect has failed. */
  | { readonly _tag: "ConnectFailure"; readonly error: unknown }
  /** The peer could not process our CALLRESULT (OCPP 2.1). */
  | { readonly _tag: "CallResultError"; readonly messageId: string; readonly error: RPCError }
  /** An answer to a call of ours that has ended, or that did not wait for one. */
  | { readonly _tag: "LateAnswer"; readonly messageId: string; readonly message: string }
  /** A frame that is broken or belongs to nothing, with the answer it got, if any. */
  | {
      readonly _tag: "BadMessage"
      readonly message: string
      readonly error: RPCError
      readonly response: Frame | undefined
    }
  /** A payload that does not satisfy its Schema; `sender` is whose payload it is. */
  | ({
      readonly _tag: "ValidationFailure"
      readonly sender: "us" | "peer"
      readonly part: Part
      /** The invalid result when `part` is `"response"`. */
      readonly result: unknown
      readonly error: RPCError
    } & About)
  /** The peer answered a ping. */
  | { readonly _tag: "Pong"; readonly roundTripMillis: number }

const life: ReadonlySet<string> = new Set(["Connecting", "Open", "Disconnect", "Closing", "Close"])

/** An event of the connection's life. */
export type Life = Extract<Event, { readonly _tag: "Connecting" | "Open" | "Disconnect" | "Closing" | "Close" }>

/** Whether an event is one of the connection's life, not of what is said on it. */
export const isLife = (event: { readonly _tag: string }): boolean => life.has(event._tag)

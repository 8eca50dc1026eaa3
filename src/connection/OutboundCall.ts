/** One call of ours, from its making to its end. */
import type * as Exit from "effect/Exit"
import type * as Action from "../Action.ts"
import type { CallQueueFullError, DisconnectedError, TimeoutError } from "../ConnectionError.ts"
import type { RPCError } from "../RPCError.ts"

/** Everything that a call can fail with. */
export type CallFailure = RPCError | TimeoutError | DisconnectedError | CallQueueFullError

/** What is to be said to the peer. */
export interface Request {
  /** A CALL, a SEND, or a message of the program's own that is no frame of ours. */
  readonly kind: "Call" | "Send" | "Raw"
  readonly action: string
  /** The action as a value, when the caller has one: the subprotocol must have this very action. */
  readonly declaration: Action.Any | undefined
  /** The payload; of a raw message its text or bytes. */
  readonly payload: unknown
  /** How long the call may take, in milliseconds; `undefined` for as long as the settings say when it is made. */
  readonly timeout: number | undefined
  /** Whether an answer is waited for; otherwise the call ends as soon as it is sent. */
  readonly answered: boolean
  /** Why a result cannot be processed, if so. */
  readonly refuse?: ((result: unknown) => RPCError | undefined) | undefined
}

/** Learns how a call ends. */
export type Resume = (exit: Exit.Exit<unknown, CallFailure>) => void

export class OutboundCall {
  readonly messageId: string
  readonly request: Request
  /** How long it may take, in milliseconds. */
  readonly timeout: number
  /** On the clock of the deadlines. */
  readonly madeAt: number
  /** When it times out, on the clock of the deadlines. */
  readonly deadline: number
  readonly resume: Resume
  /** In the line, on its way through the transport, on the wire without an answer, or nowhere any more. */
  place: "line" | "leaving" | "wire" | "nowhere" = "line"
  /** What goes onto the wire, or why nothing does; `undefined` until it is known. */
  message: string | Uint8Array | RPCError | undefined

  constructor(messageId: string, request: Request, timeout: number, now: number, resume: Resume) {
    this.messageId = messageId
    this.request = request
    this.timeout = timeout
    this.madeAt = now
    this.deadline = now + timeout
    this.resume = resume
  }

  get action(): string {
    return this.request.action
  }

  get payload(): unknown {
    return this.request.payload
  }
}

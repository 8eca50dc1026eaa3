/**
 * How a call can end beside an answer: nothing came in time, the connection was lost, too many calls were waiting.
 *
 * Together with `RPCError` (the peer answered CALLERROR, or a payload is invalid) this is everything that a call can fail
 * with. Each says in `sent` whether the call has left, and makes its message of its fields.
 */
import * as Data from "effect/Data"

/** No answer came in time. The answer may still arrive; it is then told as an event and resolves nothing. */
export class TimeoutError extends Data.TaggedError("TimeoutError")<{
  /** The action that was called. */
  readonly action: string
  readonly messageId: string
  /** How long the call waited, in milliseconds. */
  readonly timeout: number
  /** `false` when the call was still waiting for its turn or for a connection: the peer has never seen it. */
  readonly sent: boolean
}> {
  override get message(): string {
    return `${this.action} ${this.sent ? "was not answered" : "could not be sent"} within ${this.timeout} ms`
  }
}

/** The connection closed, or is closing, and the call will get no answer. */
export class DisconnectedError extends Data.TaggedError("DisconnectedError")<{
  /** The WebSocket close code; 1006 when the connection was lost without one. */
  readonly code: number
  /** The close reason, or what is known about the cause. */
  readonly reason: string
  /** `false` when the call has never left: it is safe to repeat it. */
  readonly sent: boolean
}> {
  override get message(): string {
    return `the connection is closed (${this.reason === "" ? this.code : `${this.code}, ${this.reason}`})`
  }
}

/** More calls are waiting for their turn than `maxQueuedCalls` allows. Nothing was sent. */
export class CallQueueFullError extends Data.TaggedError("CallQueueFullError")<{
  /** The action that was called. */
  readonly action: string
  /** How many calls may wait. */
  readonly limit: number
}> {
  /** The call has never left. */
  readonly sent = false

  override get message(): string {
    return `${this.action} was not sent: ${this.limit} calls are waiting`
  }
}

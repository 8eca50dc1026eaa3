/**
 * How a call can end beside an answer: nothing came in time, the connection was lost, too many calls were waiting.
 *
 * Together with `RPCError` (the peer answered CALLERROR, or a payload is invalid) this is everything that a call can fail
 * with.
 */
import * as Data from "effect/Data"

/** No answer came in time. The answer may still arrive; it is then reported as a bad message and resolves nothing. */
export class TimeoutError extends Data.TaggedError("TimeoutError")<{
  readonly message: string
  /** The action that was called. */
  readonly action: string
  readonly messageId: string
  /** How long the call waited, in milliseconds. */
  readonly timeout: number
  /** `false` when the call was still waiting for its turn or for a connection: the peer has never seen it. */
  readonly sent: boolean
}> {
  static of(action: string, messageId: string, timeout: number, sent: boolean): TimeoutError {
    const what = sent ? "was not answered" : "could not be sent"
    return new TimeoutError({ message: `${action} ${what} within ${timeout} ms`, action, messageId, timeout, sent })
  }
}

/** The connection closed, or is closing, and the call will get no answer. */
export class DisconnectedError extends Data.TaggedError("DisconnectedError")<{
  readonly message: string
  /** The WebSocket close code; 1006 when the connection was lost without one. */
  readonly code: number
  /** The close reason, or what is known about the cause. */
  readonly reason: string
  /** `false` when the call has never left: it is safe to repeat it. */
  readonly sent: boolean
}> {
  static of(code: number, reason: string, sent: boolean): DisconnectedError {
    const why = reason === "" ? `${code}` : `${code}, ${reason}`
    return new DisconnectedError({ message: `the connection is closed (${why})`, code, reason, sent })
  }
}

/** More calls are waiting for their turn than `maxQueuedCalls` allows. Nothing was sent. */
export class CallQueueFullError extends Data.TaggedError("CallQueueFullError")<{
  readonly message: string
  /** The action that was called. */
  readonly action: string
  /** How many calls may wait. */
  readonly limit: number
}> {
  static of(action: string, limit: number): CallQueueFullError {
    return new CallQueueFullError({ message: `${action} was not sent: ${limit} calls are waiting`, action, limit })
  }
}

/**
 * The five frames of OCPP-J (1.6 §4, 2.x part 4 §4): as values, and as text.
 *
 * {@link decode} is total: any string gives a frame, or a {@link Malformed} that says what is wrong and whether the peer is to be told.
 * {@link encode} writes exactly what the specification asks for.
 */
import type * as Schema from "effect/Schema"
import {
  type RPCError,
  RPCFormatViolationError,
  RPCFrameworkError,
  RPCMessageTypeNotSupportedError,
  type Spelling,
  wireCode,
  wireDescription,
} from "./RPCError.ts"

/** The message type numbers. */
export const MessageType = { Call: 2, CallResult: 3, CallError: 4, CallResultError: 5, Send: 6 } as const

/** How deep a payload may nest. Real payloads nest about ten deep; deeper ones only exist to exhaust a stack. */
export const maxDepth = 64

/**
 * Says why a parsed JSON value cannot be a payload, in words that quote none of it: it nests deeper than `levels`, or holds a number beyond
 * the range of a double (`1e400`).
 */
export const payloadFault = (value: unknown, levels = maxDepth): string | undefined => {
  if (typeof value === "number") return Number.isFinite(value) ? undefined : "the payload holds a number out of range"
  if (typeof value !== "object" || value === null) return undefined
  if (levels === 0) return `the payload nests deeper than ${maxDepth} levels`
  if (Array.isArray(value)) {
    for (const item of value) {
      const fault = payloadFault(item, levels - 1)
      if (fault !== undefined) return fault
    }
    return undefined
  }
  for (const key in value) {
    const fault = payloadFault((value as Record<string, unknown>)[key], levels - 1)
    if (fault !== undefined) return fault
  }
  return undefined
}

interface Request {
  readonly messageId: string
  readonly action: string
  readonly payload: Schema.Json | undefined
}

interface Failure {
  readonly messageId: string
  readonly code: string
  readonly description: string
  readonly details: { readonly [key: string]: Schema.Json }
}

/** A request that is answered: `[2, messageId, action, payload]`. */
export interface Call extends Request {
  readonly _tag: "Call"
}

/** The answer to a CALL: `[3, messageId, payload]`. */
export interface CallResult {
  readonly _tag: "CallResult"
  readonly messageId: string
  readonly payload: Schema.Json | undefined
}

/** The refusal of a CALL: `[4, messageId, errorCode, errorDescription, errorDetails]`. `code` is as the peer wrote it. */
export interface CallError extends Failure {
  readonly _tag: "CallError"
}

/** "I could not process your CALLRESULT" (2.1): `[5, messageId, errorCode, errorDescription, errorDetails]`. */
export interface CallResultError extends Failure {
  readonly _tag: "CallResultError"
}

/** A request that is never answered (2.1): `[6, messageId, action, payload]`. */
export interface Send extends Request {
  readonly _tag: "Send"
}

/** What two peers say to each other. A payload that is missing on the wire is `undefined` here, and sent as `{}`. */
export type Frame = Call | CallResult | CallError | CallResultError | Send

/** The message id of a CALLERROR that answers a frame whose own id could not be read. */
export const unreadableId = "-1"

/** A text that is no frame. */
export interface Malformed {
  readonly _tag: "Malformed"
  /** The id that could be read, or `"-1"`. */
  readonly messageId: string
  /** What is wrong; it never quotes the text. */
  readonly error: RPCError
  /** Whether the peer is told with a CALLERROR; answers and SENDs are never answered. */
  readonly reply: boolean
  /** Whether it is a CALLRESULT with a readable id: the call of that id gets no other. */
  readonly ends: boolean
}

const malformed = (messageId: unknown, error: RPCError, reply: boolean): Malformed => ({
  _tag: "Malformed",
  messageId: typeof messageId === "string" ? messageId : unreadableId,
  error,
  reply,
  ends: false,
})

/**
 * Reads one text frame.
 *
 * Tolerated, because stations in the field send it: further elements at the end, a missing or `null` payload, and in an error frame a code or a
 * description that is not a string, and details that are not an object.
 *
 * @param extendedFrames whether the subprotocol knows types 5 and 6
 */
export const decode = (text: string, extendedFrames: boolean): Frame | Malformed => {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    return malformed(undefined, new RPCFrameworkError("the message is not JSON"), true)
  }
  return fromArray(message, extendedFrames)
}

/** Reads one frame from its JSON. */
export const fromArray = (message: unknown, extendedFrames: boolean): Frame | Malformed => {
  if (!Array.isArray(message)) {
    return malformed(undefined, new RPCFrameworkError("the message is not a JSON array"), true)
  }
  const [type, messageId] = message as ReadonlyArray<unknown>
  if (typeof type !== "number") {
    return malformed(undefined, new RPCFrameworkError("the message type (element 0) is not a number"), true)
  }
  switch (type) {
    case MessageType.Call:
      return requestFrom("Call", message, true)
    case MessageType.CallResult: {
      const payload: unknown = message[2]
      const wrong = typeof messageId !== "string" ? unreadableMessageId : payloadFault(payload)
      if (wrong === undefined) return { _tag: "CallResult", messageId, payload } as CallResult
      return { ...malformed(messageId, new RPCFormatViolationError(wrong), false), ends: typeof messageId === "string" }
    }
    case MessageType.CallError:
      return failureFrom("CallError", message)
    case MessageType.CallResultError:
      if (extendedFrames) return failureFrom("CallResultError", message)
      break
    case MessageType.Send:
      if (extendedFrames) return requestFrom("Send", message, false)
      break
  }
  return malformed(messageId, new RPCMessageTypeNotSupportedError(`message type ${type} is not supported`), true)
}

const unreadableMessageId = "the message id (element 1) is not a string"

const requestFrom = (
  _tag: "Call" | "Send",
  message: ReadonlyArray<unknown>,
  reply: boolean,
): Call | Send | Malformed => {
  const messageId = message[1]
  const action = message[2]
  const payload = message[3]
  if (typeof messageId !== "string") return malformed(undefined, new RPCFrameworkError(unreadableMessageId), reply)
  if (typeof action !== "string") {
    return malformed(messageId, new RPCFrameworkError("the action (element 2) is not a string"), reply)
  }
  const wrong = payloadFault(payload)
  if (wrong !== undefined) return malformed(messageId, new RPCFormatViolationError(wrong), reply)
  return { _tag, messageId, action, payload } as Call | Send
}

/** An error frame with a readable id is read whatever else it holds: its call has ended for the peer. */
const failureFrom = (
  _tag: "CallError" | "CallResultError",
  [, messageId, code, description, details]: ReadonlyArray<unknown>,
): CallError | CallResultError | Malformed => {
  if (typeof messageId !== "string")
    return malformed(undefined, new RPCFormatViolationError(unreadableMessageId), false)
  const isObject = typeof details === "object" && details !== null && !Array.isArray(details)
  return {
    _tag,
    messageId,
    code: textOf(code),
    description: typeof description === "string" ? description : "",
    details: isObject && payloadFault(details) === undefined ? details : {},
  } as CallError | CallResultError
}

/** A code as text, whatever came instead of it. */
const textOf = (code: unknown): string => {
  if (typeof code === "string") return code
  return code === undefined || code === null || typeof code === "object" ? "" : String(code)
}

/**
 * Writes one frame.
 *
 * @param spelling how the subprotocol writes the two error codes that have two spellings
 * @throws {TypeError} when a payload or the details cannot be written as JSON (a cycle, a BigInt, a throwing `toJSON`)
 */
export const encode = (frame: Frame, spelling: Spelling): string => {
  let text: string
  try {
    text = JSON.stringify(toArray(frame, spelling))
  } catch (cause) {
    throw cause instanceof TypeError ? cause : new TypeError("the payload cannot be written as JSON", { cause })
  }
  // The payload comes last: a function, a symbol, NaN, or a toJSON that gives nothing, has become null.
  if (text.endsWith(",null]")) throw new TypeError("the payload has no JSON")
  return text
}

/** The JSON array of a frame; without a spelling the code stays as it is. */
export const toArray = (frame: Frame, spelling?: Spelling): ReadonlyArray<unknown> => {
  switch (frame._tag) {
    case "Call":
    case "Send":
      return [MessageType[frame._tag], frame.messageId, frame.action, frame.payload ?? {}]
    case "CallResult":
      return [MessageType.CallResult, frame.messageId, frame.payload ?? {}]
    case "CallError":
    case "CallResultError": {
      const { messageId, code, description, details } = frame
      const spelt = spelling === undefined ? code : wireCode(code, spelling)
      return [MessageType[frame._tag], messageId, spelt, wireDescription(description), details]
    }
  }
}

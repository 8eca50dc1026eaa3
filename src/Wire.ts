/**
 * Frames as text.
 *
 * {@link decode} is total: any string gives a frame or a {@link Fault} that says what is wrong and whether the peer is to be
 * told. {@link encode} writes exactly what the specification asks for.
 */
import {
  type Call,
  type CallError,
  type CallResult,
  type CallResultError,
  type Frame,
  MessageType,
  payloadFault,
  type Send,
} from "./Frame.ts"
import {
  type RPCError,
  RPCFormatViolationError,
  RPCFrameworkError,
  RPCMessageTypeNotSupportedError,
  type Spelling,
  wireCode,
  wireDescription,
} from "./RPCError.ts"

/** The message id of a CALLERROR that answers a frame whose own id could not be read. */
export const unreadableId = "-1"

/** What came instead of a frame. */
export interface Fault {
  readonly _tag: "Fault"
  /** The id that could be read, or `"-1"`. */
  readonly messageId: string
  /** What is wrong; it never quotes the text. */
  readonly error: RPCError
  /** Whether the peer is told with a CALLERROR; answers and SENDs are never answered. */
  readonly reply: boolean
}

const fault = (messageId: unknown, error: RPCError, reply: boolean): Fault => ({
  _tag: "Fault",
  messageId: typeof messageId === "string" ? messageId : unreadableId,
  error,
  reply,
})

/**
 * Reads one text frame.
 *
 * Tolerated, because stations in the field send it: further elements at the end, a missing or `null` payload, a
 * description that is not a string, details that are not an object.
 *
 * @param extendedFrames whether the subprotocol knows types 5 and 6
 */
export const decode = (text: string, extendedFrames: boolean): Frame | Fault => {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    return fault(undefined, new RPCFrameworkError("the message is not JSON"), true)
  }
  return fromArray(message, extendedFrames)
}

const fromArray = (message: unknown, extendedFrames: boolean): Frame | Fault => {
  if (!Array.isArray(message)) {
    return fault(undefined, new RPCFrameworkError("the message is not a JSON array"), true)
  }
  const [type, messageId] = message as ReadonlyArray<unknown>
  if (typeof type !== "number") {
    return fault(undefined, new RPCFrameworkError("the message type (element 0) is not a number"), true)
  }
  switch (type) {
    case MessageType.Call:
      return requestFrom("Call", message, true)
    case MessageType.CallResult: {
      const payload: unknown = message[2]
      const wrong = typeof messageId !== "string" ? unreadableMessageId : payloadFault(payload)
      if (wrong !== undefined) return fault(messageId, new RPCFormatViolationError(wrong), false)
      return { _tag: "CallResult", messageId, payload } as CallResult
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
  return fault(messageId, new RPCMessageTypeNotSupportedError(`message type ${type} is not supported`), true)
}

const unreadableMessageId = "the message id (element 1) is not a string"

const requestFrom = (_tag: "Call" | "Send", message: ReadonlyArray<unknown>, reply: boolean): Call | Send | Fault => {
  const messageId = message[1]
  const action = message[2]
  const payload = message[3]
  if (typeof messageId !== "string") return fault(undefined, new RPCFrameworkError(unreadableMessageId), reply)
  if (typeof action !== "string") {
    return fault(messageId, new RPCFrameworkError("the action (element 2) is not a string"), reply)
  }
  const wrong = payloadFault(payload)
  if (wrong !== undefined) return fault(messageId, new RPCFormatViolationError(wrong), reply)
  return { _tag, messageId, action, payload } as Call | Send
}

const failureFrom = (
  _tag: "CallError" | "CallResultError",
  message: ReadonlyArray<unknown>,
): CallError | CallResultError | Fault => {
  const [, messageId, code, description] = message
  const details = typeof message[4] === "object" && message[4] !== null && !Array.isArray(message[4]) ? message[4] : {}
  const wrong =
    typeof messageId !== "string"
      ? unreadableMessageId
      : typeof code !== "string"
        ? "the error code (element 2) is not a string"
        : payloadFault(details)
  if (wrong !== undefined) return fault(messageId, new RPCFormatViolationError(wrong), false)
  return {
    _tag,
    messageId,
    code,
    description: typeof description === "string" ? description : "",
    details,
  } as CallError | CallResultError
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

const toArray = (frame: Frame, spelling: Spelling): ReadonlyArray<unknown> => {
  switch (frame._tag) {
    case "Call":
    case "Send":
      return [MessageType[frame._tag], frame.messageId, frame.action, frame.payload ?? {}]
    case "CallResult":
      return [MessageType.CallResult, frame.messageId, frame.payload ?? {}]
    case "CallError":
    case "CallResultError": {
      const { messageId, code, description, details } = frame
      return [MessageType[frame._tag], messageId, wireCode(code, spelling), wireDescription(description), details]
    }
  }
}

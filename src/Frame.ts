/**
 * The five frames of OCPP-J (1.6 §4, 2.x part 4 §4) as values.
 */
import type * as Schema from "effect/Schema"

/** The message type numbers. */
export const MessageType = { Call: 2, CallResult: 3, CallError: 4, CallResultError: 5, Send: 6 } as const

/** How deep a payload may nest. Real payloads nest about ten deep; deeper ones only exist to exhaust a stack. */
export const maxDepth = 64

/**
 * What keeps a parsed JSON value from being a payload, in words that quote none of it: more than `levels` levels, or a
 * number beyond what a double can hold (`1e400`).
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

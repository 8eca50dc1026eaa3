/** How a call ended on the node that made it, as it travels: errors keep their fields, and become the same classes again. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { fromWire, RPCGenericError } from "../RPCError.ts"
import { type CallFailure, CallQueueFullError, DisconnectedError, TimeoutError } from "./failures.ts"
import { isNumber, isRecord, isString } from "./guards.ts"

/** What the owner of a station answers. */
export type Outcome =
  | { readonly _tag: "Success"; readonly value?: unknown }
  | {
      readonly _tag: "RPCError"
      readonly code: string
      readonly message: string
      readonly details: Readonly<Record<string, unknown>>
      readonly receivedCode?: string
    }
  | {
      readonly _tag: "TimeoutError"
      readonly message: string
      readonly action: string
      readonly messageId: string
      readonly timeout: number
      readonly sent: boolean
    }
  | {
      readonly _tag: "DisconnectedError"
      readonly message: string
      readonly code: number
      readonly reason: string
      readonly sent: boolean
    }
  | { readonly _tag: "CallQueueFullError"; readonly message: string; readonly action: string; readonly limit: number }
  /** The call was a defect on the owner's node. */
  | { readonly _tag: "Defect"; readonly message: string }
  /** The station is not connected there, or the node must not serve: nothing was sent. */
  | { readonly _tag: "NotHere" }
  /** The call has come too late: nothing was sent. */
  | { readonly _tag: "Expired" }

/** The outcomes that end a call. */
export type Final = Exclude<Outcome, { readonly _tag: "NotHere" | "Expired" }>

/** What a call came to; `undefined` when it was interrupted. */
export const ofExit = (exit: Exit.Exit<unknown, CallFailure>): Final | undefined => {
  if (exit._tag === "Success") return { _tag: "Success", value: exit.value }
  const { reasons } = exit.cause
  const failure = reasons.find(Cause.isFailReason)?.error
  if (failure !== undefined) return ofFailure(failure)
  const defect = reasons.find(Cause.isDieReason)?.defect
  return defect === undefined ? undefined : { _tag: "Defect", message: textOf(defect) }
}

const textOf = (defect: unknown): string => (defect instanceof Error ? `${defect.name}: ${defect.message}` : "unknown")

export const ofFailure = (failure: CallFailure): Final => {
  switch (failure._tag) {
    case "RPCError": {
      const { code, details, message } = failure
      const receivedCode = failure instanceof RPCGenericError ? failure.receivedCode : undefined
      return {
        _tag: "RPCError",
        code,
        message,
        details,
        ...(receivedCode === undefined ? undefined : { receivedCode }),
      }
    }
    case "TimeoutError": {
      const { _tag, action, message, messageId, sent, timeout } = failure
      return { _tag, message, action, messageId, timeout, sent }
    }
    case "DisconnectedError": {
      const { _tag, code, message, reason, sent } = failure
      return { _tag, message, code, reason, sent }
    }
    case "CallQueueFullError": {
      const { _tag, action, limit, message } = failure
      return { _tag, message, action, limit }
    }
  }
}

/** The same outcome for the caller. */
export const toEffect = (outcome: Final): Effect.Effect<unknown, CallFailure> => {
  switch (outcome._tag) {
    case "Success":
      return Effect.succeed(outcome.value)
    case "RPCError": {
      const { code, details, message, receivedCode } = outcome
      return Effect.fail(
        receivedCode === undefined
          ? fromWire(code, message, details)
          : new RPCGenericError(message, details, receivedCode),
      )
    }
    case "TimeoutError":
      return Effect.fail(new TimeoutError(outcome))
    case "DisconnectedError":
      return Effect.fail(new DisconnectedError(outcome))
    case "CallQueueFullError":
      return Effect.fail(new CallQueueFullError(outcome))
    case "Defect":
      return Effect.die(new Error(`the node of the station: ${outcome.message}`))
  }
}

/** Whether a value that has come is an outcome. */
export const isOutcome = (value: unknown): value is Outcome => {
  if (!isRecord(value)) return false
  switch (value._tag) {
    case "Success":
    case "NotHere":
    case "Expired":
      return true
    case "RPCError":
      return (
        isString(value.code) &&
        isString(value.message) &&
        isRecord(value.details) &&
        (value.receivedCode === undefined || isString(value.receivedCode))
      )
    case "TimeoutError":
      return (
        isString(value.message) &&
        isString(value.action) &&
        isString(value.messageId) &&
        isNumber(value.timeout) &&
        typeof value.sent === "boolean"
      )
    case "DisconnectedError":
      return (
        isString(value.message) && isNumber(value.code) && isString(value.reason) && typeof value.sent === "boolean"
      )
    case "CallQueueFullError":
      return isString(value.message) && isString(value.action) && isNumber(value.limit)
    case "Defect":
      return isString(value.message)
    default:
      return false
  }
}

/** How an exit is counted: the code of an RPCError, the tag of any other failure. */
export const labelOf = (exit: Exit.Exit<unknown, { readonly _tag: string; readonly code?: unknown }>): string => {
  if (exit._tag === "Success") return "ok"
  const failure = exit.cause.reasons.find(Cause.isFailReason)?.error
  if (failure === undefined) return Cause.hasDies(exit.cause) ? "defect" : "interrupted"
  if (failure._tag === "RPCError") return String(failure.code)
  return labels.get(failure._tag) ?? failure._tag
}

const labels: ReadonlyMap<string, string> = new Map([
  ["TimeoutError", "timeout"],
  ["DisconnectedError", "disconnected"],
  ["CallQueueFullError", "queueFull"],
  ["NotConnectedError", "notConnected"],
  ["UnreachableError", "unreachable"],
])

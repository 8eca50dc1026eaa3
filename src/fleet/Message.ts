/**
 * What the nodes of a fleet say to each other: JSON objects with a version. What is not one of these is dropped, so that nodes of
 * two releases can share a fleet.
 */
import { isNumber, isRecord, isString } from "./guards.ts"
import { isOutcome, type Outcome } from "./Outcome.ts"

/** Where a call comes from, for a trace that crosses nodes. */
export interface Trace {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

/** A call for a station that the receiver holds. */
export interface Call {
  readonly type: "call"
  /** Unique for its sender, and for each attempt. */
  readonly id: number
  readonly from: string
  readonly identity: string
  /** With which epoch the sender found the receiver in the directory. */
  readonly epoch: number
  readonly kind: "Call" | "Send"
  readonly action: string
  readonly payload?: unknown
  /** How long it may still take, in milliseconds. */
  readonly timeout: number
  /** When it ends, in milliseconds on the engine's clock. */
  readonly expires: number
  readonly noReply?: boolean
  readonly trace?: Trace
}

/** What came of a call. */
export interface Answer {
  readonly type: "answer"
  readonly id: number
  readonly outcome: Outcome
}

/** A call is taken back. */
export interface Cancel {
  readonly type: "cancel"
  readonly id: number
  readonly from: string
  /** As the call's. */
  readonly expires: number
}

/** A station of which another node has a newer connection. */
export interface Superseded {
  readonly identity: string
  /** With which the other owns it. */
  readonly epoch: number
}

/** The sender has newer connections of some stations. */
export interface Replaced {
  readonly type: "replaced"
  readonly stations: ReadonlyArray<Superseded>
}

/** From a node to itself: what was sent to it before has come. */
export interface Marker {
  readonly type: "marker"
  readonly id: number
}

export type Message = Call | Answer | Cancel | Replaced | Marker

const version = 1

/** @throws {TypeError} when a payload cannot be written as JSON. */
export const encode = (message: Message): string => JSON.stringify({ v: version, ...message })

/** The message, unless the text is none. */
export const decode = (text: string): Message | undefined => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return isRecord(value) && value.v === version && isMessage(value) ? value : undefined
}

const isMessage = (value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, unknown>> & Message => {
  switch (value.type) {
    case "call":
      return isCall(value)
    case "answer":
      return isNumber(value.id) && isOutcome(value.outcome)
    case "cancel":
      return isNumber(value.id) && isString(value.from) && isNumber(value.expires)
    case "replaced":
      return Array.isArray(value.stations) && value.stations.every(isSuperseded)
    case "marker":
      return isNumber(value.id)
    default:
      return false
  }
}

const isCall = (value: Readonly<Record<string, unknown>>): boolean =>
  isNumber(value.id) &&
  isString(value.from) &&
  isString(value.identity) &&
  isNumber(value.epoch) &&
  (value.kind === "Call" || value.kind === "Send") &&
  isString(value.action) &&
  isNumber(value.timeout) &&
  isNumber(value.expires) &&
  (value.noReply === undefined || typeof value.noReply === "boolean") &&
  (value.trace === undefined || isTrace(value.trace))

const isSuperseded = (value: unknown): value is Superseded =>
  isRecord(value) && isString(value.identity) && isNumber(value.epoch)

const isTrace = (value: unknown): value is Trace =>
  isRecord(value) && isString(value.traceId) && isString(value.spanId) && typeof value.sampled === "boolean"

/** Whether a text has at most so many bytes as UTF-8. */
export const fits = (text: string, maxBytes: number): boolean =>
  text.length * 3 <= maxBytes || (text.length <= maxBytes && new TextEncoder().encode(text).length <= maxBytes)

/** The events of the promise face: what they carry, and which of the core's events they tell. */
import { Buffer } from "node:buffer"
import type { EventEmitter } from "node:events"
import type { IncomingMessage } from "node:http"
import type { CloseInfo, Event } from "../core.ts"
import * as Frame from "../Frame.ts"
import { type RPCError, RPCFrameworkError } from "../RPCError.ts"
import { guarded } from "../Transport.ts"

import { protocolNamed } from "./options.ts"

/** The events of an `RPCClient`, each with its arguments. */
export interface RPCClientEvents {
  /** A frame that is broken or belongs to nothing, with the answer it got. */
  badMessage: [event: { buffer: Buffer; error: RPCError; response: Array<unknown> | null; payload: Buffer }]
  /** A payload that does not satisfy its schema, in strict mode. */
  strictValidationFailure: [event: ValidationFailure]
  /** @deprecated the former name of `strictValidationFailure` */
  messageValidationFailure: [event: ValidationFailure & { type: "call" | "response"; payload: Array<unknown> }]
  /** Any message, in either direction. */
  message: [event: { message: string; outbound: boolean }]
  /** A CALL is about to be sent, or to be handled. */
  call: [event: { messageId: string; outbound: boolean; payload: Array<unknown> }]
  /** A call was answered with a CALLRESULT. */
  callResult: [event: About & { result: unknown }]
  /** A call was answered with a CALLERROR. */
  callError: [event: About & { error: RPCError }]
  /** A CALLRESULT or CALLERROR is about to be sent, or to be processed. */
  response: [event: { outbound: boolean; payload: Array<unknown> }]
  /** An answer came that belongs to no call of ours. */
  unexpectedResponse: [event: UnexpectedResponse]
  /** The client is trying to connect. */
  connecting: [event: { protocols: ReadonlyArray<string> }]
  /** The client is connected. */
  open: [result: { response: IncomingMessage | undefined }]
  /** The subprotocol of this and all further connections is known. */
  protocol: [protocol: string]
  /** The connection is gone. */
  disconnect: [event: CloseInfo]
  /** The client is closing, and will not reconnect. */
  closing: []
  /** The client has closed. */
  close: [event: CloseInfo]
  /** A pong has come. */
  ping: [event: { rtt: number }]
  /** The socket has a fault. */
  socketError: [error: Error]
}

/** The events that calls and messages cause, many of them in a second. The others are of the connection's life. */
export const trafficEvents = [
  "badMessage",
  "strictValidationFailure",
  "messageValidationFailure",
  "message",
  "call",
  "callResult",
  "callError",
  "response",
  "unexpectedResponse",
  "ping",
  "socketError",
] as const satisfies ReadonlyArray<keyof RPCClientEvents>

const traffic: ReadonlySet<unknown> = new Set(trafficEvents)

/** Whether an event is one of {@link trafficEvents}. */
export const isTraffic = (name: unknown): boolean => traffic.has(name)

interface About {
  messageId: string
  /** `true` when the call is ours. */
  outbound: boolean
  method: string
  params: unknown
}

/** What did not satisfy which schema. */
export interface ValidationFailure extends About {
  error: RPCError
  /** The invalid result, or `null` when the call itself is invalid. */
  result: unknown
  /** `true` when the payload of a call is invalid, `false` when that of its result is. */
  isCall: boolean
}

/** An answer to a call that is not ours, or has been answered. */
export interface UnexpectedResponse {
  /** 3 for a result, 4 for an error. */
  type: number
  id: string
  result: unknown
  error: { code: string; description: string; details: unknown } | null
}

/** Emits one event. */
export type Emit = <Name extends keyof RPCClientEvents>(name: Name, ...args: RPCClientEvents[Name]) => void

/** Tells an event of the core in the words of the promise face; `protocol` is the one that is spoken. */
export const tell = (event: Event, protocol: string, emit: Emit): void => {
  switch (event._tag) {
    case "Frame": {
      const { frame, message, outbound } = event
      const isResponse = frame._tag === "CallResult" || frame._tag === "CallError"
      const tellResponse = () => emit("response", { outbound, payload: JSON.parse(message) })
      if (isResponse && outbound) tellResponse()
      emit("message", { message, outbound })
      if (isResponse && !outbound) tellResponse()
      return
    }
    case "Call": {
      const { action, messageId, outbound, request } = event
      return emit("call", { messageId, outbound, payload: [Frame.MessageType[event.kind], messageId, action, request] })
    }
    case "CallResult":
      if (!event.sent) return
      return emit("callResult", { ...about(event), result: event.result })
    case "CallError":
      if (!event.sent) return
      return emit("callError", { ...about(event), error: event.error })
    case "BadMessage": {
      const { error, message, response } = event
      const answer =
        response === undefined ? null : JSON.parse(Frame.encode(response, protocolNamed(protocol).spelling))
      const buffer = Buffer.from(message)
      emit("badMessage", { buffer, error, response: answer, payload: buffer })
      const unexpected = unexpectedResponse(message)
      if (unexpected !== undefined) emit("unexpectedResponse", unexpected)
      return
    }
    case "LateAnswer": {
      const error = new RPCFrameworkError(
        `the message answers a call of ours that has ended (its id is "${event.messageId}")`,
      )
      return tell({ _tag: "BadMessage", message: event.message, error, response: undefined }, protocol, emit)
    }
    case "ValidationFailure": {
      const failure: ValidationFailure = {
        ...about(event),
        outbound: event.sender === "us",
        error: event.error,
        result: event.result ?? null,
        isCall: event.part === "request",
      }
      emit("strictValidationFailure", failure)
      const { isCall, messageId, method, params, result } = failure
      return emit("messageValidationFailure", {
        ...failure,
        type: isCall ? "call" : "response",
        payload: isCall ? [2, messageId, method, params] : [3, messageId, result],
      })
    }
    case "Pong":
      return emit("ping", { rtt: event.roundTripMillis })
    case "SocketError":
      return emit("socketError", event.error)
    case "Connecting":
      return emit("connecting", { protocols: event.protocols })
    case "Disconnect":
      return emit("disconnect", { code: event.code, reason: event.reason })
    case "Closing":
      return emit("closing")
    case "Close":
      return emit("close", { code: event.code, reason: event.reason })
  }
}

const about = (event: Extract<Event, { readonly action: string }>): About => ({
  messageId: event.messageId,
  outbound: event.outbound,
  method: event.action,
  params: event.request,
})

const unexpectedResponse = (message: string): UnexpectedResponse | undefined => {
  let frame: unknown
  try {
    frame = JSON.parse(message)
  } catch {
    return undefined
  }
  if (!Array.isArray(frame) || (frame[0] !== 3 && frame[0] !== 4) || typeof frame[1] !== "string") return undefined
  const [type, id, first, description, details] = frame
  return type === 3
    ? { type, id, result: first, error: null }
    : { type, id, result: null, error: { code: String(first), description: String(description ?? ""), details } }
}

/**
 * Emits. A listener that throws is a fault of the program and surfaces as one, but in a tick of its own: it must not tear
 * the connection that happened to tell it something.
 */
export const emitSafely = (emitter: EventEmitter, name: string, args: ReadonlyArray<unknown>): void =>
  guarded(() => emitter.emit(name, ...args))

/**
 * DataTransfer on the wire: `data` is JSON text in OCPP 1.x, any value in 2.x.
 *
 * Whether or not a connection is strict, what is read here is what its type says.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { payloadFault } from "../Frame.ts"
import { type RPCError, RPCFormatViolationError } from "../RPCError.ts"
import * as Validator from "../Validator.ts"
import { fromSchema } from "../validator/fromSchema.ts"
import { anything, type Shape } from "../validator/Shape.ts"
import { toError } from "../validator/Violation.ts"
import { describe } from "../validator/wording.ts"

/** The action, whatever the subprotocol. */
export const action = "DataTransfer"

/** More about a status, in 2.x. */
export interface StatusInfo {
  readonly reasonCode: string
  readonly additionalInfo?: string
}

/** What is asked. */
export interface Request {
  readonly vendorId: string
  readonly messageId?: string
  readonly data?: unknown
}

/** What is answered. */
export interface Response {
  readonly status: "Accepted" | "Rejected" | "UnknownMessageId" | "UnknownVendorId"
  readonly statusInfo?: StatusInfo
  readonly data?: unknown
}

/** How `data` is written: as text, or as a value. */
export type Form = "text" | "value"

/** What that says: the value itself, JSON, or the text itself. */
export type Content = "value" | "json" | "plain"

/** The subprotocols in which `data` is text; who has agreed on none speaks 1.6. */
export const textProtocols: ReadonlyArray<string> = ["ocpp1.6", "ocpp1.5", "ocpp1.2", ""]

/** How `data` is written in a subprotocol. */
export const formOf = (protocol: string): Form => (textProtocols.includes(protocol) ? "text" : "value")

const Status = Schema.Literals(["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"])
const Info = Schema.Struct({ reasonCode: Schema.String, additionalInfo: Schema.optionalKey(Schema.String) })

const property = (name: string, shape: Shape, isRequired: boolean) => [name, { shape, isRequired }] as const

const envelope = (form: Form) => {
  const text = fromSchema(Schema.String)
  const data = property("data", form === "text" ? text : anything, false)
  const request = new Map([property("vendorId", text, true), property("messageId", text, false), data])
  const response = new Map([
    property("status", fromSchema(Status), true),
    property("statusInfo", fromSchema(Info), false),
    data,
  ])
  return Validator.fromShapes(action, (_, part) => ({
    is: "object",
    properties: part === "request" ? request : response,
    others: anything,
  }))
}

const envelopes = { text: envelope("text"), value: envelope("value") }

/** Reads the payload of a request. */
export const readRequest = (form: Form, payload: unknown): Effect.Effect<Request, RPCError> =>
  // What the envelope finds nothing wrong with has that type.
  envelopes[form].check(action, "request", payload) ?? Effect.succeed(payload as Request)

/** Reads the payload of a response. */
export const readResponse = (form: Form, payload: unknown): Effect.Effect<Response, RPCError> =>
  envelopes[form].check(action, "response", payload) ?? Effect.succeed(payload as Response)

/** The value of `data`. An empty text is no JSON, and no value: so some stations write that there is none. */
export const readData = (content: Content, data: unknown): Effect.Effect<unknown, RPCError> => {
  if (content !== "json" || typeof data !== "string") return Effect.succeed(data)
  if (data === "") return Effect.undefined
  return Effect.suspend(() => {
    let value: unknown
    try {
      value = JSON.parse(data)
    } catch {
      const expected = "JSON text"
      const actual = describe(data)
      const message = `expected ${expected}; got ${actual}`
      return toError([{ instancePath: "/data", keyword: "contentMediaType", message, expected, actual }])
    }
    const fault = payloadFault(value)
    return fault === undefined ? Effect.succeed(value) : new RPCFormatViolationError(`/data: ${fault}`)
  })
}

/** A payload with a value as its `data`; without it, where the value is `undefined`. What is no text becomes JSON. */
export const withData = <Payload extends object>(
  content: Content,
  payload: Payload,
  value: unknown,
): Effect.Effect<Payload & { readonly data?: unknown }, RPCError> =>
  Effect.suspend(() => {
    if (value === undefined) return Effect.succeed(payload)
    if (content === "value") return Effect.succeed({ ...payload, data: value })
    if (content === "plain" && typeof value === "string") return Effect.succeed({ ...payload, data: value })
    try {
      return Effect.succeed({ ...payload, data: JSON.stringify(value) })
    } catch (error) {
      const reason = error instanceof Error ? error.message : "unknown reason"
      return new RPCFormatViolationError(`the data cannot be written as JSON: ${reason}`)
    }
  })

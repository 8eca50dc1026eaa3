/**
 * The five frames of OCPP-J (1.6 §4, 2.x part 4 §4), as values and as Schemas.
 *
 * {@link Frame} relates a frame to its JSON array. It is what property tests generate frames from, and the reference
 * that the fast decoder in `Codec` is proven equal to.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

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

const payloadCheck = Schema.makeFilter((value: Schema.Json) => payloadFault(value))
const Payload = Schema.UndefinedOr(Schema.Json.check(payloadCheck))
const Details = Schema.Record(Schema.String, Schema.Json).check(payloadCheck)

const request = { messageId: Schema.String, action: Schema.String, payload: Payload }
const failure = { messageId: Schema.String, code: Schema.String, description: Schema.String, details: Details }

/** A request that is answered: `[2, messageId, action, payload]`. */
export interface Call extends Schema.Schema.Type<typeof Call> {}
export const Call = Schema.TaggedStruct("Call", request)

/** The answer to a CALL: `[3, messageId, payload]`. */
export interface CallResult extends Schema.Schema.Type<typeof CallResult> {}
export const CallResult = Schema.TaggedStruct("CallResult", { messageId: Schema.String, payload: Payload })

/** The refusal of a CALL: `[4, messageId, errorCode, errorDescription, errorDetails]`. `code` is as the peer wrote it. */
export interface CallError extends Schema.Schema.Type<typeof CallError> {}
export const CallError = Schema.TaggedStruct("CallError", failure)

/** "I could not process your CALLRESULT" (2.1): `[5, messageId, errorCode, errorDescription, errorDetails]`. */
export interface CallResultError extends Schema.Schema.Type<typeof CallResultError> {}
export const CallResultError = Schema.TaggedStruct("CallResultError", failure)

/** A request that is never answered (2.1): `[6, messageId, action, payload]`. */
export interface Send extends Schema.Schema.Type<typeof Send> {}
export const Send = Schema.TaggedStruct("Send", request)

/** What two peers say to each other. A payload that is missing on the wire is `undefined` here, and sent as `{}`. */
export type Frame = Call | CallResult | CallError | CallResultError | Send

/** The JSON array of a frame; what stands behind the elements that count is ignored. */
type Wire<Type extends number, Strings extends ReadonlyArray<string>> = readonly [Type, ...Strings, ...Array<unknown>]

const two = [Schema.String, Schema.String] as const
const wire = <const Type extends number, const Strings extends ReadonlyArray<typeof Schema.String>>(
  type: Type,
  strings: Strings,
) => Schema.TupleWithRest(Schema.Tuple([Schema.Literal(type), ...strings]), [Schema.Unknown])

const isObject = Schema.is(Schema.Record(Schema.String, Schema.Unknown))

const requestWire = <const Tag extends "Call" | "Send", const Type extends 2 | 6>(_tag: Tag, type: Type) =>
  SchemaTransformation.transform<
    { _tag: Tag; messageId: string; action: string; payload: Schema.Json | undefined },
    Wire<Type, [string, string]>
  >({
    decode: ([, messageId, action, payload]) => ({ _tag, messageId, action, payload: payload as Schema.Json }),
    encode: (frame) => [type, frame.messageId, frame.action, frame.payload ?? {}],
  })

const resultWire = SchemaTransformation.transform<
  { _tag: "CallResult"; messageId: string; payload: Schema.Json | undefined },
  Wire<3, [string]>
>({
  decode: ([, messageId, payload]) => ({ _tag: "CallResult", messageId, payload: payload as Schema.Json }),
  encode: (frame) => [3, frame.messageId, frame.payload ?? {}],
})

const failureWire = <const Tag extends "CallError" | "CallResultError", const Type extends 4 | 5>(
  _tag: Tag,
  type: Type,
) =>
  SchemaTransformation.transform<
    {
      _tag: Tag
      messageId: string
      code: string
      description: string
      details: { readonly [key: string]: Schema.Json }
    },
    Wire<Type, [string, string]>
  >({
    decode: ([, messageId, code, description, details]) => ({
      _tag,
      messageId,
      code,
      description: typeof description === "string" ? description : "",
      details: (isObject(details) ? details : {}) as { readonly [key: string]: Schema.Json },
    }),
    encode: (frame) => [type, frame.messageId, frame.code, frame.description, frame.details],
  })

/** Frames and their JSON arrays. */
export const Frame = Schema.Union([
  wire(2, two).pipe(Schema.decodeTo(Call, requestWire("Call", 2))),
  wire(3, [Schema.String]).pipe(Schema.decodeTo(CallResult, resultWire)),
  wire(4, two).pipe(Schema.decodeTo(CallError, failureWire("CallError", 4))),
  wire(5, two).pipe(Schema.decodeTo(CallResultError, failureWire("CallResultError", 5))),
  wire(6, two).pipe(Schema.decodeTo(Send, requestWire("Send", 6))),
])

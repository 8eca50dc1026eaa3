/**
 * Text on the wire and the five frames of OCPP-J (1.6 §4, 2.x part 4 §4).
 *
 * {@link decode} is total: any string gives a {@link Frame} or a {@link Fault} that says what is wrong and whether the
 * peer is to be told. {@link encode} writes exactly what the specification asks for. {@link Frame} is also a Schema
 * between frames and their JSON arrays, so that property tests can generate frames; it accepts exactly what
 * {@link decode} accepts.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type * as Frames from "./Frame.ts"
import { payloadFault } from "./Frame.ts"

export { MessageType, maxDepth } from "./Frame.ts"
export { decode, encode, type Fault, unreadableId } from "./Wire.ts"

const payloadCheck = Schema.makeFilter((value: Schema.Json) => payloadFault(value))
const Payload = Schema.UndefinedOr(Schema.Json.check(payloadCheck))
const Details = Schema.Record(Schema.String, Schema.Json).check(payloadCheck)

const request = { messageId: Schema.String, action: Schema.String, payload: Payload }
const failure = { messageId: Schema.String, code: Schema.String, description: Schema.String, details: Details }

/** {@link Frames.Call} */
export type Call = Frames.Call
export const Call = Schema.TaggedStruct("Call", request)

/** {@link Frames.CallResult} */
export type CallResult = Frames.CallResult
export const CallResult = Schema.TaggedStruct("CallResult", { messageId: Schema.String, payload: Payload })

/** {@link Frames.CallError} */
export type CallError = Frames.CallError
export const CallError = Schema.TaggedStruct("CallError", failure)

/** {@link Frames.CallResultError} */
export type CallResultError = Frames.CallResultError
export const CallResultError = Schema.TaggedStruct("CallResultError", failure)

/** {@link Frames.Send} */
export type Send = Frames.Send
export const Send = Schema.TaggedStruct("Send", request)

/** {@link Frames.Frame} */
export type Frame = Frames.Frame

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

/**
 * Text on the wire and the five frames of OCPP-J (1.6 §4, 2.x part 4 §4).
 *
 * {@link decode} is total: any string gives a {@link Frame}, or a {@link Malformed} that says what is wrong and whether the peer is to be
 * told. {@link encode} writes exactly what the specification asks for. {@link Frame} is also a Schema between frames and their JSON
 * arrays, so that property tests can generate frames; it reads by the rules of {@link decode}.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Frames from "./Frame.ts"

export { decode, encode, type Malformed, MessageType, maxDepth, unreadableId } from "./Frame.ts"

const payloadCheck = Schema.makeFilter((value: Schema.Json) => Frames.payloadFault(value))
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

const arrayOfFrame = SchemaTransformation.transformEffect<Frame, ReadonlyArray<unknown>>({
  decode: (array, options) => {
    const frame = Frames.fromArray(array, true)
    if (frame._tag !== "Malformed") return Effect.succeed(frame)
    return Effect.fail(new SchemaIssue.InvalidValue({ message: frame.error.message }, array, options))
  },
  encode: (frame) => Effect.succeed(Frames.toArray(frame)),
})

/** Frames and their JSON arrays. */
export const Frame = Schema.Array(Schema.Unknown).pipe(
  Schema.decodeTo(Schema.Union([Call, CallResult, CallError, CallResultError, Send]), arrayOfFrame),
)

/**
 * Messages of vendors, typed: what DataTransfer carries, in OCPP 1.6, 2.0.1 and 2.1, called and handled by either side.
 *
 * A message is a value, made with {@link message}: whose it is, its name, and the Schemas of what it asks and answers, as JSON. They
 * travel in `data`, as JSON text in 1.6 and as a value in 2.x, and are validated at both ends, in strict mode or not.
 *
 * ```ts
 * const SetPrice = Vendor.message("com.acme", "SetPrice", {
 *   request: Schema.Struct({ perKilowattHour: Schema.Number }),
 *   response: Schema.Struct({ since: Schema.String }),
 * })
 *
 * const handlers = Vendor.handlers(Vendor.handle(SetPrice, (price) => Effect.succeed({ since: "2026-01-01T00:00:00Z" })))
 *
 * const since = Vendor.call(station, SetPrice, { perKilowattHour: 0.31 })
 * ```
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Action from "./Action.ts"
import type { CallOptions } from "./connection/Connection.ts"
import type { CallFailure } from "./connection/OutboundCall.ts"
import { type AnyHandler, type CallInfo, type Handlers, noReply } from "./Handlers.ts"
import type { RPCError } from "./RPCError.ts"
import * as Validator from "./Validator.ts"
import { fromSchema } from "./validator/fromSchema.ts"
import { anything } from "./validator/Shape.ts"
import * as DataTransfer from "./vendor/DataTransfer.ts"

export type { StatusInfo } from "./vendor/DataTransfer.ts"

/** A message of a vendor. Make it with {@link message}. */
export interface Message<
  out From extends Action.Sender = Action.Sender,
  out Request = unknown,
  out Response = unknown,
> {
  readonly vendorId: string
  /** `undefined` for a message that has no name. */
  readonly messageId: string | undefined
  /** The side that sends it. */
  readonly sender: From
  readonly request: Schema.Schema<Request>
  readonly response: Schema.Schema<Response>
  readonly plainText: boolean
  /** Says whether `{ data }` satisfies the request or the response. */
  readonly validator: Validator.Validator
}

/** The type of what a message asks. */
export type Request<M extends Message> = M["request"]["Type"]

/** The type of what a message answers. */
export type Response<M extends Message> = M["response"]["Type"]

/** What a message asks and answers. */
export interface Schemas<Request, Response> {
  /** What is asked, as JSON. Default nothing. */
  readonly request?: Schema.Schema<Request>
  /** What is answered, as JSON. Default nothing. */
  readonly response?: Schema.Schema<Response>
  /**
   * Whether in 1.6 a string travels as it is, instead of as the JSON of it: for vendors who send other text than JSON. Default
   * `false`.
   */
  readonly plainText?: boolean
}

/**
 * A message of a vendor: which vendor's, by the reversed name of its domain, and which, or `undefined` for the one that has no name.
 *
 * `sender` says which side sends it, and so which side may handle it; `"both"` by default.
 *
 * @throws {RangeError} when a name is empty, or longer than OCPP allows: 255 characters for a vendor, 50 for a message.
 */
export function message<const From extends Action.Sender, Request = void, Response = void>(
  vendorId: string,
  messageId: string | undefined,
  options: Schemas<Request, Response> & { readonly sender: From },
): Message<From, Request, Response>
// Without this overload the sender would be inferred from where the message is used.
export function message<Request = void, Response = void>(
  vendorId: string,
  messageId: string | undefined,
  options?: Schemas<Request, Response>,
): Message<"both", Request, Response>
export function message(
  vendorId: string,
  messageId: string | undefined,
  options: Schemas<unknown, unknown> & { readonly sender?: Action.Sender } = {},
): Message {
  checkName("the id of a vendor", vendorId, 255)
  if (messageId !== undefined) checkName("the id of a message", messageId, 50)
  const { plainText = false, request = Schema.Void, response = Schema.Void, sender = "both" } = options
  const validator = Validator.fromShapes(nameOf({ vendorId, messageId }), (_, part) => {
    const schema = part === "request" ? request : response
    const isRequired = !Schema.is(schema)(undefined)
    return {
      is: "object",
      properties: new Map([["data", { shape: fromSchema(schema), isRequired }]]),
      others: anything,
    }
  })
  return { vendorId, messageId, sender, request, response, plainText, validator }
}

const checkName = (what: string, name: string, most: number): void => {
  if (typeof name === "string" && name !== "" && [...name].length <= most) return
  throw new RangeError(`${what} must be a string of 1 to ${most} characters; got ${JSON.stringify(name)}`)
}

const nameOf = ({ messageId, vendorId }: Pick<Message, "vendorId" | "messageId">): string =>
  messageId === undefined ? vendorId : `${vendorId} ${messageId}`

/** The other side does not know the vendor. */
export class UnknownVendorId extends Data.TaggedError("UnknownVendorId")<{
  readonly message: string
  readonly vendorId: string
}> {}

/** The other side knows the vendor, but not this message of his. */
export class UnknownMessageId extends Data.TaggedError("UnknownMessageId")<{
  readonly message: string
  readonly vendorId: string
  readonly messageId: string | undefined
}> {}

/** The message was rejected by who handles it. */
export class Rejected extends Data.TaggedError("VendorRejected")<{
  readonly message: string
  /** What came with the status, as it was sent: in 1.6 a text. */
  readonly data: unknown
  /** More about it, in 2.x. */
  readonly statusInfo: DataTransfer.StatusInfo | undefined
}> {}

/** What a message can fail with. */
export type Failure = CallFailure | UnknownVendorId | UnknownMessageId | Rejected

/**
 * Rejects a message: a handler fails with it.
 *
 * @param options.data what to send with the status: any JSON in 2.x, a string in 1.6, where anything else is sent as its JSON text
 * @param options.statusInfo more about it; 1.6 has no place for it
 */
export const reject = (
  options: { readonly data?: unknown; readonly statusInfo?: DataTransfer.StatusInfo } = {},
): Rejected => new Rejected({ message: "the message is rejected", data: options.data, statusInfo: options.statusInfo })

/** A message and what answers it. */
export interface Handled<out Sender extends "station" | "csms" = never, out R = never> {
  /** Exists in the type only. */
  readonly "~sender"?: Sender
  readonly message: Message
  readonly answer: (request: unknown, call: CallInfo) => Effect.Effect<unknown, RPCError | Rejected, R>
}

/**
 * Answers a message: with its response, with {@link reject}, or with an RPCError that leaves as a CALLERROR. What is asked is known
 * to satisfy its Schema.
 */
export const handle = <M extends Message, R = never>(
  message: M,
  handler: (request: Request<M>, call: CallInfo) => Effect.Effect<Response<M> | typeof noReply, RPCError | Rejected, R>,
): Handled<Exclude<M["sender"], "both">, R> => ({ message, answer: handler })

type SenderOf<H> = H extends Handled<infer Sender, unknown> ? Sender : never

type ContextOf<H> = H extends Handled<"station" | "csms", infer R> ? R : never

/**
 * The handler of DataTransfer that answers these messages, for every version of OCPP.
 *
 * Any other vendor is answered with `UnknownVendorId`, any other message of a vendor that is known with `UnknownMessageId`. `data` that is
 * no JSON text, or does not satisfy its Schema, is answered with the CALLERROR that such a payload gets in strict mode. In OCPP
 * 1.6 the ids are compared without regard to case.
 *
 * DataTransfer has one handler: give all messages to one call of this function.
 *
 * @throws {TypeError} when two handlers are of the same message.
 */
export const handlers = <const Hs extends ReadonlyArray<Handled<"station" | "csms", unknown>>>(
  ...handled: Hs
): Handlers<SenderOf<Hs[number]>, ContextOf<Hs[number]>> => {
  // What the handler requires is the union of what each of them requires.
  const all = handled as ReadonlyArray<Handled<"station" | "csms", ContextOf<Hs[number]>>>
  const find = (form: DataTransfer.Form) => {
    const handler = handlerOf(form, all)
    return (action: string) => (action === DataTransfer.action ? handler : undefined)
  }
  return {
    parts: [
      { protocols: DataTransfer.textProtocols, find: find("text"), wildcard: undefined },
      { protocols: undefined, find: find("value"), wildcard: undefined },
    ],
  }
}

/** Every vendor's messages, by what makes two ids the same. */
const handlerOf = <R>(form: DataTransfer.Form, all: ReadonlyArray<Handled<"station" | "csms", R>>): AnyHandler<R> => {
  const same = (id: string) => (form === "text" ? id.toLowerCase() : id)
  const byVendor = new Map<string, Map<string | undefined, Handled<"station" | "csms", R>>>()
  for (const handled of all) {
    const { messageId, vendorId } = handled.message
    const ofVendor = byVendor.get(same(vendorId)) ?? new Map()
    const id = messageId === undefined ? undefined : same(messageId)
    if (ofVendor.has(id)) throw new TypeError(`two handlers are of the message ${nameOf(handled.message)}`)
    byVendor.set(same(vendorId), ofVendor.set(id, handled))
  }
  return Effect.fnUntraced(function* (payload, call) {
    const { data, messageId, vendorId } = yield* DataTransfer.readRequest(form, payload)
    const ofVendor = byVendor.get(same(vendorId))
    if (ofVendor === undefined) return { status: "UnknownVendorId" }
    const handled = ofVendor.get(messageId === undefined ? undefined : same(messageId))
    if (handled === undefined) return { status: "UnknownMessageId" }
    return yield* answerOf(form, handled, data, call)
  })
}

const answerOf = <R>(
  form: DataTransfer.Form,
  { answer, message }: Handled<"station" | "csms", R>,
  data: unknown,
  call: CallInfo,
): Effect.Effect<unknown, RPCError, R> =>
  Effect.gen(function* () {
    const content = contentOf(message, form)
    const request = yield* checked(message, "request", yield* DataTransfer.readData(content, data))
    const response = yield* Effect.suspend(() => answer(request, call))
    if (response === noReply) return noReply
    // An answer of our own that is not what it should be is nobody's fault but ours.
    const ours = checked(message, "response", response).pipe(
      Effect.andThen(DataTransfer.withData(content, { status: "Accepted" }, response)),
      Effect.catch((error) =>
        Effect.die(new TypeError(`the response of ${nameOf(message)} is not valid: ${error.message}`)),
      ),
    )
    return yield* ours
  }).pipe(Effect.catchIf(isRejected, (rejected) => rejection(form, rejected)))

const isRejected = (error: RPCError | Rejected): error is Rejected => error._tag === "VendorRejected"

const rejection = (form: DataTransfer.Form, { data, statusInfo }: Rejected): Effect.Effect<unknown, RPCError> => {
  const status = "Rejected"
  if (form === "text") return DataTransfer.withData("plain", { status }, data)
  return DataTransfer.withData("value", statusInfo === undefined ? { status } : { status, statusInfo }, data)
}

const contentOf = ({ plainText }: Message, form: DataTransfer.Form): DataTransfer.Content => {
  if (form === "value") return "value"
  return plainText ? "plain" : "json"
}

/** What a message asks or answers, where it satisfies its Schema. */
const checked = (message: Message, part: Validator.Part, data: unknown): Effect.Effect<unknown, RPCError> =>
  message.validator.check(DataTransfer.action, part, data === undefined ? {} : { data }) ?? Effect.succeed(data)

/** Who can send a message: a client those of a station, a station of a server those of a CSMS. */
export interface Caller<From extends Action.Sender> {
  readonly protocol: string
  readonly call: {
    (action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, CallFailure>
    (action: Action.Call<string, From>, request: never, options?: CallOptions): Effect.Effect<unknown, CallFailure>
  }
}

/**
 * Sends a message to the other side and waits for its response.
 *
 * Fails as a call does, and with what the other side answers instead of a response: {@link UnknownVendorId},
 * {@link UnknownMessageId} or {@link Rejected}. What is asked is validated before it is sent, the response when it has come: an
 * RPCError says what is wrong with it.
 *
 * @param peer a connection that has been opened: only then is it known in which form the data is sent
 */
export const call = <From extends Action.Sender, Request, Response>(
  peer: Caller<From>,
  message: Message<From, Request, Response>,
  request: Request,
  options?: CallOptions,
): Effect.Effect<Response, Failure> =>
  Effect.gen(function* () {
    const form = DataTransfer.formOf(peer.protocol)
    const { messageId, vendorId } = message
    const names = messageId === undefined ? { vendorId } : { vendorId, messageId }
    const content = contentOf(message, form)
    const payload = yield* DataTransfer.withData(content, names, yield* checked(message, "request", request))
    const answer = yield* peer.call(DataTransfer.action, payload, options)
    const { data, status, statusInfo } = yield* DataTransfer.readResponse(form, answer)
    switch (status) {
      case "Accepted": {
        const response = yield* checked(message, "response", yield* DataTransfer.readData(content, data))
        // What its Schema finds nothing wrong with has that type.
        return response as Response
      }
      case "UnknownVendorId":
        return yield* new UnknownVendorId({ message: `the vendor ${vendorId} is not known`, vendorId })
      case "UnknownMessageId": {
        const text = `the message ${nameOf(message)} is not known`
        return yield* new UnknownMessageId({ message: text, vendorId, messageId })
      }
      case "Rejected":
        return yield* new Rejected({ message: `the message ${nameOf(message)} was rejected`, data, statusInfo })
    }
  })

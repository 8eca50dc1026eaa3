/**
 * One OCPP action: its name, which side sends it, and the Schemas of its payloads.
 *
 * An action is a value. Calls, handlers and results are typed by it, so a wrong field, a missing one, or the response of
 * another action is a compile error. A Schema describes a payload as it is on the wire; validating never changes a value.
 *
 * ```ts
 * const Echo = Action.make("Echo", {
 *   request: Schema.Struct({ text: Schema.String }),
 *   response: Schema.Struct({ text: Schema.String }),
 * })
 * ```
 */
import type * as Schema from "effect/Schema"

/** The side that sends the request: the charging station, the CSMS (central system), or either. */
export type Sender = "station" | "csms" | "both"

/** An action that is called and answered: a CALL, then a CALLRESULT or a CALLERROR. */
export interface Call<
  out Name extends string = string,
  out From extends Sender = Sender,
  out Request = unknown,
  out Response = unknown,
> {
  readonly kind: "call"
  /** The action's name as it stands in the frame. */
  readonly name: Name
  readonly sender: From
  readonly request: Schema.Schema<Request>
  readonly response: Schema.Schema<Response>
}

/** An action that is sent and never answered: a SEND (OCPP 2.1). */
export interface Send<out Name extends string = string, out From extends Sender = Sender, out Request = unknown> {
  readonly kind: "send"
  /** The action's name as it stands in the frame. */
  readonly name: Name
  readonly sender: From
  readonly request: Schema.Schema<Request>
}

/** Any action. */
export type Any = Call | Send

/** The type of an action's request payload. */
export type Request<A extends Any> = A["request"]["Type"]

/** The type of an action's response payload; `never` for a SEND, which has none. */
export type Response<A extends Any> = A extends Call ? A["response"]["Type"] : never

/**
 * An action that is called and answered.
 *
 * `sender` says which side calls it, and so which side may handle it; `"both"` by default.
 */
export function make<const Name extends string, Request, Response, const From extends Sender>(
  name: Name,
  options: {
    readonly request: Schema.Schema<Request>
    readonly response: Schema.Schema<Response>
    readonly sender: From
  },
): Call<Name, From, Request, Response>
// Without this overload the sender would be inferred from where the action is used.
export function make<const Name extends string, Request, Response>(
  name: Name,
  options: { readonly request: Schema.Schema<Request>; readonly response: Schema.Schema<Response> },
): Call<Name, "both", Request, Response>
export function make(name: string, options: Pick<Call, "request" | "response"> & Partial<Call>): Call {
  return { kind: "call", name, sender: options.sender ?? "both", request: options.request, response: options.response }
}

/** An action that is sent and never answered. Only subprotocols that know SEND can carry it. */
export function makeSend<const Name extends string, Request, const From extends Sender>(
  name: Name,
  options: { readonly request: Schema.Schema<Request>; readonly sender: From },
): Send<Name, From, Request>
export function makeSend<const Name extends string, Request>(
  name: Name,
  options: { readonly request: Schema.Schema<Request> },
): Send<Name, "both", Request>
export function makeSend(name: string, options: Pick<Send, "request"> & Partial<Send>): Send {
  return { kind: "send", name, sender: options.sender ?? "both", request: options.request }
}

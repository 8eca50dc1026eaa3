/** A scripted peer as its users see it. */
import type * as Effect from "effect/Effect"
import type * as Action from "../../Action.ts"
import type { Other } from "../../Connection.ts"
import type { CloseInfo } from "../../connection/Closing.ts"
import type { Side } from "../../connection/Connection.ts"
import type { Frame } from "../../Frame.ts"
import type { RPCError } from "../../RPCError.ts"
import type { Subprotocol } from "../../Subprotocol.ts"
import type { Transport } from "../../Transport.ts"
import type { ExpectationError } from "./Inbox.ts"

/** A CALL to a scripted peer. */
export interface Received<out Request = unknown, in Response = unknown> {
  readonly messageId: string
  readonly action: string
  readonly payload: Request
  /** Exists in the type only: the payload of its CALLRESULT. */
  readonly "~response"?: (response: Response) => void
}

/** Options of a scripted peer. */
export interface Options<Self extends Side> {
  /** The side that it plays. */
  readonly side: Self
  /** The subprotocol that it speaks. */
  readonly protocol: Subprotocol
  /** The longest wait of an expectation, in milliseconds of real time. Default 1,000. */
  readonly patience?: number
}

/**
 * One side of a connection, under the control of a test.
 *
 * Its `expect…` effects look at the next thing that comes. Its other effects succeed when all has happened that follows from
 * them without time.
 */
export interface Peer<in out Self extends Side> {
  /** Its end of the connection. */
  readonly transport: Transport
  /** Both sides so far, as text: `->` by the peer, `<-` to it. */
  readonly transcript: ReadonlyArray<string>

  /** Expects a CALL of this action. An action as a value types it, and its payload must be valid. */
  readonly expectCall: {
    (action: string): Effect.Effect<Received, ExpectationError>
    <A extends Action.Call<string, Other<Self> | "both">>(
      action: A,
    ): Effect.Effect<Received<Action.Request<A>, Action.Response<A>>, ExpectationError>
  }
  /** Expects a SEND of this action (OCPP 2.1). Gives its payload. */
  readonly expectSend: {
    (action: string): Effect.Effect<unknown, ExpectationError>
    <A extends Action.Send<string, Other<Self> | "both">>(action: A): Effect.Effect<Action.Request<A>, ExpectationError>
  }
  /** Expects a frame of this kind. The answers to {@link call} are not seen here. */
  readonly expectFrame: <Tag extends Frame["_tag"]>(
    tag: Tag,
  ) => Effect.Effect<Extract<Frame, { readonly _tag: Tag }>, ExpectationError>
  /** Expects the end of the connection, with this code if one is given. */
  readonly expectClose: (code?: number) => Effect.Effect<CloseInfo, ExpectationError>
  /** Expects that nothing is unread, and that nothing comes unless time passes. */
  readonly expectNothing: Effect.Effect<void, ExpectationError>

  /** Answers a CALL with a CALLRESULT. Not validated: the script may be wrong on purpose. */
  readonly answer: <Response>(call: Received<unknown, Response>, response: NoInfer<Response>) => Effect.Effect<void>
  /** Answers a CALL with a CALLERROR. */
  readonly refuse: (call: Pick<Received, "messageId">, error: RPCError) => Effect.Effect<void>
  /** Answers every CALL of this action from now on, and no expectation sees it. */
  readonly always: {
    (action: string, answer: (request: unknown) => unknown): Effect.Effect<void>
    <A extends Action.Call<string, Other<Self> | "both">>(
      action: A,
      answer: (request: Action.Request<A>) => Action.Response<A>,
    ): Effect.Effect<void>
  }
  /** Calls the other side. Gives the payload of its CALLRESULT; fails with the RPCError of its CALLERROR. */
  readonly call: {
    (action: string, request?: unknown): Effect.Effect<unknown, RPCError | ExpectationError>
    <A extends Action.Call<string, Self | "both">>(
      action: A,
      request: Action.Request<A>,
    ): Effect.Effect<Action.Response<A>, RPCError | ExpectationError>
  }
  /** Sends a SEND (OCPP 2.1). */
  readonly notify: {
    (action: string, request?: unknown): Effect.Effect<void>
    <A extends Action.Send<string, Self | "both">>(action: A, request: Action.Request<A>): Effect.Effect<void>
  }
  /** Sends a text, or an array as JSON: a frame by hand, or nonsense. */
  readonly send: (message: string | ReadonlyArray<unknown>) => Effect.Effect<void>
  /** Starts the closing handshake. Default 1000, no reason. */
  readonly close: (code?: number, reason?: string) => Effect.Effect<void>
  /** Drops the connection: the other side hears 1006. */
  readonly drop: Effect.Effect<void>
}

/** One end of an OCPP-J conversation: a station that a server has accepted, a client that reconnects, or a connection by itself. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Action from "../Action.ts"
import type { RPCError } from "../RPCError.ts"
import type { CloseInfo, CloseOptions } from "./Closing.ts"
import type { Event, FrameEvent } from "./Event.ts"
import type { Observer } from "./Hub.ts"
import type { State } from "./Lifecycle.ts"
import type { CallFailure } from "./OutboundCall.ts"
import type { ConnectionOptions } from "./Settings.ts"

/** One of the two sides. */
export type Side = "station" | "csms"

/** The options of one call. */
export interface CallOptions<in Response = unknown> {
  /** How long it may take, its wait for a turn included. Default: the connection's `callTimeout`. */
  readonly timeout?: Duration.Input
  /** `true` to be done as soon as the CALL is sent. Its answer is told as an event. Default `false`. */
  readonly noReply?: boolean
  /**
   * Judges a result that is valid but may be one that the caller cannot process (2.1 part 2, I08). The error that it gives fails the call, and
   * where the subprotocol has CALLRESULTERROR, the peer gets it. Default: every valid result is taken.
   */
  readonly refuse?: (response: Response) => RPCError | undefined
}

/** The way to the other side, for us who are `Self`. */
export interface Connection<in out Self extends Side> {
  /** The station's identity. */
  readonly identity: string
  /** The agreed subprotocol, `""` for none or before the first connection. */
  readonly protocol: string
  readonly state: State
  /**
   * The Scope of the connection, closed when it ends: resources and fibers that belong to the connection. That of a client is the Scope of its
   * present connection; while there is none, it is closed.
   */
  readonly scope: Scope.Scope

  /**
   * Calls the other side and waits for its response.
   *
   * An action as a value types the request and the response. A name serves where the action is only known at run time.
   * Interrupting the Effect takes the call back: if it has not been sent it never is, and a late answer resolves nothing.
   */
  readonly call: {
    (action: string, request?: unknown, options?: CallOptions): Effect.Effect<unknown, CallFailure>
    <A extends Action.Call<string, Self | "both">>(
      action: A,
      request: Action.Request<A>,
      options?: CallOptions<Action.Response<A>>,
    ): Effect.Effect<Action.Response<A>, CallFailure>
  }

  /** Sends an unconfirmed message (OCPP 2.1): done when it is on its way. Not subject to `callConcurrency`. */
  readonly send: {
    (action: string, request?: unknown): Effect.Effect<void, CallFailure>
    <A extends Action.Send<string, Self | "both">>(
      action: A,
      request: Action.Request<A>,
    ): Effect.Effect<void, CallFailure>
  }

  /**
   * Sends text or bytes that are no frame of this library; whoever does so answers for what comes of it. Done when they are on their way:
   * while a client reconnects they wait. Fails when they cannot be sent.
   */
  readonly sendRaw: (message: string | Uint8Array) => Effect.Effect<void, CallFailure>

  /** Every frame from now on, in both directions, until the connection closes. A slow reader loses the oldest. */
  readonly frames: Stream.Stream<FrameEvent>
  /** Everything that happens from now on, until the connection closes. A slow reader loses the oldest. */
  readonly events: Stream.Stream<Event>

  /** Calls the observer for every event, in the tick in which it happens, until the returned function is called. */
  readonly subscribe: (observer: Observer) => () => void

  /** As `subscribe`, for Connecting, Open, Disconnect, Closing and Close only: costs nothing while calls are made. */
  readonly subscribeToLife: (observer: Observer) => () => void

  /**
   * Changes options, from now on. Calls that are under way keep the timeout with which they started.
   *
   * @throws {RangeError} naming the option whose value makes no sense; then nothing has changed.
   */
  readonly reconfigure: (options: ConnectionOptions) => void

  /**
   * Closes, and succeeds with the final code and reason once closed. The first code and reason count.
   *
   * Calls in flight fail and handlers are interrupted, unless `awaitPending` lets them end first.
   */
  readonly close: (options?: CloseOptions) => Effect.Effect<CloseInfo>
  /** Succeeds once closed for good. */
  readonly closed: Effect.Effect<CloseInfo>
}

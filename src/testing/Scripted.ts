/**
 * One side of a connection, written out by the test: expect this, answer that, break here.
 *
 * {@link csms} is a CSMS to test a station against, {@link Network.scripted} a station to test a CSMS against, {@link peer}
 * either, over a transport of your own. An expectation looks at the next thing that comes, and fails with
 * {@link ExpectationError} when that is something else; or when nothing comes, after a second of real time, whatever the
 * Effect `Clock` says.
 *
 * ```ts
 * const csms = yield* Scripted.csms(Ocpp16)
 * const client = yield* Client.makeWith(csms.dial, { identity: "CP001", protocols: [Ocpp16] })
 * const peer = yield* csms.accept
 * const boot = yield* Effect.forkChild(client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" }))
 * const call = yield* peer.expectCall(Ocpp16.BootNotification)
 * yield* peer.answer(call, { status: "Pending", currentTime: "2026-01-01T00:00:00Z", interval: 60 })
 * ```
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Action from "../Action.ts"
import type { Dial } from "../Client.ts"
import { connectError, handshakeFailure } from "../ConnectError.ts"
import type { Other } from "../Connection.ts"
import type { CloseInfo } from "../connection/Closing.ts"
import type { Side } from "../connection/Connection.ts"
import type { Frame } from "../Frame.ts"
import type { RPCError } from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import { defaultPatience, type ExpectationError, Inbox } from "./Inbox.ts"
import * as Link from "./Link.ts"
import { ScriptedPeer } from "./ScriptedPeer.ts"

export { ExpectationError } from "./Inbox.ts"

/** A CALL that has come. */
export interface Received<out Request = unknown, in Response = unknown> {
  readonly messageId: string
  readonly action: string
  readonly payload: Request
  /** Exists in the type only: what answers it. */
  readonly "~response"?: (response: Response) => void
}

/** What a peer can be told. */
export interface Options<Self extends Side> {
  /** Which side it plays. */
  readonly side: Self
  /** The subprotocol that it speaks. */
  readonly protocol: Subprotocol
  /** How long its expectations wait, in milliseconds of real time. Default 1,000. */
  readonly patience?: number
}

/** A peer that says what the test tells it to say. What it says is done when all that follows without time has happened. */
export interface Peer<in out Self extends Side> {
  /** Its end of the connection. */
  readonly transport: Transport
  /** What was said so far, as text: `->` by the peer, `<-` to it. */
  readonly transcript: ReadonlyArray<string>

  /** The next thing that comes is a CALL of this action. An action as a value types it, and its payload must be valid. */
  readonly expectCall: {
    (action: string): Effect.Effect<Received, ExpectationError>
    <A extends Action.Call<string, Other<Self> | "both">>(
      action: A,
    ): Effect.Effect<Received<Action.Request<A>, Action.Response<A>>, ExpectationError>
  }
  /** The next thing that comes is a SEND of this action (OCPP 2.1). Gives its payload. */
  readonly expectSend: {
    (action: string): Effect.Effect<unknown, ExpectationError>
    <A extends Action.Send<string, Other<Self> | "both">>(action: A): Effect.Effect<Action.Request<A>, ExpectationError>
  }
  /** The next thing that comes is a frame of this kind. The answers to {@link call} are not seen here. */
  readonly expectFrame: <Tag extends Frame["_tag"]>(
    tag: Tag,
  ) => Effect.Effect<Extract<Frame, { readonly _tag: Tag }>, ExpectationError>
  /** The next thing that comes is the end of the connection, with this code if one is given. */
  readonly expectClose: (code?: number) => Effect.Effect<CloseInfo, ExpectationError>
  /** Nothing is unread, and nothing comes unless time passes. */
  readonly expectNothing: Effect.Effect<void, ExpectationError>

  /** Answers a CALL with a CALLRESULT. Not validated: the script may be wrong on purpose. */
  readonly answer: <Response>(call: Received<unknown, Response>, response: NoInfer<Response>) => Effect.Effect<void>
  /** Answers a CALL with a CALLERROR. */
  readonly refuse: (call: Pick<Received, "messageId">, error: RPCError) => Effect.Effect<void>
  /** From now on every CALL of this action is answered so, and no expectation sees it. */
  readonly always: {
    (action: string, answer: (request: unknown) => unknown): Effect.Effect<void>
    <A extends Action.Call<string, Other<Self> | "both">>(
      action: A,
      answer: (request: Action.Request<A>) => Action.Response<A>,
    ): Effect.Effect<void>
  }
  /** Calls the other side, and gives the payload of its CALLRESULT; fails with the RPCError of its CALLERROR. */
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

/** A scripted peer at one end of a transport, which it listens to from now on. */
export const peer = <Self extends Side>(transport: Transport, options: Options<Self>): Effect.Effect<Peer<Self>> =>
  Effect.sync(() => typed(new ScriptedPeer(transport, options)))

/** Only the types of a peer know which side it plays, and what an action's payloads are. */
const typed = <Self extends Side>(untyped: ScriptedPeer) => untyped as Peer<Self>

/** A CSMS that is nothing but its script. */
export interface Csms {
  /** How a station gets there: for `Client.makeWith` and `Client.makeUnconnected`. */
  readonly dial: Dial
  /** The next connection that a station has opened, in order. */
  readonly accept: Effect.Effect<Peer<"csms">, ExpectationError>
  /** The line to it: cut, a station cannot connect. */
  readonly link: Link.Link
}

/** A CSMS that is nothing but its script, and speaks one subprotocol. */
export const csms = (protocol: Subprotocol, options: Pick<Options<"csms">, "patience"> = {}): Effect.Effect<Csms> =>
  Effect.gen(function* () {
    const link = yield* Link.make()
    const accepted = yield* Queue.unbounded<Peer<"csms">>()
    const dial: Dial = Effect.fnUntraced(function* (offered) {
      const ends = yield* link.connect(protocol.name)
      if (protocol.name !== "" && !offered.includes(protocol.name)) {
        return yield* connectError("ws://csms", offered, new Error(handshakeFailure.noProtocol), false)
      }
      Queue.offerUnsafe(accepted, typed(new ScriptedPeer(ends.csms, { ...options, side: "csms", protocol })))
      return ends.station
    })
    const inbox = new Inbox(options.patience ?? defaultPatience)
    return { dial, link, accept: inbox.patiently("a connection", Queue.take(accepted)) }
  })

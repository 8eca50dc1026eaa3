/**
 * What can be observed of a connection, and the hub that tells it.
 *
 * Events are told synchronously, in the tick in which they happen. Nothing is built for an event that nobody observes.
 */
import type { Frame, Malformed } from "../Frame.ts"
import type { RPCError } from "../RPCError.ts"
import { guarded } from "../Transport.ts"
import type { Part } from "../Validator.ts"

/** A frame that was received, or is being sent. */
export interface FrameEvent {
  readonly _tag: "Frame"
  /** `true` when it is ours. */
  readonly outbound: boolean
  /** The text on the wire. */
  readonly message: string
  /** What it says; a {@link Malformed} when it is no frame of OCPP-J. */
  readonly frame: Frame | Malformed
}

/** Who spoke about which call. */
interface About {
  /** `true` when the call is ours. */
  readonly outbound: boolean
  readonly messageId: string
  readonly action: string
  /** The payload of the call. */
  readonly request: unknown
}

/** What an event says of its call. */
export const about = (
  call: { readonly messageId: string; readonly action: string; readonly payload: unknown },
  outbound: boolean,
): About => ({
  outbound,
  messageId: call.messageId,
  action: call.action,
  request: call.payload,
})

/** What happens on a connection, in the order in which it happens. */
export type Event =
  | FrameEvent
  /** The states of a connection change. */
  | { readonly _tag: "Connecting"; readonly protocols: ReadonlyArray<string> }
  | { readonly _tag: "Open"; readonly protocol: string }
  | { readonly _tag: "Disconnect"; readonly code: number; readonly reason: string }
  | { readonly _tag: "Closing" }
  | { readonly _tag: "Close"; readonly code: number; readonly reason: string }
  /** The socket broke; a Disconnect follows. */
  | { readonly _tag: "SocketError"; readonly error: Error }
  /** A CALL or SEND is about to be sent, or about to be handled. */
  | ({ readonly _tag: "Call"; readonly kind: "Call" | "Send" } & About)
  /** A call was answered with a CALLRESULT. */
  | ({ readonly _tag: "CallResult"; readonly result: unknown } & About)
  /** A call was answered with a CALLERROR, or the payload of its answer is invalid. */
  | ({ readonly _tag: "CallError"; readonly error: RPCError } & About)
  /** An attempt to connect has failed. */
  | { readonly _tag: "ConnectFailure"; readonly error: unknown }
  /** The peer could not process our CALLRESULT (OCPP 2.1). */
  | { readonly _tag: "CallResultError"; readonly messageId: string; readonly error: RPCError }
  /** A frame that is broken or belongs to nothing, with the answer it got, if any. */
  | {
      readonly _tag: "BadMessage"
      readonly message: string
      readonly error: RPCError
      readonly response: Frame | undefined
    }
  /** A payload that does not satisfy its Schema; `sender` is whose payload it is. */
  | ({
      readonly _tag: "ValidationFailure"
      readonly sender: "us" | "peer"
      readonly part: Part
      /** The invalid result when `part` is `"response"`. */
      readonly result: unknown
      readonly error: RPCError
    } & About)
  /** The peer answered a ping. */
  | { readonly _tag: "Pong"; readonly roundTripMillis: number }

/** A subscriber. Called in the tick of the event; it must not throw. */
export type Observer<E = Event> = (event: E) => void

/**
 * The observers of one connection, of all the connections that one client has in its life, or of a server. The last event
 * is Close, unless a Connecting follows.
 */
export class Hub<E extends { readonly _tag: string } = Event> {
  #observers: ReadonlyArray<Observer<E>> = none
  #lifeObservers: ReadonlyArray<Observer<E>> = none
  #closed = false
  /** What is being told, then what observers have caused meanwhile. */
  readonly #untold: Array<E | (() => void)> = []

  /** Whether Close was told, and no Connecting since. */
  get closed(): boolean {
    return this.#closed
  }

  /** Whether anybody listens to everything: what is frequent need not be built when nobody does. */
  get active(): boolean {
    return this.#observers.length > 0
  }

  emit(event: E): void {
    if (event._tag === "Close") this.#closed = true
    else if (event._tag === "Connecting") this.#closed = false
    this.#untold.push(event)
    if (this.#untold.length > 1) return
    // What an observer causes is told after what he was told: to everyone in the same order.
    for (let next: E | (() => void) | undefined = event; next !== undefined; next = this.#untold[0]) {
      if (typeof next === "function") guarded(next)
      else this.#tell(next)
      this.#untold.shift()
    }
  }

  #tell(event: E): void {
    if (isLife(event)) for (const observer of this.#lifeObservers) guarded(() => observer(event))
    for (const observer of this.#observers) guarded(() => observer(event))
  }

  /** Goes on once everybody has been told of what has been emitted so far. */
  afterwards(goOn: () => void): void {
    if (this.#untold.length === 0) goOn()
    else this.#untold.push(goOn)
  }

  /** Calls the observer for every event from now on, until the returned function is called. */
  subscribe(observer: Observer<E>): () => void {
    this.#observers = [...this.#observers, observer]
    return () => {
      this.#observers = this.#observers.filter((other) => other !== observer)
    }
  }

  /** Calls the observer for the events of the connection's life only, which are told whether or not anybody listens. */
  subscribeToLife(observer: Observer<E>): void {
    this.#lifeObservers = [...this.#lifeObservers, observer]
  }
}

const none: ReadonlyArray<never> = []

const life: ReadonlySet<string> = new Set(["Connecting", "Open", "Disconnect", "Closing", "Close"])

/** Whether an event is one of the connection's life, not of what is said on it. */
export const isLife = (event: { readonly _tag: string }): boolean => life.has(event._tag)

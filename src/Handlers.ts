/**
 * Typed routing: which Effect answers which action.
 *
 * Handlers are values. {@link make} types each handler by its action, and remembers which side sends the actions, so that
 * a server cannot be given a station's handlers or the other way round. A handler keeps its own requirements; the server
 * or client that runs it asks for them.
 *
 * ```ts
 * const CentralSystem = Handlers.make(Ocpp16, {
 *   Heartbeat: () => Effect.map(DateTime.now, (now) => ({ currentTime: DateTime.formatIso(now) })),
 * })
 * ```
 */
import type * as Effect from "effect/Effect"
import type * as Action from "./Action.ts"
import type * as Protocol from "./Protocol.ts"
import type { RPCError } from "./RPCError.ts"

/** What a handler can know about the call beside its payload. */
export interface CallInfo {
  /** The action's name. */
  readonly action: string
  readonly messageId: string
}

/** Succeeding with this sends no answer at all: whoever does so answers by other means, or leaves the peer waiting. */
export const noReply: unique symbol = Symbol.for("effect-ocpp/Handlers/noReply")

/** Answers one action: with its response, or with an RPCError that leaves as a CALLERROR. */
export type Handler<A extends Action.Any, R = never> = (
  request: Action.Request<A>,
  call: CallInfo,
) => Effect.Effect<A extends Action.Call ? Action.Response<A> | typeof noReply : void, RPCError, R>

/** Answers any action. */
export type AnyHandler<R = never> = (request: unknown, call: CallInfo) => Effect.Effect<unknown, RPCError, R>

/**
 * Some handlers.
 *
 * `Sender` is the side whose calls they answer, `"station"` for what a CSMS handles; `R` is what they require.
 */
export interface Handlers<out Sender extends "station" | "csms" = never, out R = never> {
  /** Exists in the type only. */
  readonly "~sender"?: Sender
  /** The subprotocol whose actions these are; `undefined` for handlers of any subprotocol. */
  readonly protocol: string | undefined
  /** The handler of an action, if there is one. */
  readonly find: Router<R>
  /** Handles what nothing else does. */
  readonly wildcard: AnyHandler<R> | undefined
}

/** Finds the handler of an action, if there is one. */
export type Router<R = never> = (action: string) => AnyHandler<R> | undefined

type ActionNamed<P extends Protocol.Protocol, Name> =
  P extends Protocol.Protocol<string, infer Actions> ? Extract<Actions, { readonly name: Name }> : never

type Names<P extends Protocol.Protocol> = P extends Protocol.Protocol<string, infer Actions> ? Actions["name"] : never

type HandlersOf<P extends Protocol.Protocol> = {
  readonly [Name in Names<P>]?: Handler<ActionNamed<P, Name>, unknown>
}

type RequirementsOf<H> = {
  [K in keyof H]: H[K] extends (...args: ReadonlyArray<never>) => infer Result
    ? [Result] extends [Effect.Effect<unknown, unknown, infer R>]
      ? [Result] extends [never]
        ? never
        : R
      : never
    : never
}[keyof H]

type SendersOf<P extends Protocol.Protocol, H> = Exclude<ActionNamed<P, keyof H>["sender"], "both">

/** Handlers of some actions of a subprotocol. */
export const make = <P extends Protocol.Protocol, const H extends HandlersOf<P>>(
  protocol: P,
  handlers: H & { readonly [Name in keyof H]: Name extends Names<P> ? unknown : never },
): Handlers<SendersOf<P, H>, RequirementsOf<H>> => {
  // Each handler takes the request of its own action, and is looked up by that action's name only.
  const byAction = new Map(Object.entries(handlers)) as ReadonlyMap<string, AnyHandler<RequirementsOf<H>>>
  return { protocol: protocol.name, find: (action) => byAction.get(action), wildcard: undefined }
}

/** A handler for whatever no other handler answers; of one subprotocol, or of all. */
export const wildcard = <R = never>(
  handler: AnyHandler<R>,
  protocol?: { readonly name: string },
): Handlers<never, R> => ({
  protocol: protocol?.name,
  find: () => undefined,
  wildcard: handler,
})

/** Handlers that come and go: `find` is asked at every call. */
export const dynamic = <R = never>(find: Router<R>): Handlers<never, R> => ({
  protocol: undefined,
  find,
  wildcard: undefined,
})

/** The router of one subprotocol. The first of the given handlers that knows an action answers it; wildcards come last. */
export const route = <R>(
  handlers: ReadonlyArray<Handlers<"station" | "csms", R>>,
  protocol: { readonly name: string },
): Router<R> => {
  const relevant = handlers.filter((some) => some.protocol === undefined || some.protocol === protocol.name)
  const wildcard = relevant.find((some) => some.wildcard !== undefined)?.wildcard
  return (action) => {
    for (const { find } of relevant) {
      const handler = find(action)
      if (handler !== undefined) return handler
    }
    return wildcard
  }
}

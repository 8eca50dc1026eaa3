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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
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

/** A program that waits for the answer of a call to leave, with its services. */
export interface Follower {
  readonly program: Effect.Effect<unknown, unknown>
  readonly context: Context.Context<never>
}

/** The programs that wait for the answer of the present call. */
export const Followers = Context.Reference<Array<Follower> | undefined>("effect-ocpp/Handlers/Followers", {
  defaultValue: () => undefined,
})

/**
 * Has something done once the answer of the present call has left: in the Scope of the connection, so that it ends with that. Where no CALLRESULT
 * leaves, because the handler fails or the connection is lost, nothing is done. A failure is logged.
 *
 * ```ts
 * const ChargePoint = Handlers.make(Ocpp16, {
 *   Reset: () => Effect.as(Handlers.afterReply(reboot), { status: "Accepted" }),
 * })
 * ```
 */
export const afterReply = <R = never>(
  program: Effect.Effect<unknown, unknown, R>,
): Effect.Effect<void, never, Exclude<R, Scope.Scope>> =>
  Effect.contextWith((context: Context.Context<Exclude<R, Scope.Scope>>) => {
    const followers = Context.get(context, Followers)
    if (followers === undefined) return Effect.die(new Error("afterReply is for handlers: there is no call to answer"))
    return Effect.sync(() => void followers.push(followerOf(program, context)))
  })

/** The services that the program asks for are in the context, but for the Scope, which the connection adds. */
const followerOf = (program: unknown, context: unknown): Follower => ({ program, context }) as Follower

/** Answers one action: with its response, or with an RPCError that leaves as a CALLERROR. */
export type Handler<A extends Action.Any, R = never> = (
  request: Action.Request<A>,
  call: CallInfo,
) => Effect.Effect<A extends Action.Call ? Action.Response<A> | typeof noReply : void, RPCError, R>

/** Answers any action. */
export type AnyHandler<R = never> = (request: unknown, call: CallInfo) => Effect.Effect<unknown, RPCError, R>

/** Finds the handler of an action, if there is one. */
export type Router<R = never> = (action: string) => AnyHandler<R> | undefined

/** Some handlers of one subprotocol, or of any. */
interface Part<out R> {
  /** The subprotocols whose actions these are; `undefined` for any. */
  readonly protocols: ReadonlyArray<string> | undefined
  readonly find: Router<R>
  /** Handles what nothing else does. */
  readonly wildcard: AnyHandler<R> | undefined
}

/**
 * Some handlers.
 *
 * `Sender` is the side whose calls they answer, `"station"` for what a CSMS handles; `R` is what they require.
 */
export interface Handlers<out Sender extends "station" | "csms" = never, out R = never> {
  /** Exists in the type only. */
  readonly "~sender"?: Sender
  readonly parts: ReadonlyArray<Part<R>>
}

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

/** The names of the actions that all of some subprotocols have: a union has the keys that all of its members have. */
type CommonNames<P extends Protocol.Protocol> = keyof (P extends Protocol.Protocol<string, infer Actions>
  ? { readonly [Name in Actions["name"]]: unknown }
  : never) &
  string

type UnionToIntersection<U> = (U extends unknown ? (member: U) => void : never) extends (all: infer I) => void
  ? I
  : never

/** What is each of some responses, without the fields that not all of them have. */
type CommonResponse<A extends Action.Call> =
  UnionToIntersection<A extends Action.Call ? { readonly is: Action.Response<A> } : never> extends {
    readonly is: infer All
  }
    ? All & { readonly [Field in Exclude<keyof All, keyof Action.Response<A>>]?: never }
    : never

/** Answers an action of several subprotocols: with a response that is valid in each of them. */
type CommonHandler<A extends Action.Any, R> = (
  request: Action.Request<A>,
  call: CallInfo,
) => Effect.Effect<[A] extends [Action.Call] ? CommonResponse<A> | typeof noReply : void, RPCError, R>

type CommonHandlersOf<P extends Protocol.Protocol> = {
  readonly [Name in CommonNames<P>]?: CommonHandler<ActionNamed<P, Name>, unknown>
}

/** Handlers of some actions of a subprotocol. */
export const make = <P extends Protocol.Protocol, const H extends HandlersOf<P>>(
  protocol: P,
  handlers: H & { readonly [Name in keyof H]: Name extends Names<P> ? unknown : never },
): Handlers<SendersOf<P, H>, RequirementsOf<H>> => ({ parts: [partOf([protocol], handlers)] })

/** Handlers of actions that several subprotocols have in common; each answers with what is valid in all of them. */
export const makeCommon = <
  const Ps extends ReadonlyArray<Protocol.Protocol>,
  const H extends CommonHandlersOf<Ps[number]>,
>(
  protocols: Ps,
  handlers: H & { readonly [Name in keyof H]: Name extends CommonNames<Ps[number]> ? unknown : never },
): Handlers<SendersOf<Ps[number], H>, RequirementsOf<H>> => ({ parts: [partOf(protocols, handlers)] })

const partOf = <R>(protocols: ReadonlyArray<Protocol.Protocol>, handlers: object): Part<R> => {
  for (const [action, handler] of Object.entries(handlers)) {
    if (handler === undefined) continue
    const other = protocols.find(({ actions }) => !actions.has(action))
    if (other !== undefined) throw new TypeError(`${other.name} has no action ${JSON.stringify(action)} to be handled`)
    if (typeof handler !== "function") throw new TypeError(`the handler of ${action} must be a function`)
  }
  // Each handler takes the request of its own action, and is looked up by that action's name only.
  const byAction = new Map(Object.entries(handlers)) as ReadonlyMap<string, AnyHandler<R>>
  return { protocols: protocols.map(({ name }) => name), find: (action) => byAction.get(action), wildcard: undefined }
}

/** A handler for whatever no other handler answers; of one subprotocol, or of all. */
export const wildcard = <R = never>(
  handler: AnyHandler<R>,
  protocol?: { readonly name: string },
): Handlers<never, R> => ({
  parts: [{ protocols: protocol && [protocol.name], find: () => undefined, wildcard: handler }],
})

/** Handlers that come and go: `find` is asked at every call. */
export const dynamic = <R = never>(find: Router<R>): Handlers<never, R> => ({
  parts: [{ protocols: undefined, find, wildcard: undefined }],
})

type SenderOf<H> = H extends Handlers<infer Sender, unknown> ? Sender : never

type ContextOf<H> = H extends Handlers<"station" | "csms", infer R> ? R : never

/** All of some handlers as one value. Where two answer the same action, the first does; wildcards come last. */
export const merge = <const Hs extends ReadonlyArray<Handlers<"station" | "csms", unknown>>>(
  ...handlers: Hs
): Handlers<SenderOf<Hs[number]>, ContextOf<Hs[number]>> => ({
  // What they require is the union of what each requires.
  parts: handlers.flatMap(({ parts }) => parts) as ReadonlyArray<Part<ContextOf<Hs[number]>>>,
})

/** What is around a handler: runs `handle`, or answers itself; what it succeeds or fails with is the answer. */
export type Middleware<R, R2> = (
  handle: Effect.Effect<unknown, RPCError, R>,
  request: unknown,
  call: CallInfo,
) => Effect.Effect<unknown, RPCError, R2>

/**
 * The same handlers, each with a middleware around it. It may provide what they require, and require more. It runs once the
 * payload is known to be valid (in strict mode), and only for actions that have a handler.
 *
 * ```ts
 * const timed = Handlers.wrap(CentralSystem, (handle, _request, { action }) => Effect.withSpan(handle, action))
 * ```
 */
export const wrap = <Sender extends "station" | "csms", R, R2>(
  self: Handlers<Sender, R>,
  middleware: Middleware<R, R2>,
): Handlers<Sender, R2> => {
  const wrapped = new WeakMap<AnyHandler<R>, AnyHandler<R2>>()
  const wrapOne = (handler: AnyHandler<R> | undefined): AnyHandler<R2> | undefined => {
    if (handler === undefined) return undefined
    let known = wrapped.get(handler)
    if (known === undefined) {
      known = (request, call) =>
        middleware(
          Effect.suspend(() => handler(request, call)),
          request,
          call,
        )
      wrapped.set(handler, known)
    }
    return known
  }
  return {
    parts: self.parts.map(({ find, protocols, wildcard }) => ({
      protocols,
      find: (action) => wrapOne(find(action)),
      wildcard: wrapOne(wildcard),
    })),
  }
}

/** The router of one subprotocol. The first of the given handlers that knows an action answers it; wildcards come last. */
export const route = <R>(
  handlers: ReadonlyArray<Handlers<"station" | "csms", R>>,
  protocol: { readonly name: string },
): Router<R> => {
  const relevant = handlers
    .flatMap(({ parts }) => parts)
    .filter(({ protocols }) => protocols === undefined || protocols.includes(protocol.name))
  const wildcard = relevant.find((some) => some.wildcard !== undefined)?.wildcard
  return (action) => {
    for (const { find } of relevant) {
      const handler = find(action)
      if (handler !== undefined) return handler
    }
    return wildcard
  }
}

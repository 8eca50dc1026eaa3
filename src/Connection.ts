/**
 * Symmetrical RPC over one transport: both sides call, both sides handle.
 *
 * A connection lives in a Scope; closing the Scope closes it, fails its calls and interrupts its handlers. `Server` makes
 * one for every station that it accepts, `Client` one after the other for the one station that it is. Use {@link make}
 * directly to speak OCPP over something else than a WebSocket, or in tests.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Alarms from "./connection/Alarms.ts"
import { OpenConnection } from "./connection/OpenConnection.ts"
import type { Peer, Side } from "./connection/Peer.ts"
import { type Options, settings } from "./connection/Settings.ts"
import * as Handlers from "./Handlers.ts"
import type * as Protocol from "./Protocol.ts"
import type { Transport } from "./Transport.ts"

export * from "./ConnectionError.ts"
export type { Event, FrameEvent, Observer } from "./connection/Event.ts"
export type { CallFailure } from "./connection/Outbound.ts"
export { type CallOptions, type Side, State } from "./connection/Peer.ts"
export type { CloseInfo, CloseOptions } from "./connection/Rpc.ts"
export type { Options } from "./connection/Settings.ts"

/** One connection, for us who are `Self`. */
export interface Connection<in out Self extends Side> extends Peer<Self> {}

/** The side that is not `Self`. */
export type Other<Self extends Side> = Self extends "station" ? "csms" : "station"

/** A connection over an open transport. */
export const make = <Self extends Side, R = never>(
  transport: Transport,
  options: Options & {
    /** Which side we are. */
    readonly side: Self
    readonly protocol: Protocol.Protocol
    readonly identity?: string
    readonly handlers?: ReadonlyArray<Handlers.Handlers<Other<Self>, R>>
  },
): Effect.Effect<Connection<Self>, never, Scope.Scope | R> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<R>()
    const connection = new OpenConnection<Self>({
      identity: options.identity ?? "",
      transport,
      protocol: options.protocol,
      options,
      settings: settings(options),
      router: Handlers.route(options.handlers ?? [], options.protocol) as Handlers.Router,
      context: () => context,
      alarms: yield* Alarms.make,
    })
    yield* Effect.addFinalizer(() => Effect.andThen(connection.close({ code: 1001 }), connection.ended))
    connection.start()
    return connection
  })

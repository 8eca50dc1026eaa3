/**
 * Symmetrical RPC over one transport: both sides call, both sides handle.
 *
 * A connection lives in a Scope; closing the Scope closes it, fails its calls and interrupts its handlers. `Server` makes
 * one for every station that it accepts, `Client` one after the other for the one station that it is. Use {@link make}
 * directly to speak OCPP over something else than a WebSocket, or in tests.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Connection, Side } from "./connection/Connection.ts"
import * as Environment from "./connection/Environment.ts"
import { OpenConnection } from "./connection/OpenConnection.ts"
import { type Checks, checkOptions, handlers, record, text, whenRead } from "./connection/OptionChecks.ts"
import { type ConnectionOptions, connectionOptions, settings } from "./connection/Settings.ts"
import * as Streams from "./connection/Streams.ts"
import { detached } from "./connection/Tracing.ts"
import * as Handlers from "./Handlers.ts"
import type * as Protocol from "./Protocol.ts"
import type { Transport } from "./Transport.ts"

export * from "./ConnectionError.ts"
export type { CloseInfo, CloseOptions } from "./connection/Closing.ts"
export type { CallOptions, Connection, Side } from "./connection/Connection.ts"
export type { Event, FrameEvent } from "./connection/Event.ts"
export type { Observer } from "./connection/Hub.ts"
export { State } from "./connection/Lifecycle.ts"
export type { CallFailure } from "./connection/OutboundCall.ts"
export type { ConnectionOptions as Options } from "./connection/Settings.ts"

/** The side that is not `Self`. */
export type Other<Self extends Side> = Self extends "station" ? "csms" : "station"

/** The options of a connection over a transport of your own. */
export interface MakeOptions<Self extends Side, R = never> extends ConnectionOptions {
  /** Which side we are. */
  readonly side: Self
  readonly protocol: Protocol.Protocol
  /** The station's identity. Default empty. */
  readonly identity?: string
  /** The handlers of the other side's calls. */
  readonly handlers?: ReadonlyArray<Handlers.Handlers<Other<Self>, R>>
}

const makeOptions: Checks<MakeOptions<Side>> = {
  ...connectionOptions,
  side: whenRead,
  protocol: record,
  identity: text,
  handlers,
}

/** A connection over an open transport. */
export const make = <Self extends Side, R = never>(
  transport: Transport,
  options: MakeOptions<Self, R>,
): Effect.Effect<Connection<Self>, never, Scope.Scope | R> =>
  Effect.gen(function* () {
    checkOptions(options, makeOptions)
    // The services that handlers require are in it.
    const context = detached((yield* Effect.context<R>()) as Context.Context<never>)
    const root = Scope.makeUnsafe()
    const connection = new OpenConnection<Self>(
      {
        side: options.side,
        identity: options.identity ?? "",
        transport,
        subprotocol: options.protocol,
        router: Handlers.route(options.handlers ?? [], options.protocol) as Handlers.Router,
        options,
        settings: settings(options),
        environment: Environment.of(context, Streams),
        root,
      },
      context,
    )
    yield* Effect.addFinalizer(() => Effect.andThen(connection.close({ code: 1001 }), Scope.close(root, Exit.void)))
    connection.start()
    return connection
  })

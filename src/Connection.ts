/**
 * Symmetrical RPC over one transport: both sides call, both sides handle.
 *
 * A connection lives in a Scope; closing the Scope closes it, fails its calls and interrupts its handlers. `Server` makes
 * one for every station that it accepts, `Client` one after the other for the one station that it is. Use {@link make}
 * directly to speak OCPP over something else than a WebSocket, or in tests.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Environment from "./connection/Environment.ts"
import type { Event, FrameEvent } from "./connection/Event.ts"
import { OpenConnection, type Parts } from "./connection/OpenConnection.ts"
import { type Checks, checkOptions, handlers, record, text, whenRead } from "./connection/OptionChecks.ts"
import type { Peer, Side } from "./connection/Peer.ts"
import { connectionOptions, type Options, settings } from "./connection/Settings.ts"
import * as Streams from "./connection/Streams.ts"
import * as Handlers from "./Handlers.ts"
import type * as Protocol from "./Protocol.ts"
import type { Transport } from "./Transport.ts"

export * from "./ConnectionError.ts"
export type { CloseInfo, CloseOptions } from "./connection/Closing.ts"
export type { Event, FrameEvent, Observer } from "./connection/Event.ts"
export type { CallFailure } from "./connection/Outbound.ts"
export { type CallOptions, type Side, State } from "./connection/Peer.ts"
export type { Options } from "./connection/Settings.ts"

/** One connection, for us who are `Self`. */
export interface Connection<in out Self extends Side> extends Peer<Self>, Streams.Observable {}

/** The side that is not `Self`. */
export type Other<Self extends Side> = Self extends "station" ? "csms" : "station"

/** What a connection over a transport of your own is made of. */
export interface MakeOptions<Self extends Side, R = never> extends Options {
  /** Which side we are. */
  readonly side: Self
  readonly protocol: Protocol.Protocol
  /** The station's identity. Default empty. */
  readonly identity?: string
  /** What answers the other side's calls. */
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
    const parts: Parts = {
      side: options.side,
      identity: options.identity ?? "",
      transport,
      subprotocol: options.protocol,
      router: Handlers.route(options.handlers ?? [], options.protocol) as Handlers.Router,
      options,
      settings: settings(options),
      environment: Environment.of(yield* Effect.context()),
    }
    const connection = new DirectConnection<Self>(parts, yield* Effect.context<R>())
    yield* Effect.addFinalizer(() => Effect.andThen(connection.close({ code: 1001 }), connection.ended))
    connection.start()
    return connection
  })

class DirectConnection<in out Self extends Side> extends OpenConnection<Self> implements Connection<Self> {
  readonly #context: Context.Context<never>

  constructor(parts: Parts, context: Context.Context<never>) {
    super(parts)
    this.#context = context
  }

  get frames(): Stream.Stream<FrameEvent> {
    return Streams.frames(this.hub)
  }

  get events(): Stream.Stream<Event> {
    return Streams.events(this.hub)
  }

  handlerContext(): Context.Context<never> {
    return this.#context
  }

  protected onClosed(): void {}
}

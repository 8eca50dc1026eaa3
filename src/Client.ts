/**
 * One identity, one connection at a time, reconnecting: the charging station.
 *
 * {@link make} opens the first connection, in a Scope whose closing ends it. When the connection is lost, a `Schedule` says
 * when to try again; calls made meanwhile wait. The subprotocol of the first connection is the subprotocol of all.
 *
 * ```ts
 * const station = Effect.gen(function* () {
 *   const client = yield* Client.make({ endpoint: "ws://localhost:3000", identity: "CP001", protocols: [Ocpp16] })
 *   return yield* client.call(Ocpp16.Heartbeat, {})
 * })
 * ```
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Configurable, resolve } from "./Configurable.ts"
import { type ConnectFailure, type Dial, type DialOptions, dialler } from "./client/dial.ts"
import { type ClientOptions as Options, ReconnectingClient } from "./client/ReconnectingClient.ts"
import type { Connection } from "./connection/Connection.ts"
import * as Environment from "./connection/Environment.ts"
import { detachable } from "./connection/Peer.ts"
import type { ConnectionOptions } from "./connection/Settings.ts"
import * as Streams from "./connection/Streams.ts"
import { detached } from "./connection/Tracing.ts"

export { ConnectError, UnexpectedHttpResponse } from "./ConnectError.ts"
export { type ConnectFailure, connectionUrl, type Dial, type DialOptions, dialler } from "./client/dial.ts"
export type { ClientOptions as Options } from "./client/ReconnectingClient.ts"
export type { ReconnectReason } from "./client/ReconnectPolicy.ts"

/** The options of a client that uses WebSockets. */
export interface WebSocketOptions<R = never> extends Options<R>, DialOptions {}

/** A charging station's connection to its CSMS. */
export interface Client extends Connection<"station"> {
  /**
   * Connects, if not connected. {@link make} has done this already; it serves to connect again after `close`.
   *
   * Only the first attempt fails; from then on the reconnect schedule rules. Interrupting abandons that attempt.
   */
  readonly connect: Effect.Effect<void, ConnectFailure>
  /** {@link Connection.reconfigure}, and when to try again after the next loss. */
  readonly reconfigure: (options: ConnectionOptions & Pick<Options, "reconnect">) => void
}

/** The client, for those who provide one as a Layer, and for its handlers: who is asking? */
export const Client = Context.Service<Client>("effect-ocpp/Client")

/** A client that is connected by WebSocket. Closing the Scope closes it with code 1000. */
export const make = <R = never>(
  options: WebSocketOptions<R>,
): Effect.Effect<Client, ConnectFailure, Scope.Scope | Exclude<R, Client>> =>
  Effect.suspend(() => makeWith(dialler(options), options))

/** A client that is connected by transports of any kind. */
export const makeWith = <R = never>(
  dial: Dial,
  options: Options<R>,
): Effect.Effect<Client, ConnectFailure, Scope.Scope | Exclude<R, Client>> =>
  Effect.tap(makeUnconnected(dial, options), (client) => client.connect)

/** A client that waits for its `connect` to be run. */
export const makeUnconnected = <R = never>(
  dial: Dial,
  options: Options<R>,
): Effect.Effect<Client, never, Scope.Scope | Exclude<R, Client>> =>
  Effect.gen(function* () {
    const context = detached((yield* Effect.context<Exclude<R, Client>>()) as Context.Context<never>)
    const client = new ReconnectingClient(dial, options as Options, Environment.of(context, Streams), (self) =>
      Context.add(context, Client, self),
    )
    detachable<Client>(client, ["call", "send", "sendRaw", "subscribe", "subscribeToLife", "reconfigure", "close"])
    yield* Effect.addFinalizer(() => client.shutdown)
    return client
  })

/** A connected client as a Layer. */
export const layer = <R = never>(
  options: WebSocketOptions<R>,
): Layer.Layer<Client, ConnectFailure, Exclude<Exclude<R, Client>, Scope.Scope>> => Layer.effect(Client, make(options))

/**
 * {@link layer}, where any option may be a `Config`.
 *
 * ```ts
 * const Station = Client.layerConfig({
 *   endpoint: Config.String("CSMS_URL"),
 *   identity: Config.String("IDENTITY"),
 *   password: Config.Redacted("PASSWORD"),
 *   protocols: [Ocpp16],
 * })
 * ```
 */
export const layerConfig = <R = never>(
  options: Configurable<WebSocketOptions<R>>,
): Layer.Layer<Client, ConnectFailure | Config.ConfigError, Exclude<Exclude<R, Client>, Scope.Scope>> =>
  Layer.unwrap(Effect.map(resolve<WebSocketOptions<R>>(options), layer))

/**
 * The CSMS: accepts stations, knows who is connected, and calls them.
 *
 * {@link layer} is a server that listens as long as the Layer lives; {@link make} one that you let listen, or give the
 * `upgrade` events of an HTTP server of your own. Closing its Scope closes every connection gracefully.
 *
 * ```ts
 * const Csms = Server.layer({ port: 3000, protocols: [Ocpp201, Ocpp16], handlers: [CentralSystem], strictMode: true })
 * Effect.runFork(Layer.launch(Csms))
 * ```
 */
import type { Server as HttpServer, IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Action from "./Action.ts"
import { type Configurable, resolve } from "./Configurable.ts"
import type { CloseOptions } from "./connection/Closing.ts"
import type { CallOptions, Connection } from "./connection/Connection.ts"
import * as Environment from "./connection/Environment.ts"
import type { Observer } from "./connection/Hub.ts"
import type { CallFailure } from "./connection/OutboundCall.ts"
import { detachable } from "./connection/Peer.ts"
import * as Streams from "./connection/Streams.ts"
import * as supervised from "./connection/supervised.ts"
import { clip, detached } from "./connection/Tracing.ts"
import type { Handshake } from "./Handshake.ts"
import type { ListenError, ListenOptions } from "./server/HttpServer.ts"
import type { ServerOptions } from "./server/options.ts"
import { type NotConnectedError, type ServerEvent, StationServer } from "./server/StationServer.ts"
import { Rejected } from "./server/Upgrade.ts"

export type { Handshake } from "./Handshake.ts"
export { ListenError, type ListenOptions } from "./server/HttpServer.ts"
export { NotConnectedError } from "./server/StationServer.ts"
export { Accepted, accept, Rejected, reject } from "./server/Upgrade.ts"

/** A connected station. */
export interface Station extends Connection<"csms"> {
  /** What the station said of itself when it connected. */
  readonly handshake: Handshake
  /** The value with which `auth` succeeded. */
  readonly session: unknown
}

/** The station that is calling; every handler of a server may ask for it. */
export const Station = Context.Service<Station>("effect-ocpp/Server/Station")

/** The events of a server. */
export type Event = ServerEvent<Station>

/** The options of a server. */
export interface Options<R = never> extends ServerOptions<R, Station> {}

/** A server. */
export interface Server {
  /** The connected station of an identity; the newest, where several are allowed. */
  readonly station: (identity: string) => Effect.Effect<Station, NotConnectedError>
  /** The stations that are connected now. */
  readonly stations: Effect.Effect<ReadonlyArray<Station>>
  /** The stations that are connected now, then those after every change. A slow reader gets the latest only. */
  readonly changes: Stream.Stream<ReadonlyArray<Station>>
  /**
   * Calls every connected station, `concurrency` (default 16) at a time, and tells what came of each call. A station that speaks
   * another subprotocol than the action's is not called, nor is one that `where` says no to.
   */
  readonly broadcast: <A extends Action.Call<string, "csms" | "both">>(
    action: A,
    request: Action.Request<A>,
    options?: Omit<CallOptions, "refuse"> & {
      readonly concurrency?: number
      readonly where?: (station: Station) => boolean
    },
  ) => Effect.Effect<ReadonlyArray<readonly [Station, Exit.Exit<Action.Response<A>, CallFailure>]>>
  /** Everything that happens from now on, until the server closes. A slow reader loses the oldest. */
  readonly events: Stream.Stream<Event>
  /** Calls the observer for every event, in the tick in which it happens, until the returned function is called. */
  readonly subscribe: (observer: Observer<Event>) => () => void
  /** Listens with an HTTP server of its own, which answers anything but upgrades with 404. */
  readonly listen: (options?: ListenOptions) => Effect.Effect<HttpServer, ListenError>
  /** The port of the last `listen`. */
  readonly port: number | undefined
  /** For the `upgrade` event of an HTTP server of your own: `httpServer.on("upgrade", server.handleUpgrade)`. */
  readonly handleUpgrade: (request: IncomingMessage, socket: Duplex, head: Uint8Array) => void
  /**
   * Changes options for the connections that come from now on.
   *
   * @throws {RangeError} naming the option whose value makes no sense; then nothing has changed.
   */
  readonly reconfigure: (options: Options) => void
  /** Accepts no more stations, closes all connections, then the HTTP servers of its own. */
  readonly close: (options?: CloseOptions) => Effect.Effect<void>
}

/** The server, for programs that call stations. */
export const Server = Context.Service<Server>("effect-ocpp/Server")

/** A server that does not listen yet. Closing the Scope closes it gracefully with code 1001. */
export const make = <R = never>(
  options: Options<R> = {},
): Effect.Effect<Server, never, Scope.Scope | Exclude<R, Station>> =>
  Effect.gen(function* () {
    const context = detached((yield* Effect.context<Exclude<R, Station>>()) as Context.Context<never>)
    const contextOf = (station: Station) => Context.add(context, Station, station)
    const server = new StreamingServer(options as Options, Environment.of(context, Streams), context, contextOf)
    yield* Effect.addFinalizer(() => server.shutdown)
    return server
  })

/** A server that listens as long as the Layer lives. */
export const layer = <R = never>(
  options: Options<R> & ListenOptions,
): Layer.Layer<Server, ListenError, Exclude<Exclude<R, Station>, Scope.Scope>> => {
  const { host, port, tls, ...others } = options
  return Layer.effect(
    Server,
    Effect.tap(make(others as Options<R>), (server) => server.listen(options)),
  )
}

/**
 * {@link layer}, where any option may be a `Config`.
 *
 * ```ts
 * const Csms = Server.layerConfig({ port: Config.Port("PORT"), protocols: [Ocpp16], handlers: [CentralSystem] })
 * ```
 */
export const layerConfig = <R = never>(
  options: Configurable<Options<R> & ListenOptions>,
): Layer.Layer<Server, ListenError | Config.ConfigError, Exclude<Exclude<R, Station>, Scope.Scope>> =>
  Layer.unwrap(Effect.map(resolve<Options<R> & ListenOptions>(options), layer))

/**
 * Logs what happens to a server until it has closed: at level Info who comes and goes, at Warning the upgrade requests that come
 * to nothing. Every line carries the identity and what else is known as annotations.
 */
export const layerLogging: Layer.Layer<never, never, Server> = Layer.effectDiscard(
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const context = (yield* Effect.context()) as Context.Context<never>
    // Never unsubscribed: this Layer's Scope closes before that of the server, whose closing is to be logged.
    ;(yield* Server).subscribe((event) => void supervised.fork(scope, context, logEvent(event)))
  }),
)

class StreamingServer extends StationServer implements Server {
  constructor(...parts: ConstructorParameters<typeof StationServer>) {
    super(...parts)
    detachable<StreamingServer>(this, ["station", "broadcast", "subscribe", "listen", "reconfigure", "close"])
  }

  get events(): Stream.Stream<Event> {
    return Streams.events(this.hub)
  }

  get changes(): Stream.Stream<ReadonlyArray<Station>> {
    const isChange = ({ _tag }: Event): true | undefined =>
      _tag === "Connected" || _tag === "Disconnected" ? true : undefined
    const changed = Streams.fromHub(this.hub, isChange, { bufferSize: 1, first: true })
    return Stream.mapEffect(changed, () => this.stations)
  }

  broadcast<A extends Action.Call<string, "csms" | "both">>(
    action: A,
    request: Action.Request<A>,
    options: Omit<CallOptions, "refuse"> & {
      readonly concurrency?: number
      readonly where?: (station: Station) => boolean
    } = {},
  ): Effect.Effect<ReadonlyArray<readonly [Station, Exit.Exit<Action.Response<A>, CallFailure>]>> {
    const { concurrency = 16, where = () => true, ...callOptions } = options
    return Effect.flatMap(this.stations, (stations) =>
      Effect.forEach(
        stations.filter((station) => station.speaks(action) && where(station)),
        (station) =>
          Effect.map(Effect.exit(station.call(action, request, callOptions)), (exit) => [station, exit] as const),
        { concurrency },
      ),
    )
  }
}

const logEvent = (event: Event): Effect.Effect<void> => {
  switch (event._tag) {
    case "Connected": {
      const { handshake, identity, protocol } = event.station
      return annotated(Effect.logInfo("connected"), { identity, protocol, remoteAddress: handshake.remoteAddress })
    }
    case "Disconnected": {
      const { code, reason, station } = event
      return annotated(Effect.logInfo("disconnected"), { identity: station.identity, code, reason })
    }
    case "UpgradeAborted":
      return annotated(Effect.logWarning("refused"), {
        identity: event.identity,
        reason: event.error.message,
        ...(event.error instanceof Rejected ? { status: event.error.code } : undefined),
        path: event.request.url?.split("?", 1)[0] ?? "",
        remoteAddress: event.request.socket.remoteAddress,
      })
    case "ServerError":
      return Effect.logError("the HTTP server has a fault", event.error)
    default:
      return Effect.logInfo(event._tag === "Close" ? "closed" : "closing")
  }
}

/** Words of a peer are escaped and clipped: they must not forge a line. */
const annotated = (log: Effect.Effect<void>, annotations: Readonly<Record<string, unknown>>): Effect.Effect<void> =>
  Effect.annotateLogs(
    log,
    Object.fromEntries(
      Object.entries(annotations).map(([name, value]) => [name, typeof value === "string" ? clip(value) : value]),
    ),
  )

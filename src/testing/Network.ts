/**
 * A CSMS and its stations, wired together in memory.
 *
 * Everything is real but the sockets: a station dials with its identity, its password and the subprotocols that it offers; the
 * server authenticates it, chooses, refuses; a lost connection is dialled again. Time is the Effect `Clock`, so a `TestClock`
 * rules timeouts, pings and reconnecting. TLS, compression and limits of size belong to sockets: they are not there.
 *
 * ```ts
 * const network = yield* Network.make({ protocols: [Ocpp16], handlers: [CentralSystem] })
 * const station = yield* network.station({ identity: "CP001", protocols: [Ocpp16] })
 * const { status } = yield* station.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
 * ```
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Client from "../Client.ts"
import { connectError, handshakeFailure } from "../ConnectError.ts"
import { type DialOptions, target } from "../client/dial.ts"
import * as Deadlines from "../connection/Deadlines.ts"
import * as Server from "../Server.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import { StationServer } from "../server/StationServer.ts"
import type { Transport } from "../Transport.ts"
import type * as Faults from "./Faults.ts"
import { type Link, MemoryLink } from "./Link.ts"
import { MemoryUpgrade } from "./network/MemoryUpgrade.ts"
import * as Scripted from "./Scripted.ts"
import { settled } from "./settled.ts"

/** A station that dials: its identity, its password, the rest of its upgrade request. */
export interface Caller extends Pick<DialOptions, "identity" | "password" | "headers" | "query" | "handshakeTimeout"> {
  /** The URL of the CSMS. Only its path matters. Default `"ws://csms"`. */
  readonly endpoint?: string
}

/** Options of a station. */
export interface StationOptions<R = never> extends Client.Options<R>, Caller {
  /** The policy of its link, as by `network.link(identity).setFaults`. */
  readonly faults?: Faults.Policy
}

/** Options of a scripted station. */
export interface ScriptedOptions extends Caller {
  /** The subprotocol that it speaks, and offers. */
  readonly protocol: Subprotocol
  /** The longest wait of an expectation, in milliseconds of real time. Default 1,000. */
  readonly patience?: number
}

/** A CSMS that can be reached through memory. */
export interface Network {
  /** The server. */
  readonly csms: Server.Server
  /** Connects a station. Fails as `Client.make` does: with `UnexpectedHttpResponse` when the server refuses it. */
  readonly station: <R = never>(
    options: StationOptions<R>,
  ) => Effect.Effect<Client.Client, Client.ConnectFailure, Scope.Scope | Exclude<R, Client.Client>>
  /** Connects a station that follows the test's script. */
  readonly scripted: (options: ScriptedOptions) => Effect.Effect<Scripted.Peer<"station">, Client.ConnectFailure>
  /** Dials as a station: for `Client.makeWith` and `Client.makeUnconnected`. */
  readonly dial: (caller: Caller) => Client.Dial
  /** The line of an identity, for all its connections, also those to come. */
  readonly link: (identity: string) => Link
}

/**
 * Makes a server that does not listen, and the network to reach it. When the Scope closes, its calls fail and its stations
 * are closed with 1001, without time passing.
 */
export const make = <R = never>(
  options: Server.Options<R> = {},
): Effect.Effect<Network, never, Scope.Scope | Exclude<R, Server.Station>> => Effect.flatMap(Server.make(options), of)

/**
 * Makes the network of an existing server, for instance of one that a Layer of yours provides.
 *
 * @throws {TypeError} when the server was not made by `Server.make` or `Server.layer`.
 */
export const of = (csms: Server.Server): Effect.Effect<Network, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (!(csms instanceof StationServer)) throw new TypeError("the server was not made by Server.make")
    const network = new MemoryNetwork(csms, csms, Deadlines.of(yield* Clock.Clock))
    yield* Effect.addFinalizer(() => network.end)
    return network
  })

class MemoryNetwork implements Network {
  readonly csms: Server.Server
  readonly #door: Pick<StationServer, "receive">
  readonly #deadlines: Deadlines.Deadlines
  readonly #links = new Map<string, MemoryLink>()
  #isClosed = false

  constructor(csms: Server.Server, door: Pick<StationServer, "receive">, deadlines: Deadlines.Deadlines) {
    this.csms = csms
    this.#door = door
    this.#deadlines = deadlines
    csms.subscribe(({ _tag }) => {
      if (_tag === "Closing") this.#isClosed = true
    })
  }

  link(identity: string): MemoryLink {
    let link = this.#links.get(identity)
    if (link === undefined) {
      link = new MemoryLink({}, this.#deadlines)
      this.#links.set(identity, link)
    }
    return link
  }

  station<R = never>({ faults, ...options }: StationOptions<R>) {
    const link = this.link(options.identity)
    const configured = faults === undefined ? Effect.void : link.setFaults(faults)
    return Effect.gen({ self: this }, function* () {
      yield* configured
      const client = yield* Client.makeUnconnected(this.dial(options), options)
      yield* Effect.addFinalizer(() => Effect.sync(() => link.leave("station")))
      yield* client.connect
      return client
    })
  }

  scripted({ patience, protocol, ...caller }: ScriptedOptions) {
    const options = { side: "station", protocol, ...(patience === undefined ? undefined : { patience }) } as const
    return Effect.flatMap(this.dial(caller)(protocol.name === "" ? [] : [protocol.name]), (transport) =>
      Scripted.peer(transport, options),
    )
  }

  dial(caller: Caller): Client.Dial {
    const { handshakeTimeout, headers, url } = target({ endpoint: "ws://csms", ...caller })
    const link = this.link(caller.identity)
    const fail = (protocols: ReadonlyArray<string>, reason: string) =>
      Effect.fail(connectError(url, protocols, new Error(reason), true))
    return (protocols) =>
      link.reached.pipe(
        Effect.catch((cause) => fail(protocols, cause.message)),
        Effect.andThen(
          Effect.suspend(() => {
            if (this.#isClosed) return fail(protocols, "the server is closed")
            return this.#knock(url, headers, protocols, link)
          }),
        ),
        Effect.timeoutOrElse({
          duration: handshakeTimeout,
          orElse: () => fail(protocols, handshakeFailure.timeout),
        }),
      )
  }

  #knock(url: string, headers: Readonly<Record<string, string>>, protocols: ReadonlyArray<string>, link: MemoryLink) {
    return Effect.callback<Transport, Client.ConnectFailure>((resume) => {
      const done = (effect: Effect.Effect<Transport, Client.ConnectFailure>) => {
        unwatch()
        resume(effect)
      }
      const upgrade = new MemoryUpgrade({ url, headers, protocols }, link, {
        onOpen: (transport) => done(Effect.succeed(transport)),
        onFailure: (error) => done(Effect.fail(error)),
      })
      const unwatch = link.watch(() => {
        upgrade.abandon()
        done(Effect.fail(connectError(url, protocols, new Error("the link was cut"), true)))
      })
      queueMicrotask(() => !upgrade.isAbandoned && this.#door.receive(upgrade))
      return Effect.sync(() => {
        unwatch()
        upgrade.abandon()
      })
    })
  }

  /** Closes the server, then cuts every link, for ends that cannot hear of it. */
  get end(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      for (const link of this.#links.values()) link.leave("csms", "station")
      yield* Effect.forkDetach(this.csms.close({ code: 1001 }))
      yield* settled
      for (const link of this.#links.values()) link.become("cut")
    })
  }
}

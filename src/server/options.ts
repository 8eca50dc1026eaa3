/** The options of a server: their defaults, and their refusal when they make no sense. */
import type { IncomingMessage } from "node:http"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import {
  type Checks,
  callback,
  checkOptions,
  flag,
  handlers,
  record,
  subprotocols,
  whenRead,
} from "../connection/OptionChecks.ts"
import {
  type ConnectionOptions,
  checkStrictMode,
  connectionOptions,
  count,
  millis,
  oneOf,
  settings,
  socketOptions,
} from "../connection/Settings.ts"
import type { Handlers } from "../Handlers.ts"
import type { Handshake } from "../Handshake.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { makeAcceptor, SocketOptions } from "../WebSocket.ts"
import { type Resolve, resolver, type TrustProxy } from "./addresses.ts"
import type { Rejected } from "./Upgrade.ts"

/** The options of a server. */
export interface ServerOptions<R = never, Station = unknown> extends ConnectionOptions, SocketOptions {
  /** The subprotocols that are served; a station gets the first of them that it offers. Default none. */
  readonly protocols?: ReadonlyArray<Subprotocol>
  /** The handlers of the stations' calls: the same for all, or chosen by station when it first calls. */
  readonly handlers?:
    | ReadonlyArray<Handlers<"station", R>>
    | ((station: Station) => ReadonlyArray<Handlers<"station", R>>)
  /**
   * Who may connect. Succeeds with a session, any value of yours, or with `accept`; fails with `reject`. Resources that it acquires
   * belong to the connection that it lets in. Default: everyone.
   */
  readonly auth?: (handshake: Handshake) => Effect.Effect<unknown, Rejected, R>
  /** How long `auth` may take; then the station gets 503. Default 10 seconds. */
  readonly authTimeout?: Duration.Input
  /**
   * Runs for each station that has connected, in the station's Scope: it ends with the connection. No station is left out, however many
   * connect at once. A failure is logged. Default: nothing.
   */
  readonly onConnected?: (station: Station) => Effect.Effect<unknown, unknown, R>
  /**
   * What happens when a station connects whose identity is connected already, once it is authenticated: it replaces the
   * older connection, which is closed with 1008; it is rejected with 409; or both stay. Default `"replace"`.
   */
  readonly duplicateIdentity?: "replace" | "reject" | "allow"
  /** How many stations may be connected; one more gets 503. Default no limit. */
  readonly maxConnections?: number
  /** How many upgrade requests may wait for `auth`; one more gets 503. Default 256. */
  readonly maxPendingUpgrades?: number
  /**
   * The subprotocol of stations that offer none, as some chargers that speak 1.6. Nothing is agreed on in the handshake. Default: none; such a
   * station is treated as one without a common subprotocol.
   */
  readonly defaultProtocol?: Subprotocol
  /**
   * What a station gets that has no subprotocol in common with the server: the handshake is completed without one and the connection closed with
   * 1002, as the specification says; or 400 instead of the handshake, as its test cases TC_B_58 (2.1) and TC_088 (1.6) ask. Default `"close"`.
   */
  readonly onNoProtocol?: "close" | "reject"
  /** Whether an identity may have a slash, percent-encoded in the path. Default `false`. */
  readonly allowSlash?: boolean
  /** Finds the identity of a station whose path does not end in it. `undefined` is answered with 400. Default: the last segment of the path. */
  readonly identify?: (request: IncomingMessage) => string | undefined
  /** The key under which a connection is registered: two tenants may have a station of the same identity. Default: the identity. */
  readonly registryKey?: (handshake: Handshake) => string
  /**
   * Proxies that are believed when they say for whom they ask, as addresses or CIDR ranges; `X-Forwarded-For` is read from right to left, or
   * `Forwarded` where that is named. Default: none; the address is that of the socket.
   */
  readonly trustProxy?: TrustProxy
  /** Whether a station that offers no subprotocol is let in, without one, though some are served. Default `false`. */
  readonly allowNoProtocol?: boolean
  /** When the Scope closes: how long calls in flight may go on before the connections close. Default 5 seconds. */
  readonly shutdownGrace?: Duration.Input
  /** Anything else that `ws` takes. */
  readonly webSocket?: NonNullable<Parameters<typeof makeAcceptor>[0]>["webSocket"] & {}
}

/** The figures among the options of a server, with their defaults; times in milliseconds. */
export interface Limits {
  readonly authTimeout: number
  readonly maxConnections: number
  readonly maxPendingUpgrades: number
  readonly shutdownGrace: number
  readonly resolve: Resolve
}

const serverOptions: Checks<ServerOptions> = {
  ...connectionOptions,
  ...socketOptions,
  protocols: subprotocols,
  handlers,
  auth: callback,
  authTimeout: whenRead,
  onConnected: callback,
  duplicateIdentity: whenRead,
  maxConnections: whenRead,
  maxPendingUpgrades: whenRead,
  allowNoProtocol: flag,
  defaultProtocol: record,
  onNoProtocol: whenRead,
  allowSlash: flag,
  identify: callback,
  registryKey: callback,
  trustProxy: (name, value) => {
    if (!Array.isArray(value)) record(name, value)
  },
  shutdownGrace: whenRead,
  webSocket: record,
}

/**
 * Checks all options: nonsense is refused now, not when the first station connects.
 *
 * @throws {RangeError} naming the option.
 */
export const limitsOf = (options: Omit<ServerOptions, "handlers" | "onConnected">): Limits => {
  checkOptions(options, serverOptions)
  settings(options)
  checkStrictMode(options.strictMode, options.protocols ?? [])
  oneOf("onNoProtocol", options.onNoProtocol ?? "close", ["close", "reject"])
  oneOf("duplicateIdentity", options.duplicateIdentity ?? "replace", ["replace", "reject", "allow"])
  return {
    authTimeout: millis("authTimeout", options.authTimeout ?? 10_000),
    maxConnections: count("maxConnections", options.maxConnections ?? Number.POSITIVE_INFINITY, 1),
    maxPendingUpgrades: count("maxPendingUpgrades", options.maxPendingUpgrades ?? 256, 1),
    shutdownGrace: millis("shutdownGrace", options.shutdownGrace ?? 5_000),
    resolve: resolver(options.trustProxy),
  }
}

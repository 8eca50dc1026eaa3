/** The options of the promise face, and what they are called in the core. */
import * as Context from "effect/Context"
import * as References from "effect/References"
import {
  type Checks,
  type ConnectionOptions,
  checkOptions,
  count,
  Environment,
  flag,
  list,
  query,
  record,
  text,
  whenRead,
} from "../core.ts"
import * as Subprotocol from "../Subprotocol.ts"
import type { ClientOptions, ServerOptions } from "../WebSocket.ts"
import { standardValidators, type Validator } from "./createValidator.ts"
import { standard } from "./standard.ts"

/** What clients and servers have in common. */
export interface CommonOptions {
  /** The subprotocols that are supported. Default `[]`. */
  protocols?: ReadonlyArray<string>
  /** Milliseconds before an unanswered outbound call is rejected; 0 and `Infinity` for never. */
  callTimeoutMs?: number
  /** Milliseconds between WebSocket pings; 0 and `Infinity` for none. Default 30,000. */
  pingIntervalMs?: number
  /** Whether any message of the peer postpones the next ping. Default `false`. */
  deferPingsOnActivity?: boolean
  /** Whether what a handler throws reaches the peer with its stack and fields. Default `false`. */
  respondWithDetailedErrors?: boolean
  /** How many outbound calls may be unanswered at a time; more are queued. Default 1. */
  callConcurrency?: number
  /** How many bad messages in a row are put up with before the connection is closed with 1002. Default `Infinity`. */
  maxBadMessages?: number
  /** Whether calls and responses are validated: in all subprotocols, in none, or in those named. Default `false`. */
  strictMode?: boolean | ReadonlyArray<string>
  /** Validators for further subprotocols, or instead of the built-in ones. Default `[]`. */
  strictModeValidators?: ReadonlyArray<Validator>
}

/** What an `RPCClient` takes. */
export interface RPCClientOptions extends CommonOptions {
  /** The URL of the server, `ws://` or `wss://`, without the identity. Default `ws://localhost`. */
  endpoint?: string
  /** The identity; it is encoded in the URL. */
  identity: string
  /** The password for HTTP Basic authentication; a string is encoded as UTF-8. */
  password?: string | Uint8Array | null
  /** Further HTTP headers of the upgrade request. Default `{}`. */
  headers?: Readonly<Record<string, string>>
  /** The query of the URL. Default `""`. */
  query?: string | Readonly<Record<string, string>>
  /** Whether to reconnect when the connection is lost. Default `true`. */
  reconnect?: boolean
  /** How many attempts to reconnect in a row may fail. Default `Infinity`. */
  maxReconnects?: number
  /** When to try again. Default: 1 s, doubled up to 10 s, each made longer by a random quarter at most. */
  backoff?: BackoffOptions
  /** Anything that `ws` takes. */
  wsOpts?: ClientOptions
  /** @deprecated the former name of `wsOpts` */
  wsOptions?: ClientOptions
}

/** What clients of one server have in common. */
export type SharedOptions = Omit<RPCClientOptions, "identity">

/** Exponential back-off; times in milliseconds. */
export interface BackoffOptions {
  /** Default 1,000. */
  initialDelay?: number
  /** Default 10,000. */
  maxDelay?: number
  /** Default 2. */
  factor?: number
  /** From 0 to 1; default 0.25. */
  randomisationFactor?: number
}

/** What an `RPCServer` takes. */
export interface RPCServerOptions extends CommonOptions {
  /** Whether clients that offer no subprotocol are refused though some are served. Default `false`. */
  protocolRequired?: boolean
  /** The subprotocol of clients that offer none. Default: none; in strict mode the first of `protocols`. */
  defaultProtocol?: string
  /** Anything that `ws` takes for a server. */
  wssOptions?: ServerOptions
}

/** In what a handler's defects are logged: stdout is the program's own. */
export const context: Context.Context<never> = Context.make(References.LogToStderr, true)

/** What all connections of the promise face share. */
export const environment: Environment.Environment = Environment.of(context)

const commonOptions: Checks<CommonOptions> = {
  protocols: list,
  callTimeoutMs: whenRead,
  pingIntervalMs: whenRead,
  deferPingsOnActivity: flag,
  respondWithDetailedErrors: flag,
  callConcurrency: whenRead,
  maxBadMessages: whenRead,
  strictMode: whenRead,
  strictModeValidators: list,
}

const backoffOptions: Checks<BackoffOptions> = {
  initialDelay: whenRead,
  maxDelay: whenRead,
  factor: whenRead,
  randomisationFactor: whenRead,
}

/** The checks of {@link RPCClientOptions}. */
export const clientOptions: Checks<RPCClientOptions> = {
  ...commonOptions,
  endpoint: text,
  identity: whenRead,
  password: (name, value) => {
    if (value !== null && !(value instanceof Uint8Array)) text(name, value)
  },
  headers: record,
  query,
  reconnect: flag,
  maxReconnects: (name, value) => count(name, value as number, 0),
  backoff: (name, value) => {
    record(name, value)
    checkOptions(value as object, backoffOptions, `${name}.`)
  },
  wsOpts: record,
  wsOptions: record,
}

/** The checks of {@link RPCServerOptions}. */
export const serverOptions: Checks<RPCServerOptions> = {
  ...commonOptions,
  protocolRequired: flag,
  defaultProtocol: text,
  wssOptions: record,
}

/** What only a flood reaches: the documentation promises that inbound calls have no limit. */
const flood = 10_000

/** The part of the core's options that the common options decide; those that are not given are left out. */
export const toCore = (options: CommonOptions): ConnectionOptions =>
  defined({
    callTimeout: timespan("callTimeoutMs", options.callTimeoutMs),
    pingInterval: timespan("pingIntervalMs", options.pingIntervalMs),
    deferPingsOnActivity: options.deferPingsOnActivity,
    respondWithDetailedErrors: options.respondWithDetailedErrors,
    callConcurrency: options.callConcurrency,
    maxBadMessages: options.maxBadMessages,
    strictMode: options.strictMode,
  })

/** The core's options for a new connection. */
export const toCoreWithDefaults = (options: CommonOptions): ConnectionOptions => ({
  maxBadMessages: Number.POSITIVE_INFINITY,
  maxQueuedCalls: Number.POSITIVE_INFINITY,
  handlerTimeout: Number.POSITIVE_INFINITY,
  handlerConcurrency: flood,
  maxQueuedHandlers: flood,
  ...toCore({ ...options, ...spokenStrictly(options) }),
})

/** A configuration for several endpoints may name subprotocols that this one does not speak. */
const spokenStrictly = ({ protocols = [], strictMode }: CommonOptions): Pick<CommonOptions, "strictMode"> =>
  typeof strictMode === "object" ? { strictMode: strictMode.filter((name) => protocols.includes(name)) } : {}

/** An object without the properties that are undefined. */
export const defined = <T extends object>(object: T) => {
  const result: Record<string, unknown> = {}
  for (const key in object) if (object[key] !== undefined) result[key] = object[key]
  return result as { [K in keyof T]?: Exclude<T[K], undefined> }
}

/**
 * Milliseconds as documented: what nothing can wait for, 0 included, is for ever.
 *
 * @throws {RangeError} when it is no number.
 */
export const timespan = (name: string, millis: number | undefined): number | undefined => {
  if (millis === undefined) return undefined
  if (typeof millis !== "number" || Number.isNaN(millis)) {
    throw new RangeError(`${name} must be a number of milliseconds; got ${JSON.stringify(millis)}`)
  }
  return millis > 0 && millis <= 2_147_483_647 ? millis : Number.POSITIVE_INFINITY
}

/**
 * The subprotocols by their names.
 *
 * @throws {Error} when strict mode asks for a subprotocol without validator, or for none at all.
 */
export const protocolsOf = (options: CommonOptions): ReadonlyArray<Subprotocol.Subprotocol> => {
  const { protocols = [], strictMode = false, strictModeValidators = [] } = options
  if (typeof strictMode !== "boolean" && !Array.isArray(strictMode)) {
    throw new Error(`strictMode must be true, false or an array of subprotocols; got ${JSON.stringify(strictMode)}`)
  }
  if (!Array.isArray(protocols)) throw new Error(`protocols must be an array; got ${JSON.stringify(protocols)}`)
  if (strictMode === true && protocols.length === 0) throw new Error("strictMode requires at least one subprotocol")
  const strict = strictMode === true ? protocols : strictMode === false ? [] : strictMode
  const missing = strict.find(
    (name) => ![...strictModeValidators, ...standardValidators].some(({ subprotocol }) => subprotocol === name),
  )
  if (missing !== undefined)
    throw new Error(`strictMode has no validator for the subprotocol ${JSON.stringify(missing)}`)
  return protocols.map((name) => protocolNamed(name, strictModeValidators))
}

/** A subprotocol by its name, built-in or not. */
export const protocolNamed = (name: string, validators: ReadonlyArray<Validator> = []): Subprotocol.Subprotocol => {
  const known = standard(name) ?? Subprotocol.unknown(name)
  const validator = validators.findLast(({ subprotocol }) => subprotocol === name)
  return validator === undefined ? known : { ...known, validator }
}

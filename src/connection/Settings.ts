/** The options of a connection: their defaults, and their refusal when they make no sense. */
import * as Duration from "effect/Duration"
import { type Check, type Checks, callback, flag, isObject, must, shown, whenRead } from "./OptionChecks.ts"

/** What can be set for a connection, whichever side opened it. Every duration may be `"Infinity"`: never. */
export interface ConnectionOptions {
  /** How long a call may take from `call` to its answer, its wait for a turn included. Default 30 seconds. */
  readonly callTimeout?: Duration.Input
  /** How many of our calls may be unanswered at a time (OCPP-J asks for one). Further calls wait. Default 1. */
  readonly callConcurrency?: number
  /** How many of our calls may wait for their turn. One more fails with `CallQueueFullError`. Default 1,024. */
  readonly maxQueuedCalls?: number
  /** How long a handler may take; then it is interrupted and the peer gets `InternalError`. Default: `callTimeout`. */
  readonly handlerTimeout?: Duration.Input
  /** How many handlers may run at a time. Further calls of the peer wait. Default 64. */
  readonly handlerConcurrency?: number
  /** How many calls of the peer may wait for a handler. One more gets `GenericError`. Default 1,024. */
  readonly maxQueuedHandlers?: number
  /** Time between pings. A ping without a pong before the next one ends the connection. Default 30 seconds. */
  readonly pingInterval?: Duration.Input
  /** Whether any message of the peer counts as a sign of life, and postpones the next ping. Default `false`. */
  readonly deferPingsOnActivity?: boolean
  /** How many bad messages in a row are put up with; one more closes with 1002. Default 100. */
  readonly maxBadMessages?: number
  /** How many outbound bytes may wait for a slow peer; beyond, the connection is closed with 1013. Default 1 MiB. */
  readonly maxBufferedBytes?: number
  /** How long the peer may take to answer a close frame before the socket is dropped. Default 5 seconds. */
  readonly closeTimeout?: Duration.Input
  /** Whether payloads are validated: in all subprotocols, in none, or in those named. Default `false`. */
  readonly strictMode?: boolean | ReadonlyArray<string>
  /**
   * What strict mode does with an invalid payload that the peer sends: `"reject"` it, `"report"` it as an event and go
   * on, or `"ignore"` it without looking. What we send is always held to the Schema. Default `"reject"`.
   */
  readonly validateInbound?: "reject" | "report" | "ignore"
  /**
   * Mends the text of a message before it is read, for chargers that send what is no JSON; `Repair.knownFaults` does so for those that are known.
   * Default: every text is read as it is.
   */
  readonly repair?: (text: string, station: { readonly identity: string; readonly protocol: string }) => string
  /** Whether a handler's defect reaches the peer with its text and stack. For development. Default `false`. */
  readonly respondWithDetailedErrors?: boolean
}

/** {@link ConnectionOptions} with every default filled in and every duration in milliseconds. Connections with equal options share one. */
export interface Settings {
  readonly callTimeout: number
  readonly callConcurrency: number
  readonly maxQueuedCalls: number
  readonly handlerTimeout: number
  readonly handlerConcurrency: number
  readonly maxQueuedHandlers: number
  readonly pingInterval: number
  readonly deferPingsOnActivity: boolean
  readonly maxBadMessages: number
  readonly maxBufferedBytes: number
  readonly closeTimeout: number
  readonly strictMode: boolean | ReadonlyArray<string>
  readonly validateInbound: "reject" | "report" | "ignore"
  readonly respondWithDetailedErrors: boolean
  readonly repair: ConnectionOptions["repair"] | undefined
}

/** Whose settings are read at the moment at which they matter, so that a change takes effect at once. */
export interface Configured {
  readonly settings: Settings
}

/** The checks of {@link ConnectionOptions}. */
export const connectionOptions: Checks<ConnectionOptions> = {
  callTimeout: whenRead,
  callConcurrency: whenRead,
  maxQueuedCalls: whenRead,
  handlerTimeout: whenRead,
  handlerConcurrency: whenRead,
  maxQueuedHandlers: whenRead,
  pingInterval: whenRead,
  deferPingsOnActivity: flag,
  maxBadMessages: whenRead,
  maxBufferedBytes: whenRead,
  closeTimeout: whenRead,
  strictMode: whenRead,
  validateInbound: whenRead,
  respondWithDetailedErrors: flag,
  repair: callback,
}

/** The checks of `WebSocket.SocketOptions`. */
export const socketOptions = {
  maxPayload: (name, value) => count(name, value as number, 0),
  maxFragments: (name, value) => count(name, value as number, 0),
  perMessageDeflate: must("true, false or an object", (value) => typeof value === "boolean" || isObject(value)),
} satisfies Readonly<Record<string, Check>>

/** @throws {RangeError} naming the option whose value makes no sense. */
export const settings = (options: ConnectionOptions): Settings => {
  const callTimeout = millis("callTimeout", options.callTimeout ?? 30_000)
  return {
    callTimeout,
    callConcurrency: count("callConcurrency", options.callConcurrency ?? 1, 1),
    maxQueuedCalls: count("maxQueuedCalls", options.maxQueuedCalls ?? 1024, 0),
    handlerTimeout: millis("handlerTimeout", options.handlerTimeout ?? callTimeout),
    handlerConcurrency: count("handlerConcurrency", options.handlerConcurrency ?? 64, 1),
    maxQueuedHandlers: count("maxQueuedHandlers", options.maxQueuedHandlers ?? 1024, 0),
    pingInterval: millis("pingInterval", options.pingInterval ?? 30_000),
    deferPingsOnActivity: options.deferPingsOnActivity ?? false,
    maxBadMessages: count("maxBadMessages", options.maxBadMessages ?? 100, 0),
    maxBufferedBytes: count("maxBufferedBytes", options.maxBufferedBytes ?? 1024 * 1024, 0),
    closeTimeout: millis("closeTimeout", options.closeTimeout ?? 5_000),
    strictMode: strictModeOf(options.strictMode ?? false),
    validateInbound: oneOf("validateInbound", options.validateInbound ?? "reject", ["reject", "report", "ignore"]),
    respondWithDetailedErrors: options.respondWithDetailedErrors ?? false,
    repair: options.repair,
  }
}

const strictModeOf = (value: boolean | ReadonlyArray<string>): boolean | ReadonlyArray<string> => {
  if (typeof value === "boolean") return value
  if (Array.isArray(value) && value.every((name) => typeof name === "string")) return value
  throw new RangeError(`strictMode must be true, false or the names of subprotocols; got ${JSON.stringify(value)}`)
}

/** One of some values. */
export const oneOf = <const A extends string>(name: string, value: A, allowed: ReadonlyArray<A>): A => {
  if (allowed.includes(value)) return value
  throw new RangeError(
    `${name} must be one of ${allowed.map((one) => `"${one}"`).join(", ")}; got ${JSON.stringify(value)}`,
  )
}

/**
 * Refuses strict mode for a subprotocol that is not among those that are spoken: a misspelt name must not leave payloads
 * unchecked.
 */
export const checkStrictMode = (
  strictMode: boolean | ReadonlyArray<string> | undefined,
  protocols: ReadonlyArray<{ readonly name: string }>,
): void => {
  if (!Array.isArray(strictMode)) return
  const unknown = strictMode.find((name) => protocols.every((protocol) => protocol.name !== name))
  if (unknown === undefined) return
  throw new RangeError(`strictMode names ${JSON.stringify(unknown)}, which is not one of the protocols`)
}

/** A duration in milliseconds: positive, or infinite. */
export const millis = (name: string, value: Duration.Input): number => {
  if (typeof value === "number" && value > 0) return value
  const duration = Duration.fromInput(value)
  const result = duration._tag === "Some" ? Duration.toMillis(duration.value) : Number.NaN
  if (result > 0) return result
  throw new RangeError(`${name} must be a positive duration such as "30 seconds" or 30000; got ${shown(value)}`)
}

/** A whole number, at least `least`, or infinite. */
export const count = (name: string, value: number, least: number): number => {
  if (value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= least)) return value
  throw new RangeError(`${name} must be an integer of at least ${least}, or Infinity; got ${shown(value)}`)
}

/** Whether strict mode holds for a subprotocol; never without one, for there is nothing to hold to. */
export const isStrict = (strictMode: boolean | ReadonlyArray<string>, protocol: string): boolean =>
  protocol !== "" && (typeof strictMode === "boolean" ? strictMode : strictMode.includes(protocol))

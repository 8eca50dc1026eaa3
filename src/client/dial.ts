/**
 * Where a client dials, and what it says of itself there: the URL with the identity, the password, the headers.
 */
import { Buffer } from "node:buffer"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { ConnectError, UnexpectedHttpResponse } from "../ConnectError.ts"
import { type Checks, query, record, text, whenRead } from "../connection/OptionChecks.ts"
import { type ConnectionOptions, millis, socketOptions } from "../connection/Settings.ts"
import type { Transport } from "../Transport.ts"
import * as WebSocket from "../WebSocket.ts"

/** Why a client could not connect. */
export type ConnectFailure = ConnectError | UnexpectedHttpResponse

/** Opens a transport that agrees on one of some subprotocols. */
export type Dial = (protocols: ReadonlyArray<string>) => Effect.Effect<Transport, ConnectFailure>

/** Where to dial. */
export interface DialOptions extends WebSocket.SocketOptions, Pick<ConnectionOptions, "closeTimeout"> {
  /** The station's identity, as it is: it is percent-encoded in the URL. */
  readonly identity: string
  /** The URL of the CSMS, `ws://` or `wss://`, without the identity. */
  readonly endpoint: string
  /** The password for HTTP Basic authentication (security profiles 1 and 2). The user name is the identity. */
  readonly password?: string | Uint8Array | Redacted.Redacted<string | Uint8Array>
  /** Further HTTP headers for the upgrade request. */
  readonly headers?: Readonly<Record<string, string>>
  /** What is appended to the URL as its query. */
  readonly query?: string | Readonly<Record<string, string>>
  /** How long the opening handshake may take. Default 30 seconds. */
  readonly handshakeTimeout?: Duration.Input
  /** Anything else that `ws` takes, such as `ca`, `cert` and `key` for TLS (security profiles 2 and 3). */
  readonly webSocket?: NonNullable<WebSocket.DialOptions["webSocket"]>
}

/** The checks of {@link DialOptions}. */
export const dialOptions: Checks<DialOptions> = {
  ...socketOptions,
  identity: text,
  endpoint: text,
  password: whenRead,
  headers: record,
  query,
  handshakeTimeout: whenRead,
  closeTimeout: whenRead,
  webSocket: record,
}

/** How a client dials. */
export const dialler = (
  options: DialOptions,
): ((protocols: ReadonlyArray<string>) => Effect.Effect<WebSocket.Dialled, ConnectFailure>) => {
  const { headers, handshakeTimeout, url } = target(options)
  return (protocols) => WebSocket.dial(url, { ...options, protocols, handshakeTimeout, headers })
}

/** What the options amount to, whatever it is that dials: the URL, the headers, the milliseconds. */
export const target = (options: Omit<DialOptions, "webSocket">) => {
  const { identity, password } = options
  text("identity", identity)
  const authorization = password === undefined ? undefined : basicAuthorization(identity, password)
  const headers: Readonly<Record<string, string>> = {
    ...(authorization === undefined ? undefined : { authorization }),
    ...options.headers,
  }
  return {
    headers,
    url: connectionUrl(options.endpoint, identity, options.query),
    handshakeTimeout: millis("handshakeTimeout", options.handshakeTimeout ?? 30_000),
  }
}

/**
 * Endpoint + `/` + percent-encoded identity (OCPP-J §3.1.1).
 *
 * @throws {TypeError} when the endpoint is no `ws:` or `wss:` URL, or the identity is empty.
 */
export const connectionUrl = (endpoint: string, identity: string, query?: DialOptions["query"]): string => {
  if (identity === "") throw new TypeError("identity must not be empty")
  if (identity === "." || identity === ".." || !identity.isWellFormed()) {
    throw new TypeError(`identity must be a segment of a URL; got ${JSON.stringify(identity)}`)
  }
  const url = parsed(endpoint)
  if (url?.protocol !== "ws:" && url?.protocol !== "wss:") {
    throw new TypeError(`endpoint must be a ws:// or wss:// URL; got ${JSON.stringify(endpoint)}`)
  }
  url.hash = ""
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(identity)}`
  if (query !== undefined) for (const [key, value] of new URLSearchParams(query)) url.searchParams.append(key, value)
  return url.href
}

const parsed = (endpoint: string): URL | undefined => {
  try {
    return new URL(endpoint)
  } catch {
    return undefined
  }
}

const basicAuthorization = (identity: string, password: NonNullable<DialOptions["password"]>): string => {
  const secret = Redacted.isRedacted(password) ? Redacted.value(password) : password
  if (typeof secret !== "string" && !(secret instanceof Uint8Array)) {
    throw new RangeError("password must be a string, bytes, or either of them Redacted")
  }
  const bytes = typeof secret === "string" ? Buffer.from(secret) : secret
  return `Basic ${Buffer.concat([Buffer.from(`${identity}:`), bytes]).toString("base64")}`
}

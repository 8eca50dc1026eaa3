/**
 * What a station says of itself before it is accepted: the URL, the headers, the password of its upgrade request.
 */
import { Buffer } from "node:buffer"
import type { IncomingHttpHeaders, IncomingMessage } from "node:http"
import { type Resolve, resolver } from "./server/addresses.ts"
import * as Target from "./server/target.ts"

export type { Options } from "./server/target.ts"

/** An upgrade request, read. */
export interface Handshake {
  /** The last segment of the path, decoded. */
  readonly identity: string
  /** The path before the identity; empty when there is none. */
  readonly endpoint: string
  /** The subprotocols that the station offers, in its order. */
  readonly protocols: ReadonlySet<string>
  /**
   * The password of HTTP Basic authentication, if the user name is the identity. Bytes, because it may be any
   * (OCPP 1.6 security whitepaper, 2.x part 2 A00).
   */
  readonly password: Buffer | undefined
  readonly query: URLSearchParams
  /** The peer's IP address; `undefined` once the connection has closed, unless it was read before. */
  readonly remoteAddress: string | undefined
  readonly headers: IncomingHttpHeaders
  /** The HTTP request; with TLS its socket knows the client's certificate. */
  readonly request: IncomingMessage
}

/** How an upgrade request is read. */
export interface ReadOptions extends Target.Options {
  /** Resolves the address of the peer. Default: that of the socket. */
  readonly resolve?: Resolve
  /** Finds the identity where it is not the last segment of the path; `undefined` when there is none. */
  readonly identify?: ((request: IncomingMessage) => string | undefined) | undefined
}

const addressOfSocket = resolver()

/**
 * Reads an upgrade request. `undefined` when its target is no endpoint with an identity.
 *
 * @param options what may be in an identity
 */
export const read = (request: IncomingMessage, options: ReadOptions = {}): Handshake | undefined => {
  const { identify, resolve = addressOfSocket } = options
  if (identify !== undefined) {
    const identity = identify(request)
    const path = (request.url ?? "").split("?", 1)[0] ?? ""
    const isUsable = typeof identity === "string" && isIdentity(identity)
    return isUsable ? new RequestHandshake(identity, path, request, resolve) : undefined
  }
  const target = Target.read(request.url ?? "", options)
  return target._tag === "Target" ? new RequestHandshake(target.identity, target.endpoint, request, resolve) : undefined
}

/** Whether a program's own identity can be one: of 1 to 255 characters, none of them a control character. */
const isIdentity = (identity: string): boolean =>
  identity !== "" && identity.length <= Target.maxIdentityLength && !/\p{Cc}/u.test(identity)

/** Why an upgrade request cannot be read; empty when it can. */
export const faultOf = (request: IncomingMessage, options: ReadOptions = {}): string => {
  if (options.identify !== undefined) return "the request names no charging station"
  const target = Target.read(request.url ?? "", options)
  return target._tag === "Fault" ? target.reason : ""
}

/** An upgrade request whose parts are read when they are asked for: most stations are let in for less than all of them. */
class RequestHandshake implements Handshake {
  readonly identity: string
  readonly endpoint: string
  readonly request: IncomingMessage
  readonly #resolve: Resolve
  #protocols: ReadonlySet<string> | undefined

  constructor(identity: string, endpoint: string, request: IncomingMessage, resolve: Resolve) {
    this.#resolve = resolve
    this.identity = identity
    this.endpoint = endpoint
    this.request = request
  }

  get protocols(): ReadonlySet<string> {
    this.#protocols ??= offered(this.request.headers["sec-websocket-protocol"])
    return this.#protocols
  }

  get password(): Buffer | undefined {
    return basicPassword(this.identity, this.request.headers.authorization)
  }

  get query(): URLSearchParams {
    const target = this.request.url ?? ""
    const queryAt = target.indexOf("?")
    return new URLSearchParams(queryAt === -1 ? "" : target.slice(queryAt))
  }

  get remoteAddress(): string | undefined {
    return this.#resolve(this.request.socket.remoteAddress, this.request.headers)
  }

  get headers(): IncomingHttpHeaders {
    return this.request.headers
  }
}

/** The same with everything read now. */
export const readAll = (handshake: Handshake): Handshake => {
  const { endpoint, headers, identity, password, protocols, query, remoteAddress, request } = handshake
  return { identity, endpoint, protocols, password, query, remoteAddress, headers, request }
}

const offered = (header: string | undefined): ReadonlySet<string> =>
  new Set(
    (header ?? "")
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== ""),
  )

/**
 * The password, where the user name is the identity. The identity is known, so neither it nor the password need be free
 * of colons: the credentials are compared with `identity:` as bytes, and what follows is the password.
 */
const basicPassword = (identity: string, authorization: string | undefined): Buffer | undefined => {
  const encoded = /^Basic +([^ ]*)$/i.exec(authorization ?? "")?.[1]
  if (encoded === undefined) return undefined
  const credentials = Buffer.from(encoded, "base64")
  const user = Buffer.from(`${identity}:`)
  return credentials.subarray(0, user.length).equals(user) ? credentials.subarray(user.length) : undefined
}

/**
 * Upgrade requests: what answers those that come to nothing, and what waits for `auth` with those that may come to something.
 */
import { Buffer } from "node:buffer"
import { type IncomingMessage, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"
import * as Data from "effect/Data"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import { type Acceptor, isTransport } from "../WebSocket.ts"

/** Mark the verdicts of all copies of this package that a program has loaded. */
const acceptedBrand = Symbol.for("effect-ocpp/Server/Accepted")
const rejectedBrand = Symbol.for("effect-ocpp/Server/Rejected")

/** The refusal of an upgrade request. */
export class Rejected extends Data.TaggedError("Rejected")<{
  /** The HTTP status, from 400 to 599. */
  readonly code: number
  /** The response body. */
  readonly message: string
  /** Further headers of the response. */
  readonly headers: Readonly<Record<string, string>>
}> {
  /** @internal */
  readonly [rejectedBrand] = true
}

/**
 * Refuses a station: `auth` fails with it. OCPP asks for 404 when the identity is unknown and 401 when the credentials
 * are wrong. A 401 asks for Basic authentication, a 503 to come back in 10 seconds, unless the headers say otherwise.
 *
 * @throws {RangeError} when the code is not an HTTP error status, or a header cannot be written.
 */
export const reject = (code = 400, message = "", headers: Readonly<Record<string, string>> = {}): Rejected => {
  if (Number.isInteger(code) && code >= 400 && code <= 599)
    return new Rejected({ code, message, headers: checked(headers) })
  throw new RangeError(`reject takes an HTTP status from 400 to 599; got ${code}`)
}

/** Headers as they can be written: a name is a token, a value has no line breaks (RFC 9110 §5). */
const checked = (headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> => {
  for (const [name, value] of Object.entries(headers)) {
    if (/^[!#$%&'*+\-.^`|~\w]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)) continue
    throw new RangeError(`reject takes headers that can be written; got ${JSON.stringify(name)}`)
  }
  return headers
}

/** Headers without which a status says too little: how to authenticate (RFC 9110 §15.5.2), when to come back (§15.6.4). */
const usualHeaders: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  401: { "WWW-Authenticate": 'Basic realm="OCPP", charset="UTF-8"' },
  503: { "Retry-After": "10" },
}

/** The success of an `auth` that chooses the subprotocol itself. */
export class Accepted extends Data.TaggedClass("Accepted")<{
  readonly session: unknown
  readonly protocol: Subprotocol
}> {
  /** @internal */
  readonly [acceptedBrand] = true
}

/** Says whether a value was made by {@link accept}, be it of another copy of this package. */
export const isAccepted = (value: unknown): value is Accepted => isBranded(value, acceptedBrand)

/** Says whether a value was made by {@link reject}, be it of another copy of this package. */
export const isRejected = (value: unknown): value is Rejected => isBranded(value, rejectedBrand)

const isBranded = (value: unknown, brand: symbol): boolean =>
  typeof value === "object" && value !== null && brand in value

/** Accepts a station with a subprotocol of its offer that is not the one the server would choose. */
export const accept = (session: unknown, protocol: Subprotocol): Accepted => new Accepted({ session, protocol })

/** A station at the door: an upgrade request that nobody has answered. */
export interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  /** Calls `onGone` when the station goes away; until the returned function is called. */
  readonly watch: (onGone: () => void) => () => void
  /** Completes the handshake with a subprotocol, or says why it cannot be completed. */
  readonly accept: (protocol: string | undefined) => Transport | Rejected
  /** Answers with an HTTP error, and ends the connection. */
  readonly refuse: (rejected: Rejected) => void
}

/** How much a station may send ahead while it is authenticated; what is more waits in its socket. */
const maxEarlyBytes = 64 * 1024

const ignore = () => {}

/** The upgrade request of an HTTP server. */
export class HttpUpgrade implements Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly #acceptor: Acceptor
  /** What came behind the request's head. */
  #head: Uint8Array
  #isOurs = true

  constructor(request: IncomingMessage, socket: Duplex, head: Uint8Array, acceptor: Acceptor) {
    this.request = request
    this.socket = socket
    this.#head = head
    this.#acceptor = acceptor
    // Whatever happens to the socket before ws has it must not become an uncaught exception.
    socket.on("error", ignore)
  }

  /** The end of a socket is only seen by who reads it: what has been read is kept for ws, what is too much is not read. */
  watch(onGone: () => void): () => void {
    const { socket } = this
    const early: Array<Uint8Array> = [this.#head]
    let earlyBytes = 0
    const onReadable = () => {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
        early.push(chunk)
        earlyBytes += chunk.length
      }
      if (earlyBytes > maxEarlyBytes) socket.off("readable", onReadable)
    }
    const ends = ["close", "end", "error"]
    for (const event of ends) socket.on(event, onGone)
    socket.on("readable", onReadable)
    return () => {
      for (const event of ends) socket.off(event, onGone)
      socket.off("readable", onReadable)
      this.#head = Buffer.concat(early)
    }
  }

  accept(protocol: string | undefined): Transport | Rejected {
    try {
      const result = this.#acceptor.accept(this.request, this.socket, this.#head, protocol)
      if (isTransport(result)) {
        this.socket.off("error", ignore)
        return result
      }
      return reject(result.code, result.message, result.headers)
    } catch (cause) {
      // ws throws when another listener has upgraded this socket already; then it is not ours to answer.
      this.#isOurs = false
      return reject(400, cause instanceof Error ? cause.message : "the socket is not ours")
    }
  }

  refuse({ code, headers, message }: Rejected): void {
    const { socket } = this
    if (!this.#isOurs) return
    if (!socket.writable) {
      socket.destroy()
      return
    }
    const body = Buffer.from(message)
    const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()))
    const usual = Object.entries(usualHeaders[code] ?? {}).filter(([name]) => !given.has(name.toLowerCase()))
    const head = [
      `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? "Rejected"}`,
      "Connection: close",
      "Content-Type: text/plain; charset=utf-8",
      `Content-Length: ${body.length}`,
      ...[...usual, ...Object.entries(headers)].map(([name, value]) => `${name}: ${value}`),
    ]
    socket.once("finish", () => socket.destroy())
    socket.end(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]))
  }
}

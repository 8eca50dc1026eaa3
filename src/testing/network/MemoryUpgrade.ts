/** An upgrade request that comes through memory instead of a socket, and the answer to it. */
import { Buffer } from "node:buffer"
import * as Http from "node:http"
import * as Net from "node:net"
import {
  addressOf,
  type ConnectError,
  connectError,
  handshakeFailure,
  UnexpectedHttpResponse,
} from "../../ConnectError.ts"
import type { Rejected, Upgrade } from "../../server/Upgrade.ts"
import type { Transport } from "../../Transport.ts"
import type { MemoryLink } from "../Link.ts"

/** The upgrade request of a station. */
export interface Request {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly protocols: ReadonlyArray<string>
}

/** Receives the answer, at the station. */
export interface Answer {
  readonly onOpen: (transport: Transport) => void
  readonly onFailure: (error: ConnectError | UnexpectedHttpResponse) => void
}

const ignore = () => {}

export class MemoryUpgrade implements Upgrade {
  readonly request: Http.IncomingMessage
  /** A socket for programs that look at it; it is never connected. */
  readonly socket = new Net.Socket()
  readonly #asked: Request
  readonly #link: MemoryLink
  readonly #answer: Answer
  #onGone = ignore
  isAbandoned = false
  #transport: Transport | undefined

  constructor(asked: Request, link: MemoryLink, answer: Answer) {
    this.#asked = asked
    this.#link = link
    this.#answer = answer
    this.request = new Http.IncomingMessage(this.socket)
    this.request.method = "GET"
    this.request.url = pathOf(asked.url)
    this.request.httpVersion = "1.1"
    setHeaders(this.request, headersOf(asked))
  }

  watch(onGone: () => void): () => void {
    this.#onGone = onGone
    return () => {
      this.#onGone = ignore
    }
  }

  /** Ends the request, whatever the answer would have been: the station has gone away. */
  abandon(): void {
    this.isAbandoned = true
    this.#transport?.terminate()
    this.#onGone()
  }

  accept(protocol: string | undefined): Transport {
    const { csms, station } = this.#link.pair(protocol ?? "")
    const { protocols, url } = this.#asked
    this.#transport = station
    this.#tell(() => {
      if (protocol !== undefined || protocols.length === 0) return this.#answer.onOpen(station)
      station.terminate()
      this.#answer.onFailure(connectError(url, protocols, new Error(handshakeFailure.noProtocol), false))
    })
    return csms
  }

  refuse(rejected: Rejected): void {
    const { url } = this.#asked
    const error = new UnexpectedHttpResponse(
      addressOf(url),
      requestOf(this.#asked),
      responseOf(rejected),
      rejected.message,
    )
    this.#tell(() => this.#answer.onFailure(error))
  }

  /** Answers in a later microtask, unless the link is down then. */
  #tell(answer: () => void): void {
    queueMicrotask(() => {
      if (this.#link.state === "up") answer()
    })
  }
}

const pathOf = (url: string): string => {
  const { pathname, search } = new URL(url)
  return `${pathname}${search}`
}

const headersOf = ({ headers, protocols, url }: Request): Readonly<Record<string, string>> => ({
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  Connection: "Upgrade",
  Upgrade: "websocket",
  ...headers,
  ...(protocols.length === 0 ? undefined : { "Sec-WebSocket-Protocol": protocols.join(",") }),
  Host: new URL(url).host,
})

/** Sets what Node would have read from a socket. */
const setHeaders = (message: Http.IncomingMessage, headers: Readonly<Record<string, string>>): void => {
  message.rawHeaders = Object.entries(headers).flat()
  message.headers = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

/** The request as Node's client represents it. It is never sent. */
const requestOf = (asked: Request): Http.ClientRequest => {
  const { hostname, port } = new URL(asked.url)
  const createConnection = () => new Net.Socket()
  const request = Http.request({
    createConnection,
    hostname,
    port,
    path: pathOf(asked.url),
    headers: { ...headersOf(asked) },
  })
  request.on("error", ignore)
  return request.destroy()
}

/** The response as Node's client represents it, with a body that can be read. */
const responseOf = ({ code, message }: Rejected): Http.IncomingMessage => {
  const response = new Http.IncomingMessage(new Net.Socket())
  const body = Buffer.from(message)
  response.statusCode = code
  response.statusMessage = Http.STATUS_CODES[code] ?? "Rejected"
  response.httpVersion = "1.1"
  setHeaders(response, { "Content-Type": "text/plain; charset=utf-8", "Content-Length": `${body.length}` })
  response.push(body)
  response.push(null)
  return response
}

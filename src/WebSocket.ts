/**
 * Transports over WebSockets: dialling one as a client, accepting one as a server.
 *
 * The only file that knows `ws`. What `ws` leaves open is closed here: sizes, fragments and pongs are bounded, a binary
 * message is read as text when it is valid UTF-8, a close reason always fits its frame.
 */
import { Buffer, isUtf8 } from "node:buffer"
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Ws from "ws"
import { addressOf, type ConnectError, connectError, handshakeFailure, UnexpectedHttpResponse } from "./ConnectError.ts"
import * as Deadlines from "./connection/Deadlines.ts"
import { type ConnectionOptions, millis } from "./connection/Settings.ts"
import { clip } from "./connection/Tracing.ts"
import { type Abilities, takeOffer } from "./server/deflateOffer.ts"
import { closeReason, isSendableCode, type Listener, surface, type Transport } from "./Transport.ts"

export type { ClientOptions, ServerOptions } from "ws"
export { ConnectError, UnexpectedHttpResponse } from "./ConnectError.ts"

/** What can be set for a socket, on either side. */
export interface SocketOptions {
  /** The longest message that is accepted, in bytes, after decompression; beyond, 1009. Default 1 MiB. */
  readonly maxPayload?: number
  /** How many fragments a message may have; beyond, 1008. Default 256. */
  readonly maxFragments?: number
  /**
   * Compression (RFC 7692). Default: a client does not offer it; a server accepts it without context takeover, from
   * 1,024 bytes on.
   */
  readonly perMessageDeflate?: boolean | Ws.PerMessageDeflateOptions
}

/** How long a socket may outlast its last frame. */
type Closing = Pick<ConnectionOptions, "closeTimeout">

/** The longest time for which there are timers, in milliseconds. */
const longestTimer = 2 ** 31 - 1

/** {@link SocketOptions} as `ws` takes them, without those that are not given. */
const toWs = ({ closeTimeout, maxFragments, maxPayload }: SocketOptions & Closing) => ({
  ...(maxPayload === undefined ? undefined : { maxPayload }),
  ...(maxFragments === undefined ? undefined : { maxFragments }),
  ...(closeTimeout === undefined
    ? undefined
    : { closeTimeout: Math.min(millis("closeTimeout", closeTimeout), longestTimer) }),
})

/** The limits that hold for every socket. `ws` documents each; its own defaults are far above what OCPP needs. */
const limits = {
  maxPayload: 1024 * 1024,
  maxFragments: 256,
  maxBufferedChunks: 4096,
  maxPendingAutoPongs: 8,
  closeTimeout: 5_000,
}

const serverDeflate: Ws.PerMessageDeflateOptions = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  threshold: 1024,
  concurrencyLimit: 10,
}

/** How to reach a server. */
export interface DialOptions extends SocketOptions, Closing {
  /** What the client offers, in order of preference. */
  readonly protocols: ReadonlyArray<string>
  readonly headers?: Readonly<Record<string, string>>
  /** How long the opening handshake may take, in milliseconds. */
  readonly handshakeTimeout: number
  /** Anything else that `ws` takes, such as `ca`, `cert`, `key` and `minVersion` for TLS. */
  readonly webSocket?: Ws.ClientOptions
}

/** Errors of the opening handshake that no second attempt will cure. */
const hopeless = new Set<string>([
  handshakeFailure.noProtocol,
  "Server sent an invalid subprotocol",
  "Server sent a subprotocol but none was requested",
  "Invalid Sec-WebSocket-Accept header",
])

/** A transport that was dialled. */
export interface Dialled extends Transport {
  /** The server's response to the upgrade request. */
  readonly response: IncomingMessage
}

/** Opens a connection. Interrupting the Effect abandons the attempt. No redirect is followed. */
export const dial = (
  url: string,
  options: DialOptions,
): Effect.Effect<Dialled, ConnectError | UnexpectedHttpResponse> =>
  Effect.clockWith((clock) => handshake(url, options, Deadlines.of(clock)))

const handshake = (
  url: string,
  options: DialOptions,
  deadlines: Deadlines.Deadlines,
): Effect.Effect<Dialled, ConnectError | UnexpectedHttpResponse> =>
  Effect.callback((done) => {
    const deadline: Deadlines.Deadline = {
      entry: undefined,
      expire: () => {
        answered?.()
        done(Exit.fail(connectError(url, options.protocols, new Error(handshakeFailure.timeout), true)))
        socket.terminate()
        return Number.POSITIVE_INFINITY
      },
    }
    const resume: typeof done = (exit) => {
      deadlines.clear(deadline)
      done(exit)
    }
    let socket: Socket
    /** Ends the attempt with the HTTP response that has come, as far as it has come. */
    let answered: (() => void) | undefined
    const { perMessageDeflate, webSocket } = options
    try {
      socket = new Socket(url, [...options.protocols], {
        minVersion: "TLSv1.2",
        ...limits,
        perMessageDeflate: perMessageDeflate ?? false,
        ...toWs(options),
        ...webSocket,
        headers: { ...webSocket?.headers, ...options.headers },
      })
    } catch (cause) {
      return resume(Exit.fail(connectError(url, options.protocols, cause, false)))
    }
    socket.on("error", (cause) => {
      answered?.()
      resume(Exit.fail(connectError(url, options.protocols, cause, !hopeless.has(cause.message))))
    })
    socket.on("unexpected-response", (request, response) => {
      answered = () => {
        answered = undefined
        const body = clip(peek(response))
        resume(Exit.fail(new UnexpectedHttpResponse(addressOf(url), request, response, body)))
        // What is complete can still be read when the socket is gone, but not when the request is destroyed.
        if (response.complete) response.socket.destroy()
        else socket.terminate()
      }
      whenPeekable(response, () => answered?.())
      deadlines.wakeBy(deadline, deadlines.now() + bodyTimeout)
    })
    socket.on("upgrade", (response) => {
      socket.on("open", () => {
        socket.removeAllListeners()
        resume(Exit.succeed(Object.assign(new SocketTransport(socket, response.socket), { response })))
      })
    })
    deadlines.wakeBy(deadline, deadlines.now() + options.handshakeTimeout)
    return Effect.sync(() => {
      deadlines.clear(deadline)
      socket.terminate()
    })
  })

/** Of the body of a response that is no upgrade we look at so many bytes, and wait for them so many milliseconds. */
const maxBodyBytes = 1024
const bodyTimeout = 500

/** Calls `then` when a response is complete, has come so far as we look at it, or breaks off. */
const whenPeekable = (response: IncomingMessage, then: () => void): void => {
  const look = () => {
    if (!response.complete && response.readableLength < maxBodyBytes && !response.destroyed) return
    for (const event of events) response.off(event, look)
    then()
  }
  const events = ["readable", "end", "close"]
  for (const event of events) response.on(event, look)
  response.on("error", () => {})
}

/** What has come of a response's body; it can still be read. */
const peek = (response: IncomingMessage): string => {
  const chunk: Buffer | null = response.read()
  if (chunk === null) return ""
  response.unshift(chunk)
  return chunk.toString("utf8", 0, maxBodyBytes).trim()
}

/** Accepts upgrade requests. */
export interface Acceptor {
  /**
   * Completes the opening handshake.
   *
   * @param protocol the subprotocol to agree on; it must be one that the client offers
   * @returns the transport, or why the request is no valid opening handshake: then it has not been answered
   */
  readonly accept: (
    request: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
    protocol: string | undefined,
  ) => Transport | Unacceptable
}

/** An opening handshake that cannot be completed, as an HTTP answer. */
export interface Unacceptable {
  readonly code: number
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

/** Says whether an acceptor has completed the opening handshake. */
export const isTransport = (result: Transport | Unacceptable): result is Transport => "listen" in result

/** The status and headers for the reasons that `ws` gives in words; 400 for all others (RFC 6455 §4.2.1, §4.4). */
const unacceptable = (message: string): Unacceptable => ({
  code: message === "Invalid HTTP method" ? 405 : 400,
  message,
  headers: message.includes("Sec-WebSocket-Version") ? { "Sec-WebSocket-Version": "13, 8" } : {},
})

/** An acceptor with its own limits. `webSocket` is anything else that `ws` takes. */
export const makeAcceptor = (
  options: SocketOptions & Closing & { readonly webSocket?: Ws.ServerOptions } = {},
): Acceptor => {
  const { perMessageDeflate = true, webSocket } = options
  if (webSocket?.verifyClient !== undefined || webSocket?.handleProtocols != null) {
    throw new TypeError("webSocket must not have verifyClient or handleProtocols: that is what auth decides")
  }
  if (webSocket?.clientTracking === true) {
    throw new TypeError(
      "webSocket must not have clientTracking: ws would keep every socket; the server knows its stations",
    )
  }
  const chosen = new WeakMap<IncomingMessage, string | undefined>()
  const server = new Ws.WebSocketServer<typeof Socket>({
    clientTracking: false,
    ...limits,
    perMessageDeflate: perMessageDeflate === true ? serverDeflate : perMessageDeflate,
    ...toWs(options),
    ...webSocket,
    noServer: true,
    WebSocket: Socket,
    handleProtocols: (_, request) => chosen.get(request) ?? false,
  })
  const abilities = server.options.perMessageDeflate
  let refuse: (error: Error) => void = () => {}
  // With a listener `ws` leaves the answer to us, who know the reason then.
  server.on("wsClientError", (error) => refuse(error))
  return {
    accept: (request, socket, head, protocol) => {
      const acceptable = abilities ? withOneOffer(request, abilities === true ? {} : abilities) : request
      chosen.set(acceptable, protocol)
      let result: Transport | Unacceptable = unacceptable("the socket has been upgraded already")
      refuse = ({ message }) => {
        result = unacceptable(message)
      }
      server.handleUpgrade(
        acceptable,
        socket,
        Buffer.from(head.buffer, head.byteOffset, head.byteLength),
        (accepted) => {
          result = new SocketTransport(accepted, socket)
        },
      )
      return result
    },
  }
}

/** The request as `ws` is to see it: of the offers of compression it refuses a handshake for one that it does not understand. */
const withOneOffer = (request: IncomingMessage, abilities: Abilities): IncomingMessage => {
  const header = "sec-websocket-extensions"
  const offered = request.headers[header]
  if (offered === undefined) return request
  const taken = takeOffer(offered, abilities)
  if (taken === offered) return request
  const headers: IncomingMessage["headers"] = { ...request.headers, [header]: taken }
  return Object.create(request, { headers: { value: headers } })
}

/** A socket that tells its transport what happens, without listeners in between: this is on the path of every message. */
class Socket extends Ws.WebSocket {
  transport: SocketTransport | undefined

  override emit(event: string | symbol, first?: unknown, second?: unknown): boolean {
    return this.transport === undefined
      ? super.emit(event, first, second)
      : this.transport.onEvent(event, first, second)
  }
}

/** Beyond so many bytes, what is written in a tick is not held until the tick ends. */
const maxCorkedBytes = 8 * 1024

/** After so many messages a connection lets the others have a turn: what one turn reads may be thousands of small ones. */
const messagesPerTurn = 256

class SocketTransport implements Transport {
  readonly protocol: string
  readonly #socket: Socket
  /** What the socket writes to. */
  readonly #stream: Duplex & { readonly bytesRead?: number; readonly bytesWritten?: number }
  #listener: Listener | undefined
  #early: Array<(listener: Listener) => void> | undefined = []
  #error: Error | undefined
  /** Whether we have begun to close. */
  #isEnding = false
  #isCorked = false
  #isDeaf = false
  #messages = 0

  constructor(socket: Socket, stream: Duplex) {
    this.#socket = socket
    this.#stream = stream
    this.protocol = socket.protocol
    socket.transport = this
  }

  onEvent(event: string | symbol, first: unknown, second: unknown): boolean {
    switch (event) {
      case "message":
        this.#onMessage(first as Buffer, second as boolean)
        return true
      case "ping":
        // ws drops whoever does not read its pongs without a word.
        if (!this.#isEnding && !this.writable) this.#error ??= new Error("too many pings, whose pongs are not read")
        this.#listener?.onPing()
        return true
      case "pong":
        this.#listener?.onPong()
        return true
      case "error": {
        const error = first as Error
        this.#error = error
        this.#deliver((listener) => listener.onError(error))
        return true
      }
      case "close": {
        const code = first as number
        // After an error of its own ws reports 1006 and nothing more; the error says what it was.
        const reason = code === 1006 && this.#error !== undefined ? this.#error.message : String(second)
        this.#deliver((listener) => listener.onClose(code, reason))
        return true
      }
      default:
        return false
    }
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#isDeaf) return
    if (++this.#messages % messagesPerTurn === 0) {
      this.#socket.pause()
      setImmediate(resume, this.#socket)
    }
    if (isBinary && !isUtf8(data)) {
      this.#isDeaf = true
      return this.#socket.close(1007, "a binary message is not UTF-8")
    }
    const text = data.toString()
    if (this.#listener === undefined) {
      this.#early?.push((listener) => listener.onMessage(text))
      return
    }
    try {
      this.#listener.onMessage(text)
    } catch (error) {
      // ws would never close a socket whose listener has thrown.
      surface(error)
    }
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
  }

  get bytesReceived(): number {
    return this.#stream.bytesRead ?? 0
  }

  get bytesSent(): number {
    return this.#stream.bytesWritten ?? 0
  }

  get writable(): boolean {
    return this.#socket.readyState === Ws.WebSocket.OPEN
  }

  listen(listener: Listener): void {
    this.#listener = listener
    const early = this.#early ?? []
    this.#early = undefined
    for (const event of early) event(listener)
  }

  send(message: string | Uint8Array): void {
    if (this.#socket.readyState !== Ws.WebSocket.OPEN) return
    this.#cork()
    try {
      this.#socket.send(message)
    } catch (error) {
      this.#onUnwritable(error)
    }
    if (this.#stream.writableLength > maxCorkedBytes) this.uncork()
  }

  /** What is written in one tick is written at once, when it ends: one call of the kernel's instead of one for each message. */
  #cork(): void {
    if (this.#isCorked) return
    this.#isCorked = true
    this.#stream.cork()
    process.nextTick(uncork, this)
  }

  uncork(): void {
    if (!this.#isCorked) return
    this.#isCorked = false
    this.#stream.uncork()
  }

  ping(): void {
    if (this.#socket.readyState !== Ws.WebSocket.OPEN) return
    try {
      this.#socket.ping()
    } catch (error) {
      this.#onUnwritable(error)
    }
  }

  close(code: number, reason: string): void {
    this.#isEnding = true
    try {
      this.#socket.close(isSendableCode(code) ? code : 1000, closeReason(reason))
    } catch (error) {
      this.#onUnwritable(error)
    }
  }

  /** Options of the user's, such as `generateMask`, can throw. A connection that cannot send is lost. */
  #onUnwritable(cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error("a frame could not be written", { cause })
    this.onEvent("error", error, undefined)
    this.terminate()
  }

  terminate(): void {
    this.#isEnding = true
    this.uncork()
    this.#socket.terminate()
  }

  #deliver(event: (listener: Listener) => void): void {
    if (this.#listener === undefined) this.#early?.push(event)
    else event(this.#listener)
  }
}

const resume = (socket: Socket): void => socket.resume()

const uncork = (transport: SocketTransport): void => transport.uncork()

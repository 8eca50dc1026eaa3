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
import { ConnectError, UnexpectedHttpResponse } from "./ConnectError.ts"
import { closeReason, guarded, isSendableCode, type Listener, type Transport } from "./Transport.ts"

export type { ClientOptions, ServerOptions } from "ws"
export * from "./ConnectError.ts"

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
export interface DialOptions extends SocketOptions {
  /** What the client offers, in order of preference. */
  readonly protocols: ReadonlyArray<string>
  readonly headers?: Readonly<Record<string, string>>
  /** How long the opening handshake may take, in milliseconds. */
  readonly handshakeTimeout: number
  /** Anything else that `ws` takes, such as `ca`, `cert`, `key` and `minVersion` for TLS. */
  readonly webSocket?: Ws.ClientOptions
}

/** Errors of the opening handshake that no second attempt will cure. */
const hopeless = new Set([
  "Server sent no subprotocol",
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
  Effect.timeoutOrElse(handshake(url, options), {
    duration: options.handshakeTimeout,
    orElse: () => Effect.fail(connectError(url, options, new Error("the opening handshake timed out"), true)),
  })

const handshake = (url: string, options: DialOptions): Effect.Effect<Dialled, ConnectError | UnexpectedHttpResponse> =>
  Effect.callback((resume) => {
    let socket: Ws.WebSocket
    const { maxFragments, maxPayload, perMessageDeflate, webSocket } = options
    try {
      socket = new Ws.WebSocket(url, [...options.protocols], {
        minVersion: "TLSv1.2",
        ...limits,
        perMessageDeflate: perMessageDeflate ?? false,
        ...(maxPayload === undefined ? undefined : { maxPayload }),
        ...(maxFragments === undefined ? undefined : { maxFragments }),
        ...webSocket,
        headers: { ...webSocket?.headers, ...options.headers },
      })
    } catch (cause) {
      return resume(Exit.fail(connectError(url, options, cause, false)))
    }
    socket.on("error", (cause) => {
      resume(Exit.fail(connectError(url, options, cause, !hopeless.has(cause.message))))
    })
    socket.on("unexpected-response", (request, response) => {
      resume(Exit.fail(new UnexpectedHttpResponse(addressOf(url), request, response)))
      socket.terminate()
    })
    socket.on("upgrade", (response) => {
      socket.on("open", () => {
        socket.removeAllListeners()
        resume(Exit.succeed(Object.assign(new SocketTransport(socket), { response })))
      })
    })
    return Effect.sync(() => socket.terminate())
  })

const connectError = (url: string, { protocols }: DialOptions, cause: unknown, retryable: boolean) => {
  const reason = (cause instanceof Error ? cause.message : String(cause)).trim()
  const offer = reason.includes("subprotocol") ? ` (offered: ${protocols.join(", ") || "none"})` : ""
  return new ConnectError({ message: `${addressOf(url)}: ${reason}${offer}`, cause, retryable })
}

/** A URL without what may be secret in it. */
const addressOf = (url: string): string => (URL.canParse(url) ? `${new URL(url).origin}${new URL(url).pathname}` : url)

/** Accepts upgrade requests. */
export interface Acceptor {
  /**
   * Completes the opening handshake.
   *
   * @param protocol the subprotocol to agree on; it must be one that the client offers
   * @returns the transport, or `undefined` when the request was no valid opening handshake and has been answered so
   */
  readonly accept: (
    request: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
    protocol: string | undefined,
  ) => Transport | undefined
}

/** An acceptor with its own limits. `webSocket` is anything else that `ws` takes. */
export const makeAcceptor = (options: SocketOptions & { readonly webSocket?: Ws.ServerOptions } = {}): Acceptor => {
  const { maxFragments, maxPayload, perMessageDeflate = true, webSocket } = options
  if (webSocket?.verifyClient !== undefined || webSocket?.handleProtocols != null) {
    throw new TypeError("webSocket must not have verifyClient or handleProtocols: that is what auth decides")
  }
  const chosen = new WeakMap<IncomingMessage, string | undefined>()
  const server = new Ws.WebSocketServer({
    clientTracking: false,
    ...limits,
    perMessageDeflate: perMessageDeflate === true ? serverDeflate : perMessageDeflate,
    ...(maxPayload === undefined ? undefined : { maxPayload }),
    ...(maxFragments === undefined ? undefined : { maxFragments }),
    ...webSocket,
    noServer: true,
    handleProtocols: (_, request) => chosen.get(request) ?? false,
  })
  return {
    accept: (request, socket, head, protocol) => {
      chosen.set(request, protocol)
      let transport: Transport | undefined
      server.handleUpgrade(request, socket, Buffer.from(head.buffer, head.byteOffset, head.byteLength), (accepted) => {
        transport = new SocketTransport(accepted)
      })
      return transport
    },
  }
}

class SocketTransport implements Transport {
  readonly protocol: string
  readonly #socket: Ws.WebSocket
  #listener: Listener | undefined
  #early: Array<(listener: Listener) => void> | undefined = []
  #error: Error | undefined

  constructor(socket: Ws.WebSocket) {
    this.#socket = socket
    this.protocol = socket.protocol
    // ws would never close a socket whose listener has thrown: hence `guarded`.
    socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary && !isUtf8(data)) {
        socket.removeAllListeners("message")
        return socket.close(1007, "a binary message is not UTF-8")
      }
      const text = data.toString()
      if (this.#listener === undefined) this.#early?.push((listener) => listener.onMessage(text))
      else guarded(() => this.#listener?.onMessage(text))
    })
    socket.on("pong", () => this.#listener?.onPong())
    socket.on("ping", () => this.#listener?.onPing())
    socket.on("error", (error) => {
      this.#error = error
      this.#deliver((listener) => listener.onError(error))
    })
    socket.on("close", (code, reason) => {
      // After an error of its own ws reports 1006 and nothing more; the error says what it was.
      const why = code === 1006 && this.#error !== undefined ? this.#error.message : reason.toString()
      this.#deliver((listener) => listener.onClose(code, why))
    })
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
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
    if (this.#socket.readyState === Ws.WebSocket.OPEN) this.#socket.send(message)
  }

  ping(): void {
    if (this.#socket.readyState === Ws.WebSocket.OPEN) this.#socket.ping()
  }

  close(code: number, reason: string): void {
    this.#socket.close(isSendableCode(code) ? code : 1000, closeReason(reason))
  }

  terminate(): void {
    this.#socket.terminate()
  }

  #deliver(event: (listener: Listener) => void): void {
    if (this.#listener === undefined) this.#early?.push(event)
    else event(this.#listener)
  }
}

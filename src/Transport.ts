/**
 * What the core needs from a socket: text out, text in, ping, close.
 *
 * A transport is deliberately plain: calls and callbacks, no Effect, because every frame passes through it. Whoever makes
 * one (`WebSocket`, {@link makePair}, a test) keeps these promises: nothing is delivered before {@link Transport.listen};
 * messages come in order, one at a time, never from within `send`; `onClose` comes exactly once, last, and whatever
 * happens; no method throws.
 */

/** What a transport tells its owner. */
export interface Listener {
  /** A text message arrived. */
  readonly onMessage: (text: string) => void
  /** The peer answered a ping. */
  readonly onPong: () => void
  /** The peer sent a ping, which the transport has answered. */
  readonly onPing: () => void
  /** Something broke; `onClose` follows. */
  readonly onError: (error: Error) => void
  /** The connection is gone: the code and reason of the peer's close frame, 1005 when it had none, 1006 without frame. */
  readonly onClose: (code: number, reason: string) => void
}

/** One end of an open connection. */
export interface Transport {
  /** The subprotocol that was agreed on, `""` for none. */
  readonly protocol: string
  /** How many bytes wait to be written. */
  readonly bufferedAmount: number
  /** How many bytes have come and gone on this connection, where that is counted. */
  readonly bytesReceived?: number
  readonly bytesSent?: number
  /** Whether what is sent now is sent: `false` once either side has begun to close. */
  readonly writable: boolean
  /** Starts the delivery. Called once. */
  readonly listen: (listener: Listener) => void
  /** Sends a message, text or binary; does nothing once closing. */
  readonly send: (message: string | Uint8Array) => void
  /** Sends a ping; does nothing once closing. */
  readonly ping: () => void
  /** Starts the closing handshake. A code that may not be sent becomes 1000, a reason is cut to what the frame holds. */
  readonly close: (code: number, reason: string) => void
  /** Drops the connection without a handshake. */
  readonly terminate: () => void
}

/** Throws an error of the program's again, as an uncaught exception, in a tick of its own. */
export const surface = (error: unknown): void => {
  queueMicrotask(() => {
    throw error
  })
}

/** Calls a function of the program's. An error that it throws surfaces; it does not tear the connection that happened to call it. */
export const guarded = (call: () => void): void => {
  try {
    call()
  } catch (error) {
    surface(error)
  }
}

/** The codes that a close frame may carry (RFC 6455 §7.4). */
export const isSendableCode = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)

/** A reason that fits a close frame, which has room for 123 bytes of it: what is over is cut between characters. */
export const closeReason = (reason: string): string => {
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(123))
  return reason.slice(0, read)
}

/**
 * Two ends of a connection in memory. What one end sends, the other receives in a later microtask; the closing handshake
 * and pings work as on a socket.
 */
export const makePair = (protocol = ""): readonly [Transport, Transport] => {
  const a = new MemoryTransport(protocol)
  const b = new MemoryTransport(protocol)
  a.peer = b
  b.peer = a
  return [a, b]
}

class MemoryTransport implements Transport {
  readonly protocol: string
  readonly bufferedAmount = 0
  peer: MemoryTransport = this
  #listener: Listener | undefined
  #inbox: Array<(listener: Listener) => void> = []
  #state: "open" | "closing" | "closed" = "open"

  constructor(protocol: string) {
    this.protocol = protocol
  }

  get writable(): boolean {
    return this.#state === "open"
  }

  listen(listener: Listener): void {
    this.#listener = listener
    for (const _ of this.#inbox) this.#schedule()
  }

  send(message: string | Uint8Array): void {
    const text = typeof message === "string" ? message : new TextDecoder().decode(message)
    if (this.#state === "open") this.peer.#deliver((listener) => listener.onMessage(text))
  }

  ping(): void {
    if (this.#state !== "open") return
    this.peer.#deliver((listener) => {
      listener.onPing()
      this.#deliver((own) => own.onPong())
    })
  }

  close(code: number, reason: string): void {
    if (this.#state !== "open") return
    this.#state = "closing"
    const sent = isSendableCode(code) ? code : 1000
    const cut = closeReason(reason)
    this.peer.#deliver(() => {
      this.peer.#end(sent, cut)
      this.#deliver(() => this.#end(sent, cut))
    })
  }

  terminate(): void {
    this.peer.#deliver(() => this.peer.#end(1006, ""))
    this.#inbox.length = 0
    this.#deliver(() => this.#end(1006, ""))
    if (this.#state === "open") this.#state = "closing"
  }

  #end(code: number, reason: string): void {
    if (this.#state === "closed") return
    this.#state = "closed"
    this.#listener?.onClose(code, reason)
  }

  #deliver(event: (listener: Listener) => void): void {
    this.#inbox.push(event)
    this.#schedule()
  }

  #schedule(): void {
    queueMicrotask(() => {
      if (this.#listener === undefined || this.#state === "closed") return
      this.#inbox.shift()?.(this.#listener)
    })
  }
}

/** One end of a WebSocket that sends only the messages of the test. */
import { onTestFinished } from "@effect/vitest"
import { type ClientOptions, WebSocket } from "ws"

export { basic } from "./handshake.ts"

export class RawSocket {
  readonly socket: WebSocket
  /** The code and the reason with which it closed. */
  readonly closed: Promise<readonly [code: number, reason: string]>
  readonly #received: Array<unknown> = []
  readonly #readers: Array<(message: any) => void> = []

  constructor(socket: WebSocket) {
    this.socket = socket
    this.closed = new Promise((resolve) => socket.once("close", (code, reason) => resolve([code, reason.toString()])))
    socket.on("error", () => {})
    socket.on("message", (data) => {
      const message: unknown = JSON.parse(data.toString())
      const reader = this.#readers.shift()
      if (reader === undefined) this.#received.push(message)
      else reader(message)
    })
  }

  /** Sends a frame as its array, or any text. */
  send(frame: ReadonlyArray<unknown> | string): void {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame))
  }

  /** Receives the next frame, parsed. */
  receive(): Promise<any> {
    if (this.#received.length > 0) return Promise.resolve(this.#received.shift())
    return new Promise((resolve) => this.#readers.push(resolve))
  }

  /** Resolves when the peer has read everything that was sent, and this end everything that the peer had sent before. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.socket.once("pong", () => resolve())
      this.socket.ping()
    })
  }

  /** The frames that came and were not received. */
  get unread(): ReadonlyArray<any> {
    return this.#received
  }
}

/** Connects a station that is written out by hand. */
export const rawStation = async (
  endpoint: string,
  { identity = "CP001", protocols = [], ...options }: ClientOptions & { identity?: string; protocols?: string[] } = {},
): Promise<RawSocket> => {
  const socket = new WebSocket(`${endpoint}/${encodeURIComponent(identity)}`, protocols, options)
  onTestFinished(() => socket.terminate())
  const raw = new RawSocket(socket)
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
  return raw
}

/** Stations that write their bytes themselves. */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { codeOf, frame, Opcode, type ReadFrame, readFrame, text } from "../../test/support/frames.ts"
import { upgradeOf } from "../../test/support/handshake.ts"

export interface UpgradeOptions {
  readonly path?: string
  /** The subprotocols on offer; `undefined` for none. */
  readonly protocol?: string | undefined
  /** Further lines. */
  readonly headers?: ReadonlyArray<string>
}

/** The upgrade request of a station. */
export const upgrade = ({ headers = [], path = "/ATTACKER", ...rest }: UpgradeOptions = {}): Buffer => {
  const protocol = "protocol" in rest ? rest.protocol : "ocpp1.6"
  const offer = protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]
  const key = randomBytes(16).toString("base64")
  return Buffer.from(upgradeOf(path, [...offer, ...headers], { key }), "latin1")
}

/** The end of a connection: the code of the peer's close frame, 1006 without one. */
export interface Ended {
  readonly code: number
  readonly reason: string
  /** Milliseconds since the connection was opened. */
  readonly after: number
}

export interface RawOptions extends UpgradeOptions {
  readonly tls?: Tls.ConnectionOptions
  /** Its own address, which has 28,232 ports, each of which rests for a minute after use. Default 127.0.0.1. */
  readonly from?: string
  /** Whether pings are answered. Default `true`. */
  readonly pongs?: boolean
  /** Whether a close frame is answered. Default `true`. */
  readonly polite?: boolean
  /** Bytes to be written together with the upgrade request. */
  readonly ahead?: Uint8Array
  /** Whether to succeed though there was no 101. Default `false`. */
  readonly mayFail?: boolean
}

/** A socket that takes part in the protocol as far as it is told to. */
export class RawStation {
  readonly socket: Net.Socket
  /** The HTTP answer's head. */
  head = ""
  /** The text behind a head that was no 101. */
  body = ""
  readonly frames: Array<ReadFrame> = []
  /** Bytes after the upgrade, in and out. */
  bytesIn = 0
  bytesOut = 0
  readonly ended: Promise<Ended>
  isEnded = false
  readonly #options: RawOptions
  #rest = Buffer.alloc(0)
  readonly #opened: Promise<void>
  #open = () => {}
  #taken = 0
  #wake: Array<() => void> = []
  #close: { readonly code: number; readonly reason: string } | undefined

  private constructor(socket: Net.Socket, options: RawOptions) {
    const start = Date.now()
    this.socket = socket
    this.#options = options
    this.#opened = new Promise((resolve) => {
      this.#open = resolve
    })
    this.ended = new Promise((resolve) => {
      socket.on("close", () => {
        this.isEnded = true
        this.#open()
        this.#wakeAll()
        resolve({ ...(this.#close ?? { code: 1006, reason: "" }), after: Date.now() - start })
      })
    })
    socket.on("error", () => {})
    socket.on("data", (data: Buffer) => this.#hear(data))
  }

  static async connect(port: number, options: RawOptions = {}): Promise<RawStation> {
    const where = {
      port,
      host: "127.0.0.1",
      ...(options.from === undefined ? undefined : { localAddress: options.from }),
    }
    const socket =
      options.tls === undefined
        ? Net.connect(where)
        : Tls.connect({ ...where, rejectUnauthorized: false, ...options.tls })
    socket.setNoDelay()
    const station = new RawStation(socket, options)
    socket.write(Buffer.concat([upgrade(options), options.ahead ?? new Uint8Array()]))
    await station.#opened
    if (station.status === 101 || options.mayFail === true) return station
    throw new Error(`no upgrade: ${station.head.split("\r\n")[0]}`)
  }

  /** The HTTP status; 0 when there was no answer. */
  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.head)?.[1] ?? 0)
  }

  header(name: string): string | undefined {
    return new RegExp(`^${name}: (.*)$`, "im").exec(this.head)?.[1]?.trim()
  }

  write(...chunks: ReadonlyArray<Uint8Array>): void {
    const bytes = Buffer.concat(chunks)
    this.bytesOut += bytes.length
    if (this.socket.writable) this.socket.write(bytes)
  }

  /** Sends a message, as its array or as text. */
  send(message: unknown): void {
    this.write(text(message))
  }

  /** The next message, parsed. Fails when the connection ends first, or nothing comes. */
  async receive(patience = 10_000): Promise<ReadonlyArray<unknown>> {
    const deadline = Date.now() + patience
    for (;;) {
      for (let next = this.frames[this.#taken]; next !== undefined; next = this.frames[this.#taken]) {
        this.#taken++
        if (next.opcode === Opcode.Text) return JSON.parse(next.payload.toString())
      }
      if (this.isEnded) throw new Error("the connection has ended")
      if (Date.now() > deadline) throw new Error(`nothing was received within ${patience} ms`)
      await this.#more(deadline)
    }
  }

  /** Sends a CALL and gives the next message. */
  async ask(messageId: string, action: string, payload: unknown = {}): Promise<ReadonlyArray<unknown>> {
    this.send([2, messageId, action, payload])
    return this.receive()
  }

  /** The messages that came and that were not received. */
  get unread(): ReadonlyArray<unknown> {
    return this.frames
      .slice(this.#taken)
      .flatMap(({ opcode, payload }) => (opcode === Opcode.Text ? [JSON.parse(payload.toString())] : []))
  }

  #more(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, deadline - Date.now()))
      this.#wake.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }

  #hear(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data])
    if (this.head === "") {
      const end = this.#rest.indexOf("\r\n\r\n")
      if (end === -1) return
      this.head = this.#rest.subarray(0, end).toString("latin1")
      this.#rest = this.#rest.subarray(end + 4)
      if (this.status === 101) this.#open()
    }
    if (this.status !== 101) {
      this.body += this.#rest.toString()
      this.#rest = Buffer.alloc(0)
      return
    }
    for (let next = readFrame(this.#rest); next !== undefined; next = readFrame(this.#rest)) {
      this.#rest = this.#rest.subarray(next.size)
      this.bytesIn += next.size
      this.#take(next.frame)
    }
    this.#wakeAll()
  }

  #take(received: ReadFrame): void {
    const { opcode } = received
    // A copy: what came with it in one chunk need not be kept.
    const payload = Buffer.from(received.payload)
    if (opcode === Opcode.Ping && this.#options.pongs !== false) this.write(frame(Opcode.Pong, payload))
    if (opcode === Opcode.Close) {
      this.#close = { code: codeOf({ payload }), reason: payload.subarray(2).toString() }
      if (this.#options.polite !== false && this.socket.writable)
        this.socket.end(frame(Opcode.Close, payload.subarray(0, 2)))
    }
    if (opcode !== Opcode.Ping && opcode !== Opcode.Pong) this.frames.push({ ...received, payload })
  }
}

/** Stations and servers that write their bytes themselves. */
import { Buffer } from "node:buffer"
import { createHash, randomBytes } from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"

/** The opcodes of RFC 6455 §5.2. */
export const Opcode = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const

export interface FrameOptions {
  readonly fin?: boolean
  /** The three reserved bits, as a number from 0 to 7. */
  readonly rsv?: number
  readonly masked?: boolean
  /** The length that is claimed, when it is not that of the payload. */
  readonly claims?: bigint
}

/** A frame as a client sends it. */
export const frame = (opcode: number, payload: Uint8Array | string = "", options: FrameOptions = {}): Buffer => {
  const { fin = true, masked = true, rsv = 0 } = options
  const body = Buffer.from(payload)
  const length = options.claims ?? BigInt(body.length)
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  const mask = masked ? 0x80 : 0
  const short = length < 126n
  const medium = !short && length < 65_536n
  const head = Buffer.alloc(short ? 2 : medium ? 4 : 10)
  head[0] = first
  head[1] = mask | (short ? Number(length) : medium ? 126 : 127)
  if (medium) head.writeUInt16BE(Number(length), 2)
  else if (!short) head.writeBigUInt64BE(length, 2)
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat(masked ? [head, Buffer.alloc(4), body] : [head, body])
}

export const closeFrame = (code: number, reason: Uint8Array | string = ""): Buffer => {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(code)
  return frame(Opcode.Close, Buffer.concat([head, Buffer.from(reason)]))
}

export const text = (message: unknown): Buffer =>
  frame(Opcode.Text, typeof message === "string" ? message : JSON.stringify(message))

export interface UpgradeOptions {
  readonly path?: string
  /** What is offered; `undefined` for none. */
  readonly protocol?: string | undefined
  /** Further lines. */
  readonly headers?: ReadonlyArray<string>
}

/** The upgrade request of a station. */
export const upgrade = ({ headers = [], path = "/ATTACKER", ...rest }: UpgradeOptions = {}): Buffer => {
  const protocol = "protocol" in rest ? rest.protocol : "ocpp1.6"
  const lines = [
    `GET ${path} HTTP/1.1`,
    "Host: localhost",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
    ...headers,
  ]
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1")
}

export const basic = (user: string, password: Uint8Array | string): string =>
  `Authorization: Basic ${Buffer.concat([Buffer.from(`${user}:`), Buffer.from(password)]).toString("base64")}`

export interface Received {
  readonly opcode: number
  readonly fin: boolean
  readonly rsv: number
  readonly payload: Buffer
}

/** How a connection has ended: the code of the peer's close frame, 1006 without one. */
export interface Ended {
  readonly code: number
  readonly reason: string
  /** Milliseconds since the connection was opened. */
  readonly after: number
}

export interface RawOptions extends UpgradeOptions {
  readonly tls?: Tls.ConnectionOptions
  /** From which address. One has 28,232 ports, and each rests for a minute after use. Default 127.0.0.1. */
  readonly from?: string
  /** Whether pings are answered. Default `true`. */
  readonly pongs?: boolean
  /** Whether a close frame is answered. Default `true`. */
  readonly polite?: boolean
  /** What is written together with the upgrade request. */
  readonly ahead?: Uint8Array
  /** Whether to succeed though there was no 101. Default `false`. */
  readonly mayFail?: boolean
}

/** A socket that takes part in the protocol as far as it is told to. */
export class RawStation {
  readonly socket: Net.Socket
  /** The HTTP answer's head. */
  head = ""
  /** What followed a head that was no 101. */
  body = ""
  readonly frames: Array<Received> = []
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

  /** Sends a CALL and gives what answers it. */
  async ask(messageId: string, action: string, payload: unknown = {}): Promise<ReadonlyArray<unknown>> {
    this.send([2, messageId, action, payload])
    return this.receive()
  }

  /** The messages that came and that nobody has asked for. */
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
    for (let next = this.#parse(); next !== undefined; next = this.#parse()) this.#take(next)
    this.#wakeAll()
  }

  #parse(): Received | undefined {
    const bytes = this.#rest
    if (bytes.length < 2) return undefined
    const short = bytes[1]! & 0x7f
    const size = short < 126 ? 0 : short === 126 ? 2 : 8
    if (bytes.length < 2 + size) return undefined
    const length = size === 0 ? short : size === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    const end = 2 + size + length
    if (bytes.length < end) return undefined
    this.#rest = bytes.subarray(end)
    this.bytesIn += end
    const first = bytes[0]!
    return {
      opcode: first & 0x0f,
      fin: first >= 0x80,
      rsv: (first >> 4) & 7,
      payload: Buffer.from(bytes.subarray(2 + size, end)),
    }
  }

  #take(received: Received): void {
    const { opcode, payload } = received
    if (opcode === Opcode.Ping && this.#options.pongs !== false) this.write(frame(Opcode.Pong, payload))
    if (opcode === Opcode.Close) {
      const code = payload.length < 2 ? 1005 : payload.readUInt16BE()
      this.#close = { code, reason: payload.subarray(2).toString() }
      if (this.#options.polite !== false && this.socket.writable)
        this.socket.end(frame(Opcode.Close, payload.subarray(0, 2)))
    }
    if (opcode !== Opcode.Ping && opcode !== Opcode.Pong) this.frames.push(received)
  }
}

/** Sends bytes that are hardly a request, and gives what comes back until the other end closes. */
export const exchange = (
  port: number,
  bytes: Uint8Array | string,
  patience = 20_000,
): Promise<{ readonly status: number; readonly answer: string; readonly after: number }> =>
  new Promise((resolve, reject) => {
    const start = Date.now()
    let answer = ""
    const socket = Net.connect({ port, host: "127.0.0.1" }, () => socket.write(bytes))
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the connection was not closed within ${patience} ms; answer so far: ${answer.slice(0, 100)}`))
    }, patience)
    socket.on("error", () => {})
    socket.on("data", (data) => {
      answer += data.toString("latin1")
    })
    socket.on("close", () => {
      clearTimeout(timer)
      resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0), answer, after: Date.now() - start })
    })
  })

/** What a small server does with each upgrade request. */
export type Answer = (request: string, socket: Net.Socket) => void

/** The accept key that RFC 6455 §4.2.2 wants. */
export const acceptOf = (request: string): string => {
  const key = /^Sec-WebSocket-Key: (.*)$/im.exec(request)?.[1]?.trim() ?? ""
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
}

/** A 101 that is right but for what the further lines say. */
export const switching = (request: string, ...lines: ReadonlyArray<string>): string => {
  const head = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${acceptOf(request)}`, ...lines]
  return `HTTP/1.1 101 Switching Protocols\r\n${head.join("\r\n")}\r\n\r\n`
}

export interface SmallServer {
  readonly port: number
  /** The heads of the requests that came. */
  readonly requests: ReadonlyArray<string>
  readonly close: () => void
}

/** A server that says whatever it likes. */
export const smallServer = async (answer: Answer): Promise<SmallServer> => {
  const requests: Array<string> = []
  const sockets = new Set<Net.Socket>()
  const server = Net.createServer((socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
    socket.on("error", () => {})
    let head = ""
    const onData = (data: Buffer) => {
      head += data.toString("latin1")
      if (!head.includes("\r\n\r\n")) return
      socket.off("data", onData)
      requests.push(head)
      answer(head, socket)
    }
    socket.on("data", onData)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as Net.AddressInfo).port,
    requests,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** A port where nobody listens. */
export const deadPort = async (): Promise<number> => {
  const server = await smallServer(() => {})
  server.close()
  return server.port
}

/** A WebSocket client that writes its bytes itself. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import * as Effect from "effect/Effect"

/** The opcodes of RFC 6455 §5.2. */
export const Opcode = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const

/** A short frame as a client sends it, masked with zeros. */
export const frame = (opcode: number, payload: Uint8Array | string = "", fin = true): Buffer => {
  const body = Buffer.from(payload)
  if (body.length > 125) throw new RangeError(`a short frame has at most 125 bytes; got ${body.length}`)
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode, 0x80 | body.length, 0, 0, 0, 0]), body])
}

/** The lines of an upgrade request, and the blank one behind them. */
export const upgradeRequest = (version = 13): Buffer => {
  const headers = ["Host: localhost", "Connection: Upgrade", "Upgrade: websocket", `Sec-WebSocket-Version: ${version}`]
  return Buffer.from(`GET /CP001 HTTP/1.1\r\n${headers.join("\r\n")}\r\nSec-WebSocket-Key: ${key}\r\n\r\n`)
}

const key = Buffer.alloc(16).toString("base64")

/** Sends all chunks at once, and gives everything that comes back until the other end closes. */
export const exchange = (port: number, ...chunks: ReadonlyArray<Uint8Array>): Effect.Effect<Buffer> =>
  Effect.callback((resume) => {
    const received: Array<Buffer> = []
    const socket = Net.connect({ port, host: "127.0.0.1" }, () => socket.write(Buffer.concat(chunks)))
    socket.on("error", () => {})
    socket.on("data", (chunk) => received.push(chunk))
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(received))))
    return Effect.sync(() => socket.destroy())
  })

/** The code of the close frame that follows the head of the server's HTTP answer; 1005 when it has none. */
export const closeCode = (received: Buffer): number => {
  const frames = received.subarray(received.indexOf("\r\n\r\n") + 4)
  if (frames[0] !== (0x80 | Opcode.Close)) return Number.NaN
  return frames.length < 4 ? 1005 : frames.readUInt16BE(2)
}

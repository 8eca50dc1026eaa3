/** A WebSocket client that writes its bytes itself. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import * as Effect from "effect/Effect"
import { codeOf, Opcode, readFrame } from "./frames.ts"
import { upgradeOf } from "./handshake.ts"

export { frame, Opcode } from "./frames.ts"

/** An upgrade request of a version of the protocol. */
export const upgradeRequest = (version = 13): Buffer => Buffer.from(upgradeOf("/CP001", [], { version }))

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

/** The code of the close frame that follows the head of the server's HTTP answer; `NaN` when another frame does. */
export const closeCode = (received: Buffer): number => {
  const first = readFrame(received.subarray(received.indexOf("\r\n\r\n") + 4))?.frame
  return first?.opcode === Opcode.Close ? codeOf(first) : Number.NaN
}

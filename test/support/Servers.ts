/** Servers on a free port of 127.0.0.1 that end, with all their sockets, when their Scope closes. */
import { createHash } from "node:crypto"
import * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Effect from "effect/Effect"

const listening = (server: Net.Server) => {
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
  })
  const open = Effect.callback<{ readonly port: number; readonly url: string }>((resume) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as Net.AddressInfo
      resume(Effect.succeed({ port, url: `ws://127.0.0.1:${port}/CP001` }))
    })
  })
  const close = Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    for (const socket of sockets) socket.destroy()
  })
  return Effect.acquireRelease(open, () => close)
}

/** Every TCP connection goes to `onConnection`. */
export const tcp = (onConnection: (socket: Net.Socket) => void) => listening(Net.createServer(onConnection))

/** Every upgrade request goes to `onUpgrade`. */
export const http = (onUpgrade: (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => void) =>
  listening(Http.createServer().on("upgrade", onUpgrade))

/** Every upgrade request is answered with what `answer` makes of its Sec-WebSocket-Key, a character a byte. */
export const answering = (answer: (key: string) => string) =>
  http((request, socket) => void socket.write(answer(`${request.headers["sec-websocket-key"]}`), "latin1"))

/** An answer that switches to WebSocket, with further headers, as RFC 6455 §4.2.2 wants it. */
export const switching = (key: string, ...headers: ReadonlyArray<string>) => {
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
  const lines = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`, ...headers]
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`
}

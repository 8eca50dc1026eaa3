/** Servers on a free port of 127.0.0.1 that end, with all their sockets, when their Scope closes. */
import * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Effect from "effect/Effect"

export { switching } from "./handshake.ts"

/** A server that listens. */
export interface Listening {
  readonly port: number
  /** Ends it, with all its sockets. */
  readonly close: () => Promise<void>
}

/** Lets a server listen on a free port. */
export const listen = (server: Net.Server): Promise<Listening> => {
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
  })
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      for (const socket of sockets) socket.destroy()
    })
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve({ port: (server.address() as Net.AddressInfo).port, close }))
  })
}

const scoped = (server: Net.Server) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => listen(server)),
      ({ close }) => Effect.promise(close),
    ),
    ({ port }) => ({ port, url: `ws://127.0.0.1:${port}/CP001` }),
  )

/** A server that gives every TCP connection to `onConnection`. */
export const tcp = (onConnection: (socket: Net.Socket) => void) => scoped(Net.createServer(onConnection))

/** A server that gives every upgrade request to `onUpgrade`. */
export const http = (onUpgrade: (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => void) =>
  scoped(Http.createServer().on("upgrade", onUpgrade))

/** A server that answers every upgrade request by its Sec-WebSocket-Key, a character a byte. */
export const answering = (answer: (key: string) => string) =>
  http((request, socket) => void socket.write(answer(`${request.headers["sec-websocket-key"]}`), "latin1"))

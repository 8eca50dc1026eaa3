/** A hand-written loop over `ws`: no validation, no timeouts, no limits. What a library costs is what it adds to this. */
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { command, measurement, type Peer } from "./Peer.ts"

type Waiting = Map<string, (payload: unknown) => void>

const attach = (socket: WebSocket, response: unknown): Waiting => {
  const waiting: Waiting = new Map()
  socket.on("message", (data) => {
    const [type, id, payload] = JSON.parse(String(data))
    if (type === 2) {
      socket.send(JSON.stringify([3, id, response]))
    } else {
      waiting.get(id)?.(payload)
      waiting.delete(id)
    }
  })
  return waiting
}

const call = (socket: WebSocket, waiting: Waiting, action: string, payload: unknown) =>
  new Promise((resolve) => {
    const id = randomUUID()
    waiting.set(id, resolve)
    socket.send(JSON.stringify([2, id, action, payload]))
  })

export const peer: Peer = {
  serve: async ({ protocol }) => {
    const sockets: Array<readonly [WebSocket, Waiting]> = []
    const server = createServer()
    const acceptor = new WebSocketServer({ server, perMessageDeflate: false, clientTracking: false })
    acceptor.on("connection", (socket) => sockets.push([socket, attach(socket, measurement[protocol].response)]))
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const { action, payload } = command[protocol]
    return {
      port: (server.address() as AddressInfo).port,
      callStations: async (goOn) => {
        await Promise.all(
          sockets.map(async ([socket, waiting]) => {
            while (goOn()) await call(socket, waiting, action, payload)
          }),
        )
      },
    }
  },
  connect: async (port, identity, { protocol }) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/${identity}`, [protocol], { perMessageDeflate: false })
    const waiting = attach(socket, command[protocol].response)
    await once(socket, "open")
    const { action, payload } = measurement[protocol]
    return { call: () => call(socket, waiting, action, payload), close: () => socket.terminate() }
  },
}

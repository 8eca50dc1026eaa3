/**
 * A station reduced to a socket: it writes an upgrade request and reads the answer. It costs less than any library accepts
 * a connection for, so what limits the rate is the server.
 */
import { connect, type Socket } from "node:net"

const request = (port: number, identity: string, protocol: string): string =>
  [
    `GET /${identity} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Protocol: ${protocol}`,
    "\r\n",
  ].join("\r\n")

/** Resolves when the server has accepted. */
export const dial = (port: number, identity: string, protocol: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true })
    socket.once("error", reject)
    socket.once("data", (answer) => {
      if (answer.toString("latin1").startsWith("HTTP/1.1 101")) resolve(socket)
      else reject(new Error(`not accepted: ${answer}`))
    })
    socket.write(request(port, identity, protocol))
  })

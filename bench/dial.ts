/**
 * A station reduced to a socket: it writes an upgrade request and reads the answer. That costs less than accepting a
 * connection costs any library, so the server limits the rate.
 */
import { connect, type Socket } from "node:net"
import { upgradeOf } from "../test/support/handshake.ts"

/** Resolves when the server has accepted. */
export const dial = (port: number, identity: string, protocol: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true })
    socket.once("error", reject)
    socket.once("data", (answer) => {
      if (answer.toString("latin1").startsWith("HTTP/1.1 101")) resolve(socket)
      else reject(new Error(`not accepted: ${answer}`))
    })
    socket.write(upgradeOf(`/${identity}`, [`Sec-WebSocket-Protocol: ${protocol}`]))
  })

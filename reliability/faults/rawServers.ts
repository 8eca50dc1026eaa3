/** Servers that say whatever a case wants, and exchanges of bytes with the victim's. */
import type { Buffer } from "node:buffer"
import * as Net from "node:net"
import { switching as switchingWith } from "../../test/support/handshake.ts"
import { listen } from "../../test/support/Servers.ts"

/** Answers an upgrade request. */
export type Answer = (request: string, socket: Net.Socket) => void

export interface RawServer {
  readonly port: number
  readonly endpoint: string
  /** The heads of the requests that came. */
  readonly requests: ReadonlyArray<string>
  readonly close: () => Promise<void>
}

/** Starts a server that answers each request by hand. */
export const rawServer = async (answer: Answer): Promise<RawServer> => {
  const requests: Array<string> = []
  const server = Net.createServer((socket) => {
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
  const { close, port } = await listen(server)
  return { port, endpoint: `ws://127.0.0.1:${port}`, requests, close }
}

/** A 101 to a request, with further headers. */
export const switching = (request: string, ...headers: ReadonlyArray<string>): string =>
  switchingWith(/^Sec-WebSocket-Key: (.*)$/im.exec(request)?.[1]?.trim() ?? "", ...headers)

/** A port where nobody listens. */
export const deadPort = async (): Promise<number> => {
  const { close, port } = await rawServer(() => {})
  await close()
  return port
}

export interface Exchange {
  /** The HTTP status; 0 when there was no answer. */
  readonly status: number
  readonly answer: string
  /** Milliseconds from the beginning to the end of the connection. */
  readonly after: number
}

/** Connects, writes, and waits until the other end closes. */
export const exchange = (
  port: number,
  begin: Uint8Array | string | ((socket: Net.Socket) => void),
  patience = 20_000,
): Promise<Exchange> =>
  new Promise((resolve, reject) => {
    const start = Date.now()
    let answer = ""
    const socket = Net.connect({ port, host: "127.0.0.1" }, () =>
      typeof begin === "function" ? begin(socket) : socket.write(begin),
    )
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

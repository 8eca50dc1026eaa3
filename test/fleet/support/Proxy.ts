/** A TCP proxy in front of an engine: it carries, refuses, or stands still without anybody being told. */
import * as Net from "node:net"

export interface EngineProxy {
  readonly port: number
  /** Drops every connection, and refuses new ones. */
  readonly cut: () => void
  /** Nothing gets through any more; what comes waits. */
  readonly stall: () => void
  /** Carries again, what has waited first. */
  readonly heal: () => void
  readonly close: () => Promise<void>
}

/** A proxy on a free port of this machine, in front of another port of it. */
export const makeProxy = async (target: number): Promise<EngineProxy> => {
  let mode: "carry" | "cut" | "stall" = "carry"
  const sockets = new Set<Net.Socket>()
  const server = Net.createServer((client) => {
    if (mode === "cut") {
      client.resetAndDestroy()
      return
    }
    const upstream = Net.connect({ port: target, host: "127.0.0.1", noDelay: true })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on("data", (data) => to.write(data))
      from.on("error", () => {})
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
      if (mode === "stall") from.pause()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const drop = () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    port: (server.address() as Net.AddressInfo).port,
    cut: () => {
      mode = "cut"
      drop()
    },
    stall: () => {
      mode = "stall"
      for (const socket of sockets) socket.pause()
    },
    heal: () => {
      mode = "carry"
      for (const socket of sockets) socket.resume()
    },
    close: () => {
      drop()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

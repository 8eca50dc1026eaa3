/**
 * A TCP proxy that treats its connections badly: late, cut, sliced, swallowed, slow. It knows nothing of what it carries.
 */
import type { Buffer } from "node:buffer"
import * as Net from "node:net"

/** The treatment of bytes; all of it may be changed while they flow. */
export interface Weather {
  /** Milliseconds by which every segment is late, in either direction. Default 0. */
  latency: number
  /** The most bytes of a segment; longer ones are cut. Default `Infinity`. */
  slice: number
  /** Bytes per second, in either direction. Default `Infinity`. */
  bandwidth: number
  /** Whether bytes get lost unnoticed: a half-open connection. Default `false`. */
  swallow: boolean
}

export interface ChaosProxy {
  readonly port: number
  readonly weather: Weather
  /** The number of connections that it carries now. */
  readonly connections: number
  /** Cuts every connection, with a reset or politely. */
  readonly cut: (how?: "reset" | "end") => void
  readonly close: () => Promise<void>
}

/** One direction of a connection. */
class Pipe {
  readonly #to: Net.Socket
  readonly #from: Net.Socket
  readonly #weather: Weather
  #last: Promise<void> = Promise.resolve()

  constructor(from: Net.Socket, to: Net.Socket, weather: Weather) {
    this.#from = from
    this.#to = to
    this.#weather = weather
    from.on("data", (data) => this.#carry(data))
    from.on("end", () => {
      void this.#last.then(() => {
        if (!weather.swallow) to.end()
      })
    })
    from.on("close", (hadError) => {
      if (hadError && !weather.swallow) to.destroy()
    })
  }

  #carry(data: Buffer): void {
    if (this.#weather.swallow) return
    const due = Date.now() + this.#weather.latency
    this.#last = this.#last.then(() => this.#deliver(data, due))
  }

  async #deliver(data: Buffer, due: number): Promise<void> {
    await pause(due - Date.now())
    const { bandwidth, slice } = this.#weather
    const isLimited = bandwidth < Number.POSITIVE_INFINITY
    const size = Math.max(1, Math.min(slice, isLimited ? bandwidth / 20 : slice))
    for (let at = 0; at < data.length; at += size) {
      if (this.#weather.swallow || this.#to.destroyed) return
      const part = data.subarray(at, at + size)
      await this.#write(part)
      if (isLimited) await pause((1000 * part.length) / bandwidth)
    }
  }

  /** Sends a slice by itself, and only when the other end takes it, so that a fast sender feels a slow receiver. */
  async #write(part: Buffer): Promise<void> {
    const isSliced = this.#weather.slice < Number.POSITIVE_INFINITY
    if (this.#to.write(part) && !isSliced) return
    this.#from.pause()
    await (this.#to.writableNeedDrain
      ? new Promise<void>((resolve) => this.#to.once("drain", resolve).once("close", resolve))
      : new Promise<void>((resolve) => setImmediate(resolve)))
    this.#from.resume()
  }
}

const pause = (millis: number): Promise<void> =>
  millis > 0 ? new Promise((resolve) => setTimeout(resolve, millis)) : Promise.resolve()

/** A proxy on a free port of 127.0.0.1 in front of another port there. */
export const makeChaosProxy = async (target: number, weather: Partial<Weather> = {}): Promise<ChaosProxy> => {
  const current: Weather = {
    latency: 0,
    slice: Number.POSITIVE_INFINITY,
    bandwidth: Number.POSITIVE_INFINITY,
    swallow: false,
    ...weather,
  }
  const pairs = new Set<readonly [Net.Socket, Net.Socket]>()
  const server = Net.createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const upstream = Net.connect({ port: target, host: "127.0.0.1", noDelay: true, allowHalfOpen: true })
    const pair = [client, upstream] as const
    pairs.add(pair)
    for (const socket of pair) {
      socket.on("error", () => {})
      socket.on("close", () => {
        if (pair.every(({ destroyed }) => destroyed)) pairs.delete(pair)
      })
    }
    new Pipe(client, upstream, current)
    new Pipe(upstream, client, current)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const cut = (how: "reset" | "end" = "reset") => {
    for (const socket of [...pairs].flat()) {
      if (how === "reset") socket.resetAndDestroy()
      else socket.end()
    }
  }
  return {
    port: (server.address() as Net.AddressInfo).port,
    weather: current,
    get connections() {
      return pairs.size
    },
    cut,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of [...pairs].flat()) socket.destroy()
      return closed
    },
  }
}

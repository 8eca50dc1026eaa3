/**
 * One process of a benchmark: `csms` or `stations`, made with one library. It is told what to do by messages, one at a
 * time, and answers each with what it measured.
 */
import { createRequire } from "node:module"
import type * as Library from "../src/index.ts"
import type { Csms, Peer, Setup, Station } from "./peers/Peer.ts"

export type LibraryName = "raw" | "ocpp-rpc" | "promise" | "effect"

/** What a process can be told. */
export type Task =
  | { readonly do: "serve"; readonly setup: Setup }
  | {
      readonly do: "connect"
      readonly port: number
      readonly setup: Setup
      readonly count: number
      readonly from?: number
    }
  /** Every station calls, `inFlight` at a time, until together they have called `calls` times. */
  | { readonly do: "call"; readonly calls: number; readonly inFlight: number }
  | { readonly do: "callStations"; readonly times: number }
  | { readonly do: "memory" }
  | { readonly do: "disconnect" }

const peerOf = async (library: LibraryName): Promise<Peer> => {
  if (library === "raw") return (await import("./peers/raw.ts")).peer
  if (library === "ocpp-rpc") {
    const original = createRequire(import.meta.url)("ocpp-rpc")
    return (await import("./peers/promise.ts")).peerOf(original)
  }
  const ours: typeof Library = await import(new URL("../dist/index.js", import.meta.url).href)
  return library === "effect"
    ? (await import("./peers/effect.ts")).peerOf(ours)
    : (await import("./peers/promise.ts")).peerOf(ours as never)
}

const peer = await peerOf(process.argv[2] as LibraryName)
let csms: Csms | undefined
let stations: Array<Station> = []

const perSecond = async (count: number, work: () => Promise<unknown>): Promise<number> => {
  const start = process.hrtime.bigint()
  await work()
  return count / (Number(process.hrtime.bigint() - start) / 1e9)
}

const perform = async (task: Task): Promise<number> => {
  switch (task.do) {
    case "serve":
      csms = await peer.serve(task.setup)
      return csms.port
    case "connect": {
      const { count, from = 0, port, setup } = task
      const made: Array<Station> = []
      // So many handshakes at a time as a server's backlog takes without loss.
      const rate = await perSecond(count, async () => {
        let next = 0
        const worker = async () => {
          while (next < count) made.push(await peer.connect(port, `CP${from + next++}`, setup))
        }
        await Promise.all(Array.from({ length: Math.min(count, 64) }, worker))
      })
      stations = [...stations, ...made]
      return rate
    }
    case "call": {
      const { calls, inFlight } = task
      const each = Math.ceil(calls / stations.length / inFlight)
      return perSecond(each * stations.length * inFlight, () =>
        Promise.all(
          stations.flatMap((station) =>
            Array.from({ length: inFlight }, async () => {
              for (let i = 0; i < each; i++) await station.call()
            }),
          ),
        ),
      )
    }
    case "callStations": {
      const { times } = task
      return perSecond(times, () => csms?.callStations(times) ?? Promise.resolve())
    }
    case "memory": {
      for (let i = 0; i < 4; i++) globalThis.gc?.()
      return process.memoryUsage().heapUsed
    }
    case "disconnect":
      for (const station of stations) station.close()
      stations = []
      return 0
  }
}

process.on("message", (task: Task) => {
  perform(task).then(
    (value) => process.send?.({ value }),
    (error) => process.send?.({ error: String(error) }),
  )
})
process.send?.({ value: 0 })

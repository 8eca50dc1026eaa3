/** One process of a benchmark, CSMS or stations, made with one library. It performs commands and measures them. */
import { createRequire } from "node:module"
import type { Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { memory, perform } from "../reliability/processes/parent.ts"
import { inParallel } from "../reliability/support/inParallel.ts"
import { dial } from "./dial.ts"
import type { Csms, LibraryName, Peer, Setup, Station } from "./peers/Peer.ts"

/** A number of calls or connections, and the seconds that they took. */
export interface Work {
  readonly count: number
  readonly seconds: number
}

export interface Paced extends Work {
  /** The 50th, 95th and 99th percentile, in µs. */
  readonly latency: readonly [p50: number, p95: number, p99: number]
}

const peers: Readonly<Record<LibraryName, () => Promise<Peer>>> = {
  raw: async () => (await import("./peers/raw.ts")).peer,
  "ocpp-rpc": async () => (await import("./peers/promise.ts")).peerOf(createRequire(import.meta.url)("ocpp-rpc")),
  promise: async () => (await import("./peers/promise.ts")).peerOf(await import("effect-ocpp/promise")),
  effect: async () => (await import("./peers/effect.ts")).peerOf(await import("effect-ocpp")),
}

const peer = await peers[process.argv[2] as LibraryName]()
let csms: Csms | undefined
let stations: ReadonlyArray<Station> = []
let sockets: ReadonlyArray<Socket> = []

const secondsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/** As many handshakes at a time as a server's backlog takes without loss. */
const handshakes = 64

/** Connects so many times, a limited number at a time. */
const connectAll = async <A>(count: number, connect: (index: number) => Promise<A>) => {
  const start = performance.now()
  const done = await inParallel(count, handshakes, connect)
  const work: Work = { count, seconds: (performance.now() - start) / 1000 }
  return { done, work }
}

/** Counts calls until their time has passed. */
const forSo = (milliseconds: number) => {
  const end = performance.now() + milliseconds
  const calls = { count: 0, goOn: () => performance.now() < end && ++calls.count > 0 }
  return calls
}

const percentiles = (latencies: ReadonlyArray<number>): Paced["latency"] => {
  const sorted = Float64Array.from(latencies).sort()
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]! * 1000
  return [at(0.5), at(0.95), at(0.99)]
}

const commands = {
  serve: async (setup: Setup) => {
    csms = await peer.serve(setup)
    return csms.port
  },

  connect: async ({ count, from = 0, port, setup }: { port: number; setup: Setup; count: number; from?: number }) => {
    const connect = (index: number) => peer.connect(port, `CP${from + index}`, setup)
    const { done, work } = await connectAll(count, connect)
    stations = [...stations, ...done]
    return work
  },

  dial: async ({ count, from = 0, port, setup }: { port: number; setup: Setup; count: number; from?: number }) => {
    const connect = (index: number) => dial(port, `CP${from + index}`, setup.protocol)
    const { done, work } = await connectAll(count, connect)
    sockets = [...sockets, ...done]
    return work
  },

  /** Every station calls, with `inFlight` calls at a time. */
  call: async ({ inFlight, milliseconds }: { inFlight: number; milliseconds: number }): Promise<Work> => {
    const calls = forSo(milliseconds)
    const worker = async (station: Station) => {
      while (calls.goOn()) await station.call()
    }
    const workers = () => stations.flatMap((station) => Array.from({ length: inFlight }, () => worker(station)))
    const seconds = await secondsOf(() => Promise.all(workers()))
    return { count: calls.count, seconds }
  },

  /** Calls `count` times, from `workers` callers at a time, with every station in turn. */
  callInTurn: async ({ count, workers }: { count: number; workers: number }): Promise<Work> => {
    let left = count
    const worker = async (first: number) => {
      for (let index = first; left-- > 0; index = index + workers < stations.length ? index + workers : first) {
        await stations[index]!.call()
      }
    }
    const seconds = await secondsOf(() => Promise.all(Array.from({ length: workers }, (_, index) => worker(index))))
    return { count, seconds }
  },

  /** Every station calls once a second, spread evenly over it, whether or not its last call has been answered. */
  callPaced: async ({ milliseconds }: { milliseconds: number }): Promise<Paced> => {
    const latencies: Array<number> = []
    const call = async (station: Station) => {
      const start = performance.now()
      await station.call()
      latencies.push(performance.now() - start)
    }
    const answers: Array<Promise<void>> = []
    const seconds = await secondsOf(async () => {
      const start = performance.now()
      for (let now = 0; now < milliseconds; now = performance.now() - start) {
        while (answers.length <= (now * stations.length) / 1000) {
          answers.push(call(stations[answers.length % stations.length]!))
        }
        await sleep(1)
      }
      await Promise.all(answers)
    })
    return { count: answers.length, seconds, latency: percentiles(latencies) }
  },

  callStations: async ({ milliseconds }: { milliseconds: number }): Promise<Work> => {
    const calls = forSo(milliseconds)
    const seconds = await secondsOf(async () => csms?.callStations(calls.goOn))
    return { count: calls.count, seconds }
  },

  /** The CPU time of this process so far, in µs. */
  cpu: () => {
    const { system, user } = process.cpuUsage()
    return user + system
  },

  memory,

  disconnect: () => {
    for (const station of stations) station.close()
    for (const socket of sockets) socket.destroy()
    stations = []
    sockets = []
  },
}

export type ProcessCommands = typeof commands

perform(commands)

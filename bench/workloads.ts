/** How each figure is measured, with one library at a time. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Figure, Measurement, Measurements } from "./figures.ts"
import { Pair } from "./Pair.ts"
import type { LibraryName, Setup } from "./peers/Peer.ts"

export interface Workload {
  readonly figures: ReadonlyArray<Figure>
  /** How often a round measures it, where once says little. Default 1. */
  readonly timesARound?: number
  readonly measure: (bench: Bench, library: LibraryName) => Promise<Measurements>
}

const strict: Setup = { protocol: "ocpp1.6", strict: true, concurrency: 1 }

/** How much is done. A quick run does a little of everything, with the same two processes for each library. */
export class Bench {
  readonly #quick: boolean
  readonly #kept = new Map<LibraryName, Pair>()

  constructor(quick: boolean) {
    this.#quick = quick
  }

  /** So many stations, calls or connections. */
  count(full: number): number {
    return this.#quick ? Math.ceil(full / 20) : full
  }

  milliseconds(full: number): number {
    return this.#quick ? full / 50 : full
  }

  async between<A>(library: LibraryName, work: (pair: Pair) => Promise<A>): Promise<A> {
    const pair = this.#kept.get(library) ?? new Pair(library)
    if (this.#quick) this.#kept.set(library, pair)
    try {
      return await work(pair)
    } finally {
      await (this.#quick ? pair.stations.do("disconnect", undefined) : pair.end())
    }
  }

  async end(): Promise<void> {
    await Promise.all([...this.#kept.values()].map((pair) => pair.end()))
  }
}

/** A CSMS and so many stations that are connected to it. */
const connected = async ({ csms, stations }: Pair, setup: Setup, count: number): Promise<number> => {
  const port = await csms.do("serve", setup)
  await stations.do("connect", { port, setup, count })
  return port
}

/** Calls of so many stations, for a while, after a shorter while of warming up. */
const calls = (figure: Figure, setup: Setup, stations: number): Workload => ({
  figures: [figure],
  measure: (bench, library) =>
    bench.between(library, async (pair) => {
      await connected(pair, setup, stations === 1 ? 1 : bench.count(stations))
      const callFor = (milliseconds: number) => () =>
        pair.stations.do("call", { inFlight: setup.concurrency, milliseconds: bench.milliseconds(milliseconds) })
      await callFor(1_000)()
      return { [figure]: await pair.measure(callFor(2_000)) }
    }),
})

const fromCsms: Workload = {
  figures: ["fromCsms"],
  measure: (bench, library) =>
    bench.between(library, async (pair) => {
      await connected(pair, strict, bench.count(100))
      const callFor = (milliseconds: number) => () =>
        pair.csms.do("callStations", { milliseconds: bench.milliseconds(milliseconds) })
      await callFor(1_000)()
      return { fromCsms: await pair.measure(callFor(2_000)) }
    }),
}

const handshakes = (figure: Figure, how: "dial" | "connect"): Workload => ({
  figures: [figure],
  measure: (bench, library) =>
    bench.between(library, async (pair) => {
      const port = await pair.csms.do("serve", strict)
      const warmUp = bench.count(1_000)
      await pair.stations.do(how, { port, setup: strict, count: warmUp })
      const work = { port, setup: strict, count: bench.count(3_000), from: warmUp }
      return { [figure]: await pair.measure(() => pair.stations.do(how, work)) }
    }),
})

const idleConnections: Workload = {
  figures: ["heap", "rss"],
  measure: (bench, library) =>
    bench.between(library, async (pair) => {
      const some = bench.count(200)
      const port = await connected(pair, strict, some)
      const before = await pair.csms.do("memory", undefined)
      const count = bench.count(10_000)
      await pair.stations.do("dial", { port, setup: strict, count, from: some })
      const after = await pair.csms.do("memory", undefined)
      return {
        heap: { value: (after.heap - before.heap) / count },
        rss: { value: (after.rss - before.rss) / count },
      }
    }),
}

const coldStarts: { readonly [L in LibraryName]?: string } = {
  "ocpp-rpc": "ocpp-rpc",
  promise: "promise",
  effect: "effect",
}

const coldStart: Workload = {
  figures: ["coldStart", "coldStartCpu"],
  timesARound: 4,
  measure: async (_, library) => {
    const file = coldStarts[library]
    if (file === undefined) return {}
    const script = fileURLToPath(new URL(`./cold/${file}.mjs`, import.meta.url))
    const start = performance.now()
    const { status, stderr, stdout } = spawnSync(process.execPath, [script], { encoding: "utf8" })
    if (status !== 0) throw new Error(stderr)
    return { coldStart: { value: performance.now() - start }, coldStartCpu: { value: Number(stdout) } }
  },
}

/** One CSMS whose fleet grows; the same number of calls at each size, a hundred at a time, with every station in turn. */
const fleet: Workload = {
  figures: ["fleet100", "fleet1000", "fleet10000", "growth", "growthCpu", "paced", "p50", "p95", "p99"],
  measure: (bench, library) =>
    bench.between(library, async (pair) => {
      const workers = bench.count(100)
      const callInTurn = (count: number) => () => pair.stations.do("callInTurn", { count: bench.count(count), workers })
      const port = await connected(pair, strict, workers)
      const growTo = async (size: number, from: number): Promise<Measurement> => {
        const count = bench.count(size) - bench.count(from)
        await pair.stations.do("connect", { port, setup: strict, count, from: bench.count(from) })
        return pair.measure(callInTurn(30_000))
      }
      await callInTurn(20_000)()
      const fleet100 = await pair.measure(callInTurn(30_000))
      const fleet1000 = await growTo(1_000, 100)
      const paced = await latencies(pair, bench.milliseconds(6_000))
      const fleet10000 = await growTo(10_000, 1_000)
      return { fleet100, fleet1000, fleet10000, ...paced }
    }),
}

const latencies = async (pair: Pair, milliseconds: number): Promise<Measurements> => {
  const { done, measured } = await pair.during(() => pair.stations.do("callPaced", { milliseconds }))
  const [p50, p95, p99] = done.latency
  return { paced: measured, p50: { value: p50 }, p95: { value: p95 }, p99: { value: p99 } }
}

export const workloads: ReadonlyArray<Workload> = [
  calls("oneStation", strict, 1),
  calls("inFlight", { ...strict, concurrency: 32 }, 1),
  calls("strict", strict, 100),
  calls("relaxed", { ...strict, strict: false }, 100),
  calls("transactionEvent", { ...strict, protocol: "ocpp2.0.1" }, 100),
  fromCsms,
  handshakes("accepted", "dial"),
  handshakes("connected", "connect"),
  idleConnections,
  coldStart,
  fleet,
]

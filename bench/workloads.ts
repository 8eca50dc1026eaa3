/** The measurement of each figure, with one library at a time. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Figure, Measurement, Measurements } from "./figures.ts"
import { Pair } from "./Pair.ts"
import type { LibraryName, Setup } from "./peers/Peer.ts"

/** One library, ready to be measured. */
export interface Session {
  readonly measure: () => Promise<Measurements>
  readonly end: () => Promise<void>
}

export interface Workload {
  readonly figures: ReadonlyArray<Figure>
  /**
   * The number of turns that each library takes in a round, while the others wait: so a busy machine disturbs all of them.
   * Without it, one library is done before the next is made ready.
   */
  readonly turns?: number
  readonly open: (bench: Bench, library: LibraryName) => Promise<Session>
}

const strict: Setup = { protocol: "ocpp1.6", strict: true, concurrency: 1 }

/** The amount of work. A quick run does a little of everything, with the same two processes for each library. */
export class Bench {
  readonly #quick: boolean
  readonly #kept = new Map<LibraryName, Pair>()

  constructor(quick: boolean) {
    this.#quick = quick
  }

  /** Scales a number of stations, calls or connections. */
  count(full: number): number {
    return this.#quick ? Math.ceil(full / 20) : full
  }

  milliseconds(full: number): number {
    return this.#quick ? full / 50 : full
  }

  /** Two processes of a library, fresh but in a quick run. */
  async session(library: LibraryName, open: (pair: Pair) => Promise<Session["measure"]>): Promise<Session> {
    const pair = this.#kept.get(library) ?? new Pair(library)
    if (this.#quick) this.#kept.set(library, pair)
    const end = () => (this.#quick ? pair.stations.do("disconnect", undefined) : pair.end())
    try {
      return { measure: await open(pair), end }
    } catch (error) {
      await end()
      throw error
    }
  }

  async end(): Promise<void> {
    await Promise.all([...this.#kept.values()].map((pair) => pair.end()))
  }
}

/** Connects stations to a CSMS. Gives its port. */
const connected = async ({ csms, stations }: Pair, setup: Setup, count: number): Promise<number> => {
  const port = await csms.do("serve", setup)
  await stations.do("connect", { port, setup, count })
  return port
}

/** Calls for a while, turn by turn, after a longer while of warming up. */
const calls = (figure: Figure, setup: Setup, stations: number, from: "stations" | "csms" = "stations"): Workload => ({
  figures: [figure],
  turns: 8,
  open: (bench, library) =>
    bench.session(library, async (pair) => {
      await connected(pair, setup, stations === 1 ? 1 : bench.count(stations))
      const callFor = (milliseconds: number) => {
        const limited = { milliseconds: bench.milliseconds(milliseconds) }
        return from === "csms"
          ? pair.csms.do("callStations", limited)
          : pair.stations.do("call", { inFlight: setup.concurrency, ...limited })
      }
      await callFor(1_500)
      return async () => ({ [figure]: await pair.measure(() => callFor(300)) })
    }),
})

/** Handshakes: the first that a process ever makes, and those that it makes when it has made thousands. */
const handshakes = (figure: Figure, how: "dial" | "connect", first: Figure): Workload => ({
  figures: [figure, first],
  open: (bench, library) =>
    bench.session(library, async (pair) => {
      const port = await pair.csms.do("serve", strict)
      let from = 0
      const make = async (some: number) => {
        const count = bench.count(some)
        const work = { port, setup: strict, count, from }
        from += count
        return pair.measure(() => pair.stations.do(how, work))
      }
      return async () => {
        const atFirst = await make(1_000)
        await make(3_000)
        return { [first]: atFirst, [figure]: await make(5_000) }
      }
    }),
})

const idleConnections: Workload = {
  figures: ["heap", "rss"],
  open: (bench, library) =>
    bench.session(library, async (pair) => {
      const some = bench.count(200)
      const port = await connected(pair, strict, some)
      return async () => {
        const before = await pair.csms.do("memory", undefined)
        const count = bench.count(10_000)
        await pair.stations.do("dial", { port, setup: strict, count, from: some })
        const after = await pair.csms.do("memory", undefined)
        return {
          heap: { value: (after.heap - before.heap) / count },
          rss: { value: (after.rss - before.rss) / count },
        }
      }
    }),
}

const coldStarts: { readonly [L in LibraryName]?: string } = {
  "ocpp-rpc": "ocpp-rpc",
  promise: "promise",
  effect: "effect",
}

const startCold = (file: string): Measurements => {
  const script = fileURLToPath(new URL(`./cold/${file}.mjs`, import.meta.url))
  const start = performance.now()
  const { status, stderr, stdout } = spawnSync(process.execPath, [script], { encoding: "utf8" })
  if (status !== 0) throw new Error(stderr)
  return { coldStart: { value: performance.now() - start }, coldStartCpu: { value: Number(stdout) } }
}

const coldStart: Workload = {
  figures: ["coldStart", "coldStartCpu"],
  turns: 4,
  open: async (_, library) => {
    const file = coldStarts[library]
    return { measure: async () => (file === undefined ? {} : startCold(file)), end: async () => {} }
  },
}

/** One CSMS whose fleet grows; the same number of calls at each size, a hundred at a time, with every station in turn. */
const fleet: Workload = {
  figures: ["fleet100", "fleet1000", "fleet10000", "growth", "growthCpu", "paced", "p50", "p95", "p99"],
  open: (bench, library) =>
    bench.session(library, async (pair) => {
      const workers = bench.count(100)
      const port = await connected(pair, strict, workers)
      const callInTurn = (count: number) => pair.stations.do("callInTurn", { count: bench.count(count), workers })
      const measured = async (): Promise<Measurement> => {
        await callInTurn(30_000)
        return pair.measure(() => callInTurn(40_000))
      }
      const growTo = async (size: number, from: number): Promise<Measurement> => {
        const count = bench.count(size) - bench.count(from)
        await pair.stations.do("connect", { port, setup: strict, count, from: bench.count(from) })
        return measured()
      }
      return async () => {
        const fleet100 = await measured()
        const fleet1000 = await growTo(1_000, 100)
        const paced = await latencies(pair, bench.milliseconds(6_000))
        const fleet10000 = await growTo(10_000, 1_000)
        return { fleet100, fleet1000, fleet10000, ...paced }
      }
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
  calls("fromCsms", strict, 100, "csms"),
  handshakes("accepted", "dial", "acceptedFirst"),
  handshakes("connected", "connect", "connectedFirst"),
  idleConnections,
  coldStart,
  fleet,
]

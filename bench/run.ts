/**
 * Every figure that the README quotes, in one run: this library's two faces, `ocpp-rpc` and a hand-written loop over `ws`
 * take turns, round by round, with server and stations in processes of their own. Medians, and ratios of medians.
 *
 *     npm run bench               the whole run; writes bench/results.json
 *     npm run bench -- --quick    shows that it runs; the figures mean nothing
 */
import { type ChildProcess, fork, spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import type { Setup } from "./peers/Peer.ts"
import type { LibraryName, Task } from "./process.ts"

const { values } = parseArgs({ options: { quick: { type: "boolean", default: false }, only: { type: "string" } } })
const quick = values.quick

const libraries: ReadonlyArray<LibraryName> = ["raw", "ocpp-rpc", "promise", "effect"]

class Process {
  readonly #child: ChildProcess
  readonly #ready: Promise<number>

  constructor(library: LibraryName) {
    const execArgv = ["--import", "tsx", "--expose-gc", "--no-warnings"]
    this.#child = fork(new URL("./process.ts", import.meta.url), [library], { execArgv })
    this.#ready = this.#answer()
  }

  #answer(): Promise<number> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error("a process of the benchmark has ended"))
      this.#child.once("exit", onExit)
      this.#child.once("message", (answer: { readonly value: number; readonly error?: string }) => {
        this.#child.off("exit", onExit)
        if (answer.error === undefined) resolve(answer.value)
        else reject(new Error(answer.error))
      })
    })
  }

  async perform(task: Task): Promise<number> {
    await this.#ready
    const answer = this.#answer()
    this.#child.send(task)
    return answer
  }

  kill(): void {
    this.#child.removeAllListeners()
    this.#child.kill("SIGKILL")
  }
}

/** Runs with a CSMS and stations of one library, and ends both. */
const between = async (library: LibraryName, work: (csms: Process, stations: Process) => Promise<number>) => {
  const [csms, stations] = [new Process(library), new Process(library)]
  try {
    return await work(csms, stations)
  } finally {
    csms.kill()
    stations.kill()
  }
}

interface Workload {
  readonly name: string
  /** `"more"` calls per second are better, `"less"` memory or time is. */
  readonly better: "more" | "less"
  readonly unit: string
  readonly measure: (library: LibraryName) => Promise<number>
}

/** Calls per second of so many stations, measured after a warm-up of half as many calls. */
const calls = (name: string, setup: Setup, stations: number, calls: number): Workload => ({
  name,
  better: "more",
  unit: "calls/s",
  measure: (library) =>
    between(library, async (csms, clients) => {
      const port = await csms.perform({ do: "serve", setup })
      await clients.perform({ do: "connect", port, setup, count: stations })
      const task = { do: "call", inFlight: setup.concurrency } as const
      await clients.perform({ ...task, calls: quick ? 10 : calls / 2 })
      return clients.perform({ ...task, calls: quick ? 20 : calls })
    }),
})

const strict: Setup = { protocol: "ocpp1.6", strict: true, concurrency: 1 }
const coldStarts: Readonly<Record<LibraryName, string | undefined>> = {
  raw: undefined,
  "ocpp-rpc": "ocpp-rpc",
  promise: "promise",
  effect: "effect",
}

const workloads: ReadonlyArray<Workload> = [
  calls("1 station, sequential, strict", strict, 1, 20_000),
  calls("1 station, 32 in flight, strict", { ...strict, concurrency: 32 }, 1, 60_000),
  calls("100 stations, sequential, strict", strict, 100, 60_000),
  calls("100 stations, sequential, relaxed", { ...strict, strict: false }, 100, 60_000),
  calls("100 stations, 2.0.1 TransactionEvent, strict", { ...strict, protocol: "ocpp2.0.1" }, 100, 60_000),
  {
    name: "CSMS calls 100 stations, strict",
    better: "more",
    unit: "calls/s",
    measure: (library) =>
      between(library, async (csms, clients) => {
        const port = await csms.perform({ do: "serve", setup: strict })
        await clients.perform({ do: "connect", port, setup: strict, count: 100 })
        await csms.perform({ do: "callStations", times: quick ? 1 : 300 })
        return 100 * (await csms.perform({ do: "callStations", times: quick ? 1 : 600 }))
      }),
  },
  {
    name: "connections accepted",
    better: "more",
    unit: "per second",
    measure: (library) =>
      between(library, async (csms, clients) => {
        const port = await csms.perform({ do: "serve", setup: strict })
        await clients.perform({ do: "connect", port, setup: strict, count: quick ? 10 : 1_000 })
        return clients.perform({ do: "connect", port, setup: strict, count: quick ? 10 : 2_000, from: 1_000 })
      }),
  },
  {
    name: "heap per idle connection",
    better: "less",
    unit: "bytes",
    measure: (library) =>
      between(library, async (csms, clients) => {
        const count = quick ? 100 : 10_000
        const port = await csms.perform({ do: "serve", setup: strict })
        await clients.perform({ do: "connect", port, setup: strict, count: 200 })
        const before = await csms.perform({ do: "memory" })
        await clients.perform({ do: "connect", port, setup: strict, count, from: 200 })
        return ((await csms.perform({ do: "memory" })) - before) / count
      }),
  },
  {
    name: "cold start to the first strict answer",
    better: "less",
    unit: "ms",
    measure: async (library) => {
      const file = coldStarts[library]
      if (file === undefined) return Number.NaN
      const start = process.hrtime.bigint()
      const { status, stderr } = spawnSync(process.execPath, [new URL(`./cold/${file}.mjs`, import.meta.url).pathname])
      if (status !== 0) throw new Error(String(stderr))
      return Number(process.hrtime.bigint() - start) / 1e6
    },
  },
]

const median = (numbers: ReadonlyArray<number>): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const versionOf = (name: string) => createRequire(import.meta.url)(`${name}/package.json`).version as string

const rounds = quick ? 1 : 5
const results: Array<{ name: string; unit: string; better: string; medians: Record<string, number> }> = []
for (const workload of workloads) {
  if (values.only !== undefined && !workload.name.includes(values.only)) continue
  const measured = new Map(libraries.map((library) => [library, [] as Array<number>]))
  for (let round = 0; round < rounds; round++) {
    for (const library of libraries) measured.get(library)!.push(await workload.measure(library))
  }
  const medians = Object.fromEntries([...measured].map(([library, numbers]) => [library, median(numbers)]))
  results.push({ name: workload.name, unit: workload.unit, better: workload.better, medians })
  const ratio = (library: LibraryName, to: LibraryName) => {
    const value = medians[library]! / medians[to]!
    return Number.isNaN(value) ? "–" : value.toFixed(2)
  }
  const row = libraries.map((library) => {
    const value = medians[library]!
    return `${library} ${Number.isNaN(value) ? "–" : Math.round(value).toLocaleString("en")}`
  })
  console.log(`${workload.name} (${workload.unit}): ${row.join(", ")}`)
  for (const face of ["promise", "effect"] as const) {
    console.log(`    ${face.padEnd(7)} ÷ ocpp-rpc ${ratio(face, "ocpp-rpc")}, ÷ raw ${ratio(face, "raw")}`)
  }
}

const machine = {
  node: process.version,
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  effect: versionOf("effect"),
  ws: versionOf("ws"),
  "ocpp-rpc": versionOf("ocpp-rpc"),
  rounds,
}
console.log(JSON.stringify(machine))
if (!quick && values.only === undefined) {
  writeFileSync(new URL("./results.json", import.meta.url), `${JSON.stringify({ machine, results }, null, 2)}\n`)
}

/**
 * Every figure that the README quotes, in one run: this library's two faces, `ocpp-rpc` and a hand-written loop over `ws`
 * take turns, round by round, with server and stations in processes of their own. Medians, and ratios of medians.
 */
import { writeFileSync } from "node:fs"
import { commandLine, positive } from "../reliability/support/commandLine.ts"
import { compile } from "./compile.ts"
import { figures, type Measurements } from "./figures.ts"
import { type LibraryName, libraries } from "./peers/Peer.ts"
import { publish } from "./publish.ts"
import { header, line, rows, setting } from "./report.ts"
import { circumstances, type Result, resultsOf } from "./results.ts"
import { Bench, type Session, type Workload, workloads } from "./workloads.ts"

const values = commandLine(
  `
npm run bench                          the whole run; writes bench/results.json
npm run bench -- --publish             and makes the README's tables and docs/bench.svg of it
npm run bench -- --only "32 in"        the figures that are called so
npm run bench -- --rounds 1            sooner, and less certain
npm run bench -- --quick               shows that it runs; the figures mean nothing, and go to build/bench/results.json`,
  {
    quick: { type: "boolean", default: false },
    publish: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
  },
)
const { only, quick } = values
if (values.publish && (quick || only !== "")) throw new Error("only a whole run can be published")

const rounds = quick ? 1 : positive("rounds", values.rounds)
const bench = new Bench(quick)

/** The same list, begun at another place from turn to turn. */
const rotated = <A>(all: ReadonlyArray<A>, turn: number): ReadonlyArray<A> => {
  const first = turn % all.length
  return [...all.slice(first), ...all.slice(0, first)]
}

const measure = async ({ figures, open, turns }: Workload): Promise<ReadonlyArray<Result>> => {
  const measured = new Map(libraries.map((library) => [library, [] as Measurements[]]))
  const measureTogether = async (together: ReadonlyArray<LibraryName>, turns: number) => {
    const sessions: Array<readonly [LibraryName, Session]> = []
    try {
      for (const library of together) sessions.push([library, await open(bench, library)])
      for (let turn = 0; turn < turns; turn++) {
        for (const [library, session] of rotated(sessions, turn)) measured.get(library)!.push(await session.measure())
      }
    } finally {
      for (const [, session] of sessions) await session.end()
    }
  }
  for (let round = 0; round < rounds; round++) {
    const order = rotated(libraries, round)
    if (turns !== undefined) await measureTogether(order, quick ? 1 : turns)
    else for (const library of order) await measureTogether([library], 1)
  }
  return resultsOf(figures, measured)
}

const isWanted = (workload: Workload): boolean =>
  workload.figures.some((figure) => figures[figure].name.toLowerCase().includes(only.toLowerCase()))

await compile(new URL("./process.ts", import.meta.url))
const run = circumstances(quick, rounds)
const results: Array<Result> = []
console.log(setting(run))
console.log(line(header))
try {
  for (const workload of workloads.filter(isWanted)) {
    const found = await measure(workload)
    results.push(...found)
    for (const cells of found.flatMap(rows)) console.log(line(cells))
  }
} finally {
  await bench.end()
}
const file = new URL(quick ? "../build/bench/results.json" : "./results.json", import.meta.url)
if (only === "") writeFileSync(file, `${JSON.stringify({ ...run, results }, null, 2)}\n`)
if (values.publish) publish({ ...run, results })

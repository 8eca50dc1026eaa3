/** Faults and abuse, each against a real server or client in a process of its own. */
import { writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { commandLine, positive } from "../support/commandLine.ts"
import { within } from "../support/waiting.ts"
import type { Case } from "./Case.ts"
import { Context, startVictim, startWatcher, type Watcher } from "./Context.ts"
import { cases } from "./cases/index.ts"
import { Skipped } from "./expect.ts"
import type { Victim } from "./subjects.ts"

const values = commandLine(
  `
npm run faults                    all cases; those that take long are scaled down
npm run faults -- --full          all of them whole, one after the other, and a table
npm run faults -- --only A9,B3    some of them; a section by its letter
npm run faults -- --lanes 1       so many at a time; default: one more than there are processors, at most 4
npm run faults -- --json FILE     the results, for programs
npm run faults -- --list          the promises, without running anything

Exit code 1 when a promise is not kept. An open case is one that is known not to be kept: it fails as soon as it passes.`,
  {
    full: { type: "boolean", default: false },
    only: { type: "string" },
    json: { type: "string" },
    list: { type: "boolean", default: false },
    lanes: { type: "string", default: String(Math.min(4, 1 + availableParallelism())) },
  },
)

type Verdict = "passed" | "failed" | "open" | "skipped"

interface Result {
  readonly id: string
  readonly promise: string
  readonly verdict: Verdict
  readonly reason: string
  readonly notes: ReadonlyArray<string>
  readonly seconds: number
}

const isCalled =
  ({ id }: Case) =>
  (name: string) =>
    name === id || name === id.slice(0, 1)

const wanted = values.only?.split(",").map((id) => id.trim().toUpperCase())
const unknown = wanted?.filter((name) => !cases.some((one) => isCalled(one)(name))) ?? []
if (unknown.length > 0) throw new Error(`there is no case ${unknown.join(", ")}`)
const all = cases.filter((one) => wanted?.some(isCalled(one)) ?? true)

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

type Judgement = Pick<Result, "verdict" | "reason">

/** Runs a case and what must hold after it. */
const judge = async (one: Case, context: Context): Promise<Judgement> => {
  const patience = (one.patience ?? 60_000) * (values.full ? 10 : 1)
  try {
    await within(patience, "the case", one.run(context))
    await context.verify()
    return { verdict: "passed", reason: "" }
  } catch (error) {
    if (error instanceof Skipped) return { verdict: "skipped", reason: error.message }
    const { faults } = context.victim
    const told = faults.length === 0 ? [] : [`faults: ${faults.join(" | ")}`]
    return { verdict: "failed", reason: [messageOf(error), ...told].join("; ") }
  }
}

/** An open case is expected to fail. */
const weighed = ({ open }: Case, { reason, verdict }: Judgement): Judgement => {
  if (open === undefined || verdict === "skipped") return { verdict, reason }
  if (verdict === "failed") return { verdict: "open", reason: `${open} (${reason})` }
  return { verdict: "failed", reason: `it passes, but is said to be open: ${open}` }
}

/** Runs cases one after the other. Only a case that has passed leaves its victim to the next. */
class Lane {
  readonly #watcher: Watcher
  #victim: Victim | undefined

  constructor(watcher: Watcher) {
    this.#watcher = watcher
  }

  async run(one: Case): Promise<Result> {
    if (one.fresh === true) await this.end()
    this.#victim ??= startVictim()
    const start = Date.now()
    const context = new Context(values.full, this.#victim, this.#watcher)
    const judged = await judge(one, context)
    const left = await context.dispose().then(
      () => "",
      (error: unknown) => `afterwards: ${messageOf(error)}`,
    )
    if (judged.verdict === "failed" || one.fresh === true || left !== "") await this.end()
    const { reason, verdict } = weighed(one, judged)
    return {
      id: one.id,
      promise: one.promise,
      verdict: verdict === "passed" && left !== "" ? "failed" : verdict,
      reason: [reason, left].filter((text) => text !== "").join("; "),
      notes: context.notes,
      seconds: (Date.now() - start) / 1000,
    }
  }

  async end(): Promise<void> {
    await this.#victim?.kill()
    this.#victim = undefined
  }
}

const signs: Readonly<Record<Verdict, string>> = { passed: "✓", failed: "✗", open: "○", skipped: "–" }

const print = ({ id, notes, promise, reason, seconds, verdict }: Result): void => {
  console.log(`${signs[verdict]} ${id.padEnd(3)} ${promise} (${seconds.toFixed(1)} s)`)
  if (reason !== "") console.log(`      ${verdict}: ${reason}`)
  for (const note of notes) console.log(`      ${note}`)
}

const printTable = (results: ReadonlyArray<Result>): void => {
  console.log("\n| case | promise | verdict | seconds |\n| --- | --- | --- | --: |")
  for (const { id, notes, promise, reason, seconds, verdict } of results) {
    const remarks = [reason, ...notes].filter((text) => text !== "").join("; ")
    console.log(`| ${id} | ${promise} | ${verdict}${remarks === "" ? "" : `: ${remarks}`} | ${seconds.toFixed(1)} |`)
  }
}

const runAll = async (): Promise<ReadonlyArray<Result>> => {
  const watcher = startWatcher()
  const queue = [...all]
  const results: Array<Result> = []
  const work = async (): Promise<void> => {
    const lane = new Lane(watcher)
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const result = await lane.run(next)
      results.push(result)
      print(result)
    }
    await lane.end()
  }
  // A case that measures wants the machine for itself: whole cases are run one after the other.
  const lanes = values.full ? 1 : positive("lanes", values.lanes)
  await Promise.all(Array.from({ length: lanes }, work))
  await watcher.kill()
  return results.sort((a, b) => all.findIndex(({ id }) => id === a.id) - all.findIndex(({ id }) => id === b.id))
}

if (values.list) {
  for (const { id, open, promise } of all)
    console.log(`${id.padEnd(4)} ${promise}${open === undefined ? "" : ` (open)`}`)
  process.exit(0)
}
const start = Date.now()
const results = await runAll()
if (values.full) printTable(results)
const count = (verdict: Verdict) => results.filter((result) => result.verdict === verdict).length
const counts = (["passed", "failed", "open", "skipped"] as const).map((verdict) => `${count(verdict)} ${verdict}`)
console.log(`\n${counts.join(", ")} in ${((Date.now() - start) / 1000).toFixed(0)} s`)
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`)
process.exit(count("failed") === 0 ? 0 : 1)

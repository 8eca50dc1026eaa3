/**
 * Faults and abuse, each against a real server or client in a process of its own.
 *
 *     npm run faults                    all cases; what takes long is scaled down
 *     npm run faults -- --full          all of them whole, and a table
 *     npm run faults -- --only A9,B3    some of them; a section by its letter
 *     npm run faults -- --json FILE     what came of it, for programs
 */
import { writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { cases as transport } from "./a-transport.ts"
import { cases as envelope } from "./b-envelope.ts"
import { type Case, Context, Skipped, within } from "./Case.ts"
import { cases as handlers } from "./c-handlers.ts"
import { cases as life } from "./d-life.ts"
import { cases as security } from "./e-security.ts"
import { cases as endurance } from "./f-endurance.ts"
import { Process } from "./Process.ts"

interface Result {
  readonly id: string
  readonly name: string
  readonly verdict: "passed" | "failed" | "skipped"
  readonly reason: string
  readonly notes: ReadonlyArray<string>
  readonly seconds: number
}

const { values } = parseArgs({
  options: {
    full: { type: "boolean", default: false },
    only: { type: "string" },
    json: { type: "string" },
    lanes: { type: "string", default: String(Math.min(4, 1 + availableParallelism())) },
  },
})

const wanted = values.only?.split(",").map((id) => id.trim().toUpperCase())
const isWanted = ({ id }: Case) => wanted?.some((one) => one === id || one === id.slice(0, 1)) ?? true
const every = [...transport, ...envelope, ...handlers, ...life, ...security, ...endurance]
const all = every.filter(isWanted)
const unknown = wanted?.filter((one) => !every.some(({ id }) => one === id || one === id.slice(0, 1))) ?? []
if (unknown.length > 0) throw new Error(`there is no case ${unknown.join(", ")}`)
if (new Set(every.map(({ id }) => id)).size < every.length) throw new Error("two cases have the same id")

const judge = async (one: Case, context: Context): Promise<Pick<Result, "verdict" | "reason">> => {
  const patience = (one.patience ?? 60_000) * (values.full ? 10 : 1)
  try {
    await within(patience, "the case", one.run(context))
    await context.verify()
    return { verdict: "passed", reason: "" }
  } catch (error) {
    if (error instanceof Skipped) return { verdict: "skipped", reason: error.message }
    const { problems } = context.victim
    const told = problems.length === 0 ? [] : [`problems: ${problems.join(" | ")}`]
    return { verdict: "failed", reason: [error instanceof Error ? error.message : String(error), ...told].join("; ") }
  }
}

/** Runs cases one after the other; only one that has passed leaves its victim to the next. */
class Lane {
  readonly #watcher: Process<"watcher">
  #victim: Process | undefined

  constructor(watcher: Process<"watcher">) {
    this.#watcher = watcher
  }

  async run(one: Case): Promise<Result> {
    if (one.fresh === true) await this.end()
    this.#victim ??= await Process.start("victim")
    const start = Date.now()
    const context = new Context(values.full, this.#victim, this.#watcher)
    const { reason, verdict } = await judge(one, context)
    const left = await context.dispose().then(
      () => "",
      (error: Error) => `afterwards: ${error.message}`,
    )
    const passed = verdict === "passed" && left === ""
    if (verdict === "failed" || one.fresh === true || left !== "") await this.end()
    return {
      id: one.id,
      name: one.name,
      verdict: passed ? "passed" : verdict === "skipped" ? "skipped" : "failed",
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

const print = ({ id, name, notes, reason, seconds, verdict }: Result): void => {
  const sign = { passed: "✓", failed: "✗", skipped: "–" }[verdict]
  console.log(`${sign} ${id.padEnd(3)} ${name} (${seconds.toFixed(1)} s)`)
  if (reason !== "") console.log(`      ${verdict}: ${reason}`)
  for (const note of notes) console.log(`      ${note}`)
}

const printTable = (results: ReadonlyArray<Result>): void => {
  console.log("\n| case | promise | verdict | seconds |\n| --- | --- | --- | --- |")
  for (const { id, name, notes, reason, seconds, verdict } of results) {
    const remarks = [reason, ...notes].filter((text) => text !== "").join("; ")
    console.log(`| ${id} | ${name} | ${verdict}${remarks === "" ? "" : `: ${remarks}`} | ${seconds.toFixed(1)} |`)
  }
}

const start = Date.now()
const watcher = await Process.start("watcher")
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
// Whoever measures most wants the machine for itself: what is run whole is run one after the other.
await Promise.all(Array.from({ length: values.full ? 1 : Number(values.lanes) }, work))
await watcher.kill()

results.sort((a, b) => all.findIndex(({ id }) => id === a.id) - all.findIndex(({ id }) => id === b.id))
if (values.full) printTable(results)
const count = (verdict: Result["verdict"]) => results.filter((result) => result.verdict === verdict).length
const seconds = ((Date.now() - start) / 1000).toFixed(0)
console.log(`\n${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped in ${seconds} s`)
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`)
process.exit(count("failed") === 0 ? 0 : 1)

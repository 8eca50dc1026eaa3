/**
 * A fleet of three nodes and 300 stations in processes of their own, on a real engine, with callers on all nodes; and everything that can go
 * wrong with nodes, engines, networks and stations. Every call is accounted for. Ends with 1 when a promise was broken, when a process had a fault, or
 * when in the end a station could not be called from every node.
 *
 *     npm run fleet                                          both engines, a few minutes
 *     npm run fleet -- --short                               both engines, less than a minute
 *     npm run fleet -- --engine redis --rounds 5 --seed 7
 *
 * The servers of the engines are started on free ports. An engine whose program is not installed is left out, and the output says so.
 */
import { parseArgs } from "node:util"
import { isInstalled, programOf } from "../../test/fleet/support/Daemon.ts"
import { type Promised, promises } from "./Account.ts"
import { Trial } from "./Trial.ts"

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    engine: { type: "string" },
    rounds: { type: "string" },
    seed: { type: "string" },
    rate: { type: "string" },
  },
})

const count = (name: "rounds" | "seed" | "rate", fallback: number): number => {
  const value = Number(values[name] ?? fallback)
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new RangeError(`--${name} must be a positive integer; got ${values[name]}`)
}

const kinds = (["redis", "nats"] as const).filter((kind) => values.engine === undefined || values.engine === kind)
if (kinds.length === 0) throw new RangeError(`--engine must be redis or nats; got ${values.engine}`)
const seed = count("seed", Math.ceil(Math.random() * 1e6))
const rounds = count("rounds", values.short ? 1 : 3)
const rate = count("rate", values.short ? 100 : 150)

let failed = false
for (const kind of kinds) {
  if (!isInstalled(programOf(kind))) {
    console.log(`${kind}: skipped, because ${programOf(kind)} is not installed`)
    continue
  }
  console.log(`${kind}: 3 nodes, 300 stations, ${rate} calls a second from each node, seed ${seed}`)
  const trial = new Trial(kind, { seed, rate, pace: values.short ? 0.17 : 1 })
  try {
    await trial.prepare()
    for (let round = 0; round < rounds; round++) await trial.round()
    await trial.end()
  } finally {
    await trial.destroy()
  }
  const { broken, examples } = trial.account.verdict
  const tally = Object.entries(trial.account.tally).map(([told, calls]) => `${calls} ${told}`)
  console.log(`  calls: ${tally.join(", ")}`)
  for (const [promise, text] of Object.entries(promises)) {
    console.log(`  ${String(broken[promise as Promised]).padStart(6)}  ${text}`)
  }
  for (const problem of [...trial.problems, ...examples]) console.log(`  FAULT  ${problem}`)
  failed ||= trial.problems.length + examples.length > 0
}
console.log(failed ? "a promise was broken" : "no promise was broken")
process.exit(failed ? 1 : 0)

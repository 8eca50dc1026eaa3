/** Holds many connections for a while: calls both ways, cuts on either side, restarts of the server, and an account of every call. */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { randomFrom } from "../test/schemas/official.ts"
import { Child } from "./processes/Child.ts"
import type { commands as csmsCommands } from "./soak/csms.ts"
import { type Checkpoint, callsAt, draw, lossesOf, mebibytes, sides, tell } from "./soak/report.ts"
import type { commands as stationCommands } from "./soak/stations.ts"
import { commandLine, positive } from "./support/commandLine.ts"
import { pause } from "./support/waiting.ts"

const values = commandLine(
  `
npm run soak                                                  2,000 stations, 10 minutes
npm run soak -- --short                                       50 stations, some seconds
npm run soak -- --minutes 60 --stations 2000 --seed 1
  --rate N      calls a second from the stations, half as many from the CSMS; default 600, short 200
  --cuts N      connections a minute that each side cuts
  --plot FILE   where to draw memory and latency; default reliability/output/soak.svg

Exit code 1 when a call is lost, a process has a fault, or a station does not come back. The seed repeats who is called and
who is cut off, not the machine's timing.`,
  {
    short: { type: "boolean", default: false },
    minutes: { type: "string" },
    stations: { type: "string" },
    seed: { type: "string" },
    rate: { type: "string" },
    cuts: { type: "string" },
    plot: { type: "string", default: fileURLToPath(new URL("./output/soak.svg", import.meta.url)) },
  },
)

const option = (name: "minutes" | "stations" | "seed" | "rate" | "cuts", fallback: number): number =>
  positive(name, values[name] ?? fallback)

const minutes = option("minutes", values.short ? 0.15 : 10)
const stations = Math.ceil(option("stations", values.short ? 50 : 2_000))
const seed = option("seed", Math.ceil(Math.random() * 1e6))
const rate = option("rate", values.short ? 200 : 600)
const cuts = option("cuts", values.short ? 6 * stations : stations / 10)
const spells = Math.max(4, Math.min(60, Math.round(minutes * 5)))
const spell = (minutes * 60_000) / spells
/** The first spells grow caches and compiled code. */
const warmUp = Math.ceil(spells / 4)

const random = randomFrom(seed)
const csms = new Child<typeof csmsCommands>({ name: "CSMS", script: new URL("./soak/csms.ts", import.meta.url) })
const clients = new Child<typeof stationCommands>({
  name: "stations",
  script: new URL("./soak/stations.ts", import.meta.url),
})
/** The commands of both. */
type Either = Pick<typeof csmsCommands, "start" | "pause" | "connected" | "sample">
const children: { readonly csms: Child<Either>; readonly stations: Child<Either> } = { csms, stations: clients }
const checkpoints: Array<Checkpoint> = []
const problems: Array<string> = []

/** Lets traffic flow for a while, with a restart of the server in the middle of every other spell. Tells whether there was one. */
const runSpell = async (index: number) => {
  await Promise.all(sides.map((side) => children[side].do("start", undefined)))
  const middle = spell * (0.2 + 0.4 * random())
  await pause(middle)
  const restarts = index % 2 === 0
  if (restarts) {
    const gracefully = random() < 0.5
    await csms.do("restart", gracefully)
  }
  await pause(spell - middle)
  return restarts
}

/** Waits until every call has ended and every station is back. */
const settle = async () => {
  await Promise.all(sides.map((side) => children[side].do("pause", undefined)))
  const deadline = performance.now() + 30_000
  for (;;) {
    const counts = await Promise.all(sides.map((side) => children[side].do("connected", undefined)))
    if (counts.every((count) => count === stations)) return
    if (performance.now() > deadline) throw new Error(`of ${stations} stations came back ${counts.join(" and ")}`)
    await pause(100)
  }
}

const measure = async (startedAt: number, restarted: boolean) => {
  await settle()
  const [ofCsms, ofStations] = await Promise.all([csms.do("sample", undefined), clients.do("sample", undefined)])
  const hours = (performance.now() - startedAt) / 3_600_000
  const checkpoint = { hours, restarted, csms: ofCsms, stations: ofStations }
  checkpoints.push(checkpoint)
  const heaps = sides.map((side) => mebibytes(checkpoint[side].memory.heap).toFixed(2))
  const elapsed = (hours * 60).toFixed(1)
  console.log(`${elapsed.padStart(6)} min  ${callsAt(checkpoint)} calls, heap ${heaps.join(" and ")} MiB`)
}

const run = async () => {
  const plan = { stations, cuts }
  const port = await csms.do("prepare", { ...plan, seed, rate: rate / 2 })
  await clients.do("prepare", { plan: { ...plan, seed: seed + 1, rate }, port })
  const startedAt = performance.now()
  for (let i = 0; i < spells; i++) {
    await measure(startedAt, await runSpell(i))
  }
  await clients.do("finish", undefined)
  await csms.do("finish", undefined)
  await Promise.all(sides.map((side) => children[side].end(10_000)))
}

const report = () => {
  const last = checkpoints.at(-1)
  if (last === undefined) return
  tell(checkpoints, warmUp)
  const losses = lossesOf(last)
  problems.push(...losses)
  console.log(
    `losses ${losses.length}; restarts of the server ${checkpoints.filter(({ restarted }) => restarted).length}`,
  )
  if (checkpoints.length < spells) return
  mkdirSync(dirname(values.plot), { recursive: true })
  writeFileSync(values.plot, draw(`${stations} stations, ${callsAt(last)} calls, seed ${seed}`, checkpoints, warmUp))
  console.log(`plot ${relative(process.cwd(), values.plot)}`)
}

console.log(`soak: ${stations} stations, ${minutes} minutes, ${rate} + ${rate / 2} calls a second, seed ${seed}`)
try {
  await run()
} catch (error) {
  problems.push(String(error))
} finally {
  await Promise.all(sides.map((side) => children[side].kill()))
}
report()
problems.push(...sides.flatMap((side) => children[side].faults))
for (const problem of problems) console.error(`PROBLEM ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1

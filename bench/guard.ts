/**
 * The cost of one strict call on each face, in bytes allocated and in instructions executed: counts, which no other program
 * on the machine disturbs.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { commandLine } from "../reliability/support/commandLine.ts"
import { compile } from "./compile.ts"

const values = commandLine(
  `
npm run bench:guard                 counts instructions where there is valgrind; some minutes
npm run bench:guard -- --bytes      without them; some seconds
npm run bench:guard -- --update     makes the counts the baseline

Exit code 1 when a count is more than the margin above bench/baseline.json.`,
  { bytes: { type: "boolean", default: false }, update: { type: "boolean", default: false } },
)

const faces = ["promise", "effect"] as const
type Face = (typeof faces)[number]
type Counts = { readonly [F in Face]: number }

interface Baseline {
  readonly node: string
  readonly bytes: Counts
  readonly instructions?: Counts
}

/** The growth over the baseline that is accepted: bytes differ by less than 1 % from run to run, instructions by some. */
const margins = { bytes: 0.15, instructions: 0.25 } as const

const warmUp = 10_000
const few = 10_000
const many = 30_000

const script = fileURLToPath(new URL("../build/bench/work.js", import.meta.url))
const baselineFile = new URL("./baseline.json", import.meta.url)
/** A young generation so large that nothing is collected while it is counted. */
const roomy = ["--expose-gc", "--min-semi-space-size=512", "--max-semi-space-size=512"]
/** Compiles and collects at the same places in every run. */
const repeatable = ["--single-threaded", "--predictable", "--hash-seed=1", "--random-seed=1"]

const work = (face: Face, calls: number) => [script, face, String(warmUp), String(calls)]

const bytes = (face: Face): number =>
  Number(execFileSync(process.execPath, [...roomy, ...work(face, many)], { encoding: "utf8" }))

const instructionsOf = (face: Face, calls: number): number => {
  const tool = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--smc-check=all-non-file"]
  const node = [process.execPath, ...repeatable, ...roomy, ...work(face, calls)]
  const { status, stderr } = spawnSync("valgrind", [...tool, ...node], { encoding: "utf8" })
  const total = /I\s+refs:\s+([\d,]+)/.exec(stderr)?.[1]
  if (status !== 0 || total === undefined) throw new Error(`valgrind: ${stderr}`)
  return Number(total.replaceAll(",", ""))
}

/** The difference between two runs: start and warm-up are the same in both. */
const instructions = (face: Face): number => (instructionsOf(face, many) - instructionsOf(face, few)) / (many - few)

const countsOf = (count: (face: Face) => number): Counts => {
  const [promise, effect] = faces.map((face) => Math.round(count(face)))
  return { promise: promise!, effect: effect! }
}

const count = (): Baseline => {
  const counted = { node: process.version, bytes: countsOf(bytes) }
  if (values.bytes) return counted
  if (spawnSync("valgrind", ["--version"]).status !== 0) {
    console.log("instructions are not counted: there is no valgrind")
    return counted
  }
  return { ...counted, instructions: countsOf(instructions) }
}

/** Prints a comparison; whether it is within the margin. */
const compare = (kind: keyof typeof margins, counted: Counts, baseline: Counts): boolean =>
  faces
    .map((face) => {
      const change = counted[face] / baseline[face] - 1
      const isWithin = change <= margins[kind]
      const percent = `${change < 0 ? "" : "+"}${(change * 100).toFixed(1)} %`
      const verdict = isWithin ? "" : `: more than ${margins[kind] * 100} % above the baseline`
      console.log(`${face}: ${counted[face]} ${kind} a call, baseline ${baseline[face]} (${percent})${verdict}`)
      return isWithin
    })
    .every((isWithin) => isWithin)

const check = (counted: Baseline, baseline: Baseline): boolean => {
  if (counted.node.split(".")[0] !== baseline.node.split(".")[0]) {
    console.log(`the baseline is of Node ${baseline.node}; this is ${counted.node}, which may count differently`)
  }
  const bytes = compare("bytes", counted.bytes, baseline.bytes)
  if (counted.instructions === undefined || baseline.instructions === undefined) return bytes
  return compare("instructions", counted.instructions, baseline.instructions) && bytes
}

await compile(new URL("./guard/work.ts", import.meta.url))
const counted = count()
if (values.update) {
  writeFileSync(baselineFile, `${JSON.stringify(counted, null, 2)}\n`)
  console.log(JSON.stringify(counted))
} else {
  const isGood = check(counted, JSON.parse(readFileSync(baselineFile, "utf8")))
  process.exitCode = isGood ? 0 : 1
}

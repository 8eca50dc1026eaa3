/**
 * Validation against ocpp-rpc's validators, message by message: all 387, valid payloads and broken ones, interleaved.
 *
 *     npx tsx bench/validation.ts             about a minute
 *     npx tsx bench/validation.ts --quick     a few seconds, noisier
 *     npx tsx bench/validation.ts --effect    valid payloads against Effect's own compiler, `SchemaJITCompiler`
 *
 * It runs the sources in `src`. Both sides are asked as their servers ask them: ours through `validator.check`, which
 * returns the error, ocpp-rpc's through `validator.validate`, which throws it.
 */
import "effect/schema/SchemaJITCompiler/enable"
import { createRequire } from "node:module"
import * as Schema from "effect/Schema"
import type * as Protocol from "../src/Protocol.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../src/schemas/ocpp201.ts"
import { generate, messages, mutations, randomFrom } from "../test/schemas/official.ts"

const quick = process.argv.includes("--quick")
const withEffect = process.argv.includes("--effect")
const opponent = withEffect ? "Effect" : "ocpp-rpc"
const usualRounds = quick ? 7 : 15
const nanosecondsPerSample = quick ? 200_000 : 1_000_000

interface TheirValidator {
  readonly subprotocol: string
  readonly validate: (schemaId: string, payload: unknown) => unknown
}
// ajv warns of keywords in the official schemas that mean nothing where they stand.
console.warn = () => {}
const theirs: ReadonlyArray<TheirValidator> = createRequire(import.meta.url)("ocpp-rpc/lib/standard-validators.js")
const protocols: ReadonlyArray<Protocol.Protocol> = [Ocpp16, Ocpp201, Ocpp21]

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const geometricMean = (values: ReadonlyArray<number>): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)

/** Calls a function until its code has been optimized. */
const warm = (run: () => unknown): void => {
  const end = process.hrtime.bigint() + BigInt(10 * nanosecondsPerSample)
  while (process.hrtime.bigint() < end) timed(run, 20)
}

/** Nanoseconds a call, measured over a batch. */
const timed = (run: () => unknown, calls: number): number => {
  const start = process.hrtime.bigint()
  for (let call = 0; call < calls; call++) run()
  return Number(process.hrtime.bigint() - start) / calls
}

/** The medians of two functions that take turns. */
const compare = (a: () => unknown, b: () => unknown, rounds = usualRounds): readonly [number, number] => {
  warm(a)
  warm(b)
  const callsOf = (run: () => unknown) => Math.max(10, Math.round(nanosecondsPerSample / timed(run, 50)))
  const [callsA, callsB] = [callsOf(a), callsOf(b)]
  const samples = Array.from({ length: rounds }, () => [timed(a, callsA), timed(b, callsB)] as const)
  return [median(samples.map(([time]) => time)), median(samples.map(([, time]) => time))]
}

/** Compares again, for longer, what comes out slower: a busy machine disturbs a few of nearly 400 measurements. */
const compareWell = (ours: () => unknown, theirs: () => unknown): readonly [number, number] => {
  const [a, b] = compare(ours, theirs)
  return a < b ? [a, b] : compare(ours, theirs, 5 * usualRounds)
}

/** Payloads as they come from the wire. */
const parsed = (payload: unknown): unknown => JSON.parse(JSON.stringify(payload))

/** Effect's own verdict on a payload of an action. */
const isBy = (protocol: Protocol.Protocol, action: string, part: "request" | "response") => {
  const known = protocol.actions.get(action)
  const schema = part === "request" ? known?.request : known?.kind === "call" ? known.response : undefined
  if (schema === undefined) throw new Error(`${protocol.name} has no ${part} of ${action}`)
  const is = Schema.is(schema)
  return (payload: unknown) => {
    if (!is(payload)) throw new Error(`Effect refuses the ${part} of ${action}`)
  }
}

interface Row {
  readonly name: string
  readonly ours: number
  readonly theirs: number
}

const report = (title: string, rows: ReadonlyArray<Row>): void => {
  const ratio = (row: Row) => row.theirs / row.ours
  const sorted = rows.toSorted((a, b) => ratio(a) - ratio(b))
  const mean = geometricMean(rows.map(ratio)).toFixed(2)
  const slower = rows.filter((row) => ratio(row) < 1).length
  console.log(
    `${title}: ${rows.length} messages, geometric mean ${mean} times as fast as ${opponent}, ${slower} slower`,
  )
  for (const row of sorted.slice(0, 8)) {
    console.log(
      `  ${ratio(row).toFixed(2).padStart(6)}  ${row.name.padEnd(56)} ` +
        `${row.ours.toFixed(0).padStart(7)} ns, ${opponent} ${row.theirs.toFixed(0).padStart(7)} ns`,
    )
  }
}

const random = randomFrom(1)
const valid: Array<Row> = []
const invalid: Array<Row> = []

for (const { subprotocol, action, part, schema } of messages) {
  const protocol = protocols.find(({ name }) => name === subprotocol)
  const other = theirs.find((validator) => validator.subprotocol === subprotocol)
  const id = schema.$id
  if (protocol === undefined || other === undefined || id === undefined)
    throw new Error(`no validator of ${subprotocol}`)
  const own = protocol.validator

  const payloads = [0.2, 0.6, 1].map((optional) =>
    parsed(generate(schema, { random, values: "typical", optional, lists: "any" })),
  )
  const name = `${subprotocol} ${action} ${part}`
  const cycle = (run: (payload: unknown) => unknown, over: ReadonlyArray<unknown>) => {
    let turn = 0
    return () => run(over[turn++ % over.length])
  }
  for (const payload of payloads) {
    const error = own.check(action, part, payload)
    if (error !== undefined) throw new Error(`${name}: ${error.message}`)
  }
  const check = (payload: unknown) => own.check(action, part, payload)
  const theirCheck = withEffect ? isBy(protocol, action, part) : (payload: unknown) => other.validate(id, payload)
  const [fast, slow] = compareWell(cycle(check, payloads), cycle(theirCheck, payloads))
  valid.push({ name, ours: fast, theirs: slow })
  // Effect has no errors in OCPP's words to compare with.
  if (withEffect) continue

  const faulty = [...mutations(schema, payloads[2])]
    .map((mutation) => parsed(mutation.payload))
    .filter((payload) => payload !== null)
  const some = Array.from({ length: 5 }, (_, index) => faulty[Math.floor((index * faulty.length) / 5)])
  const [quickly, slowly] = compare(
    cycle(check, some),
    cycle((payload) => {
      try {
        return other.validate(id, payload)
      } catch (error) {
        return error
      }
    }, some),
  )
  invalid.push({ name, ours: quickly, theirs: slowly })
}

report("valid", valid)
if (!withEffect) report("invalid", invalid)

/**
 * Fuzzing: generated and mutated messages to both sides of a connection, and raw handshakes and frames to a server in a
 * process of its own. Every reaction is held against an oracle.
 */
import type { Protocol } from "../../src/Protocol.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../../src/schemas/ocpp201.ts"
import { Child } from "../processes/Child.ts"
import { commandLine, countOf } from "../support/commandLine.ts"
import { inParallel } from "../support/inParallel.ts"
import * as Random from "../support/Random.ts"
import { pause } from "../support/waiting.ts"
import { type Batch, Finding, run } from "./batch.ts"
import { type Corpus, corpusOf, generateTexts } from "./messages.ts"
import type { Situation, Subprotocol } from "./oracle.ts"
import type { Condition, commands as serverCommands } from "./server.ts"
import { shrink } from "./shrink.ts"
import { attempt, type Exchange, frameSequence, handshake, messageSequence } from "./sockets.ts"

const values = commandLine(
  `
npm run fuzz                                     50,000 messages, 5,000 handshakes and frame sequences
npm run fuzz -- --full                           1,000,000 messages of each version
npm run fuzz -- --messages 1000 --handshakes 100
npm run fuzz -- --seed 7                         the same as that seed gave before
npm run fuzz -- --seed 7 --only ocpp1.6:12       one batch of it

Exit code 1 when something was found.`,
  {
    messages: { type: "string" },
    handshakes: { type: "string", default: "5000" },
    seed: { type: "string" },
    only: { type: "string" },
    full: { type: "boolean", default: false },
  },
)

const protocols: ReadonlyArray<Protocol> = [Ocpp16, Ocpp201, Ocpp21]
const messageCount = countOf("messages", values.messages ?? (values.full ? "3000000" : "50000"))
const exchangeCount = countOf("handshakes", values.handshakes)
const seed = countOf("seed", values.seed ?? String(Date.now() % 2 ** 31))

/** The number of messages that go through one connection before its end is looked at. */
const batchSize = 50
/** The percentage of messages that travel over a real socket. */
const socketShare = 10
/** The number of exchanges at a time. */
const concurrency = 16
/** Milliseconds that a bystander may wait, on a machine that does other things too. */
const patience = 2_000

const findings: Array<string> = []
const report = (finding: string) => {
  findings.push(finding)
  console.error(`FOUND ${finding}`)
}
for (const event of ["uncaughtException", "unhandledRejection", "warning"]) {
  process.on(event, (reason: unknown) => report(`${event}: ${reason instanceof Error ? reason.stack : String(reason)}`))
}

const corpora = new Map(protocols.map((protocol) => [protocol.name, corpusOf(protocol, seed)]))
const corpusFor = ({ name }: Protocol) => corpora.get(name) as Corpus

const seedOf = (...parts: ReadonlyArray<number>) =>
  parts.reduce((hash, part) => (hash * 31 + part) % 2 ** 31, seed + 17)

const batchOf = (protocol: Protocol, index: number): Batch => {
  const random = Random.make(seedOf(protocols.indexOf(protocol), index))
  const corpus = corpusFor(protocol)
  const side = random.pick(["csms", "station"] as const)
  const sender = side === "csms" ? "station" : "csms"
  const callable = corpus.actions.filter((action) => action.kind === "call" && action.sender !== sender)
  const calls = Array.from({ length: random.below(7) }, () => random.pick(callable).name)
  return {
    side,
    calls,
    strict: random.chance(0.7),
    wildcard: random.chance(0.2),
    maxBadMessages: random.chance(0.2) ? random.below(4) : Number.POSITIVE_INFINITY,
    texts: generateTexts(random, { corpus, sender, calls }, batchSize),
  }
}

const fuzzBatch = async (protocol: Protocol, index: number): Promise<void> => {
  const batch = batchOf(protocol, index)
  const failure = await failureOf(protocol, batch)
  if (failure === undefined) return
  const texts = await shrink(batch.texts, async (fewer) => {
    return (await failureOf(protocol, { ...batch, texts: fewer })) !== undefined
  })
  const again = (await failureOf(protocol, { ...batch, texts })) ?? failure
  report(`--seed ${seed} --only ${protocol.name}:${index}: ${again}\n${JSON.stringify({ ...batch, texts })}`)
}

const failureOf = async (protocol: Protocol, batch: Batch): Promise<string | undefined> => {
  try {
    await run(protocol, corpusFor(protocol), batch)
    return undefined
  } catch (error) {
    return error instanceof Finding ? `message ${error.index}: ${error.message.slice(0, 1_000)}` : String(error)
  }
}

/** Enough to know that something is wrong. */
const maxFindings = 10

const fuzzMessages = async (): Promise<void> => {
  const batches = Math.ceil((messageCount * (1 - socketShare / 100)) / batchSize / protocols.length)
  for (const protocol of protocols) {
    for (let index = 0; index < batches && findings.length < maxFindings; index++) await fuzzBatch(protocol, index)
    console.log(`${protocol.name}: ${batches * batchSize} messages in memory`)
  }
}

const strictMode: ReadonlyArray<string> = ["ocpp1.6", "ocpp2.1"]

const situationOf = (protocol: Protocol): Situation => ({
  subprotocol: protocol.name as Subprotocol,
  strict: strictMode.includes(protocol.name),
  handles: (action) => corpusFor(protocol).responses.has(action),
  handling: new Set(),
  pending: new Map(),
  hasMade: () => false,
})

const someTexts = (random: Random.Random, protocol: Protocol, length: number) =>
  generateTexts(random, { corpus: corpusFor(protocol), sender: "station", calls: [] }, length)

const exchangeOf = (kind: "handshake" | "frames" | "messages", index: number): Exchange => {
  const random = Random.make(seedOf(7, index))
  const protocol = random.pick(protocols)
  const identity = `${kind}-${index}`
  if (kind === "handshake") return handshake(random, identity, protocol.name)
  const texts = someTexts(random, protocol, kind === "messages" ? batchSize : random.below(5))
  return (kind === "messages" ? messageSequence : frameSequence)(random, identity, situationOf(protocol), texts)
}

const responses = Object.fromEntries(
  protocols.map((protocol) => [
    protocol.name,
    Object.fromEntries([...corpusFor(protocol).responses].map(([action, [response]]) => [action, response])),
  ]),
)

/** Starts a station that behaves, and calls all the time. Stops it, and gives the longest time that it had to wait. */
const watch = (port: number, random: Random.Random) => {
  let goesOn = true
  let longest = 0
  const watching = (async () => {
    for (let index = 0; goesOn; index++) {
      const from = performance.now()
      const calls = messageSequence(random, `bystander-${index}`, situationOf(Ocpp16), [])
      const fault = await attempt(port, calls)
      if (fault !== undefined) report(`a bystander: ${fault}`)
      longest = Math.max(longest, performance.now() - from)
      await pause(50)
    }
  })()
  return async () => {
    goesOn = false
    await watching
    return longest
  }
}

type Server = Child<typeof serverCommands>

const fuzzSockets = async (): Promise<void> => {
  const server: Server = new Child({ name: "server", script: new URL("./server.ts", import.meta.url) })
  try {
    const port = await server.do("start", { responses, strictMode })
    const before = await server.do("condition", undefined)
    const stop = watch(port, Random.make(seedOf(9)))
    await attemptAll(port)
    const longest = await stop()
    console.log(`a bystander waited ${longest.toFixed(0)} ms at most`)
    if (longest > patience) report(`a bystander waited ${longest.toFixed(0)} ms`)
    const after = await conditionInTheEnd(server, before)
    if (after.stations > 0) report(`${after.stations} stations are still connected`)
    if (after.timers > before.timers) report(`${after.timers} timers are set; there were ${before.timers}`)
    for (const fault of server.faults) report(fault)
  } finally {
    await server.kill()
  }
}

/** The server's condition, once nobody is connected and no timer is left; at the latest after 15 seconds. */
const conditionInTheEnd = async (server: Server, before: Condition): Promise<Condition> => {
  const deadline = Date.now() + 15_000
  for (;;) {
    const condition = await server.do("condition", undefined)
    const isQuiet = condition.stations === 0 && condition.timers <= before.timers
    if (isQuiet || Date.now() > deadline) return condition
    await pause(10)
  }
}

const attemptAll = async (port: number): Promise<void> => {
  const sequences = Math.ceil((messageCount * socketShare) / 100 / batchSize)
  const kinds = [
    ...Array<"messages">(values.full ? Math.min(sequences, 20_000) : sequences).fill("messages"),
    ...Array<"handshake">(Math.ceil(exchangeCount / 2)).fill("handshake"),
    ...Array<"frames">(Math.floor(exchangeCount / 2)).fill("frames"),
  ]
  await inParallel(kinds.length, concurrency, async (index) => {
    if (findings.length >= maxFindings) return
    const exchange = exchangeOf(kinds[index] as (typeof kinds)[number], index)
    const fault = await attempt(port, exchange)
    if (fault === undefined) return
    const bytes = exchange.bytes.toString("base64")
    report(`--seed ${seed}, exchange ${index}, ${exchange.name}: ${fault}\n${bytes.slice(0, 4_000)}`)
  })
  console.log(`${sequences * batchSize} messages, ${exchangeCount} handshakes and frame sequences over sockets`)
}

console.log(`seed ${seed}`)
const from = performance.now()
if (values.only === undefined) {
  await fuzzMessages()
  await fuzzSockets()
} else {
  const [name, index] = values.only.split(":")
  const protocol = protocols.find((one) => one.name === name)
  if (protocol === undefined) throw new RangeError(`--only takes, for instance, ocpp1.6:12; got ${values.only}`)
  await fuzzBatch(protocol, countOf("only", index ?? ""))
}
const seconds = ((performance.now() - from) / 1000).toFixed(1)
console.log(findings.length === 0 ? `nothing found in ${seconds} s` : `${findings.length} findings, --seed ${seed}`)
process.exitCode = findings.length === 0 ? 0 : 1

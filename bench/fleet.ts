/**
 * What a fleet costs, in one run: a call of a station of another node, beside one of this node and beside a bare request and reply of the same engine's
 * client; claims; and what the end of a process comes to. The kinds of calls take turns, with both nodes, the stations and the engine in processes of
 * their own.
 *
 *     npx tsx bench/fleet.ts                      both engines
 *     npx tsx bench/fleet.ts --engine redis
 *     npx tsx bench/fleet.ts --quick              shows that it runs; the figures mean nothing
 */
import { parseArgs } from "node:util"
import type { commands as stationCommands } from "../reliability/fleet/stations.ts"
import { Child } from "../reliability/processes/Child.ts"
import { Daemon, isInstalled, programOf } from "../test/fleet/support/Daemon.ts"
import type { Managed, commands as nodeCommands } from "./fleet/node.ts"

const { values } = parseArgs({ options: { engine: { type: "string" }, quick: { type: "boolean", default: false } } })
const { quick } = values
const kinds = (["redis", "nats"] as const).filter((kind) => values.engine === undefined || values.engine === kind)
if (kinds.length === 0) throw new RangeError(`--engine must be redis or nats; got ${values.engine}`)

const turns = quick ? 1 : 5
const millis = quick ? 200 : 800
const claimed = quick ? 2_000 : 100_000

const sleep = (time: number) => new Promise((resolve) => setTimeout(resolve, time))
const median = (numbers: ReadonlyArray<number>) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

type NodeProcess = Child<typeof nodeCommands>

const spawn = (name: string): NodeProcess =>
  new Child<typeof nodeCommands>({ name: name, script: new URL("./fleet/node.ts", import.meta.url) })

const row = (name: string, value: string, target?: { readonly says: string; readonly met: boolean }) => {
  const mark = target === undefined ? "" : `  ${target.met ? "met" : "MISSED"}: ${target.says}`
  console.log(`  ${name.padEnd(58)}${value.padStart(12)}${mark}`)
}

/** The three kinds of calls, in turns, by so many callers. */
const measure = async (local: NodeProcess, remote: NodeProcess, callers: number) => {
  const all = { local: [] as Array<Managed>, remote: [] as Array<Managed>, bare: [] as Array<Managed> }
  for (let turn = 0; turn <= turns; turn++) {
    const measured = {
      local: await local.do("ask", { what: "call", callers, millis }),
      remote: await remote.do("ask", { what: "call", callers, millis }),
      bare: await remote.do("ask", { what: "bare", callers, millis }),
    }
    // The first turn is for the compiler.
    if (turn > 0) for (const kind of ["local", "remote", "bare"] as const) all[kind].push(measured[kind])
  }
  const of = (kind: keyof typeof all, figure: (managed: Managed) => number) => median(all[kind].map(figure))
  return {
    p50: (kind: keyof typeof all) => of(kind, ({ p50 }) => p50),
    rate: (kind: keyof typeof all) => of(kind, ({ calls, seconds }) => calls / seconds),
    cpu: (kind: keyof typeof all) => of(kind, ({ calls, cpu }) => cpu / calls),
  }
}

const run = async (kind: "redis" | "nats"): Promise<void> => {
  const daemon = await Daemon.start(kind)
  const nodes = { a: spawn("a"), b: spawn("b") }
  const stations = new Child<typeof stationCommands>({
    name: "stations",
    script: new URL("../reliability/fleet/stations.ts", import.meta.url),
  })
  try {
    const engine = { kind, port: daemon.port }
    const port = await nodes.a.do("prepare", { name: "a", engine })
    await nodes.b.do("prepare", { name: "b", engine })
    await stations.do("prepare", { ports: [port], seed: 1 })
    while ((await nodes.b.do("stations", undefined)) < 300) await sleep(100)

    const one = await measure(nodes.a, nodes.b, 1)
    row("1 caller, station of this node: p50", `${one.p50("local").toFixed(3)} ms`)
    row("1 caller, bare request and reply of the engine: p50", `${one.p50("bare").toFixed(3)} ms`)
    const latency = one.p50("remote") / one.p50("bare")
    row("1 caller, station of another node: p50", `${one.p50("remote").toFixed(3)} ms`)
    row("  ÷ bare", latency.toFixed(2), { says: "at most 2.5", met: latency <= 2.5 })

    const many = await measure(nodes.a, nodes.b, 100)
    row("100 callers, stations of this node", `${many.rate("local").toFixed(0)} /s`)
    row("100 callers, bare request and reply", `${many.rate("bare").toFixed(0)} /s`)
    row("100 callers, stations of another node", `${many.rate("remote").toFixed(0)} /s`)
    const throughput = many.rate("remote") / many.rate("local")
    row("  ÷ stations of this node", throughput.toFixed(2), { says: "at least 0.5", met: throughput >= 0.5 })
    row("  CPU time of the caller's node for a call", `${many.cpu("remote").toFixed(1)} µs`)

    const empty = await nodes.a.do("claim", { count: claimed, age: 60_000 })
    const limit = kind === "redis" ? { says: "at most 5 s", met: empty <= 5 } : undefined
    row(`${claimed} claims, of nobody's stations`, `${empty.toFixed(2)} s`, limit)
    row(
      `${claimed} claims, of another node's stations`,
      `${(await nodes.b.do("claim", { count: claimed, age: 1 })).toFixed(2)} s`,
    )
    row(`reading a directory of ${claimed} stations`, `${(await nodes.b.do("list", undefined)).toFixed(2)} s`)

    const inFlight = nodes.b.do("callInFlight", "CP5")
    await sleep(500)
    const killed = performance.now()
    nodes.a.kill()
    const { first, seconds } = await nodes.b.do("untilNotConnected", "CP7")
    await inFlight
    const ended = (performance.now() - killed) / 1_000
    row("a node is killed: what a call of its stations is told first", first)
    row("  until NotConnectedError", `${seconds.toFixed(2)} s`, { says: "at most 2 s", met: seconds <= 2 })
    row("  until a call in flight has ended", `${ended.toFixed(2)} s`)
  } finally {
    for (const child of [nodes.a, nodes.b, stations]) {
      for (const fault of child.faults) console.error(fault)
      child.kill()
    }
    await daemon.end()
  }
}

for (const kind of kinds) {
  console.log(`${kind}${isInstalled(programOf(kind)) ? "" : `: skipped, because ${programOf(kind)} is not installed`}`)
  if (isInstalled(programOf(kind))) await run(kind)
}

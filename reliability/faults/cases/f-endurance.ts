/** F. Endurance: the traces of many calls, visits, refusals and connections. */
import { inParallel } from "../../support/inParallel.ts"
import { until } from "../../support/waiting.ts"
import { type Declaration, fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { RawStation } from "../RawStation.ts"
import type { FleetSubject, ServerSubject } from "../subjects.ts"

const KiB = 1024

/** Bytes that the engine keeps of code that has become hot, however often it ran. */
const hot = 500_000

/** The number of stations that connect at a time. */
const together = 20

/** An address for the n-th connection. */
const addressOf = (n: number): string => `127.0.0.${2 + (n % 40)}`

/** Every case here measures memory, of one server on one face. */
const measured = { fresh: true, patience: 120_000, faces: ["effect"] } as const satisfies Partial<Declaration>

/** Fails when more than `each` bytes of heap are left for each repetition. */
const growsBy = async (context: Context, what: string, times: number, each: number, work: () => Promise<unknown>) => {
  const before = await context.heap()
  await work()
  const grown = (await context.heap()) - before
  context.note(`${(grown / times).toFixed(2)} bytes of heap a ${what}`)
  check(grown < each * times + hot, `${grown} bytes of heap are left of ${times} times ${what}`)
}

/** Waits until only the bystander is connected. */
const haveGone = (context: Context, patience?: number) =>
  until("all have gone", async () => (await context.counters()).stations === 1, patience)

const boot = { action: "BootNotification", payload: { chargePointVendor: "A", chargePointModel: "B" } }

export const manyCalls = fault({
  id: "F1",
  promise: "calls on 200 connections leave half a byte of heap each at most",
  ...measured,
  server: { observed: false },
  check: async ({ context, server }) => {
    const count = context.size(50, 200)
    const fleet = await context.fleet({ endpoint: server.endpoint, count, observed: false })
    const call = async (times: number) =>
      same(await fleet.callEach({ ...boot, times: times / count }), { ok: times }, "how calls have ended")
    await call(context.size(20_000, 50_000))
    const times = context.size(40_000, 1_000_000)
    await growsBy(context, "call", times, 0.5, () => call(times))
    await fleet.close()
  },
})

/** Connects, calls, and goes without a word, or with a reset. */
const visit = async (server: ServerSubject, n: number): Promise<void> => {
  const station = await RawStation.connect(server.port, { path: `/VISITOR${n % 1_000}`, from: addressOf(n) })
  const answer = await station.ask("1", "Heartbeat")
  same(answer.slice(0, 2), [3, "1"], "the answer")
  if (n % 2 === 0) station.socket.resetAndDestroy()
  else station.socket.destroy()
  await station.ended
}

export const manyVisits = fault({
  id: "F2",
  promise: "connecting, calling and vanishing leaves 16 bytes of heap at most, and no handle, fiber or timer",
  ...measured,
  server: { observed: false },
  check: async ({ context, server }) => {
    const visits = async (times: number) => {
      await inParallel(times, together, (n) => visit(server, n))
      await haveGone(context)
    }
    await visits(context.size(1_500, 5_000))
    const times = context.size(2_500, 100_000)
    await growsBy(context, "visit", times, 16, () => visits(times))
  },
})

const refusals: ReadonlyArray<{ readonly path: string; readonly status: number }> = [
  { path: "/REFUSED", status: 401 },
  { path: "/%E0%A4%A", status: 400 },
  { path: "/", status: 400 },
]

export const manyRefusals = fault({
  id: "F3",
  promise: "failed upgrades leave 16 bytes of heap at most, and no handle, fiber or timer",
  ...measured,
  server: { auth: "secret", observed: false },
  check: async ({ context, server }) => {
    const knock = async (n: number) => {
      const { path, status } = refusals[n % refusals.length]!
      const station = await RawStation.connect(server.port, { path, from: addressOf(n), mayFail: true })
      same(station.status, status, `the answer to ${path}`)
      await station.ended
    }
    await inParallel(context.size(1_500, 5_000), together, knock)
    const times = context.size(3_000, 100_000)
    await growsBy(context, "refusal", times, 16, () => inParallel(times, together, knock))
  },
})

/** Some thousand stations a process: each may have 20,000 files open. */
const fleets = async (context: Context, server: ServerSubject, count: number): Promise<ReadonlyArray<FleetSubject>> => {
  const parts = context.size(1, 2)
  const all: Array<FleetSubject> = []
  for (let part = 0; part < parts; part++) {
    const identity = `FLEET${part}-`
    const setup = { endpoint: server.endpoint, count: count / parts, identity, observed: false }
    const options = { pingInterval: 30_000, webSocket: { localAddress: addressOf(part) } }
    const fleet = await context.fleet({ ...setup, options })
    same(fleet.tags, { ok: count / parts }, "how the stations have connected")
    all.push(fleet)
  }
  return all
}

/** Lets every station call for some seconds. Gives the number of answers. */
const heartbeats = async (all: ReadonlyArray<FleetSubject>, seconds: number, pause: number): Promise<number> => {
  const times = Math.ceil((1_000 * seconds) / pause)
  const tallies = await Promise.all(all.map((fleet) => fleet.callEach({ action: "Heartbeat", times, pause })))
  for (const { ok: _, ...lost } of tallies) same(lost, {}, "heartbeats that were lost")
  return tallies.reduce((sum, { ok = 0 }) => sum + ok, 0)
}

export const held = fault({
  id: "F4",
  promise: "10,000 connections with heartbeats for 10 minutes: none is lost, and each takes 24 KiB at most",
  ...measured,
  server: { observed: false },
  check: async ({ context, server }) => {
    const count = context.size(500, 10_000)
    const seconds = context.size(4, 600)
    await inParallel(200, together, (n) => visit(server, n))
    const before = await context.memory()
    const all = await fleets(context, server, count)
    const pause = context.size(1_000, 30_000)
    const answered = await heartbeats(all, seconds, pause)
    same(answered, count * Math.ceil((1_000 * seconds) / pause), "heartbeats that were answered")
    same((await context.counters()).stations, count + 1, "connections")
    const grown = (await context.memory()).rss - before.rss
    context.note(`${(grown / KiB / count).toFixed(1)} KiB of RSS a connection`)
    // The young generation of the heap breathes by some MiB.
    check(grown < 24 * KiB * count + 16 * KiB * KiB, `${grown} bytes of RSS for ${count} connections`)
    for (const fleet of all) await fleet.close()
  },
})

export const closed = fault({
  id: "F5",
  promise: "when all connections are closed the heap is where it was: 1 % and 500 bytes for each at most",
  ...measured,
  server: { observed: false },
  check: async ({ context, server }) => {
    const count = context.size(500, 10_000)
    const start = await context.heap()
    const comeAndGo = async () => {
      const all = await fleets(context, server, count)
      await heartbeats(all, 1, 1_000)
      same((await context.counters()).stations, count + 1, "connections")
      const kept = (await context.heap()) - start
      context.note(`${(kept / KiB / count).toFixed(1)} KiB of heap a connection`)
      await Promise.all(all.map((fleet) => fleet.close()))
      await haveGone(context, 60_000)
    }
    await comeAndGo()
    const before = await context.heap()
    await comeAndGo()
    const grown = (await context.heap()) - before
    context.note(`${(grown / count).toFixed()} bytes of heap a connection that has gone`)
    check(grown < before / 100 + 500 * count, `${grown} bytes of heap are left of ${count} connections`)
  },
})

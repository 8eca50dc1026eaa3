/** F. Endurance: what is left of much. */
import { type Case, type Context, check, type FleetSubject, type ServerSubject, same, until } from "./Case.ts"
import type { Memory } from "./Program.ts"
import { RawStation } from "./raw.ts"

const KiB = 1024

/** What the engine keeps of code that has become hot does not depend on how often it ran. */
const hot = 500_000

const heapOf = ({ external, heapUsed }: Memory): number => heapUsed + external

/** So many at a time, one after the other. */
const often = async (times: number, together: number, work: (n: number) => Promise<void>): Promise<void> => {
  let next = 0
  const worker = async () => {
    while (next < times) await work(next++)
  }
  await Promise.all(Array.from({ length: together }, worker))
}

/** An address for the n-th connection. */
const addressOf = (n: number): string => `127.0.0.${2 + (n % 40)}`

const bytesOfHeap = async (context: Context, what: string, times: number, each: number, work: () => Promise<void>) => {
  const before = heapOf(await context.memory())
  await work()
  const grown = heapOf(await context.memory()) - before
  context.note(`${(grown / times).toFixed(2)} bytes of heap a ${what}`)
  check(grown < each * times + hot, `${grown} bytes of heap are left of ${times} times ${what}`)
}

const manyCalls: Case = {
  id: "F1",
  name: "calls on 200 connections leave half a byte of heap each at most",
  fresh: true,
  patience: 120_000,
  run: async (context) => {
    const server = await context.serve({ observed: false })
    const count = context.size(50, 200)
    const fleet = await context.fleet({ endpoint: server.endpoint, count, observed: false })
    const call = async (times: number) => {
      const setup = { action: "BootNotification", payload: { chargePointVendor: "A", chargePointModel: "B" } }
      same(await fleet.callEach({ ...setup, times: times / count }), { ok: times }, "how calls have ended")
    }
    await call(context.size(20_000, 50_000))
    const times = context.size(40_000, 1_000_000)
    await bytesOfHeap(context, "call", times, 0.5, () => call(times))
    await fleet.close()
  },
}

/** Connects, calls, and goes without a word, or with a reset. */
const visit = async (server: ServerSubject, n: number): Promise<void> => {
  const station = await RawStation.connect(server.port, { path: `/VISITOR${n % 1_000}`, from: addressOf(n) })
  const answer = await station.ask("1", "Heartbeat")
  same(answer.slice(0, 2), [3, "1"], "the answer")
  if (n % 2 === 0) station.socket.resetAndDestroy()
  else station.socket.destroy()
  await station.ended
}

const manyVisits: Case = {
  id: "F2",
  name: "connecting, calling and vanishing leaves 16 bytes of heap at most, and no handle, fiber or timer",
  fresh: true,
  patience: 120_000,
  run: async (context) => {
    const server = await context.serve({ observed: false })
    const visits = async (times: number) => {
      await often(times, 20, (n) => visit(server, n))
      await until("all have gone", async () => (await context.counters()).stations === 1)
    }
    await visits(context.size(1_500, 5_000))
    const times = context.size(2_500, 100_000)
    await bytesOfHeap(context, "visit", times, 16, () => visits(times))
  },
}

const refusals: ReadonlyArray<{ readonly path: string; readonly status: number }> = [
  { path: "/REFUSED", status: 401 },
  { path: "/%E0%A4%A", status: 400 },
  { path: "/", status: 400 },
]

const manyRefusals: Case = {
  id: "F3",
  name: "failed upgrades leave 16 bytes of heap at most, and no handle, fiber or timer",
  fresh: true,
  patience: 120_000,
  run: async (context) => {
    const server = await context.serve({ auth: "secret", observed: false })
    const knock = async (n: number) => {
      const { path, status } = refusals[n % refusals.length]!
      const station = await RawStation.connect(server.port, { path, from: addressOf(n), mayFail: true })
      same(station.status, status, `the answer to ${path}`)
      await station.ended
    }
    await often(context.size(1_500, 5_000), 20, knock)
    const times = context.size(3_000, 100_000)
    await bytesOfHeap(context, "refusal", times, 16, () => often(times, 20, knock))
  },
}

/** Some thousand stations a process: each may have 20,000 files open. */
const fleets = async (context: Context, server: ServerSubject, count: number) => {
  const parts = context.size(1, 2)
  const all = []
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

const heartbeats = async (all: ReadonlyArray<FleetSubject>, seconds: number, pause: number): Promise<number> => {
  const times = Math.ceil((1_000 * seconds) / pause)
  const tallies = await Promise.all(all.map((fleet) => fleet.callEach({ action: "Heartbeat", times, pause })))
  for (const { ok: _, ...lost } of tallies) same(lost, {}, "heartbeats that were lost")
  return tallies.reduce((sum, { ok = 0 }) => sum + ok, 0)
}

const held: Case = {
  id: "F4",
  name: "10,000 connections with heartbeats for 10 minutes: none is lost, and each takes 24 KiB at most",
  fresh: true,
  patience: 120_000,
  run: async (context) => {
    const count = context.size(500, 10_000)
    const seconds = context.size(4, 600)
    const server = await context.serve({ observed: false })
    await often(200, 20, (n) => visit(server, n))
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
}

const closed: Case = {
  id: "F5",
  name: "when all connections are closed the heap is where it was: 1 % and 500 bytes for each at most",
  fresh: true,
  patience: 120_000,
  run: async (context) => {
    const count = context.size(500, 10_000)
    const server = await context.serve({ observed: false })
    const start = heapOf(await context.memory())
    const comeAndGo = async () => {
      const all = await fleets(context, server, count)
      await heartbeats(all, 1, 1_000)
      same((await context.counters()).stations, count + 1, "connections")
      const held = heapOf(await context.memory()) - start
      context.note(`${(held / KiB / count).toFixed(1)} KiB of heap a connection`)
      await Promise.all(all.map((fleet) => fleet.close()))
      await until("all have gone", async () => (await context.counters()).stations === 1, 60_000)
    }
    await comeAndGo()
    const before = heapOf(await context.memory())
    await comeAndGo()
    const grown = heapOf(await context.memory()) - before
    context.note(`${(grown / count).toFixed()} bytes of heap a connection that has gone`)
    check(grown < before / 100 + 500 * count, `${grown} bytes of heap are left of ${count} connections`)
  },
}

export const cases: ReadonlyArray<Case> = [manyCalls, manyVisits, manyRefusals, held, closed]

/** A. Connections that break, freeze or are not read. */
import { Buffer } from "node:buffer"
import { frame, Opcode } from "../../../test/support/frames.ts"
import { until, within } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { wordsOf } from "../faces.ts"
import { allEnd } from "../outcomes.ts"
import type { ServerSubject } from "../subjects.ts"
import type { Outcome } from "../victim/commands.ts"

const MiB = 1024 * 1024

const ping = 500

export const halfOpen = fault({
  id: "A1",
  promise:
    "a half-open connection is found by both sides within two ping intervals; calls fail; the client backs off and returns",
  server: (face) => ({
    handlers: { Heartbeat: "heartbeat", "*": "gated" },
    options: wordsOf(face, { pingInterval: ping, callTimeout: 30_000 }),
  }),
  check: async ({ context, face, server }) => {
    const { endpoint, proxy } = await context.proxy(server)
    const durations = { pingInterval: ping, callTimeout: 30_000, reconnect: 200, handshakeTimeout: 500 }
    const handlers = { "*": "gated" }
    const station = await context.dial({ face, endpoint, handlers, options: wordsOf(face, durations) })
    check(station.outcome.ok, `the station did not connect: ${JSON.stringify(station.outcome)}`)
    const calls = [station.call({ action: "Authorize" }), server.call({ action: "ClearCache", identity: "CP001" })]
    await context.handlersRun(2)
    proxy.weather.swallow = true
    const start = Date.now()
    await server.event(/^Close 1006 ping timeout/, "CP001")
    await station.event(/^Disconnect 1006 ping timeout/)
    const found = Date.now() - start
    check(found < 2 * ping + 1_500, `found after ${found} ms`)
    for (const outcomes of await Promise.all(calls)) allEnd(outcomes, "DisconnectedError", "the call")
    await until("the client tries again, in vain", async () => ((await station.counts()).Connecting ?? 0) >= 3)
    proxy.weather.swallow = false
    await until("the client is back", async () => ((await station.counts()).Open ?? 0) === 2)
    await station.close({ force: true })
  },
})

export const reset = fault({
  id: "A2",
  promise: "a reset in mid-life is a 1006 and nothing worse: each call settles once, handlers are interrupted",
  server: { handlers: { Heartbeat: "heartbeat", "*": "never" } },
  check: async ({ attack, context, face, server }) => {
    const attacker = await attack()
    attacker.send([2, "1", "Authorize", {}])
    await context.handlersRun(1)
    const ours = server.call({ action: "ClearCache", identity: "ATTACKER", times: 3 })
    await attacker.receive()
    attacker.socket.resetAndDestroy()
    allEnd(await ours, "DisconnectedError", "the calls of the server")
    await context.handlersRun(0)

    const { endpoint, proxy } = await context.proxy(server)
    const station = await context.dial({ face, endpoint })
    const calls = station.call({ action: "Authorize", times: 3 })
    await context.handlersRun(1)
    proxy.cut("reset")
    allEnd(await calls, "DisconnectedError", "the calls of the station")
    await station.event(/^Close 1006/)
  },
  tells: [/^Close 1006/],
})

/** The first call to a peer that does not read finds a connection; later ones may find nobody. */
const allAreLost = (outcomes: ReadonlyArray<Outcome>): void => {
  allEnd(outcomes.slice(0, 1), "DisconnectedError", "the first call")
  allEnd(outcomes.slice(1), ["DisconnectedError", "NotConnectedError"], "the other calls")
}

const large = { text: "x".repeat(64 * 1024) }
const manyCalls = { callConcurrency: 10_000, maxQueuedCalls: 10_000 }

/** Connects a station from a process that is then frozen. */
const connectFrozen = async (context: Context, server: ServerSubject, identity: string): Promise<void> => {
  const tool = context.spawn()
  const setup = { process: tool, bystander: false, endpoint: server.endpoint, identity }
  const station = await context.dial(setup)
  check(station.outcome.ok, "the station did not connect")
  tool.signal("SIGSTOP")
  context.finally(() => tool.signal("SIGCONT"))
}

export const frozen = fault({
  id: "A3",
  promise: "a frozen peer is found within two ping intervals, and the bytes that wait for it stay under the cap",
  fresh: true,
  faces: ["effect"],
  server: { options: { pingInterval: 1_000, ...manyCalls } },
  check: async ({ context, server }) => {
    await connectFrozen(context, server, "CP001")
    const start = Date.now()
    let outcomes: ReadonlyArray<Outcome> = []
    const peak = await context.peak(async () => {
      outcomes = await server.call({ action: "DataTransfer", identity: "CP001", payload: large, times: 2_000 })
    })
    allAreLost(outcomes)
    await server.event(/^Close 1006 (ping timeout|the peer reads too slowly)/, "CP001")
    check(Date.now() - start < 9_000, `found after ${Date.now() - start} ms`)
    // The young generation of the heap breathes by some MiB; without the cap all of the 128 would wait.
    check(peak < 48 * MiB, `the process grew by ${peak} bytes for the frozen peer`)

    // When nothing is sent, only pings can find it.
    await connectFrozen(context, server, "SILENT")
    const silentSince = Date.now()
    await server.event(/^Close 1006 ping timeout/, "SILENT")
    const found = Date.now() - silentSince
    check(found < 2 * 1_000 + 1_500, `found after ${found} ms`)
  },
})

export const slowConsumer = fault({
  id: "A4",
  promise:
    "a slow consumer costs no more than the cap and a message: then calls fail, it is closed with 1013, others go on",
  fresh: true,
  faces: ["effect"],
  server: { options: manyCalls },
  check: async ({ attack, context, server }) => {
    const attacker = await attack()
    attacker.socket.pause()
    const before = await context.heap()
    const times = context.size(800, 3_000)
    const outcomes = await server.call({ action: "DataTransfer", identity: "ATTACKER", payload: large, times })
    const grown = (await context.heap()) - before
    allAreLost(outcomes)
    check(grown < 3 * MiB, `${grown} bytes wait for the slow peer`)
    attacker.socket.resume()
    same((await attacker.ended).code, 1013, "the close code, once it reads again")
  },
  tells: [/^Close 1013 /],
})

export const pingFlood = fault({
  id: "A5",
  promise: "a peer that floods with pings and does not read is dropped; memory stays where it was",
  fresh: true,
  faces: ["effect"],
  server: {},
  check: async ({ attack, context }) => {
    const flood = async () => {
      const attacker = await attack()
      attacker.socket.pause()
      const pings = Buffer.concat(Array(2_000).fill(frame(Opcode.Ping, "x".repeat(125))))
      for (let sent = 0; sent < 200_000 && !attacker.socket.destroyed; sent += 2_000) {
        attacker.write(pings)
        await new Promise((resolve) => setImmediate(resolve))
      }
      attacker.socket.resume()
      await within(10_000, "dropped", attacker.ended)
    }
    await flood()
    const before = await context.heap()
    const peak = await context.peak(flood)
    const grown = (await context.heap()) - before
    check(grown < MiB, `memory grew by ${grown} bytes`)
    // The young generation of the heap breathes by some MiB; without the limit of ws it is 109.
    check(peak < 24 * MiB, `the process grew by ${peak} bytes`)
  },
  tells: [/^(Disconnect|Close) 1006 .*ping/i],
})

/** D. Losing a connection and coming back. */
import type * as Net from "node:net"
import { pause, until } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { wordsOf } from "../faces.ts"
import { tagOf } from "../outcomes.ts"
import { switching } from "../rawServers.ts"
import type * as Backoff from "../victim/programs/backoff.ts"
import type * as WallClock from "../victim/programs/wallClock.ts"
import { programs } from "../victim/programs.ts"
import { isAlive } from "./d-admission.ts"

const backoffs = programs<typeof Backoff>(new URL("../victim/programs/backoff.ts", import.meta.url))
const wallClocks = programs<typeof WallClock>(new URL("../victim/programs/wallClock.ts", import.meta.url))

/** A server in a process that is a tool of the case, and may die. */
const ownServer = async (context: Context, port = 0) => {
  const process = context.spawn()
  const { id, port: actual } = await process.do("serve", { port })
  const connectedAt = () => process.do("connectedAt", { on: id })
  return { process, port: actual, endpoint: `ws://127.0.0.1:${actual}`, connectedAt }
}

/** The largest number of times that lie within so many milliseconds. */
const mostWithin = (times: ReadonlyArray<number>, millis: number): number => {
  let most = 0
  let first = 0
  for (const [i, time] of times.entries()) {
    while (time - times[first]! >= millis) first++
    most = Math.max(most, i - first + 1)
  }
  return most
}

export const stampede = fault({
  id: "D1",
  promise:
    "when a server restarts its stations come back spread over the random range: no 100 ms get more than twice the mean",
  patience: 120_000,
  faces: "once",
  check: async ({ context }) => {
    const count = context.size(600, 3_000)
    // As many to the 100 ms as of 3,000 stations over the 10 s of the specification's default.
    const range = context.size(2_000, 10_000)
    const server = await ownServer(context)
    const options = { reconnect: { minimum: 2_000, range } }
    const fleet = await context.fleet({ endpoint: server.endpoint, count, options })
    same(fleet.tags, { ok: count }, "how the stations have connected")
    await server.process.kill()
    const again = await ownServer(context, server.port)
    await until("all are back", async () => (await again.connectedAt()).length >= count, 60_000)
    const times = [...(await again.connectedAt())].sort((a, b) => a - b)
    const mean = (100 * count) / range
    const spread = times.at(-1)! - times[0]!
    const most = mostWithin(times, 100)
    context.note(`at most ${most} of ${count} within 100 ms, ${mean} in the mean; all within ${spread} ms`)
    // A busy machine holds some up, and then has them all at once.
    check(mostWithin(times, 500) <= 2 * 5 * mean, `${mostWithin(times, 500)} of ${count} came within 500 ms`)
    check(!context.full || most <= 2 * mean, `${most} of ${count} came within 100 ms`)
    check(spread > range / 2, `all came within ${spread} ms`)
  },
})

export const backoff = fault({
  id: "D2",
  promise:
    "simulated sequences of losses and attempts keep the specification's back-off law exactly; only a connection that lasted resets it",
  patience: 120_000,
  faces: "once",
  check: async ({ context }) => {
    const process = context.spawn()
    const sequences = context.size(200, 100_000)
    same(await backoffs(process, "simulate", sequences), [], `deviations of ${sequences} sequences`)
    same(process.faults, [], "faults of the process")
  },
})

export const closeMeanwhile = fault<"back-off" | "dial">({
  id: "D12",
  promise: "a client that is closed during its back-off or while it dials tries no more, and leaves no timer",
  server: {},
  inputs: { "during its back-off": "back-off", "while it dials": "dial" },
  check: async ({ context, face, input, server }) => {
    const isDialling = input === "dial"
    const { endpoint, proxy } = await context.proxy(server)
    const wait = isDialling ? 50 : 1_000
    const station = await context.dial({ face, endpoint, options: wordsOf(face, { reconnect: wait }) })
    await station.call({ action: "Heartbeat" })
    if (isDialling) proxy.weather.swallow = true
    proxy.cut("reset")
    await station.event(/^Disconnect/)
    if (isDialling) await until("it dials", () => proxy.connections === 1)
    const waiting = station.call({ action: "Heartbeat" })
    const before = (await station.counts()).Connecting
    const start = Date.now()
    check((await station.close()).ok, "close has failed")
    check(Date.now() - start < 1_000, `closing took ${Date.now() - start} ms`)
    same(tagOf((await waiting)[0]), "DisconnectedError", "a call that waits for the connection")
    proxy.weather.swallow = false
    proxy.cut("reset")
    await until("no connection is left", () => proxy.connections === 0)
    // As long as it would have waited, and a little more: an attempt that must not come has no event.
    await pause(wait + 300)
    same([(await station.counts()).Connecting, proxy.connections], [before, 0], "attempts, and connections")
  },
})

export const otherProtocol = fault({
  id: "D13",
  promise:
    "after a reconnect only the subprotocol of the first connection is offered, and a server that chooses another is left for good",
  check: async ({ context, face }) => {
    let chosen = "ocpp1.6"
    const sockets: Array<Net.Socket> = []
    const server = await context.answering((request, socket) => {
      sockets.push(socket)
      socket.write(switching(request, `Sec-WebSocket-Protocol: ${chosen}`))
    })
    const protocols = ["ocpp2.0.1", "ocpp1.6"]
    const options = wordsOf(face, { reconnect: 100 })
    const station = await context.dial({ face, endpoint: server.endpoint, protocols, options })
    check(station.outcome.ok, "the station did not connect")
    chosen = "ocpp2.0.1"
    sockets[0]?.destroy()
    await station.event(/^Close 1001 giving up: .*subprotocol/)
    const offers = server.requests.map((head) => /^Sec-WebSocket-Protocol: (.*)$/im.exec(head)?.[1]?.trim())
    same(
      offers.map((offer) => offer?.split(/, ?/)),
      [protocols, ["ocpp1.6"]],
      "the offers",
    )
  },
})

export const wallClock = fault({
  id: "D16",
  promise: "when the wall clock jumps by two hours, forth or back, nothing fires, and nothing is put off",
  // Its wall clock stays wrong.
  fresh: true,
  server: (face) => ({
    handlers: { Heartbeat: "heartbeat", "*": "gated" },
    options: { ...wordsOf(face, { pingInterval: 500 }), ...(face === "effect" ? { handlerTimeout: 60_000 } : {}) },
  }),
  inputs: { forth: 2, back: -2 },
  check: async ({ attack, context, face, input: hours, server }) => {
    const attacker = await attack({ path: "/JUMP" })
    const { endpoint, proxy } = await context.proxy(server)
    const options = wordsOf(face, { reconnect: 1_500, pingInterval: 500 })
    const station = await context.dial({ face, endpoint, identity: "BACK", options })
    proxy.cut("reset")
    await station.event(/^Disconnect/)
    const start = Date.now()
    attacker.send([2, "handled", "DataTransfer", {}])
    const long = server.call({ action: "ClearCache", identity: "JUMP", timeout: 60_000 })
    const [, id] = await attacker.receive()
    const short = station.call({ action: "Heartbeat", timeout: 800 })
    await wallClocks(context.victim, "jump", hours * 3_600_000)
    same(tagOf((await short)[0]), "TimeoutError", "a call of 800 ms")
    const took = Date.now() - start
    check(took > 750 && took < 5_000, `a call of 800 ms ended after ${took} ms`)
    await until("the station is back", async () => ((await station.counts()).Open ?? 0) === 2, 10_000)
    const back = Date.now() - start
    check(back > 1_400, `the station was back after ${back} ms`)
    await context.release()
    same((await attacker.receive()).slice(0, 2), [3, "handled"], "the answer of a handler")
    attacker.send([3, id, {}])
    same(tagOf((await long)[0]), "ok", "a call of a minute")
    await isAlive(attacker, "a connection with pings")
    await station.close()
    attacker.socket.destroy()
  },
})

export const badNetwork = fault({
  id: "D18",
  promise:
    "through a network that is late, cut and stalled no answer is lost or doubled without an error to its caller",
  patience: 120_000,
  server: (face) => ({
    handlers: { Heartbeat: "heartbeat", "*": "echo" },
    options: wordsOf(face, { pingInterval: 500 }),
  }),
  check: async ({ context, face, server }) => {
    const { endpoint, proxy } = await context.proxy(server)
    const count = 20
    const options = wordsOf(face, { reconnect: 100, pingInterval: 500 })
    const fleet = await context.fleet({ face, endpoint, count, options })
    const times = context.size(30, 1_500)
    const calling = fleet.callEach({ action: "DataTransfer", numbered: true, times, timeout: 3_000, pause: 20 })
    let cuts = 0
    let isOver = false
    void calling.finally(() => {
      isOver = true
    })
    // Packets are lost for a while: to TCP a loss is a stall, until it gives up.
    for (; !isOver; cuts++) {
      proxy.weather.latency = [0, 5, 40][cuts % 3]!
      proxy.weather.slice = [Number.POSITIVE_INFINITY, 50][cuts % 2]!
      proxy.weather.swallow = cuts % 4 === 3
      await Promise.race([calling, pause(context.size(250, 5_000))])
      proxy.weather.swallow = false
      proxy.cut(cuts % 2 === 0 ? "reset" : "end")
    }
    const tags = await calling
    const { DisconnectedError = 0, TimeoutError = 0, ok = 0, ...others } = tags
    context.note(`${face}, ${cuts} cuts: ${JSON.stringify(tags)}`)
    same([ok + DisconnectedError + TimeoutError, others], [count * times, {}], "calls that have ended, and how else")
    check(ok > (count * times) / 10, `only ${ok} calls were answered`)
    check(DisconnectedError + TimeoutError > 0, "the network has harmed nobody")
    const handled = await server.handledCount()
    check(handled >= ok, `${ok} answers of ${handled} calls that were handled`)
    same(await server.repeated(), 0, "calls that were handled twice")
    await fleet.close({ force: true })
  },
})

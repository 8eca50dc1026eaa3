/** D. The life of a connection. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import { makeChaosProxy } from "../chaosProxy.ts"
import { type Case, type Context, check, pause, type ServerSubject, same, until, within } from "./Case.ts"
import type { Face, Options, Outcome } from "./Program.ts"
import { exchange, frame, Opcode, type RawStation, smallServer, switching, text, upgrade } from "./raw.ts"

const faces: ReadonlyArray<Face> = ["effect", "promise"]
const MiB = 1024 * 1024

const tagOf = (outcome: Outcome | undefined) => (outcome?.ok === true ? "ok" : outcome?.tag)

/** Reconnects about so many milliseconds after a loss. */
const reconnecting = (face: Face, millis: number): Options =>
  face === "effect"
    ? { reconnect: { minimum: millis, range: 0 } }
    : { reconnect: true, backoff: { initialDelay: millis, maxDelay: millis, randomisationFactor: 0 } }

const chaos = async (context: Context, server: { readonly port: number }) => {
  const proxy = await makeChaosProxy(server.port)
  context.finally(proxy.close)
  return { proxy, endpoint: `ws://127.0.0.1:${proxy.port}` }
}

const isAlive = async (station: RawStation, what: string): Promise<void> =>
  same((await station.ask("alive", "Heartbeat")).slice(0, 2), [3, "alive"], what)

const stampede: Case = {
  id: "D1",
  name: "when a server restarts its stations come back spread over the random range: no 100 ms get more than twice the mean",
  patience: 120_000,
  run: async (context) => {
    const count = context.size(600, 3_000)
    // As many to the 100 ms as of 3,000 stations over the 10 s of the specification's default.
    const range = context.size(2_000, 10_000)
    const { process, server } = await ownServer(context)
    const fleet = await context.fleet({
      endpoint: server.endpoint,
      count,
      options: { reconnect: { minimum: 2_000, range } },
    })
    same(fleet.tags, { ok: count }, "how the stations have connected")
    await process.kill()
    const again = await ownServer(context, server.port)
    await until("all are back", async () => (await again.server.connectedAt()).length >= count, 60_000)
    const times = [...(await again.server.connectedAt())].sort((a, b) => a - b)
    const mean = (100 * count) / range
    const spread = times.at(-1)! - times[0]!
    const most = mostWithin(times, 100)
    context.note(`at most ${most} of ${count} within 100 ms, ${mean} in the mean; all within ${spread} ms`)
    // A busy machine holds some up, and then has them all at once.
    check(mostWithin(times, 500) <= 2 * 5 * mean, `${mostWithin(times, 500)} of ${count} came within 500 ms`)
    check(!context.full || most <= 2 * mean, `${most} of ${count} came within 100 ms`)
    check(spread > range / 2, `all came within ${spread} ms`)
  },
}

/** A server in a process that is a tool of the case, and may die. */
const ownServer = async (context: Context, port = 0) => {
  const process = await context.spawn()
  const { id, port: actual } = await process.ask("serve", { port })
  const connectedAt = () => process.ask("connectedAt", { on: id })
  return { process, server: { id, port: actual, endpoint: `ws://127.0.0.1:${actual}`, connectedAt } }
}

const mostWithin = (times: ReadonlyArray<number>, millis: number): number => {
  let most = 0
  let first = 0
  for (const [i, time] of times.entries()) {
    while (time - times[first]! >= millis) first++
    most = Math.max(most, i - first + 1)
  }
  return most
}

const backoff: Case = {
  id: "D2",
  name: "simulated sequences of losses and attempts keep the specification's back-off law exactly; only what lasted resets it",
  patience: 120_000,
  run: async (context) => {
    const process = await context.spawn()
    const sequences = context.size(200, 100_000)
    same(await process.ask("simulateBackoff", { sequences }), [], `deviations of ${sequences} sequences`)
    same(process.problems, [], "problems of the process")
  },
}

const duplicates: Case = {
  id: "D3",
  name: "same identity twice: authenticated first, then replace (1008, its calls fail), reject (409) or allow; a late close removes nothing",
  run: async (context) => {
    const right = { path: "/TWICE", headers: [basicOf("TWICE", "secret")] }
    const wrong = { path: "/TWICE", headers: [basicOf("TWICE", "wrong")], mayFail: true }
    const server = await context.serve({ auth: "secret" })
    const older = await context.attack(server, { ...right, polite: false })
    same((await context.attack(server, wrong)).status, 401, "a duplicate that is not authenticated")
    await isAlive(older, "the older, after a duplicate with a wrong password")
    const call = server.call({ action: "ClearCache", identity: "TWICE" })
    await older.receive()
    const newer = await context.attack(server, right)
    same(tagOf((await call)[0]), "DisconnectedError", "the call to the older")
    await until("the older is told", () => older.frames.some(({ opcode }) => opcode === Opcode.Close))
    const close = older.frames.find(({ opcode }) => opcode === Opcode.Close)
    same(close?.payload.readUInt16BE(), 1008, "the close code of the older")
    await reaches(server, newer, "while the older closes")
    older.socket.destroy()
    await server.event(/^Close 1006 replaced by a newer connection/, "TWICE")
    await reaches(server, newer, "when the older has closed")
    await others(context)
  },
}

const basicOf = (user: string, password: string) =>
  `Authorization: Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`

/** The server's next call comes to this station. */
const reaches = async (server: ServerSubject, station: RawStation, what: string): Promise<void> => {
  const call = server.call({ action: "ClearCache", identity: "TWICE", timeout: 5_000 })
  const [type, id] = await station.receive()
  same(type, 2, `what comes to the newer ${what}`)
  station.send([3, id, {}])
  same(tagOf((await call)[0]), "ok", `the call ${what}`)
}

const others = async (context: Context): Promise<void> => {
  const path = "/TWICE"
  const rejecting = await context.serve({ options: { duplicateIdentity: "reject" } })
  const first = await context.attack(rejecting, { path })
  same((await context.attack(rejecting, { path, mayFail: true })).status, 409, "a second")
  await isAlive(first, "the first of two, where the second is rejected")
  first.socket.destroy()
  await rejecting.event(/^Close 1006/, "TWICE")
  await isAlive(await context.attack(rejecting, { path }), "the next, when the first has gone")
  for (const face of faces) {
    const options = face === "effect" ? { duplicateIdentity: "allow" } : {}
    const allowing = await context.serve({ face, options })
    const one = await context.attack(allowing, { path })
    const two = await context.attack(allowing, { path })
    for (const station of [one, two]) await isAlive(station, "each of two that are allowed")
    await reaches(allowing, two, "where both are allowed")
    two.socket.destroy()
    await allowing.event(/^Close 1006/, "TWICE")
    await reaches(allowing, one, "when the newer has gone")
  }
}

const badAuth: Case = {
  id: "D4",
  name: "auth that never settles gets 503 after its deadline; one that throws or rejects 500; the first of two verdicts counts",
  run: async (context) => {
    const status = async (server: ServerSubject) => (await context.attack(server, { mayFail: true })).status
    // The promise face has no option for it: it is the default that is waited for.
    const slow = faces.map(async (face) => {
      const server = await context.serve({
        face,
        auth: "never",
        options: face === "effect" ? { authTimeout: 500 } : {},
      })
      const start = Date.now()
      same(await status(server), 503, `${face}: auth that never settles`)
      const took = Date.now() - start
      const limit = face === "effect" ? 500 : 10_000
      check(took > limit - 100 && took < limit + 3_000, `${face}: refused after ${took} ms`)
      await server.event(/^UpgradeAborted 503 authentication took too long/, "ATTACKER")
    })
    await Promise.all(slow)
    for (const face of faces) {
      for (const auth of ["throws", "rejects"]) {
        const server = await context.serve({ face, auth })
        same(await status(server), 500, `${face}: auth that ${auth}`)
        await server.event(/^UpgradeAborted/, "ATTACKER")
      }
    }
    const both = await context.serve({ face: "promise", auth: "both" })
    await isAlive(await context.attack(both), "who was accepted first, then rejected")
    same((await both.counts()).UpgradeAborted ?? 0, 0, "refusals of who was accepted")
  },
}

const goneDuringAuth: Case = {
  id: "D5",
  name: "when the socket goes during auth, auth is interrupted within 100 ms, and nothing is created",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, auth: "gated" })
      const before = await server.authCount()
      let best = Number.POSITIVE_INFINITY
      let asked = 0
      for (; asked < 20 && (asked < 3 || best > 100); asked++) {
        best = Math.min(best, await interruption(context, server, before + asked, asked % 2 === 0))
      }
      check(best <= 100, `auth was interrupted after ${best} ms at best`)
      await context.victim.ask("release", null)
      const isTold = async () => ((await server.counts()).UpgradeAborted ?? 0) === asked
      await until("each is told of", isTold)
      const connected = (await server.events("ATTACKER")).filter(({ tag }) => tag === "Connected")
      same(connected, [], "stations that were created")
    }
  },
}

/** How long auth goes on after its socket. */
const interruption = async (context: Context, server: ServerSubject, asked: number, reset: boolean) => {
  const socket = Net.connect({ port: server.port, host: "127.0.0.1" }, () => socket.write(upgrade()))
  socket.on("error", () => {})
  context.finally(() => socket.destroy())
  await until("auth is asked", async () => (await server.authCount()) === asked + 1)
  const start = Date.now()
  if (reset) socket.resetAndDestroy()
  else socket.end()
  await until("auth is interrupted", async () => (await context.counters()).auths === 0)
  return Date.now() - start
}

const floodDuringAuth: Case = {
  id: "D6",
  name: "10 MB that are sent during auth are not kept, and none of them is lost",
  fresh: true,
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, auth: "gated", handlers: { Heartbeat: "heartbeat", "*": "empty" } })
      const before = await context.memory()
      const count = 200
      const calls = Array.from({ length: count }, (_, n) =>
        text([2, `${n}`, "DataTransfer", { data: "x".repeat(50_000) }]),
      )
      const connected = context.attack(server, { ahead: Buffer.concat(calls) })
      await until("auth is asked", async () => (await server.authCount()) === 1)
      // What the victim takes it has taken by the time it has answered some times.
      for (let i = 0; i < 20; i++) await context.counters()
      const after = await context.memory()
      const grown = after.heapUsed + after.external - before.heapUsed - before.external
      check(grown < MiB, `${grown} bytes are kept`)
      await context.victim.ask("release", null)
      const station = await connected
      await until("all are answered", () => station.frames.length === count)
      same(await server.handledCount(), count, "calls that were handled")
    }
  },
}

const wrongPasswords: Case = {
  id: "D7",
  name: "of thousands of upgrades with wrong passwords 256 are considered at a time, the others refused with 503",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, auth: "slowSecret" })
      const count = context.size(800, 5_000)
      const bytes = upgrade({ headers: [basicOf("ATTACKER", "wrong")] })
      const statuses: Record<number, number> = {}
      const all = Promise.all(
        Array.from({ length: count }, async () => {
          const { status } = await exchange(server.port, bytes, 60_000)
          statuses[status] = (statuses[status] ?? 0) + 1
        }),
      )
      await until("the others are refused", () => statuses[503] === count - 256)
      same([await server.authCount(), (await context.counters()).auths], [256, 256], "decisions that are awaited")
      await context.victim.ask("release", null)
      await all
      same(statuses, { 401: 256, 503: count - 256 }, "the answers")
      same((await server.counts()).UpgradeAborted, count, "refusals that were told")
      const right = context.attack(server, { headers: [basicOf("ATTACKER", "secret")] })
      await until("auth is asked", async () => (await server.authCount()) === 257)
      await context.victim.ask("release", null)
      await isAlive(await right, "who has the password")
    }
  },
}

const tooMany: Case = {
  id: "D8",
  name: "more connections than are allowed get 503 before auth is asked, until one has gone",
  run: async (context) => {
    const allowed = 10
    const server = await context.serve({ auth: "everybody", options: { maxConnections: allowed + 1 } })
    const stations = []
    for (let n = 0; n < allowed; n++) stations.push(await context.attack(server, { path: `/CP${n}` }))
    same((await context.attack(server, { path: "/MORE", mayFail: true })).status, 503, "one more")
    same(await server.authCount(), allowed, "how often auth was asked")
    await server.event(/^UpgradeAborted 503/)
    for (const station of stations) await isAlive(station, "who is connected")
    stations[0]?.socket.destroy()
    await server.event(/^Close/, "CP0")
    await isAlive(await context.attack(server, { path: "/MORE" }), "one more, when one has gone")
  },
}

const result = (id: unknown) => text([3, id, {}])

const closeAnywhere: Case = {
  id: "D9",
  name: "a connection that ends at any point of a call, by either side, in any manner, ends the call once",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, options: { callConcurrency: 2 } })
      const length = result("x".repeat(36)).length
      for (let bytes = 0; bytes <= length; bytes += context.size(7, 1)) {
        for (const end of ["end", "reset", "close"] as const) await cutAnswer(context, server, bytes, end)
      }
      const tags = await closedByUs(context, face)
      check(
        tags.every((tag) => tag === "ok" || tag === "DisconnectedError"),
        `how calls ended: ${tags.join(", ")}`,
      )
      await server.event(/^Close/, "CUT")
    }
  },
}

/** The answer to the first of three calls is cut after some bytes. */
const cutAnswer = async (context: Context, server: ServerSubject, bytes: number, end: "end" | "reset" | "close") => {
  const station = await context.attack(server, { path: "/CUT" })
  const calls = server.call({ action: "ClearCache", identity: "CUT", times: 3 })
  const [, id] = await station.receive()
  const answer = result(id)
  station.write(answer.subarray(0, bytes))
  if (end === "reset") station.socket.resetAndDestroy()
  else if (end === "end") station.socket.end()
  else station.socket.end(frame(Opcode.Close))
  const tags = (await calls).map(tagOf)
  // A reset may overtake what was sent before it.
  const isWhole = bytes === answer.length && end !== "reset"
  const expected = isWhole ? "ok" : "DisconnectedError"
  const first = bytes === answer.length && end === "reset" ? tags[0] : expected
  same(tags, [first, "DisconnectedError", "DisconnectedError"], `${bytes} bytes, then ${end}`)
  await station.ended
}

const closings: ReadonlyArray<Options> = [{}, { force: true }, { awaitPending: true }, { code: 3001, reason: "bye" }]

const closedByUs = async (context: Context, face: Face): Promise<ReadonlyArray<string | undefined>> => {
  const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "echo" } })
  const tags = []
  for (const options of closings) {
    for (const isLater of [false, true]) {
      const station = await context.dial({ face, endpoint: server.endpoint, identity: "CLOSING" })
      const calls = station.call({ action: "DataTransfer", times: 3 })
      if (isLater) await until("a call is answered", async () => (await server.handledCount()) > 0)
      const [outcomes] = await Promise.all([calls, station.close(options)])
      tags.push(...outcomes.map(tagOf))
      const isForced = options.awaitPending !== true
      check(isForced || outcomes.every(({ ok }) => ok), "calls that were waited for")
    }
  }
  return tags
}

const shutdown: Case = {
  id: "D10",
  name: "a server shuts down with half of its handlers hung: no new stations, its grace for the others, 1001, and the process ends",
  patience: 120_000,
  run: async (context) => {
    for (const face of faces) await shutDown(context, face)
  },
}

const shutDown = async (context: Context, face: Face): Promise<void> => {
  const count = context.size(200, 5_000)
  // The promise face waits for calls no longer than its call timeout, the Effect face for its grace.
  const grace = 2_000
  const options = face === "effect" ? { shutdownGrace: grace } : { callTimeoutMs: grace }
  const process = await context.spawn()
  const handlers = { Heartbeat: "heartbeat", Hung: "never", "*": "gated" }
  const { id, port } = await process.ask("serve", { face, handlers, options })
  const endpoint = `ws://127.0.0.1:${port}`
  const tool = await context.spawn()
  const halves = await Promise.all(
    ["HUNG", "GATED"].map((identity) => context.fleet({ process: tool, endpoint, identity, count: count / 2 })),
  )
  const [hung, gated] = halves.map((half, i) => half.callEach({ action: i === 0 ? "Hung" : "DataTransfer" }))
  await until("all are handled", async () => (await process.ask("counters", null)).handlers === count, 60_000)
  const start = Date.now()
  const ended = process.ask("shutdown", { on: id })
  await until("nobody is let in", async () => (await exchange(port, upgrade())).status !== 101)
  await process.ask("release", null)
  same(await gated, { ok: count / 2 }, "calls that ended within the grace")
  check((await ended).ok, "the shutdown has failed")
  const took = Date.now() - start
  same(await hung, { DisconnectedError: count / 2 }, "calls whose handlers hung")
  check(took >= grace - 100 && took < grace + 2_000, `the shutdown took ${took} ms`)
  for (const half of halves) await closedWith1001(half)
  await process.ask("leave", null)
  await until("the process ends by itself", () => process.ended, 5_000)
  same([process.ended, process.problems], ["exit 0", []], "how the process has ended, and its problems")
}

const closedWith1001 = async (half: { events: ServerSubject["events"] }): Promise<void> => {
  await until("the stations are closed", async () => (await half.events()).some(({ tag }) => tag === "Close"))
  const codes = new Set((await half.events()).flatMap(({ tag, text }) => (tag === "Close" ? [text.slice(0, 4)] : [])))
  same([...codes], ["1001"], "the close codes that the stations got")
}

const silentClose: Case = {
  id: "D11",
  name: "a peer that never answers the close frame is dropped after 5 s",
  run: async (context) => {
    const closing = faces.flatMap((face) => [serverCloses(context, face), stationCloses(context, face)])
    // Five seconds are also the limit of `ws`; another shows ours.
    await Promise.all([...closing, serverCloses(context, "effect", 1_000)])
  },
}

const isAfter = (millis: number, start: number, who: string): void => {
  const took = Date.now() - start
  check(took > millis - 100 && took < millis + 2_500, `${who} ended after ${took} ms`)
}

const serverCloses = async (context: Context, face: Face, millis = 5_000): Promise<void> => {
  const options = millis === 5_000 ? {} : { closeTimeout: millis }
  const server = await context.serve({ face, options, bystander: false })
  const attacker = await context.attack(server, { polite: false })
  const start = Date.now()
  check((await server.close({})).ok, "close has failed")
  isAfter(millis, start, `the server (${face})`)
  await attacker.ended
  same(attacker.frames.at(-1)?.opcode, Opcode.Close, "the last frame")
}

const stationCloses = async (context: Context, face: Face): Promise<void> => {
  const server = await smallServer((request, socket) => {
    socket.write(switching(request, "Sec-WebSocket-Protocol: ocpp1.6"))
  })
  context.finally(server.close)
  const station = await context.dial({ face, endpoint: `ws://127.0.0.1:${server.port}` })
  const start = Date.now()
  check((await station.close()).ok, "close has failed")
  isAfter(5_000, start, `the station (${face})`)
}

const closeMeanwhile: Case = {
  id: "D12",
  name: "a client that is closed during its back-off or while it dials tries no more, and leaves no timer",
  run: async (context) => {
    for (const face of faces) {
      for (const when of ["back-off", "dial"] as const) {
        const server = await context.serve({ face })
        const { endpoint, proxy } = await chaos(context, server)
        const wait = when === "dial" ? 50 : 1_000
        const station = await context.dial({ face, endpoint, options: reconnecting(face, wait) })
        const call = station.call({ action: "Heartbeat" })
        await call
        if (when === "dial") proxy.weather.swallow = true
        proxy.cut("reset")
        await station.event(/^Disconnect/)
        if (when === "dial") await until("it dials", () => proxy.connections === 1)
        const waiting = station.call({ action: "Heartbeat" })
        const before = (await station.counts()).Connecting
        const start = Date.now()
        check((await station.close()).ok, "close has failed")
        check(Date.now() - start < 1_000, `closing took ${Date.now() - start} ms`)
        same(tagOf((await waiting)[0]), "DisconnectedError", "a call that waits for the connection")
        proxy.weather.swallow = false
        proxy.cut("reset")
        await until("no connection is left", () => proxy.connections === 0)
        // As long as it would have waited, and a little more: what must not happen has no event.
        await pause(wait + 300)
        same([(await station.counts()).Connecting, proxy.connections], [before, 0], "attempts, and connections")
      }
    }
  },
}

const otherProtocol: Case = {
  id: "D13",
  name: "after a reconnect only the subprotocol of the first connection is offered, and a server that chooses another is left for good",
  run: async (context) => {
    for (const face of faces) {
      let chosen = "ocpp1.6"
      const sockets: Array<Net.Socket> = []
      const server = await smallServer((request, socket) => {
        sockets.push(socket)
        socket.write(switching(request, `Sec-WebSocket-Protocol: ${chosen}`))
      })
      context.finally(server.close)
      const protocols = ["ocpp2.0.1", "ocpp1.6"]
      const endpoint = `ws://127.0.0.1:${server.port}`
      const station = await context.dial({ face, endpoint, protocols, options: reconnecting(face, 100) })
      check(station.outcome.ok, "the station did not connect")
      chosen = "ocpp2.0.1"
      sockets[0]?.destroy()
      await station.event(/^Close 1001 giving up: .*subprotocol/)
      const offers = server.requests.map((head) => /^Sec-WebSocket-Protocol: (.*)$/im.exec(head)?.[1]?.trim())
      same(
        offers.map((offer) => offer?.split(/, ?/)),
        [protocols, ["ocpp1.6"]],
        "what was offered",
      )
    }
  },
}

const noCommon: Case = {
  id: "D15",
  name: "without a common subprotocol the handshake is completed without one, and the connection closed within 1 s",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, protocols: ["ocpp2.0.1"] as const, bystander: false })
      for (const protocol of face === "effect" ? ["ocpp1.6", "ocpp9", undefined] : ["ocpp1.6", "ocpp9"]) {
        const attacker = await context.attack(server, { protocol })
        const { after, code } = await within(5_000, "closed", attacker.ended)
        same([attacker.status, attacker.header("Sec-WebSocket-Protocol"), code], [101, undefined, 1002], `${protocol}`)
        check(after < 1_000, `closed after ${after} ms`)
      }
      const { outcome } = await context.dial({ face, endpoint: server.endpoint, protocols: ["ocpp1.6"] })
      check(!outcome.ok, "a station without a common subprotocol has connected")
      await server.event(/^UpgradeAborted .*no common subprotocol/, "ATTACKER")
      same((await server.counts()).Connected ?? 0, 0, "stations that were connected")
    }
  },
}

const wallClock: Case = {
  id: "D16",
  name: "when the wall clock jumps by two hours, forth or back, nothing fires, and nothing is put off",
  // Its wall clock stays wrong.
  fresh: true,
  run: async (context) => {
    for (const face of faces) {
      const ping = face === "effect" ? { pingInterval: 300 } : { pingIntervalMs: 300 }
      const timeout = face === "effect" ? { handlerTimeout: 60_000 } : {}
      const server = await context.serve({
        face,
        handlers: { Heartbeat: "heartbeat", "*": "gated" },
        options: { ...ping, ...timeout },
      })
      for (const hours of [2, -2]) {
        const attacker = await context.attack(server, { path: "/JUMP" })
        const { endpoint, proxy } = await chaos(context, server)
        const options = { ...reconnecting(face, 1_500), ...ping }
        const station = await context.dial({ face, endpoint, identity: "BACK", options })
        proxy.cut("reset")
        await station.event(/^Disconnect/)
        const start = Date.now()
        attacker.send([2, "handled", "DataTransfer", {}])
        const long = server.call({ action: "ClearCache", identity: "JUMP", timeout: 60_000 })
        await attacker.receive()
        const short = station.call({ action: "Heartbeat", timeout: 800 })
        await context.victim.ask("jump", { by: hours * 3_600_000 })
        same(tagOf((await short)[0]), "TimeoutError", "a call of 800 ms")
        const took = Date.now() - start
        check(took > 750 && took < 5_000, `${hours} h: a call of 800 ms ended after ${took} ms`)
        const isBack = async () => ((await station.counts()).Open ?? 0) === 2
        await until("the station is back", isBack, 10_000)
        const back = Date.now() - start
        check(back > 1_400, `${hours} h: the station was back after ${back} ms`)
        await context.victim.ask("release", null)
        same((await attacker.receive()).slice(0, 2), [3, "handled"], "what a handler answers")
        attacker.send([3, (await sentCall(attacker))[1], {}])
        same(tagOf((await long)[0]), "ok", "a call of a minute")
        await isAlive(attacker, "a connection with pings")
        await station.close()
        attacker.socket.destroy()
      }
    }
  },
}

const sentCall = async ({ frames }: RawStation): Promise<ReadonlyArray<unknown>> => {
  const call = frames.find(({ opcode, payload }) => opcode === Opcode.Text && payload.toString().startsWith("[2,"))
  return JSON.parse(`${call?.payload}`)
}

const oddTimeouts: Case = {
  id: "D17",
  name: "timeouts of Infinity, 0, NaN or over 2^31 ms are refused by name or honoured, and never fire at once",
  run: async (context) => {
    const ask = (face: Face, role: "server" | "station", options: Options) =>
      context.victim.ask("construct", { face, role, options })
    const common = ["callTimeout", "handlerTimeout", "pingInterval", "closeTimeout"]
    const names = { server: [...common, "authTimeout", "shutdownGrace"], station: [...common, "handshakeTimeout"] }
    for (const role of ["server", "station"] as const) {
      for (const name of names[role]) {
        for (const value of [0, -1, Number.NaN]) {
          const refusal = await ask("effect", role, { [name]: value })
          check(refusal?.includes(name), `${role}: ${name} ${value} is refused by name; got ${refusal}`)
        }
      }
      for (const name of ["callTimeoutMs", "pingIntervalMs"]) {
        check((await ask("promise", role, { [name]: Number.NaN })) !== undefined, `${role}: ${name} NaN is refused`)
      }
    }
    const endless = [Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 31 - 1, 1e15, Number.MAX_VALUE]
    for (const value of endless) for (const face of faces) await neverFires(context, face, value)
    // On the promise face 0 is for ever, as documented.
    await neverFires(context, "promise", 0)
  },
}

const neverFires = async (context: Context, face: Face, value: number): Promise<void> => {
  const options =
    face === "effect"
      ? { callTimeout: value, handlerTimeout: value, pingInterval: value, closeTimeout: value, authTimeout: value }
      : { callTimeoutMs: value, pingIntervalMs: value }
  const what = `${face} ${value}`
  const handlers = { Heartbeat: "heartbeat", "*": "gated" }
  const server = await context.serve({ face, auth: "gated", handlers, options })
  const connected = context.attack(server)
  await until("auth is asked", async () => (await server.authCount()) === 1)
  await context.victim.ask("release", null)
  const attacker = await connected
  attacker.send([2, "handled", "DataTransfer", {}])
  const calls = [
    server.call({ action: "ClearCache", identity: "ATTACKER" }),
    server.call({ action: "ClearCache", identity: "ATTACKER", timeout: value === 0 ? 60_000 : value }),
  ]
  const [, id] = await attacker.receive()
  // Two turns of the timers, of which the shortest would have fired in the first.
  await pause(30)
  await isAlive(attacker, what)
  same([attacker.frames.length, (await context.counters()).handlers], [2, 1], `${what}: frames, and handlers`)
  await context.victim.ask("release", null)
  same((await attacker.receive())[1], "handled", what)
  attacker.send([3, id, {}])
  attacker.send([3, (await attacker.receive())[1], {}])
  same((await Promise.all(calls)).flat().map(tagOf), ["ok", "ok"], what)
}

const badNetwork: Case = {
  id: "D18",
  name: "through a network that is late, cut and stalled no answer is lost or doubled without an error to its caller",
  patience: 120_000,
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({
        face,
        handlers: { Heartbeat: "heartbeat", "*": "echo" },
        options: face === "effect" ? { pingInterval: 500 } : { pingIntervalMs: 500 },
      })
      const { endpoint, proxy } = await chaos(context, server)
      const count = 20
      const options = {
        ...reconnecting(face, 100),
        ...(face === "effect" ? { pingInterval: 500 } : { pingIntervalMs: 500 }),
      }
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
    }
  },
}

export const cases: ReadonlyArray<Case> = [
  stampede,
  backoff,
  duplicates,
  badAuth,
  goneDuringAuth,
  floodDuringAuth,
  wrongPasswords,
  tooMany,
  closeAnywhere,
  shutdown,
  silentClose,
  closeMeanwhile,
  otherProtocol,
  noCommon,
  wallClock,
  oddTimeouts,
  badNetwork,
]

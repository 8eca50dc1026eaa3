/** D. Being let in: duplicates, auth, too many, no common subprotocol. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import { codeOf, Opcode, text } from "../../../test/support/frames.ts"
import { basic } from "../../../test/support/handshake.ts"
import { until, within } from "../../support/waiting.ts"
import { faces, fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { allEnd } from "../outcomes.ts"
import { type RawStation, upgrade } from "../RawStation.ts"
import { exchange } from "../rawServers.ts"
import type { ServerSubject } from "../subjects.ts"

const MiB = 1024 * 1024

/** Fails unless a call is answered. */
export const isAlive = async (station: RawStation, what: string): Promise<void> =>
  same((await station.ask("alive", "Heartbeat")).slice(0, 2), [3, "alive"], what)

const credentials = (user: string, password: string) => ({ headers: [`Authorization: ${basic(user, password)}`] })

/** Fails unless the server's next call comes to this station. */
const reaches = async (server: ServerSubject, station: RawStation, what: string): Promise<void> => {
  const call = server.call({ action: "ClearCache", identity: "TWICE", timeout: 5_000 })
  const [type, id] = await station.receive()
  same(type, 2, `the message to the newer ${what}`)
  station.send([3, id, {}])
  allEnd(await call, "ok", `the call ${what}`)
}

const path = "/TWICE"

const replaces = async (context: Context): Promise<void> => {
  const server = await context.serve({ auth: "secret" })
  const older = await context.attack(server, { path, ...credentials("TWICE", "secret"), polite: false })
  const wrong = await context.attack(server, { path, ...credentials("TWICE", "wrong"), mayFail: true })
  same(wrong.status, 401, "a duplicate that is not authenticated")
  await isAlive(older, "the older, after a duplicate with a wrong password")
  const call = server.call({ action: "ClearCache", identity: "TWICE" })
  await older.receive()
  const newer = await context.attack(server, { path, ...credentials("TWICE", "secret") })
  allEnd(await call, "DisconnectedError", "the call to the older")
  const close = await until("the older is told", () => older.frames.find(({ opcode }) => opcode === Opcode.Close))
  same(codeOf(close), 1008, "the close code of the older")
  await reaches(server, newer, "while the older closes")
  older.socket.destroy()
  await server.event(/^Close 1006 replaced by a newer connection/, "TWICE")
  await reaches(server, newer, "when the older has closed")
}

const rejects = async (context: Context): Promise<void> => {
  const server = await context.serve({ options: { duplicateIdentity: "reject" } })
  const first = await context.attack(server, { path })
  same((await context.attack(server, { path, mayFail: true })).status, 409, "a second")
  await isAlive(first, "the first of two, where the second is rejected")
  first.socket.destroy()
  await server.event(/^Close 1006/, "TWICE")
  await isAlive(await context.attack(server, { path }), "the next, when the first has gone")
}

const allows = async (context: Context): Promise<void> => {
  for (const face of faces) {
    const options = face === "effect" ? { duplicateIdentity: "allow" } : {}
    const server = await context.serve({ face, options })
    const one = await context.attack(server, { path })
    const two = await context.attack(server, { path })
    for (const station of [one, two]) await isAlive(station, "each of two that are allowed")
    await reaches(server, two, "where both are allowed")
    two.socket.destroy()
    await server.event(/^Close 1006/, "TWICE")
    await reaches(server, one, "when the newer has gone")
  }
}

export const duplicates = fault({
  id: "D3",
  promise:
    "same identity twice: authenticated first, then replace (1008, its calls fail), reject (409) or allow; a late close removes nothing",
  faces: "once",
  inputs: { replace: replaces, reject: rejects, allow: allows },
  check: ({ context, input }) => input(context),
})

export const badAuth = fault({
  id: "D4",
  promise:
    "auth that never settles gets 503 after its deadline; one that throws or rejects 500; the first of two verdicts counts",
  // The promise face has no option for it: it is the default that is waited for.
  server: (face) => ({ auth: "never", options: face === "effect" ? { authTimeout: 500 } : {} }),
  check: async ({ attack, context, face }) => {
    const status = async (attacker: Promise<RawStation>) => (await attacker).status
    const start = Date.now()
    same(await status(attack({ mayFail: true })), 503, "auth that never settles")
    const took = Date.now() - start
    const limit = face === "effect" ? 500 : 10_000
    check(took > limit - 100 && took < limit + 3_000, `refused after ${took} ms`)
    for (const auth of ["throws", "rejects"]) {
      const failing = await context.serve({ face, auth })
      same(await status(context.attack(failing, { mayFail: true })), 500, `auth that ${auth}`)
      await failing.event(/^UpgradeAborted/, "ATTACKER")
    }
    if (face === "effect") return
    const both = await context.serve({ face, auth: "both" })
    await isAlive(await context.attack(both), "a station that was accepted first, then rejected")
    same((await both.counts()).UpgradeAborted ?? 0, 0, "refusals of a station that was accepted")
  },
  tells: [/^UpgradeAborted 503 authentication took too long/],
})

export const goneDuringAuth = fault({
  id: "D5",
  promise: "when the socket goes during auth, auth is interrupted within 100 ms, and nothing is created",
  server: { auth: "gated" },
  check: async ({ context, server }) => {
    let best = Number.POSITIVE_INFINITY
    let asked = 0
    for (; asked < 20 && (asked < 3 || best > 100); asked++) {
      best = Math.min(best, await interruption(context, server, asked))
    }
    check(best <= 100, `auth was interrupted after ${best} ms at best`)
    await context.release()
    await until("each is told of", async () => ((await server.counts()).UpgradeAborted ?? 0) === asked)
    const connected = (await server.events("ATTACKER")).filter(({ tag }) => tag === "Connected")
    same(connected, [], "stations that were created")
  },
})

/** Measures the milliseconds for which auth goes on after its socket. */
const interruption = async (context: Context, server: ServerSubject, asked: number): Promise<number> => {
  const socket = Net.connect({ port: server.port, host: "127.0.0.1" }, () => socket.write(upgrade()))
  socket.on("error", () => {})
  context.finally(() => socket.destroy())
  await until("auth is asked", async () => (await server.authCount()) === asked + 1)
  const start = Date.now()
  if (asked % 2 === 0) socket.resetAndDestroy()
  else socket.end()
  await until("auth is interrupted", async () => (await context.counters()).auths === 0)
  return Date.now() - start
}

export const floodDuringAuth = fault({
  id: "D6",
  promise: "10 MB that are sent during auth are not kept, and none of them is lost",
  fresh: true,
  server: { auth: "gated", handlers: { Heartbeat: "heartbeat", "*": "empty" } },
  check: async ({ attack, context, server }) => {
    const before = await context.heap()
    const count = 200
    const payload = { data: "x".repeat(50_000) }
    const calls = Array.from({ length: count }, (_, n) => text([2, `${n}`, "DataTransfer", payload]))
    const connected = attack({ ahead: Buffer.concat(calls) })
    await until("auth is asked", async () => (await server.authCount()) === 1)
    // By the time that it has answered some times it has taken whatever it takes.
    for (let i = 0; i < 20; i++) await context.counters()
    const grown = (await context.heap()) - before
    check(grown < MiB, `${grown} bytes are kept`)
    await context.release()
    const station = await connected
    await until("all are answered", () => station.frames.length === count)
    same(await server.handledCount(), count, "calls that were handled")
  },
})

export const wrongPasswords = fault({
  id: "D7",
  promise: "of thousands of upgrades with wrong passwords 256 are considered at a time, the others refused with 503",
  server: { auth: "slowSecret" },
  check: async ({ attack, context, server }) => {
    const count = context.size(800, 5_000)
    const bytes = upgrade(credentials("ATTACKER", "wrong"))
    const statuses: Record<number, number> = {}
    const all = Promise.all(
      Array.from({ length: count }, async () => {
        const { status } = await exchange(server.port, bytes, 60_000)
        statuses[status] = (statuses[status] ?? 0) + 1
      }),
    )
    await until("the others are refused", () => statuses[503] === count - 256)
    same([await server.authCount(), (await context.counters()).auths], [256, 256], "decisions that are awaited")
    await context.release()
    await all
    same(statuses, { 401: 256, 503: count - 256 }, "the answers")
    same((await server.counts()).UpgradeAborted, count, "refusals that were told")
    const right = attack(credentials("ATTACKER", "secret"))
    await until("auth is asked", async () => (await server.authCount()) === 257)
    await context.release()
    await isAlive(await right, "a station that has the password")
  },
})

const allowed = 10

export const tooMany = fault({
  id: "D8",
  promise: "more connections than are allowed get 503 before auth is asked, until one has gone",
  faces: ["effect"],
  server: { auth: "everybody", options: { maxConnections: allowed + 1 } },
  check: async ({ attack, server }) => {
    const stations: Array<RawStation> = []
    for (let n = 0; n < allowed; n++) stations.push(await attack({ path: `/CP${n}` }))
    same((await attack({ path: "/MORE", mayFail: true })).status, 503, "one more")
    same(await server.authCount(), allowed, "how often auth was asked")
    for (const station of stations) await isAlive(station, "a station that is connected")
    stations[0]?.socket.destroy()
    await server.event(/^Close/, "CP0")
    await isAlive(await attack({ path: "/MORE" }), "one more, when one has gone")
  },
  tells: [[/^UpgradeAborted 503/, undefined]],
})

export const noCommon = fault({
  id: "D15",
  promise: "without a common subprotocol the handshake is completed without one, and the connection closed within 1 s",
  server: { protocols: ["ocpp2.0.1"], bystander: false },
  check: async ({ attack, context, face, server }) => {
    for (const protocol of face === "effect" ? ["ocpp1.6", "ocpp9", undefined] : ["ocpp1.6", "ocpp9"]) {
      const attacker = await attack({ protocol })
      const { after, code } = await within(5_000, "closed", attacker.ended)
      same([attacker.status, attacker.header("Sec-WebSocket-Protocol"), code], [101, undefined, 1002], `${protocol}`)
      check(after < 1_000, `closed after ${after} ms`)
    }
    const { outcome } = await context.dial({ face, endpoint: server.endpoint, protocols: ["ocpp1.6"] })
    check(!outcome.ok, "a station without a common subprotocol has connected")
    same((await server.counts()).Connected ?? 0, 0, "stations that were connected")
  },
  tells: [/^UpgradeAborted .*no common subprotocol/],
})

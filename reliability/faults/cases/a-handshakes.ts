/** A. Opening handshakes: slow, hostile, in vain. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import { text } from "../../../test/support/frames.ts"
import { pause, until, within } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import { type Context, canary } from "../Context.ts"
import { check, same } from "../expect.ts"
import { type RawOptions, upgrade } from "../RawStation.ts"
import { type Answer, deadPort, exchange, type RawServer, switching } from "../rawServers.ts"
import type { Options } from "../victim/commands.ts"
import type * as Dials from "../victim/programs/dials.ts"
import { programs } from "../victim/programs.ts"

const MiB = 1024 * 1024
const KiB = 1024

const unfinished = upgrade().toString("latin1").slice(0, -4)
const slowBody = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"

/** Writes a byte every half second. */
const drip = (context: Context, socket: Net.Socket, bytes: string): void => {
  let at = 0
  const timer = setInterval(() => socket.writable && socket.write(bytes.charAt(at++ % bytes.length)), 500)
  context.finally(() => clearInterval(timer))
}

export const slowLoris = fault({
  id: "A6",
  promise: "a handshake or request that does not come on is answered 408 and closed within 12 s; other upgrades go on",
  faces: ["effect"],
  server: {},
  check: async ({ attack, context, server }) => {
    const slow: ReadonlyArray<readonly [what: string, answer: string, begin: (socket: Net.Socket) => void]> = [
      ["an idle connection", "HTTP/1.1 408", () => {}],
      ["half a request line", "HTTP/1.1 408", (socket) => socket.write("GET /CP")],
      ["a header without end", "HTTP/1.1 408", (socket) => socket.write(unfinished)],
      ["a dripping header", "HTTP/1.1 408", (socket) => drip(context, socket, unfinished)],
      // Such a request is answered before its body has come.
      ["a slow body", "", (socket) => socket.write(slowBody) && drip(context, socket, "x")],
    ]
    const closed = slow.map(async ([what, expected, begin]) => {
      const { after, answer } = await exchange(server.port, begin)
      check(after < 12_000 + 2_000, `${what} was closed after ${after} ms`)
      check(answer.startsWith(expected), `${what} was answered ${answer.slice(0, 40)}`)
    })
    for (let i = 0; i < 10; i++) {
      const other = await within(1_000, "another upgrade", attack({ path: `/OTHER${i}` }))
      other.socket.destroy()
      await pause(500)
    }
    await Promise.all(closed)
  },
})

const manyHeaders = Array.from({ length: 3_000 }, (_, i) => `h${i}: ${i}`)

export const badRequests = fault<readonly [bytes: Uint8Array | string, status: number]>({
  id: "A7",
  promise: "thousands of headers or 16 KiB of them get 431, a broken request 400, one that is no upgrade 404",
  server: {},
  inputs: {
    "thousands of headers": [upgrade({ headers: manyHeaders }), 431],
    "16 KiB of headers": [upgrade({ headers: [`x: ${"y".repeat(16 * KiB)}`] }), 431],
    "a header name of 16 KiB": [upgrade({ headers: [`${"y".repeat(16 * KiB)}: x`] }), 431],
    "no HTTP": [`${canary}\r\n\r\n`, 400],
    "no Upgrade header": ["GET /CP001 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\r\n", 404],
    "an upgrade to something else": [
      "GET /CP001 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
      400,
    ],
    "a POST with Upgrade": [upgrade().toString().replace("GET", "POST"), 400],
  },
  check: async ({ input: [bytes, status], server }) =>
    same((await exchange(server.port, bytes)).status, status, "the status"),
})

const extensions = (offer: string): RawOptions => ({ headers: [`Sec-WebSocket-Extensions: ${offer}`] })

export const hostileOffers = fault<RawOptions>({
  id: "A8",
  promise:
    "hostile Sec-WebSocket-Protocol and -Extensions headers get 400 within 10 ms, or no subprotocol, or no compression",
  server: {},
  inputs: {
    "commas only": { protocol: ",," },
    "two commas": { protocol: "ocpp1.6,,ocpp2.1" },
    "the same twice": { protocol: "ocpp1.6, ocpp1.6" },
    "32 KiB of blanks": { protocol: " ".repeat(32 * KiB) },
    "blanks and a comma": { protocol: `${" ".repeat(7_000)},` },
    "a blank within": { protocol: "ocpp 1.6" },
    semicolons: extensions(";;"),
    "a quote that is not closed": extensions('permessage-deflate; server_max_window_bits="'),
  },
  check: async ({ input, server }) => {
    // The fastest of some attempts: a busy machine holds up others.
    let best = Number.POSITIVE_INFINITY
    for (let i = 0; i < 20 && best > 10; i++) {
      const { after, status } = await exchange(server.port, upgrade(input))
      best = Math.min(best, after)
      same(status, 400, "the status")
    }
    check(best <= 10, `the answer took ${best} ms`)
  },
  afterwards: async ({ attack }) => {
    for (const protocol of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
      const attacker = await attack({ protocol })
      same([attacker.header("Sec-WebSocket-Protocol"), (await attacker.ended).code], [undefined, 1002], protocol)
    }
    const declined = [
      "permessage-deflate; server_max_window_bits=99",
      "permessage-deflate; constructor=1",
      "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
      `${"permessage-deflate; unheard=of, ".repeat(200)}permessage-deflate; __proto__`,
    ]
    for (const offer of declined) {
      const attacker = await attack(extensions(offer))
      same(attacker.header("Sec-WebSocket-Extensions"), undefined, offer.slice(0, 80))
    }
  },
  tells: [/^UpgradeAborted .*the request is no WebSocket handshake/, /^UpgradeAborted .*no common subprotocol/],
})

export const ahead = fault({
  id: "A16",
  promise:
    "messages in the segment of the upgrade, while auth is slow, are answered; how much of them is kept is bounded",
  server: { auth: "gated" },
  check: async ({ attack, context, server }) => {
    const count = 2_000
    const calls = Buffer.concat(Array.from({ length: count }, (_, i) => text([2, `${i}`, "Heartbeat", {}])))
    const connected = attack({ ahead: calls, path: "/AHEAD" })
    await until("auth is asked", async () => (await server.authCount()) === 1)
    await context.release()
    const station = await connected
    const ids = new Set<unknown>()
    while (ids.size < count) ids.add((await station.receive())[1])
    check(ids.has("0") && ids.has(`${count - 1}`), "all calls were answered")
  },
  afterwards: async ({ context, face }) => {
    // The promise face has no option for the deadline: it is the default that is waited for.
    if (face === "effect") await boundedHead(context)
  },
})

const boundedHead = async (context: Context): Promise<void> => {
  const server = await context.serve({ auth: "never", options: { authTimeout: 3_000 } })
  const before = await context.heap()
  const socket = Net.connect({ port: server.port, host: "127.0.0.1" })
  socket.on("error", () => {})
  context.finally(() => socket.destroy())
  socket.write(Buffer.concat([upgrade({ path: "/FLOOD" }), Buffer.alloc(10 * MiB, "x")]))
  await until("auth is asked", async () => (await server.authCount()) === 1)
  const written = () => socket.bytesWritten - socket.writableLength
  await until("the flood is stuck", async () => {
    const now = written()
    await pause(200)
    return now > 0 && now === written()
  })
  const grown = (await context.heap()) - before
  check(grown < MiB, `${grown} bytes are kept`)
}

const silence: Answer = () => {}

/** Answers with the head of an HTTP response. */
const says =
  (head: string): Answer =>
  (_, socket) =>
    void socket.end(`HTTP/1.1 ${head}\r\n\r\n`)

/** Answers with a 101 that is right, but for its further headers. */
const accepts =
  (...lines: ReadonlyArray<string>): Answer =>
  (request, socket) =>
    void socket.write(switching(request, ...lines))

const redirection = (status: string, port: number): Answer =>
  says(`${status}\r\nLocation: ws://127.0.0.1:${port}/\r\nContent-Length: 0`)

const right = "Sec-WebSocket-Protocol: ocpp1.6"

/** Fails unless a station of the Effect face does not connect, and says so with a typed error. */
export const refuses = async (context: Context, hostile: RawServer, options: Options, tag?: string): Promise<void> => {
  const { outcome } = await context.dial({ endpoint: hostile.endpoint, options })
  check(!outcome.ok, "the client has connected")
  check(["ConnectError", "UnexpectedHttpResponse"].includes(outcome.tag), JSON.stringify(outcome))
  check(!outcome.message.includes(canary), "the error repeats what the server wrote")
  if (tag !== undefined) same(outcome.tag, tag, "the error")
}

/** The error, and the answer of a server that knows the port of another. */
type HostileServer = readonly [tag: "ConnectError" | "UnexpectedHttpResponse", answer: (elsewhere: number) => Answer]

export const hostileServers = fault<HostileServer>({
  id: "A17",
  promise:
    "a client that meets another server, or a hostile one, fails typed within the handshake timeout, and is never redirected",
  faces: "once",
  inputs: {
    "200": ["UnexpectedHttpResponse", () => says("200 OK\r\nContent-Length: 0")],
    "302": ["UnexpectedHttpResponse", (elsewhere) => redirection("302 Found", elsewhere)],
    "307": ["UnexpectedHttpResponse", (elsewhere) => redirection("307 Moved", elsewhere)],
    "101 without subprotocol": ["ConnectError", () => accepts()],
    "101 with another subprotocol": ["ConnectError", () => accepts("Sec-WebSocket-Protocol: ocpp9")],
    "101 with a wrong accept key": ["ConnectError", () => (_, socket) => void socket.write(switching("", right))],
    "101 without Upgrade": ["UnexpectedHttpResponse", () => says("101 Switching Protocols\r\nConnection: Upgrade")],
    silence: ["ConnectError", () => silence],
    "a hang-up": ["ConnectError", () => (_, socket) => void socket.destroy()],
    "no HTTP": ["ConnectError", () => (_, socket) => void socket.write(`${canary}\r\n\r\n`)],
    "headers without end": [
      "ConnectError",
      () => (_, socket) => void socket.write(`HTTP/1.1 101 X\r\nA: ${"x".repeat(100_000)}`),
    ],
  },
  check: async ({ context, input: [tag, answer] }) => {
    const elsewhere = await context.answering(silence)
    const hostile = await context.answering(answer(elsewhere.port))
    const start = Date.now()
    await refuses(context, hostile, { handshakeTimeout: 1_000, password: "secret", reconnect: false }, tag)
    check(Date.now() - start < 3_000, `it took ${Date.now() - start} ms`)
    const options = { password: "secret", wsOpts: { handshakeTimeout: 1_000 } }
    const promised = await context.dial({ face: "promise", endpoint: hostile.endpoint, options })
    check(!promised.outcome.ok, "the promise face has connected")
    same(elsewhere.requests.length, 0, "requests at the other host")
  },
})

const dials = programs<typeof Dials>(new URL("../victim/programs/dials.ts", import.meta.url))

export const failedDials = fault({
  id: "A18",
  promise: "failed dials, refused or unanswered, leave nothing on the heap",
  fresh: true,
  patience: 120_000,
  faces: ["effect"],
  server: {},
  check: async ({ context }) => {
    const refused = `ws://127.0.0.1:${await deadPort()}`
    const silent = (await context.answering(silence)).endpoint
    const dial = async (times: number) => {
      const some = { observed: false, together: 20, options: { handshakeTimeout: 100 } }
      const one = await dials(context.victim, "dialOften", { ...some, endpoint: refused, times })
      const two = await dials(context.victim, "dialOften", { ...some, endpoint: silent, times: times / 10 })
      same([one, two], [{ ConnectError: times }, { ConnectError: times / 10 }], "how they failed")
    }
    await dial(1_500)
    const before = (await context.memory()).heap
    const times = context.size(2_000, 10_000)
    await dial(times)
    const grown = (await context.memory()).heap - before
    context.note(`${(grown / times).toFixed()} bytes of heap a dial`)
    // Beside it, the engine keeps compiled code, however often that ran.
    check(grown < 64 * times + 500_000, `${grown} bytes of heap are left of ${times} dials`)
  },
})

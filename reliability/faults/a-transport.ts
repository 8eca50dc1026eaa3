/** A. Transport and frames. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import { deflateRawSync } from "node:zlib"
import { makeChaosProxy } from "../chaosProxy.ts"
import { type Case, type Context, canary, check, pause, type ServerSubject, same, until, within } from "./Case.ts"
import type { Face, Options, Outcome } from "./Program.ts"
import {
  type Answer,
  closeFrame,
  deadPort,
  exchange,
  frame,
  Opcode,
  type RawOptions,
  type SmallServer,
  smallServer,
  switching,
  text,
  upgrade,
} from "./raw.ts"

const faces: ReadonlyArray<Face> = ["effect", "promise"]
const MiB = 1024 * 1024

/** A CALL that is answered at once. */
const heartbeat = (id: string) => text([2, id, "Heartbeat", {}])

/** A chaos proxy that ends with the case. */
const chaos = async (context: Context, server: { readonly port: number }) => {
  const proxy = await makeChaosProxy(server.port)
  context.finally(proxy.close)
  return { proxy, endpoint: `ws://127.0.0.1:${proxy.port}` }
}

/** The same options in the words of either face. */
const options = (face: Face, { ping, timeout }: { readonly ping?: number; readonly timeout?: number }) =>
  face === "effect"
    ? { ...(ping && { pingInterval: ping }), ...(timeout && { callTimeout: timeout }) }
    : { ...(ping && { pingIntervalMs: ping }), ...(timeout && { callTimeoutMs: timeout }) }

const reconnecting = (face: Face) =>
  face === "effect"
    ? { reconnect: { minimum: 200, range: 50 }, handshakeTimeout: 500 }
    : { reconnect: true, backoff: { initialDelay: 200, maxDelay: 400 }, wsOpts: { handshakeTimeout: 500 } }

const halfOpen: Case = {
  id: "A1",
  name: "a half-open connection is found by both sides within two ping intervals; calls fail; the client backs off and returns",
  run: async (context) => {
    for (const face of faces) {
      const ping = 500
      const settings = options(face, { ping, timeout: 30_000 })
      const server = await context.serve({
        face,
        handlers: { Heartbeat: "heartbeat", "*": "gated" },
        options: settings,
      })
      const { endpoint, proxy } = await chaos(context, server)
      const station = await context.dial({
        face,
        endpoint,
        handlers: { "*": "gated" },
        options: { ...settings, ...reconnecting(face) },
      })
      check(station.outcome.ok, `the station did not connect: ${JSON.stringify(station.outcome)}`)
      const calls = [station.call({ action: "Authorize" }), server.call({ action: "ClearCache", identity: "CP001" })]
      await until("the calls are being handled", async () => (await context.counters()).handlers === 2)
      proxy.weather.swallow = true
      const start = Date.now()
      await server.event(/^Close 1006 ping timeout/, "CP001")
      await station.event(/^Disconnect 1006 ping timeout/)
      const found = Date.now() - start
      check(found < 2 * ping + 1_500, `found after ${found} ms`)
      for (const [outcome] of await Promise.all(calls)) {
        same(outcome?.ok === false && outcome.tag, "DisconnectedError", "how the call failed")
      }
      await until("the client tries again, in vain", async () => ((await station.counts()).Connecting ?? 0) >= 3)
      proxy.weather.swallow = false
      await until("the client is back", async () => ((await station.counts()).Open ?? 0) === 2)
      await station.close({ force: true })
    }
  },
}

const reset: Case = {
  id: "A2",
  name: "a reset in mid-life is a 1006 and nothing worse: each call settles once, handlers are interrupted",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "never" } })
      const attacker = await context.attack(server)
      attacker.send([2, "1", "Authorize", {}])
      await until("the handler runs", async () => (await context.counters()).handlers === 1)
      const ours = server.call({ action: "ClearCache", identity: "ATTACKER", times: 3 })
      await attacker.receive()
      attacker.socket.resetAndDestroy()
      const outcomes = await ours
      same(
        outcomes.map((one) => !one.ok && one.tag),
        Array(3).fill("DisconnectedError"),
        "the calls of the server",
      )
      await server.event(/^Close 1006/, "ATTACKER")
      await until("the handler is interrupted", async () => (await context.counters()).handlers === 0)
      await cutStation(context, face, server)
    }
  },
}

const cutStation = async (context: Context, face: Face, server: ServerSubject): Promise<void> => {
  const { endpoint, proxy } = await chaos(context, server)
  const station = await context.dial({ face, endpoint })
  const calls = station.call({ action: "Authorize", times: 3 })
  await until("the handler runs", async () => (await context.counters()).handlers === 1)
  proxy.cut("reset")
  for (const outcome of await calls) same(!outcome.ok && outcome.tag, "DisconnectedError", "the call of the station")
  await station.event(/^Close 1006/)
}

const frozen: Case = {
  id: "A3",
  name: "a frozen peer is found within two ping intervals, and what waits for it stays under the cap",
  fresh: true,
  run: async (context) => {
    const tool = await context.spawn()
    const server = await context.serve({
      options: { pingInterval: 1_000, callConcurrency: 10_000, maxQueuedCalls: 10_000 },
    })
    const station = await context.dial({ process: tool, bystander: false, endpoint: server.endpoint })
    check(station.outcome.ok, "the station did not connect")
    tool.signal("SIGSTOP")
    context.finally(() => tool.signal("SIGCONT"))
    const payload = { text: "x".repeat(64 * 1024) }
    const start = Date.now()
    let outcomes: ReadonlyArray<Outcome> = []
    const peak = await context.peak(async () => {
      outcomes = await server.call({ action: "DataTransfer", identity: "CP001", payload, times: 2_000 })
    })
    const [first, ...others] = outcomes
    same(unlike(["DisconnectedError"], [first!]), [], "the first call, had it ended otherwise")
    // Who comes later finds nobody.
    same(unlike(["DisconnectedError", "NotConnectedError"], others), [], "calls that have ended otherwise")
    await server.event(/^Close 1006 (ping timeout|the peer reads too slowly)/, "CP001")
    check(Date.now() - start < 9_000, `found after ${Date.now() - start} ms`)
    // The young generation of the heap breathes by some MiB; without the cap all of the 128 would wait.
    check(peak < 48 * MiB, `the process grew by ${peak} bytes for the frozen peer`)
    await silentlyFrozen(context, server)
  },
}

/** As above, but nothing is sent, so that only the pings can tell. */
const silentlyFrozen = async (context: Context, server: ServerSubject): Promise<void> => {
  const tool = await context.spawn()
  await context.dial({ process: tool, bystander: false, endpoint: server.endpoint, identity: "FROZEN" })
  tool.signal("SIGSTOP")
  context.finally(() => tool.signal("SIGCONT"))
  const start = Date.now()
  await server.event(/^Close 1006 ping timeout/, "FROZEN")
  check(Date.now() - start < 2 * 1_000 + 1_500, `found after ${Date.now() - start} ms`)
}

const slowConsumer: Case = {
  id: "A4",
  name: "a slow consumer costs no more than the cap and a message: then calls fail, it is closed with 1013, others go on",
  fresh: true,
  run: async (context) => {
    const server = await context.serve({ options: { callConcurrency: 10_000, maxQueuedCalls: 10_000 } })
    const attacker = await context.attack(server)
    attacker.socket.pause()
    const before = await context.memory()
    const payload = { text: "x".repeat(64 * 1024) }
    const times = context.size(800, 3_000)
    const outcomes = await server.call({ action: "DataTransfer", identity: "ATTACKER", payload, times })
    const after = await context.memory()
    const [first, ...others] = outcomes
    same(unlike(["DisconnectedError"], [first!]), [], "the first call, had it ended otherwise")
    // Who comes later finds nobody.
    same(unlike(["DisconnectedError", "NotConnectedError"], others), [], "calls that have ended otherwise")
    const grown = after.external + after.heapUsed - before.external - before.heapUsed
    check(grown < 3 * MiB, `${grown} bytes wait for the slow peer`)
    attacker.socket.resume()
    same((await attacker.ended).code, 1013, "the close code, once it reads again")
    await server.event(/^Close 1013 the peer reads too slowly|^Close 1013/, "ATTACKER")
  },
}

const pingFlood: Case = {
  id: "A5",
  name: "who floods with pings and does not read is dropped; memory stays where it was",
  fresh: true,
  run: async (context) => {
    const server = await context.serve()
    const flood = async () => {
      const attacker = await context.attack(server)
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
    const before = await context.memory()
    const peak = await context.peak(flood)
    const after = await context.memory()
    const grown = after.heapUsed + after.external - before.heapUsed - before.external
    check(grown < MiB, `memory grew by ${grown} bytes`)
    // The young generation of the heap breathes by some MiB; without the limit of ws it is 109.
    check(peak < 24 * MiB, `the process grew by ${peak} bytes`)
    await server.event(/^(Disconnect|Close) 1006 .*ping/i, "ATTACKER")
  },
}

const slowLoris: Case = {
  id: "A6",
  name: "a handshake or request that does not come on is answered 408 and closed within 12 s; other upgrades go on",
  run: async (context) => {
    const server = await context.serve()
    const whole = upgrade().toString("latin1")
    const drip = (socket: Net.Socket, bytes: string) => {
      let at = 0
      const timer = setInterval(() => socket.writable && socket.write(bytes.charAt(at++ % bytes.length)), 500)
      context.finally(() => clearInterval(timer))
    }
    const body = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    const slow: ReadonlyArray<readonly [string, (socket: Net.Socket) => void]> = [
      ["an idle connection", () => {}],
      ["half a request line", (socket) => socket.write("GET /CP")],
      ["a header without end", (socket) => socket.write(whole.slice(0, -4))],
      ["a dripping header", (socket) => drip(socket, whole.slice(0, -4))],
    ]
    const closed = slow.map(async ([what, begin]) => {
      const { after, answer } = await slowly(server.port, begin)
      check(after < 12_000 + 2_000, `${what} was closed after ${after} ms`)
      check(answer.startsWith("HTTP/1.1 408"), `${what} was answered ${answer.slice(0, 40)}`)
    })
    const posted = slowly(server.port, (socket) => {
      socket.write(body)
      drip(socket, "x")
    }).then(({ after }) => check(after < 14_000, `a slow body was closed after ${after} ms`))
    for (let i = 0; i < 10; i++) {
      const other = await within(1_000, "another upgrade", context.attack(server, { path: `/OTHER${i}` }))
      other.socket.destroy()
      await pause(500)
    }
    await Promise.all([...closed, posted])
  },
}

/** What comes of a connection that takes its time. */
const slowly = (port: number, begin: (socket: Net.Socket) => void) =>
  within(
    20_000,
    "closed",
    new Promise<{ answer: string; after: number }>((resolve) => {
      const start = Date.now()
      let answer = ""
      const socket = Net.connect({ port, host: "127.0.0.1" }, () => begin(socket))
      socket.on("error", () => {})
      socket.on("data", (data) => {
        answer += data.toString("latin1")
      })
      socket.on("close", () => resolve({ answer, after: Date.now() - start }))
    }),
  )

const manyHeaders: Case = {
  id: "A7",
  name: "thousands of headers or 16 KiB of them get 431, a broken request 400, one that is no upgrade 404",
  run: async (context) => {
    const server = await context.serve()
    const many = Array.from({ length: 3_000 }, (_, i) => `h${i}: ${i}`)
    const table: ReadonlyArray<readonly [string, Uint8Array | string, number]> = [
      ["thousands of headers", upgrade({ headers: many }), 431],
      ["16 KiB of headers", upgrade({ headers: [`x: ${"y".repeat(16 * 1024)}`] }), 431],
      ["a header name of 16 KiB", upgrade({ headers: [`${"y".repeat(16 * 1024)}: x`] }), 431],
      ["no HTTP", `${canary}\r\n\r\n`, 400],
      ["no Upgrade header", "GET /CP001 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\r\n", 404],
      [
        "an upgrade to something else",
        "GET /CP001 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        400,
      ],
      ["a POST with Upgrade", upgrade().toString().replace("GET", "POST"), 400],
    ]
    for (const [what, bytes, status] of table) same((await exchange(server.port, bytes)).status, status, what)
  },
}

const hostileOffers: Case = {
  id: "A8",
  name: "hostile Sec-WebSocket-Protocol and -Extensions headers get 400 within 10 ms, or no subprotocol, or no compression",
  run: async (context) => {
    const server = await context.serve()
    const refused: ReadonlyArray<RawOptions> = [
      { protocol: ",," },
      { protocol: "ocpp1.6,,ocpp2.1" },
      { protocol: "ocpp1.6, ocpp1.6" },
      { protocol: " ".repeat(32 * 1024) },
      { protocol: `${" ".repeat(7_000)},` },
      { protocol: "ocpp 1.6" },
      { headers: ["Sec-WebSocket-Extensions: ;;"] },
      { headers: ['Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits="'] },
    ]
    for (const offer of refused) same(await fastest(server.port, offer), 400, JSON.stringify(offer).slice(0, 80))
    const declined = [
      "permessage-deflate; server_max_window_bits=99",
      "permessage-deflate; constructor=1",
      "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
      `${"permessage-deflate; unheard=of, ".repeat(200)}permessage-deflate; __proto__`,
    ]
    for (const extension of declined) {
      const attacker = await context.attack(server, { headers: [`Sec-WebSocket-Extensions: ${extension}`] })
      same(attacker.header("Sec-WebSocket-Extensions"), undefined, extension.slice(0, 80))
    }
    for (const protocol of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
      const attacker = await context.attack(server, { protocol })
      same([attacker.header("Sec-WebSocket-Protocol"), (await attacker.ended).code], [undefined, 1002], protocol)
    }
    await server.event(/^UpgradeAborted .*the request is no WebSocket handshake/, "ATTACKER")
    await server.event(/^UpgradeAborted .*no common subprotocol/, "ATTACKER")
  },
}

/** The status of an upgrade, which the fastest of some attempts got within 10 ms. */
const fastest = async (port: number, offer: RawOptions): Promise<number> => {
  let best = Number.POSITIVE_INFINITY
  let status = 0
  for (let i = 0; i < 20 && best > 10; i++) {
    const answer = await exchange(port, upgrade(offer))
    best = Math.min(best, answer.after)
    status = answer.status
  }
  check(best <= 10, `the answer took ${best} ms: ${JSON.stringify(offer).slice(0, 80)}`)
  return status
}

const tooBig: Case = {
  id: "A9",
  name: "a frame over the maximum, or one that claims a huge length, is refused with 1009 before its body arrives",
  fresh: true,
  run: async (context) => {
    const server = await context.serve()
    const before = await context.memory()
    for (const claims of [1024n * 1024n + 1n, 100_000_000n, 2n ** 62n, 2n ** 63n]) {
      const attacker = await context.attack(server)
      attacker.write(frame(Opcode.Text, canary, { claims }))
      same((await attacker.ended).code, 1009, `close code for ${claims} bytes`)
    }
    const after = await context.memory()
    const grown = after.heapUsed + after.external - before.heapUsed - before.external
    check(grown < 2_000_000, `memory grew by ${grown} bytes`)
    await server.event(/^Close 1006 Max payload size exceeded/, "ATTACKER")
  },
}

const fragments: Case = {
  id: "A10",
  name: "fragment floods, of one byte, empty or never finished, end with 1008 or stay within the maximum",
  fresh: true,
  run: async (context) => {
    const server = await context.serve()
    for (const content of ["x", ""]) {
      const attacker = await context.attack(server)
      const more = frame(Opcode.Continuation, content, { fin: false })
      attacker.write(frame(Opcode.Text, content, { fin: false }), ...Array(100_000).fill(more))
      same((await attacker.ended).code, 1008, `fragments of ${content.length} bytes`)
    }
    const before = await context.memory()
    const count = 8
    for (let i = 0; i < count; i++) {
      const attacker = await context.attack(server, { path: `/UNFINISHED${i}` })
      const part = frame(Opcode.Continuation, "x".repeat(4_090), { fin: false })
      attacker.write(frame(Opcode.Text, "x", { fin: false }), ...Array(255).fill(part))
      await acknowledged(attacker)
    }
    const after = await context.memory()
    const grown = (after.heapUsed + after.external - before.heapUsed - before.external) / count
    check(grown < 1.25 * MiB, `an unfinished message holds ${grown} bytes`)
    await server.event(/^Close 1006 Too many message fragments/, "ATTACKER")
  },
}

/** The other end has read everything: it answers a ping, which may come between fragments. */
const acknowledged = async (attacker: { socket: Net.Socket; write: (bytes: Uint8Array) => void }): Promise<void> => {
  const answered = new Promise<void>((resolve) => attacker.socket.once("data", () => resolve()))
  attacker.write(frame(Opcode.Ping))
  await within(10_000, "a pong", answered)
}

const compressing = { headers: ["Sec-WebSocket-Extensions: permessage-deflate"] }

const bomb: Case = {
  id: "A11",
  name: "a compression bomb ends with 1009, and takes less than twice the maximum on its way",
  fresh: true,
  run: async (context) => {
    const server = await context.serve()
    const packed = deflateRawSync(Buffer.alloc(60 * MiB), { finishFlush: 2 })
    const throwIt = async () => {
      const attacker = await context.attack(server, compressing)
      attacker.write(frame(Opcode.Text, packed.subarray(0, -4), { rsv: 4 }))
      same((await attacker.ended).code, 1009, "the close code")
    }
    await throwIt()
    // Beside the message: the young generation of the heap, and zlib.
    const peak = await context.peak(throwIt)
    check(peak < 2 * MiB + 8 * MiB, `the process grew by ${peak} bytes`)
    await server.event(/^Close 1006 Max payload size exceeded/, "ATTACKER")
  },
}

const badDeflate: Case = {
  id: "A12",
  name: "bad compressed data is a 1007; window bits out of range are no compression for a server, no handshake for a client",
  run: async (context) => {
    const server = await context.serve()
    const attacker = await context.attack(server, compressing)
    same(attacker.header("Sec-WebSocket-Extensions")?.includes("permessage-deflate"), true, "compression is agreed on")
    attacker.write(
      frame(Opcode.Text, deflateRawSync(`[2,"1","Heartbeat",{}]`, { finishFlush: 2 }).subarray(0, -4), { rsv: 4 }),
    )
    same((await attacker.receive())[0], 3, "the answer to a good message")
    attacker.write(frame(Opcode.Text, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x00]), { rsv: 4 }))
    same((await attacker.ended).code, 1007, "the close code")
    await server.event(/^(SocketError|Close 1006) ./, "ATTACKER")
    for (const bits of ["7", "16", "x"]) {
      const offer = { headers: [`Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=${bits}`] }
      const declined = await context.attack(server, offer)
      same(declined.header("Sec-WebSocket-Extensions"), undefined, `window bits "${bits}"`)
    }
    const malformed = { headers: ["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits="] }
    same((await exchange(server.port, upgrade(malformed))).status, 400, "window bits that are missing")
    const answers = ["permessage-deflate; server_max_window_bits=99", "permessage-deflate; constructor", "unheard-of"]
    for (const extension of answers) {
      const hostile = await answering(context, (request, socket) => {
        const lines = ["Sec-WebSocket-Protocol: ocpp1.6", `Sec-WebSocket-Extensions: ${extension}`]
        socket.write(switching(request, ...lines))
      })
      await refuses(context, hostile, { perMessageDeflate: true }, `the client and ${extension}`)
    }
  },
}

const answering = async (context: Context, answer: Answer): Promise<SmallServer> => {
  const server = await smallServer(answer)
  context.finally(server.close)
  return server
}

/** A station of the Effect face does not connect, and says so with a typed error. */
const refuses = async (context: Context, hostile: SmallServer, more: Options, what: string): Promise<string> => {
  const { outcome } = await context.dial({ endpoint: `ws://127.0.0.1:${hostile.port}`, options: more })
  check(!outcome.ok, `${what}: connected`)
  check(["ConnectError", "UnexpectedHttpResponse"].includes(outcome.tag), `${what}: ${JSON.stringify(outcome)}`)
  check(!outcome.message.includes(canary), `${what}: the error repeats what the server wrote`)
  return outcome.tag
}

const notUtf8 = [Buffer.from([0xc3, 0x28]), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from([0xf4, 0x90, 0x80, 0x80])]

const badText: Case = {
  id: "A13",
  name: "invalid UTF-8 and surrogates are a 1007, and no handler runs",
  run: async (context) => {
    const server = await context.serve({ handlers: { Heartbeat: "heartbeat", "*": "echo" } })
    for (const bytes of notUtf8) {
      const attacker = await context.attack(server)
      const message = Buffer.concat([Buffer.from('[2,"1","DataTransfer",{"data":"'), bytes, Buffer.from('"}]')])
      attacker.write(frame(Opcode.Text, message))
      same((await attacker.ended).code, 1007, bytes.toString("hex"))
    }
    same(await server.handledCount(), 0, "calls that were handled")
    await server.event(/^Close 1006 Invalid WebSocket frame: invalid UTF-8/, "ATTACKER")
  },
}

const binary: Case = {
  id: "A14",
  name: "a binary frame is read as text; one that is no UTF-8 is a 1007",
  run: async (context) => {
    const server = await context.serve({ handlers: { Heartbeat: "heartbeat", "*": "echo" } })
    const attacker = await context.attack(server)
    attacker.write(frame(Opcode.Binary, '[2,"b","DataTransfer",{"vendorId":"ä"}]'))
    same(await attacker.receive(), [3, "b", { vendorId: "ä" }], "the answer")
    for (const bytes of notUtf8) {
      const other = await context.attack(server)
      other.write(frame(Opcode.Binary, bytes))
      same((await other.ended).code, 1007, bytes.toString("hex"))
    }
    same(await server.handledCount(), 1, "calls that were handled")
    await server.event(/^Close 1007 .*UTF-8|^Close 1007/, "ATTACKER")
  },
}

const ping126 = frame(Opcode.Ping, "x".repeat(126))

/** What RFC 6455 forbids. */
const forbidden: ReadonlyArray<readonly [string, Uint8Array]> = [
  ["an unmasked text", frame(Opcode.Text, "[]", { masked: false })],
  ["an unmasked ping", frame(Opcode.Ping, "", { masked: false })],
  ["an unmasked close", frame(Opcode.Close, "", { masked: false })],
  ...[1, 2, 3, 4, 5, 6, 7].map((rsv) => [`RSV ${rsv}`, frame(Opcode.Text, "[]", { rsv })] as const),
  ["RSV on a ping", frame(Opcode.Ping, "", { rsv: 4 })],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((code) => [`opcode ${code}`, frame(code)] as const),
  ["a fragmented ping", frame(Opcode.Ping, "", { fin: false })],
  ["a fragmented close", frame(Opcode.Close, "", { fin: false })],
  ["a ping of 126 bytes", ping126],
  ["a close of 126 bytes", frame(Opcode.Close, "x".repeat(126))],
  ["a close of one byte", frame(Opcode.Close, "x")],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map(
    (code) => [`close ${code}`, closeFrame(code)] as const,
  ),
  ["a continuation of nothing", frame(Opcode.Continuation, "x")],
  ["a text within a text", Buffer.concat([frame(Opcode.Text, "x", { fin: false }), frame(Opcode.Text, "x")])],
]

const protocolErrors: Case = {
  id: "A15",
  name: `whatever RFC 6455 forbids (${forbidden.length} ways) is a 1002`,
  run: async (context) => {
    const server = await context.serve()
    for (const [what, bytes] of forbidden) {
      const attacker = await context.attack(server)
      attacker.write(bytes)
      same((await within(10_000, what, attacker.ended)).code, 1002, what)
    }
    const reason = await context.attack(server)
    reason.write(closeFrame(1000, Buffer.from([0xc3, 0x28])))
    same((await reason.ended).code, 1007, "a close reason that is no UTF-8")
    const close = async () => (await server.events("ATTACKER")).filter(({ tag }) => tag === "Close")
    await until("all have closed", async () => (await close()).length === forbidden.length + 1)
    same(
      (await close()).filter(({ text }) => !/^1006 ./.test(text)),
      [],
      "close events that name no cause",
    )
  },
}

const ahead: Case = {
  id: "A16",
  name: "what comes in the segment of the upgrade, while auth is slow, is answered; how much is kept is bounded",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, auth: "gated" })
      const count = 2_000
      const calls = Buffer.concat(Array.from({ length: count }, (_, i) => heartbeat(`${i}`)))
      const connected = context.attack(server, { ahead: calls, path: `/AHEAD` })
      await until("auth is asked", async () => (await server.authCount()) === 1)
      await context.victim.ask("release", null)
      const station = await connected
      const ids = new Set<unknown>()
      while (ids.size < count) ids.add((await station.receive())[1])
      check(ids.has("0") && ids.has(`${count - 1}`), "all calls were answered")
    }
    await boundedHead(context)
  },
}

const boundedHead = async (context: Context): Promise<void> => {
  const server = await context.serve({ auth: "never", options: { authTimeout: 3_000 } })
  const before = await context.memory()
  const socket = Net.connect({ port: server.port, host: "127.0.0.1" })
  socket.on("error", () => {})
  context.finally(() => socket.destroy())
  socket.write(Buffer.concat([upgrade({ path: "/FLOOD" }), Buffer.alloc(10 * MiB, "x")]))
  await until("auth is asked", async () => (await server.authCount()) === 1)
  await until("the flood is stuck", async () => {
    const written = socket.bytesWritten - socket.writableLength
    await pause(200)
    return written > 0 && written === socket.bytesWritten - socket.writableLength
  })
  const after = await context.memory()
  const grown = after.heapUsed + after.external - before.heapUsed - before.external
  check(grown < MiB, `${grown} bytes are kept`)
}

/** The calls that have not failed as they should. */
const unlike = (tags: ReadonlyArray<string>, outcomes: ReadonlyArray<Outcome>) =>
  outcomes.filter((one) => one.ok || !tags.includes(one.tag))

const silence: Answer = () => {}

const hostileServers = (elsewhere: number): ReadonlyArray<readonly [string, string, Answer]> => {
  const says = (head: string) => (_: string, socket: Net.Socket) => void socket.end(`HTTP/1.1 ${head}\r\n\r\n`)
  const accepts =
    (...lines: ReadonlyArray<string>): Answer =>
    (request, socket) =>
      void socket.write(switching(request, ...lines))
  const right = "Sec-WebSocket-Protocol: ocpp1.6"
  return [
    ["200", "UnexpectedHttpResponse", says("200 OK\r\nContent-Length: 0")],
    ["302", "UnexpectedHttpResponse", says(`302 Found\r\nLocation: ws://127.0.0.1:${elsewhere}/\r\nContent-Length: 0`)],
    ["307", "UnexpectedHttpResponse", says(`307 Moved\r\nLocation: ws://127.0.0.1:${elsewhere}/\r\nContent-Length: 0`)],
    ["101 without subprotocol", "ConnectError", accepts()],
    ["101 with another subprotocol", "ConnectError", accepts("Sec-WebSocket-Protocol: ocpp9")],
    ["101 with a wrong accept key", "ConnectError", (_, socket) => void socket.write(switching("", right))],
    ["101 without Upgrade", "UnexpectedHttpResponse", says("101 Switching Protocols\r\nConnection: Upgrade")],
    ["silence", "ConnectError", silence],
    ["a hang-up", "ConnectError", (_, socket) => void socket.destroy()],
    ["no HTTP", "ConnectError", (_, socket) => void socket.write(`${canary}\r\n\r\n`)],
    [
      "headers without end",
      "ConnectError",
      (_, socket) => void socket.write(`HTTP/1.1 101 X\r\nA: ${"x".repeat(100_000)}`),
    ],
  ]
}

const hostileHandshakes: Case = {
  id: "A17",
  name: "a client that meets another server, or a hostile one, fails typed within the handshake timeout, and is never redirected",
  run: async (context) => {
    const elsewhere = await answering(context, silence)
    for (const [what, tag, answer] of hostileServers(elsewhere.port)) {
      const hostile = await answering(context, answer)
      const start = Date.now()
      const more = { handshakeTimeout: 1_000, password: "secret", reconnect: false }
      same(await refuses(context, hostile, more, what), tag, what)
      check(Date.now() - start < 3_000, `${what} took ${Date.now() - start} ms`)
      const promised = await context.dial({
        face: "promise",
        endpoint: `ws://127.0.0.1:${hostile.port}`,
        options: { password: "secret", wsOpts: { handshakeTimeout: 1_000 } },
      })
      check(!promised.outcome.ok, `${what}: the promise face has connected`)
    }
    same(elsewhere.requests.length, 0, "requests at the other host")
  },
}

const failedDials: Case = {
  id: "A18",
  name: "failed dials, refused or unanswered, leave nothing on the heap",
  fresh: true,
  patience: 120_000,
  run: async (context) => {
    await context.serve()
    const refused = `ws://127.0.0.1:${await deadPort()}`
    const silent = `ws://127.0.0.1:${(await answering(context, silence)).port}`
    const dials = async (times: number) => {
      const some = { observed: false, together: 20, options: { handshakeTimeout: 100 } }
      const one = await context.victim.ask("dialOften", { ...some, endpoint: refused, times })
      const two = await context.victim.ask("dialOften", { ...some, endpoint: silent, times: times / 10 })
      same([one.tags, two.tags], [{ ConnectError: times }, { ConnectError: times / 10 }], "how they failed")
    }
    await dials(1_500)
    const before = await context.memory()
    const times = context.size(2_000, 10_000)
    await dials(times)
    const grown = (await context.memory()).heapUsed - before.heapUsed
    context.note(`${(grown / times).toFixed()} bytes of heap a dial`)
    // What the engine keeps of code that has become hot does not depend on how often it ran.
    check(grown < 64 * times + 500_000, `${grown} bytes of heap are left of ${times} dials`)
  },
}

export const cases: ReadonlyArray<Case> = [
  slowLoris,
  halfOpen,
  reset,
  frozen,
  slowConsumer,
  pingFlood,
  manyHeaders,
  hostileOffers,
  tooBig,
  fragments,
  bomb,
  badDeflate,
  badText,
  binary,
  protocolErrors,
  ahead,
  hostileHandshakes,
  failedDials,
]

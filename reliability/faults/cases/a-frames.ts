/** A. WebSocket frames: too large, too many, compressed, broken, forbidden. */
import { Buffer } from "node:buffer"
import { deflateRawSync } from "node:zlib"
import { closeFrame, frame, Opcode } from "../../../test/support/frames.ts"
import { until, within } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import { canary } from "../Context.ts"
import { check, same } from "../expect.ts"
import { type RawStation, upgrade } from "../RawStation.ts"
import { exchange, switching } from "../rawServers.ts"
import { refuses } from "./a-handshakes.ts"

const MiB = 1024 * 1024

export const tooBig = fault({
  id: "A9",
  promise: "a frame over the maximum, or one that claims a huge length, is refused with 1009 before its body arrives",
  fresh: true,
  faces: ["effect"],
  server: {},
  check: async ({ attack, context }) => {
    const before = await context.heap()
    for (const claims of [BigInt(MiB) + 1n, 100_000_000n, 2n ** 62n, 2n ** 63n]) {
      const attacker = await attack()
      attacker.write(frame(Opcode.Text, canary, { claims }))
      same((await attacker.ended).code, 1009, `close code for ${claims} bytes`)
    }
    const grown = (await context.heap()) - before
    check(grown < 2_000_000, `memory grew by ${grown} bytes`)
  },
  tells: [/^Close 1006 Max payload size exceeded/],
})

/** Waits until the other end has read everything: it answers a ping, which may come between fragments. */
const acknowledged = async (attacker: RawStation): Promise<void> => {
  const answered = new Promise<void>((resolve) => attacker.socket.once("data", () => resolve()))
  attacker.write(frame(Opcode.Ping))
  await within(10_000, "a pong", answered)
}

export const fragments = fault({
  id: "A10",
  promise: "fragment floods, of one byte, empty or never finished, end with 1008 or stay within the maximum",
  fresh: true,
  faces: ["effect"],
  server: {},
  check: async ({ attack, context }) => {
    for (const content of ["x", ""]) {
      const attacker = await attack()
      const more = frame(Opcode.Continuation, content, { fin: false })
      attacker.write(frame(Opcode.Text, content, { fin: false }), ...Array(100_000).fill(more))
      same((await attacker.ended).code, 1008, `fragments of ${content.length} bytes`)
    }
    const before = await context.heap()
    const count = 8
    for (let i = 0; i < count; i++) {
      const attacker = await attack({ path: `/UNFINISHED${i}` })
      const part = frame(Opcode.Continuation, "x".repeat(4_090), { fin: false })
      attacker.write(frame(Opcode.Text, "x", { fin: false }), ...Array(255).fill(part))
      await acknowledged(attacker)
    }
    const grown = ((await context.heap()) - before) / count
    check(grown < 1.25 * MiB, `an unfinished message holds ${grown} bytes`)
  },
  tells: [/^Close 1006 Too many message fragments/],
})

const compressing = { headers: ["Sec-WebSocket-Extensions: permessage-deflate"] }

/** A compressed message in one frame. */
const compressed = (message: Uint8Array | string): Buffer =>
  frame(Opcode.Text, deflateRawSync(message, { finishFlush: 2 }).subarray(0, -4), { rsv: 4 })

export const bomb = fault({
  id: "A11",
  promise: "a compression bomb ends with 1009, and takes less than twice the maximum on its way",
  fresh: true,
  faces: ["effect"],
  server: {},
  check: async ({ attack, context }) => {
    const packed = compressed(Buffer.alloc(60 * MiB))
    const throwIt = async () => {
      const attacker = await attack(compressing)
      attacker.write(packed)
      same((await attacker.ended).code, 1009, "the close code")
    }
    await throwIt()
    // Beside the message: the young generation of the heap, and zlib.
    const peak = await context.peak(throwIt)
    check(peak < 2 * MiB + 8 * MiB, `the process grew by ${peak} bytes`)
  },
  tells: [/^Close 1006 Max payload size exceeded/],
})

export const badDeflate = fault({
  id: "A12",
  promise:
    "bad compressed data is a 1007; window bits out of range are no compression for a server, no handshake for a client",
  faces: ["effect"],
  server: {},
  check: async ({ attack, context, server }) => {
    const attacker = await attack(compressing)
    same(attacker.header("Sec-WebSocket-Extensions")?.includes("permessage-deflate"), true, "compression is agreed on")
    attacker.write(compressed(`[2,"1","Heartbeat",{}]`))
    same((await attacker.receive())[0], 3, "the answer to a good message")
    attacker.write(frame(Opcode.Text, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x00]), { rsv: 4 }))
    same((await attacker.ended).code, 1007, "the close code")
    for (const bits of ["7", "16", "x"]) {
      const offer = { headers: [`Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=${bits}`] }
      const declined = await attack(offer)
      same(declined.header("Sec-WebSocket-Extensions"), undefined, `window bits "${bits}"`)
    }
    const malformed = { headers: ["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits="] }
    same((await exchange(server.port, upgrade(malformed))).status, 400, "window bits that are missing")
    const answers = ["permessage-deflate; server_max_window_bits=99", "permessage-deflate; constructor", "unheard-of"]
    for (const extension of answers) {
      const headers = ["Sec-WebSocket-Protocol: ocpp1.6", `Sec-WebSocket-Extensions: ${extension}`]
      const hostile = await context.answering((request, socket) => void socket.write(switching(request, ...headers)))
      await refuses(context, hostile, { perMessageDeflate: true })
    }
  },
  tells: [/^(SocketError|Close 1006) ./],
})

const notUtf8 = {
  "an overlong sequence": Buffer.from([0xc3, 0x28]),
  "a surrogate": Buffer.from([0xed, 0xa0, 0x80]),
  "beyond the last character": Buffer.from([0xf4, 0x90, 0x80, 0x80]),
}

const echoing = { Heartbeat: "heartbeat", "*": "echo" }

export const badText = fault<Buffer>({
  id: "A13",
  promise: "invalid UTF-8 and surrogates are a 1007, and no handler runs",
  server: { handlers: echoing },
  inputs: notUtf8,
  check: async ({ attack, input }) => {
    const attacker = await attack()
    const message = Buffer.concat([Buffer.from('[2,"1","DataTransfer",{"data":"'), input, Buffer.from('"}]')])
    attacker.write(frame(Opcode.Text, message))
    same((await attacker.ended).code, 1007, "the close code")
  },
  afterwards: async ({ server }) => same(await server.handledCount(), 0, "calls that were handled"),
  tells: [/^Close 1006 Invalid WebSocket frame: invalid UTF-8/],
})

export const binary = fault<Buffer>({
  id: "A14",
  promise: "a binary frame is read as text; one that is no UTF-8 is a 1007",
  server: { handlers: echoing },
  inputs: notUtf8,
  check: async ({ attack, input }) => {
    const attacker = await attack()
    attacker.write(frame(Opcode.Binary, '[2,"b","DataTransfer",{"vendorId":"ä"}]'))
    same(await attacker.receive(), [3, "b", { vendorId: "ä" }], "the answer")
    attacker.write(frame(Opcode.Binary, input))
    same((await attacker.ended).code, 1007, "the close code")
  },
  afterwards: async ({ server }) => {
    same(await server.handledCount(), Object.keys(notUtf8).length, "calls that were handled")
  },
  tells: [/^Close 1007 /],
})

/** Everything that RFC 6455 forbids. */
const forbidden: Readonly<Record<string, Uint8Array>> = {
  "an unmasked text": frame(Opcode.Text, "[]", { masked: false }),
  "an unmasked ping": frame(Opcode.Ping, "", { masked: false }),
  "an unmasked close": frame(Opcode.Close, "", { masked: false }),
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((rsv) => [`RSV ${rsv}`, frame(Opcode.Text, "[]", { rsv })])),
  "RSV on a ping": frame(Opcode.Ping, "", { rsv: 4 }),
  ...Object.fromEntries([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((code) => [`opcode ${code}`, frame(code)])),
  "a fragmented ping": frame(Opcode.Ping, "", { fin: false }),
  "a fragmented close": frame(Opcode.Close, "", { fin: false }),
  "a ping of 126 bytes": frame(Opcode.Ping, "x".repeat(126)),
  "a close of 126 bytes": frame(Opcode.Close, "x".repeat(126)),
  "a close of one byte": frame(Opcode.Close, "x"),
  ...Object.fromEntries(
    [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map((code) => [`close ${code}`, closeFrame(code)]),
  ),
  "a continuation of nothing": frame(Opcode.Continuation, "x"),
  "a text within a text": Buffer.concat([frame(Opcode.Text, "x", { fin: false }), frame(Opcode.Text, "x")]),
}

export const protocolErrors = fault<Uint8Array>({
  id: "A15",
  promise: `everything that RFC 6455 forbids (${Object.keys(forbidden).length} ways) is a 1002`,
  server: {},
  inputs: forbidden,
  check: async ({ attack, input }) => {
    const attacker = await attack()
    attacker.write(input)
    same((await within(10_000, "the close", attacker.ended)).code, 1002, "the close code")
  },
  afterwards: async ({ attack, server }) => {
    const reason = await attack()
    reason.write(closeFrame(1000, Buffer.from([0xc3, 0x28])))
    same((await reason.ended).code, 1007, "a close reason that is no UTF-8")
    const closes = async () => (await server.events("ATTACKER")).filter(({ tag }) => tag === "Close")
    await until("all have closed", async () => (await closes()).length === Object.keys(forbidden).length + 1)
    const nameless = (await closes()).filter(({ text }) => !/^1006 ./.test(text))
    same(nameless, [], "close events that name no cause")
  },
})

/** Handshakes and WebSocket frames, right, wrong and broken, against a real server; each is judged by the RFCs and OCPP-J. */
import { Buffer } from "node:buffer"
import * as Net from "node:net"
import { codeOf, frame, Opcode, type ReadFrame, readFrames } from "../../test/support/frames.ts"
import { acceptOf, sampleKey, upgradeLines } from "../../test/support/handshake.ts"
import type { Random } from "../support/Random.ts"
import { wrongWith } from "./batch.ts"
import { type RawFrame, type Reading, read } from "./frames.ts"
import { brokenBytes } from "./messages.ts"
import * as Oracle from "./oracle.ts"

/** One exchange: the bytes to be written, and the judgement of those that come back. */
export interface Exchange {
  /** A name for reports. */
  readonly name: string
  readonly bytes: Buffer
  /** Bytes to be written once the last call has been answered. */
  readonly farewell: Buffer
  /** Whether nothing more is sent: an incomplete message then never becomes complete. */
  readonly half: boolean
  readonly fault: (received: Buffer) => string | undefined
}

/** Milliseconds that a server may take for one exchange. */
const deadline = 15_000

/** Performs an exchange. Says what is wrong with the answer. */
export const attempt = (port: number, { bytes, farewell, fault, half }: Exchange): Promise<string | undefined> =>
  new Promise((resolve) => {
    const received: Array<Buffer> = []
    const socket = Net.connect({ port, host: "127.0.0.1" }, () => (half ? socket.end(bytes) : socket.write(bytes)))
    const timer = setTimeout(() => {
      resolve(`the server has not ended it within ${deadline} ms`)
      socket.destroy()
    }, deadline)
    socket.on("error", () => {})
    let isOver = false
    socket.on("data", (chunk) => {
      received.push(chunk)
      const frames = framesOf(Buffer.concat(received))
      if (frames.some(({ opcode }) => opcode === Opcode.Close)) socket.end()
      else if (!isOver && frames.some(isAlive)) socket.write(farewell)
      else return
      isOver = true
    })
    socket.on("close", () => {
      clearTimeout(timer)
      resolve(fault(Buffer.concat(received)))
    })
  })

const blankLine = "\r\n\r\n"

const framesOf = (received: Buffer) => {
  const end = received.indexOf(blankLine)
  return end === -1 || !received.subarray(0, 12).equals(switching) ? [] : readFrames(received.subarray(end + 4))
}

const isAlive = ({ opcode, payload }: ReadFrame) => opcode === Opcode.Text && payload.includes('"alive",')

const switching = Buffer.from("HTTP/1.1 101")

interface Request {
  readonly line: string
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
}

const requestOf = (identity: string, subprotocol: string): Request => {
  const [line, ...headers] = upgradeLines(`/ocpp/${identity}`, [`Sec-WebSocket-Protocol: ${subprotocol}`])
  return { line: line as string, headers: headers.map((header) => header.split(": ") as [string, string]) }
}

const bytesOf = ({ headers, line }: Request): Buffer =>
  Buffer.from(`${[line, ...headers.map(([name, value]) => `${name}: ${value}`)].join("\r\n")}${blankLine}`, "latin1")

const withHeader = (request: Request, name: string, value?: string): Request => ({
  ...request,
  headers: [
    ...request.headers.filter(([other]) => other !== name),
    ...(value === undefined ? [] : [[name, value] as const]),
  ],
})

type Change = readonly [name: string, statuses: ReadonlyArray<number>, change: (request: Request) => Request]

const target = (path: string, ...statuses: ReadonlyArray<number>): Change => [
  `target ${path.slice(0, 30)}`,
  statuses,
  (request) => ({ ...request, line: `GET ${path} HTTP/1.1` }),
]

const header = (statuses: ReadonlyArray<number>, name: string, value?: string): Change => [
  `${name}: ${value?.slice(0, 30)}`,
  statuses,
  (request) => withHeader(request, name, value),
]

/** Wrong handshakes, and the statuses with which they may be answered. */
const changes: ReadonlyArray<Change> = [
  ["untouched", [101], (request) => request],
  target("/%E0%A4%A", 400),
  target("/%", 400),
  target("/", 400),
  target("/ocpp/", 400),
  target("//CP001", 101),
  target("//", 400),
  target("*", 400),
  target("http://[::1", 400),
  target("http://localhost/CP001", 101),
  target("http://user@localhost/CP001", 400),
  target("/a%00b", 400),
  target("/a%0d%0ab", 400),
  target("/..%2f..%2fetc", 400),
  target(`/${"i".repeat(256)}`, 400),
  target("/refused", 401),
  target(`/${"%F0%9F%98%80".repeat(20)}`, 101),
  target("/__proto__", 101),
  target("/constructor?a=b&__proto__=c#d", 101, 400),
  ["POST", [400], (request) => ({ ...request, line: request.line.replace("GET", "POST") })],
  ["no method", [400], (request) => ({ ...request, line: request.line.replace("GET", "") })],
  ["HTTP/9.9", [400, 505], (request) => ({ ...request, line: request.line.replace("1.1", "9.9") })],
  header([404], "Upgrade"),
  header([404], "Connection"),
  header([404], "Connection", "close"),
  header([400], "Upgrade", "h2c"),
  header([400], "Upgrade", "websocket, h2c"),
  // RFC 9112 asks for 400; Node lets upgrades without it through, and stations may rely on that.
  header([101, 400], "Host"),
  header([400], "Sec-WebSocket-Key"),
  header([400], "Sec-WebSocket-Key", "short"),
  header([400], "Sec-WebSocket-Key", `${sampleKey}${sampleKey}`),
  header([400], "Sec-WebSocket-Version"),
  header([400], "Sec-WebSocket-Version", "7"),
  header([400], "Sec-WebSocket-Version", "13, 8"),
  header([101], "Sec-WebSocket-Protocol"),
  header([101], "Sec-WebSocket-Protocol", "constructor, __proto__"),
  header([400], "Sec-WebSocket-Protocol", ",,"),
  header([400], "Sec-WebSocket-Protocol", "a,a"),
  header([400], "Sec-WebSocket-Protocol", "a b"),
  header([400], "Sec-WebSocket-Protocol", `${" ".repeat(4_000)},`),
  header([400], "Sec-WebSocket-Extensions", "permessage-deflate; ;"),
  header([101], "Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=99"),
  header([101], "Sec-WebSocket-Extensions", "permessage-deflate; unheard=of"),
  header([101], "Sec-WebSocket-Extensions", "unheard-of; __proto__=1"),
  header([431], "Cookie", "c".repeat(9_000)),
  header([400], "X y", "z"),
  header([400], "X", "a\u0000b"),
  header([101], "Authorization", "Basic !!!!"),
  header([101], "Authorization", `Basic ${"=".repeat(3_000)}`),
  header([101], "Authorization", "Bearer x"),
]

const heartbeat = '[2,"alive","Heartbeat",{}]'

const closing: RawFrame = { opcode: Opcode.Close, payload: Buffer.from([0x03, 0xe8]) }

const written = (random: Random, frames: ReadonlyArray<RawFrame>): Buffer =>
  Buffer.concat(
    frames.map(({ opcode, payload, ...options }) => {
      const mask = Buffer.from([1, 2, 3, 4].map(() => random.below(256)))
      return frame(opcode, payload, { ...options, mask })
    }),
  )

const text = (message: string): RawFrame => ({ opcode: Opcode.Text, payload: Buffer.from(message) })

/** A handshake with one change, or with broken bytes. */
export const handshake = (random: Random, identity: string, subprotocol: string): Exchange => {
  const request = requestOf(identity, subprotocol)
  const frames = written(random, [text(heartbeat)])
  if (random.chance(0.4)) return brokenHandshake(random, bytesOf(request), frames)
  const [name, statuses, change] = random.pick(changes)
  return {
    name,
    bytes: Buffer.concat([bytesOf(change(request)), frames]),
    farewell: written(random, [closing]),
    half: false,
    fault: (received) => {
      const status = statusOf(received)
      if (!statuses.includes(status)) return `status ${statuses.join(" or ")} expected; got ${status}`
      if (status !== 101) return undefined
      return acceptFault(received) ?? (name === "untouched" ? aliveFault(received) : undefined)
    },
  }
}

const brokenHandshake = (random: Random, request: Buffer, frames: Buffer): Exchange => {
  let bytes = request
  for (let left = 1 + random.below(4); left > 0; left--) bytes = brokenBytes(random, bytes, request)
  return {
    name: "broken bytes",
    bytes: random.chance(0.5) ? bytes : Buffer.concat([bytes, frames]),
    farewell: Buffer.alloc(0),
    half: true,
    fault: (received) => {
      const status = statusOf(received)
      const isLegal = received.length === 0 || status === 101 || (status >= 400 && status <= 505 && status !== 500)
      return isLegal ? undefined : `got ${JSON.stringify(received.subarray(0, 40).toString("latin1"))}`
    },
  }
}

const statusOf = (received: Buffer): number => {
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(received.subarray(0, 13).toString("latin1")) ?? []
  return Number(status ?? Number.NaN)
}

const acceptFault = (received: Buffer): string | undefined => {
  const head = received.subarray(0, received.indexOf(blankLine)).toString("latin1")
  const isRight = head.includes(`\r\nSec-WebSocket-Accept: ${acceptOf(sampleKey)}`)
  return isRight ? undefined : "wrong Sec-WebSocket-Accept"
}

const aliveFault = (received: Buffer): string | undefined => {
  const [answer] = framesOf(received)
  return answer?.payload.toString().startsWith('[3,"alive",') ? undefined : "the Heartbeat has not been answered"
}

/** Frames of every kind; most sequences have something wrong in them. */
export const frameSequence = (
  random: Random,
  identity: string,
  situation: Oracle.Situation,
  texts: ReadonlyArray<string>,
): Exchange => {
  const frames = [...texts.flatMap((message) => framed(random, message)), text(heartbeat)]
  if (random.chance(0.7)) frames.splice(random.below(frames.length), 0, oddFrame(random))
  const reading = read([...frames, closing])
  const bytes = written(random, frames)
  return {
    name: `${frames.length} frames, ${frames.map(({ opcode }) => opcode).join()}`,
    bytes: Buffer.concat([bytesOf(requestOf(identity, situation.subprotocol)), bytes]),
    farewell: written(random, [closing]),
    half: false,
    fault: (received) => readingFault(reading, situation, received),
  }
}

/** Messages in orderly frames. */
export const messageSequence = (
  random: Random,
  identity: string,
  situation: Oracle.Situation,
  texts: ReadonlyArray<string>,
): Exchange => {
  const frames = [...texts, heartbeat].map(text)
  return {
    name: `${texts.length} messages`,
    bytes: Buffer.concat([bytesOf(requestOf(identity, situation.subprotocol)), written(random, frames)]),
    farewell: written(random, [closing]),
    half: false,
    fault: (received) => readingFault(read([...frames, closing]), situation, received),
  }
}

/** A message in one frame, or in several with a ping between them. */
const framed = (random: Random, message: string): ReadonlyArray<RawFrame> => {
  const bytes = Buffer.from(message)
  if (random.chance(0.6)) return [{ opcode: random.pick([Opcode.Text, Opcode.Binary]), payload: bytes }]
  const cut = random.below(bytes.length + 1)
  return [
    { opcode: Opcode.Text, payload: bytes.subarray(0, cut), fin: false },
    ...(random.chance(0.5) ? [{ opcode: Opcode.Ping, payload: Buffer.from("between") }] : []),
    { opcode: Opcode.Continuation, payload: bytes.subarray(cut) },
  ]
}

const oddFrame = (random: Random): RawFrame => {
  const payload = Buffer.from(
    random.pick(["", "x", '[2,"odd","Heartbeat",{}]', "[", "x".repeat(126), "x".repeat(70_000)]),
  )
  const small = payload.subarray(0, 125)
  return random.pick<() => RawFrame>([
    () => ({ opcode: random.below(16), payload }),
    () => ({ opcode: random.below(16), payload: small, fin: random.chance(0.5) }),
    () => ({ opcode: Opcode.Text, payload, rsv: 1 + random.below(7) }),
    () => ({ opcode: random.pick([Opcode.Text, Opcode.Ping, Opcode.Close]), payload: small, masked: false }),
    () => ({ opcode: Opcode.Text, payload: random.pick(invalidUtf8) }),
    () => ({ opcode: Opcode.Binary, payload: random.pick(invalidUtf8) }),
    () => ({
      opcode: Opcode.Text,
      payload: small,
      claims: random.pick([2n ** 20n + 1n, 100_000_000n, 2n ** 62n, 2n ** 64n - 1n]),
    }),
    () => ({ opcode: Opcode.Ping, payload: small }),
    () => ({ opcode: Opcode.Pong, payload: small }),
    () => ({ opcode: Opcode.Close, payload: random.pick(closePayloads) }),
  ])()
}

const invalidUtf8 = [[0xc3, 0x28], [0xed, 0xa0, 0x80], [0xff], [0xf0, 0x9f, 0x98]].map((bytes) => Buffer.from(bytes))

const closePayloads = [
  Buffer.alloc(0),
  Buffer.from([3]),
  ...[0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000].map((code) =>
    Buffer.from([code >> 8, code & 255]),
  ),
  Buffer.from([0x03, 0xe8, 0xc3, 0x28]),
  Buffer.from([0x03, 0xe8, ...Buffer.from("bye")]),
]

const readingFault = (reading: Reading, situation: Oracle.Situation, received: Buffer): string | undefined => {
  if (statusOf(received) !== 101) return `not upgraded: ${received.subarray(0, 60).toString("latin1")}`
  const frames = framesOf(received)
  const of = (opcode: number) => frames.filter((frame) => frame.opcode === opcode).map(({ payload }) => payload)
  return (
    answersFault(reading, situation, of(Opcode.Text).map(String)) ??
    pongsFault(reading.pongs, of(Opcode.Pong)) ??
    closeFault(reading.close, of(Opcode.Close))
  )
}

/**
 * Handlers do not suspend, so every answer comes in its turn. A peer that breaks the protocol, or closes before it has its
 * answers, may get fewer.
 */
const answersFault = (
  { isRushed, texts }: Reading,
  situation: Oracle.Situation,
  answers: ReadonlyArray<string>,
): string | undefined => {
  let at = 0
  for (const message of texts) {
    const { answer } = Oracle.react(message, situation)
    if (answer === undefined) continue
    const got = answers[at++]
    const asked = message.slice(0, 300)
    if (got === undefined) return isRushed ? undefined : `no answer to ${asked}`
    const wrong = wrongWith(got, message, answer, situation.subprotocol)
    if (wrong !== undefined) return `${wrong}: ${got.slice(0, 300)} to ${asked}`
  }
  return at === answers.length
    ? undefined
    : `${answers.length - at} answers too many: ${answers.slice(at).join().slice(0, 300)}`
}

const pongsFault = (expected: ReadonlyArray<Buffer>, got: ReadonlyArray<Buffer>): string | undefined =>
  expected.length === got.length && expected.every((pong, i) => pong.equals(got[i] as Buffer))
    ? undefined
    : `${expected.length} pongs expected; got ${got.length}`

const closeFault = (expected: number | undefined, got: ReadonlyArray<Buffer>): string | undefined => {
  const [close] = got
  const code = close && codeOf({ payload: close })
  return got.length <= 1 && code === expected ? undefined : `close ${expected} expected; got ${code}`
}

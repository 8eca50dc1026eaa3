import { Buffer } from "node:buffer"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { trust } from "../../src/server/addresses.ts"
import { headerOf, inFrontOf } from "../../src/server/ProxyFront.ts"
import * as ProxyProtocol from "../../src/server/proxyProtocol.ts"
import { makeAuthority } from "../support/Certificates.ts"
import { exchange, frame, Opcode } from "../support/RawClient.ts"
import { serve, soon, upgradeOf } from "../support/serve.ts"
import { collectUncaught } from "../support/uncaught.ts"

const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])

/** A header of version 2, written by hand. */
const v2 = (command: number, family: number, body: Uint8Array, length = body.length) =>
  Buffer.concat([signature, Buffer.from([command, family, length >> 8, length & 255]), body])

const tcp4 = Buffer.from([192, 0, 2, 1, 203, 0, 113, 7, 0xdc, 0x04, 0x01, 0xbb])
const tcp6 = Buffer.concat([
  Buffer.from("20010db8000000000000000000000001", "hex"),
  Buffer.from("00000000000000000000ffffc0000202", "hex"),
  Buffer.from([0xdc, 0x04, 0x01, 0xbb]),
])

const header = (bytes: Uint8Array | string) => {
  const reading = ProxyProtocol.parse(Buffer.from(bytes))
  return reading._tag === "Header" ? reading.header : reading
}

const ends = {
  source: { address: "192.0.2.1", port: 56324 },
  destination: { address: "203.0.113.7", port: 443 },
}

describe("version 1", () => {
  it.each([
    ["PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n", "192.0.2.1", 56324],
    ["PROXY TCP4 192.0.2.1 203.0.113.7 0 65535\r\n", "192.0.2.1", 0],
    ["PROXY TCP6 2001:DB8::1 2001:db8::2 1 2\r\n", "2001:db8::1", 1],
    ["PROXY TCP6 ::ffff:192.0.2.1 ::ffff:203.0.113.7 1 2\r\n", "192.0.2.1", 1],
  ])("%j", (text, address, port) => {
    expect(header(text)).toMatchObject({ source: { address, port }, tlvs: [] })
    expect(ProxyProtocol.parse(Buffer.from(`${text}GET / HTTP/1.1\r\n`))).toMatchObject({ length: text.length })
  })

  it.each(["PROXY UNKNOWN\r\n", `PROXY UNKNOWN ${"f".repeat(91)}\r\n`, "PROXY UNKNOWN a b c d e f\r\n"])(
    "%j tells of nobody",
    (text) => {
      expect(header(text)).toEqual({ source: undefined, destination: undefined, tlvs: [] })
    },
  )

  it.each([
    "GET / HTTP/1.1\r\n",
    "proxy TCP4 192.0.2.1 203.0.113.7 1 2\r\n",
    "PROXY\tTCP4 192.0.2.1 203.0.113.7 1 2\r\n",
    "PROXY  TCP4 192.0.2.1 203.0.113.7 1 2\r\n",
    "PROXY \r\n",
    "PROXY TCP5 192.0.2.1 203.0.113.7 1 2\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 1\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 1 2 3\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 1 2 \r\n",
    "PROXY TCP4 192.0.2.300 203.0.113.7 1 2\r\n",
    "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "PROXY TCP6 192.0.2.1 203.0.113.7 1 2\r\n",
    "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 65536 2\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 01 2\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 -1 2\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 1 0x2\r\n",
    "PROXY TCP4 192.0.2.1 203.0.113.7 1 2\nGET / HTTP/1.1\r\n",
    `PROXY UNKNOWN ${"f".repeat(92)}\r\n`,
    `PROXY TCP4 ${" ".repeat(96)}`,
  ])("%j is refused", (text) => {
    expect(header(text)).toEqual({ _tag: "Fault", reason: expect.any(String) })
  })
})

describe("version 2", () => {
  it("tells of TCP over IPv4 and over IPv6", () => {
    expect(header(v2(0x21, 0x11, tcp4))).toEqual({ ...ends, tlvs: [] })
    expect(header(v2(0x21, 0x21, tcp6))).toEqual({
      source: { address: "2001:db8::1", port: 56324 },
      destination: { address: "192.0.2.2", port: 443 },
      tlvs: [],
    })
  })

  it("tells of other things", () => {
    const authority = Buffer.concat([Buffer.from([0x02, 0, 3]), Buffer.from("csms").subarray(0, 3)])
    const empty = Buffer.from([0x04, 0, 0])
    const tlvs = [
      { type: 2, value: Uint8Array.from(Buffer.from("csm")) },
      { type: 4, value: new Uint8Array() },
    ]
    expect(header(v2(0x21, 0x11, Buffer.concat([tcp4, authority, empty])))).toEqual({ ...ends, tlvs })
    expect(header(v2(0x21, 0x31, Buffer.concat([Buffer.alloc(216), authority, empty])))).toMatchObject({
      source: undefined,
      tlvs,
    })
  })

  it("tells of nobody when the proxy speaks for itself, or does not know", () => {
    for (const bytes of [v2(0x20, 0x00, Buffer.alloc(0)), v2(0x20, 0x11, tcp4), v2(0x21, 0x00, Buffer.alloc(99))]) {
      expect(header(bytes)).toEqual({ source: undefined, destination: undefined, tlvs: [] })
      expect(ProxyProtocol.parse(Buffer.concat([bytes, Buffer.from("GET /")]))).toMatchObject({ length: bytes.length })
    }
  })

  it.each([
    ["another version", v2(0x11, 0x11, tcp4)],
    ["another command", v2(0x22, 0x11, tcp4)],
    ["another family", v2(0x21, 0x41, tcp4)],
    ["datagrams", v2(0x21, 0x12, tcp4)],
    ["addresses that are too short", v2(0x21, 0x11, tcp4.subarray(1))],
    ["addresses of the other family", v2(0x21, 0x21, tcp4)],
    ["half a TLV", v2(0x21, 0x11, Buffer.concat([tcp4, Buffer.from([2, 0])]))],
    ["a TLV that is longer than the rest", v2(0x21, 0x11, Buffer.concat([tcp4, Buffer.from([2, 0, 2, 0])]))],
    ["more than 4,096 bytes", v2(0x21, 0x11, tcp4, 4081)],
    ["65,535 bytes", v2(0x21, 0x11, tcp4, 65535)],
    ["a signature that breaks off", Buffer.concat([signature.subarray(0, 11), Buffer.from("x")])],
  ])("with %s is refused", (_, bytes) => {
    expect(header(bytes)).toEqual({ _tag: "Fault", reason: expect.any(String) })
  })
})

describe("a header", () => {
  const texts = [
    Buffer.from("PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n"),
    Buffer.from("PROXY UNKNOWN\r\n"),
    v2(0x21, 0x11, tcp4),
    v2(0x21, 0x21, Buffer.concat([tcp6, Buffer.from([4, 0, 1, 0])])),
    v2(0x20, 0x00, Buffer.alloc(7)),
  ]

  it("is incomplete up to its last byte, and then a header whatever follows", () => {
    for (const text of texts) {
      for (let length = 0; length < text.length; length++) {
        expect(ProxyProtocol.parse(text.subarray(0, length))._tag).toBe("Incomplete")
      }
      const whole = ProxyProtocol.parse(text)
      expect(whole).toMatchObject({ _tag: "Header", length: text.length })
      expect(ProxyProtocol.parse(Buffer.concat([text, Buffer.alloc(5000)]))).toEqual(whole)
    }
  })

  it("is incomplete for no more than its maximum, and nothing throws, whatever comes", () => {
    const begun = fc.constantFrom(Buffer.from("PROXY "), Buffer.from("PROXY TCP4 "), signature, Buffer.alloc(0))
    const rest = fc.uint8Array({ maxLength: 5000, size: "max" })
    fc.assert(
      fc.property(begun, rest, (begun, rest) => {
        const bytes = Buffer.concat([begun, rest])
        const reading = ProxyProtocol.parse(bytes)
        if (reading._tag === "Incomplete") expect(bytes.length).toBeLessThan(ProxyProtocol.maxLength.v2)
      }),
    )
  })
})

/** A socket that has come in, and its other end. */
const accepted = Effect.acquireRelease(
  Effect.callback<{ readonly ours: Net.Socket; readonly theirs: Net.Socket; readonly server: Net.Server }>((resume) => {
    const server = Net.createServer({ allowHalfOpen: true }, (ours) => {
      ours.on("error", () => {})
      resume(Effect.succeed({ ours, theirs, server }))
    })
    let theirs: Net.Socket
    server.listen(0, "127.0.0.1", () => {
      theirs = Net.connect((server.address() as Net.AddressInfo).port, "127.0.0.1")
      theirs.on("error", () => {})
    })
  }),
  ({ ours, server, theirs }) =>
    Effect.sync(() => {
      ours.destroy()
      theirs.destroy()
      server.close()
    }),
)

/** Everything that a socket still has to say, up to its end. */
const text = (socket: Net.Socket) =>
  Effect.callback<string>((resume) => {
    const chunks: Array<Buffer> = []
    socket
      .on("data", (chunk) => chunks.push(chunk))
      .on("end", () => resume(Effect.succeed(Buffer.concat(chunks).toString())))
  })

describe("read", () => {
  it.live("takes the header, and leaves what is behind it", () =>
    Effect.gen(function* () {
      const { ours, theirs } = yield* accepted
      const rest = "x".repeat(200_000)
      theirs.end(Buffer.concat([v2(0x21, 0x11, tcp4), Buffer.from(rest)]))
      expect(yield* ProxyProtocol.read(ours)).toEqual({ ...ends, tlvs: [] })
      expect(yield* text(ours)).toBe(rest)
    }),
  )

  it.live("takes a header that comes byte by byte", () =>
    Effect.gen(function* () {
      const { ours, theirs } = yield* accepted
      theirs.setNoDelay(true)
      const reading = yield* Effect.forkChild(ProxyProtocol.read(ours), { startImmediately: true })
      for (const byte of Buffer.concat([Buffer.from("PROXY UNKNOWN\r\n"), Buffer.from("rest")])) {
        yield* Effect.callback<void>((resume) => void theirs.write(Buffer.of(byte), () => resume(Effect.void)))
      }
      theirs.end()
      expect(yield* Fiber.join(reading)).toMatchObject({ source: undefined })
      expect(yield* text(ours)).toBe("rest")
    }),
  )

  it.live.each([
    ["what is none", "GET / HTTP/1.1\r\n\r\n", /does not begin with a header/],
    ["half of one", "PROXY TCP4 192.0.2.1", /ended before the header/],
    ["nothing", "", /ended before the header/],
  ] as const)("fails with %s", ([, sent, message]) =>
    Effect.gen(function* () {
      const { ours, theirs } = yield* accepted
      theirs.end(sent)
      const error = yield* Effect.flip(ProxyProtocol.read(ours))
      expect(error).toMatchObject({ _tag: "ProxyProtocolError", message: expect.stringMatching(message) })
      expect(ours.destroyed).toBe(false)
    }),
  )

  it.live("fails when the socket breaks, and leaves no listener", () =>
    Effect.gen(function* () {
      const { ours, theirs } = yield* accepted
      const before = ours.eventNames().map((name) => [name, ours.listenerCount(name)])
      const reading = yield* Effect.forkChild(Effect.flip(ProxyProtocol.read(ours)), { startImmediately: true })
      theirs.resetAndDestroy()
      expect((yield* Fiber.join(reading)).message).toMatch(/ended before the header/)
      expect(ours.eventNames().map((name) => [name, ours.listenerCount(name)])).toEqual(before)
    }),
  )

  it.live("interrupted, leaves no listener", () =>
    Effect.gen(function* () {
      const { ours } = yield* accepted
      const before = ours.eventNames().map((name) => [name, ours.listenerCount(name)])
      const reading = yield* Effect.forkChild(ProxyProtocol.read(ours), { startImmediately: true })
      yield* Fiber.interrupt(reading)
      expect(ours.eventNames().map((name) => [name, ours.listenerCount(name)])).toEqual(before)
    }),
  )
})

const fromProxy = Buffer.from("PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n")

describe("in front of a server", () => {
  const options = { trusts: trust(["127.0.0.1"]), timeout: "5 seconds" } as const

  /** A CSMS of ours whose listener has a proxy before it. */
  const behindProxy = Effect.fnUntraced(function* (
    front: Partial<Parameters<typeof inFrontOf>[1]> = {},
    tls?: Tls.TlsOptions,
  ) {
    const { server } = yield* serve({ protocols: [] })
    const httpServer = yield* server.listen({ host: "127.0.0.1", ...(tls && { tls }) })
    yield* inFrontOf(httpServer, { ...options, ...front })
    return { server, httpServer, port: (httpServer.address() as Net.AddressInfo).port }
  })

  const knock = Buffer.concat([Buffer.from(upgradeOf("/CP001")), frame(Opcode.Close)])

  it.live("a station has the address that the proxy has told, also when it has gone", () =>
    Effect.gen(function* () {
      const { port, server } = yield* behindProxy()
      for (const before of [fromProxy, v2(0x21, 0x11, tcp4)]) {
        const connected = yield* soon(server, "Connected")
        const disconnected = yield* soon(server, "Disconnected")
        expect(String(yield* exchange(port, before, knock))).toMatch(/^HTTP\/1.1 101 /)
        const { station } = yield* Fiber.join(connected)
        yield* Fiber.join(disconnected)
        const { socket } = station.handshake.request
        expect([station.handshake.remoteAddress, socket.remotePort, socket.remoteFamily]).toEqual([
          "192.0.2.1",
          56324,
          "IPv4",
        ])
        expect(headerOf(socket)).toMatchObject(ends)
      }
    }),
  )

  it.live("one for which the proxy speaks itself keeps the proxy's", () =>
    Effect.gen(function* () {
      const { port, server } = yield* behindProxy()
      const connected = yield* soon(server, "Connected")
      let address: string | undefined
      server.subscribe((event) => {
        if (event._tag === "Connected") address = event.station.handshake.remoteAddress
      })
      yield* exchange(port, v2(0x20, 0x00, Buffer.alloc(0)), knock)
      yield* Fiber.join(connected)
      expect(address).toBe("127.0.0.1")
    }),
  )

  it.live("one that comes from elsewhere is served as it is, and a header of its own is no HTTP", () =>
    Effect.gen(function* () {
      const { port } = yield* behindProxy({ trusts: trust(["192.0.2.0/24"]) })
      expect(String(yield* exchange(port, knock))).toMatch(/^HTTP\/1.1 101 /)
      expect(String(yield* exchange(port, fromProxy, knock))).toMatch(/^HTTP\/1.1 400 /)
    }),
  )

  it.live("a proxy that sends no header, or a broken one, is dropped and told of", () =>
    Effect.gen(function* () {
      const dropped: Array<unknown> = []
      const { port } = yield* behindProxy({ onDropped: ({ message }, proxy) => dropped.push([message, proxy]) })
      for (const begun of ["", "PROXY TCP4 192.0.2.1\r\n"]) {
        expect(yield* exchange(port, Buffer.from(begun), knock)).toHaveLength(0)
      }
      expect(dropped).toEqual([
        ["the connection does not begin with a header of the PROXY protocol", "127.0.0.1"],
        ["the header of the proxy is malformed", "127.0.0.1"],
      ])
    }),
  )

  it.live("what is told of that may throw: it surfaces, and the next is served", () =>
    Effect.gen(function* () {
      const fault = new Error("a fault of the program's")
      const { port } = yield* behindProxy({
        onDropped: () => {
          throw fault
        },
      })
      const uncaught = yield* collectUncaught(1)
      expect(yield* exchange(port, knock)).toHaveLength(0)
      expect(String(yield* exchange(port, fromProxy, knock))).toMatch(/^HTTP\/1.1 101 /)
      expect(uncaught).toEqual([fault])
    }),
  )

  it.effect("a header that does not come in time is waited for no longer", () =>
    Effect.gen(function* () {
      const dropped = yield* Queue.unbounded<string>()
      const { httpServer, port } = yield* behindProxy({
        onDropped: ({ message }) => void Queue.offerUnsafe(dropped, message),
      })
      const arrived = yield* Queue.unbounded<void>()
      httpServer.on("connection", () => Queue.offerUnsafe(arrived, undefined))
      const exchanging = yield* Effect.forkChild(exchange(port, fromProxy.subarray(0, 10)), { startImmediately: true })
      yield* Queue.take(arrived)
      yield* TestClock.adjust("4999 millis")
      expect(yield* Queue.size(dropped)).toBe(0)
      yield* TestClock.adjust("1 millis")
      expect(yield* Queue.take(dropped)).toBe("the header of the proxy has not come in time")
      expect(yield* Fiber.join(exchanging)).toHaveLength(0)
    }),
  )

  it.live("when its Scope closes, who has sent no header is dropped, and others are served without", () =>
    Effect.gen(function* () {
      const dropped: Array<unknown> = []
      const { server } = yield* serve({ protocols: [] })
      const httpServer = yield* server.listen({ host: "127.0.0.1" })
      const { port } = httpServer.address() as Net.AddressInfo
      const scope = yield* Scope.make()
      const onDropped = (error: Error) => dropped.push(error)
      yield* Scope.provide(inFrontOf(httpServer, { ...options, onDropped }), scope)
      const arrived = yield* Queue.unbounded<void>()
      httpServer.on("connection", () => Queue.offerUnsafe(arrived, undefined))
      const exchanging = yield* Effect.forkChild(exchange(port, fromProxy.subarray(0, 10)), { startImmediately: true })
      yield* Queue.take(arrived)
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(exchanging)).toHaveLength(0)
      expect(dropped).toEqual([])
      expect(String(yield* exchange(port, knock))).toMatch(/^HTTP\/1.1 101 /)
    }),
  )

  describe("of TLS", () => {
    let authority: ReturnType<typeof makeAuthority>
    beforeAll(() => {
      authority = makeAuthority("CSMS CA")
    })
    afterAll(() => authority.remove())

    /** A connection on which a proxy has spoken, then TLS, then what is given. */
    const exchangeTls = (port: number, before: Uint8Array, ...chunks: ReadonlyArray<Uint8Array>) =>
      Effect.callback<string>((resume) => {
        const received: Array<Buffer> = []
        const socket = Net.connect(port, "127.0.0.1", () => {
          socket.write(before)
          const secure = Tls.connect({ socket, ca: authority.cert, host: "127.0.0.1" }, () =>
            secure.write(Buffer.concat(chunks)),
          )
          secure.on("error", () => {})
          secure.on("data", (chunk) => received.push(chunk))
          secure.on("close", () => resume(Effect.succeed(Buffer.concat(received).toString("latin1"))))
        })
      })

    it.live("a station has the address that the proxy has told before TLS began", () =>
      Effect.gen(function* () {
        const { httpServer, port, server } = yield* behindProxy({}, authority.issue({ name: "CSMS" }))
        expect(httpServer).toBeInstanceOf(Https.Server)
        for (const before of [fromProxy, v2(0x21, 0x11, tcp4)]) {
          const connected = yield* soon(server, "Connected")
          expect(yield* exchangeTls(port, before, knock)).toMatch(/^HTTP\/1.1 101 /)
          const { station } = yield* Fiber.join(connected)
          expect(station.handshake.request.socket).toBeInstanceOf(Tls.TLSSocket)
          expect(station.handshake.remoteAddress).toBe("192.0.2.1")
          expect(headerOf(station.handshake.request.socket)).toMatchObject(ends)
        }
      }),
    )

    it.live("so has the socket of a TLS handshake that comes to nothing", () =>
      Effect.gen(function* () {
        const { httpServer, port } = yield* behindProxy({}, authority.issue({ name: "CSMS" }))
        const address = yield* Queue.unbounded<string | undefined>()
        httpServer.on("tlsClientError", (_: Error, { remoteAddress }: Net.Socket) =>
          Queue.offerUnsafe(address, remoteAddress),
        )
        yield* exchange(port, fromProxy, Buffer.from("GET / HTTP/1.1\r\n\r\n"))
        expect(yield* Queue.take(address)).toBe("192.0.2.1")
      }),
    )
  })

  it.live("many at once each have their own", () =>
    Effect.gen(function* () {
      const httpServer = yield* Effect.acquireRelease(
        Effect.callback<Http.Server>((resume) => {
          const made = Http.createServer(({ socket }, response) =>
            response.end(`${socket.remoteAddress}:${socket.remotePort}`),
          )
          made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
        }),
        (made) => Effect.sync(() => made.close()),
      )
      yield* inFrontOf(httpServer, options)
      const { port } = httpServer.address() as Net.AddressInfo
      const request = Buffer.from("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      const answers = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i),
        (i) => exchange(port, Buffer.from(`PROXY TCP4 192.0.2.${i} 203.0.113.7 ${i} 443\r\n`), request),
        { concurrency: "unbounded" },
      )
      expect(answers.map((answer) => /[\d.]+:\d+$/.exec(String(answer))?.[0])).toEqual(
        answers.map((_, i) => `192.0.2.${i}:${i}`),
      )
    }),
  )
})

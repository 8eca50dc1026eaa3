import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type { Transport } from "../src/Transport.ts"
import * as WebSocket from "../src/WebSocket.ts"
import { closeCode, exchange, frame, Opcode, upgradeRequest } from "./support/RawClient.ts"
import { record, untilClose } from "./support/Recorder.ts"
import * as Servers from "./support/Servers.ts"

const dial = (url: string, options: Partial<WebSocket.DialOptions> = {}) =>
  WebSocket.dial(url, { protocols: [], handshakeTimeout: 5_000, ...options })

/** A server that agrees on `protocol`, and the connections that it accepts. */
const serve = Effect.fnUntraced(function* (options?: Parameters<typeof WebSocket.makeAcceptor>[0], protocol?: string) {
  const accepted = yield* Queue.unbounded<{ readonly transport: Transport; readonly request: IncomingMessage }>()
  const acceptor = WebSocket.makeAcceptor(options)
  const server = yield* Servers.http((request, socket, head) => {
    const transport = acceptor.accept(request, socket, head, protocol)
    if (WebSocket.isTransport(transport)) Queue.offerUnsafe(accepted, { transport, request })
  })
  return { ...server, accepted, next: Queue.take(accepted) }
})

/** Both ends of a connection. */
const connect = Effect.fnUntraced(function* (
  options: {
    readonly server?: Parameters<typeof WebSocket.makeAcceptor>[0]
    readonly client?: Partial<WebSocket.DialOptions>
  } = {},
) {
  const server = yield* serve(options.server)
  const client = yield* dial(server.url, options.client)
  const { request, transport } = yield* server.next
  return { client, server: transport, request }
})

/** Both ends of a connection, and what each of them is told. */
const connectAndRecord = Effect.fnUntraced(function* (options: Parameters<typeof connect>[0] = {}) {
  const ends = yield* connect(options)
  return { ...ends, atClient: yield* record(ends.client), atServer: yield* record(ends.server) }
})

/** What a server is told by a client that writes these bytes behind its upgrade request, and what the client gets. */
const receiving = Effect.fnUntraced(function* (
  chunks: ReadonlyArray<Uint8Array>,
  options?: Parameters<typeof WebSocket.makeAcceptor>[0],
) {
  const server = yield* serve(options)
  const client = yield* Effect.forkChild(exchange(server.port, upgradeRequest(), ...chunks))
  const { transport } = yield* server.next
  const events = yield* untilClose(yield* record(transport))
  return { events, answered: closeCode(yield* Fiber.join(client)) }
})

const numbers = Array.from({ length: 500 }, (_, n) => `${n}`)

describe("messages", () => {
  it.live("come in order, both ways", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client, server } = yield* connectAndRecord()
      for (const text of numbers) {
        client.send(text)
        server.send(`-${text}`)
      }
      client.close(1000, "")
      const [toServer, toClient] = [yield* untilClose(atServer), yield* untilClose(atClient)]
      expect(toServer).toEqual([...numbers.map((text) => ["message", text]), ["close", 1000, ""]])
      expect(toClient).toEqual([...numbers.map((text) => ["message", `-${text}`]), ["close", 1000, ""]])
    }),
  )

  it.live("and the close that come before listen are kept", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      const atClient = yield* record(client)
      client.send("first")
      client.send("second")
      client.close(1000, "bye")
      yield* untilClose(atClient)
      expect(yield* untilClose(yield* record(server))).toEqual([
        ["message", "first"],
        ["message", "second"],
        ["close", 1000, "bye"],
      ])
    }),
  )

  it.live("in one segment with the upgrade request are kept", () =>
    Effect.gen(function* () {
      const { events } = yield* receiving([
        frame(Opcode.Text, "first"),
        frame(Opcode.Text, "second"),
        frame(Opcode.Close, Buffer.from([0x03, 0xe8])),
      ])
      expect(events).toEqual([
        ["message", "first"],
        ["message", "second"],
        ["close", 1000, ""],
      ])
    }),
  )

  it.live("in one segment with the answer to the upgrade are kept", () =>
    Effect.gen(function* () {
      const first = String.fromCharCode(0x81, 5)
      const bye = String.fromCharCode(0x88, 2, 0x03, 0x68)
      const server = yield* Servers.answering((key) => `${Servers.switching(key)}${first}first${bye}`)
      const client = yield* dial(server.url)
      expect(yield* Queue.take(yield* record(client))).toEqual(["message", "first"])
    }),
  )

  it.live("may hold any text", () =>
    Effect.gen(function* () {
      const { atServer, client } = yield* connectAndRecord()
      const texts = ["", "é😀\u0000\u2028", "x".repeat(100_000)]
      for (const text of texts) client.send(text)
      for (const text of texts) expect(yield* Queue.take(atServer)).toEqual(["message", text])
    }),
  )

  it.live("that are many let other connections have a turn in between, and all come", () =>
    Effect.gen(function* () {
      const { client, request, server } = yield* connect()
      const pauses: Array<number> = []
      const all = yield* Deferred.make<void>()
      let count = 0
      server.listen({
        onMessage: () => {
          count++
          if (request.socket.isPaused()) pauses.push(count)
          if (count === 1_000) Deferred.doneUnsafe(all, Exit.void)
        },
        onPing: () => {},
        onPong: () => {},
        onError: () => {},
        onClose: () => {},
      })
      for (let i = 0; i < 1_000; i++) client.send(`${i}`)
      yield* Deferred.await(all)
      expect(pauses).toContain(256)
    }),
  )

  it.live("of 1 MiB come, one byte more is refused with 1009", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client } = yield* connectAndRecord()
      client.send("x".repeat(2 ** 20))
      expect((yield* Queue.take(atServer))[1]).toHaveLength(2 ** 20)
      client.send("x".repeat(2 ** 20 + 1))
      expect(yield* untilClose(atServer)).toEqual([
        ["error", "Max payload size exceeded"],
        ["close", 1006, "Max payload size exceeded"],
      ])
      expect(yield* untilClose(atClient)).toEqual([["close", 1009, ""]])
    }),
  )

  it.live("that a server sends may be too long for a client, too", () =>
    Effect.gen(function* () {
      const { atServer, server } = yield* connectAndRecord({ client: { maxPayload: 10 } })
      server.send("12345678901")
      expect(yield* untilClose(atServer)).toEqual([["close", 1009, ""]])
    }),
  )

  it.live("are refused at the announcement of their length", () =>
    Effect.gen(function* () {
      const announcement = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])
      expect((yield* receiving([announcement])).answered).toBe(1009)
    }),
  )

  it.live("are measured after decompression", () =>
    Effect.gen(function* () {
      const { atClient, client } = yield* connectAndRecord({
        server: { maxPayload: 10_000 },
        client: { perMessageDeflate: true },
      })
      client.send("x".repeat(10_001))
      expect(yield* untilClose(atClient)).toEqual([["close", 1009, ""]])
    }),
  )

  const fragments = (count: number) =>
    Array.from({ length: count }, (_, n) =>
      frame(n === 0 ? Opcode.Text : Opcode.Continuation, "x", { fin: n === count - 1 }),
    )

  it.live("of 256 fragments come", () =>
    Effect.gen(function* () {
      const { events } = yield* receiving([...fragments(256), frame(Opcode.Close, Buffer.from([0x03, 0xe8]))])
      expect(events).toEqual([
        ["message", "x".repeat(256)],
        ["close", 1000, ""],
      ])
    }),
  )

  it.live("of more fragments are refused with 1008", () =>
    Effect.gen(function* () {
      const { answered, events } = yield* receiving(fragments(257))
      expect(answered).toBe(1008)
      expect(events.map(([kind]) => kind)).toEqual(["error", "close"])
    }),
  )

  it.live("may have as many fragments as maxFragments says", () =>
    Effect.gen(function* () {
      expect((yield* receiving(fragments(4), { maxFragments: 3 })).answered).toBe(1008)
    }),
  )
})

describe("a binary message", () => {
  it.live("of UTF-8 is read as text", () =>
    Effect.gen(function* () {
      const { events } = yield* receiving([
        frame(Opcode.Binary, '[2,"é😀","A",{}]'),
        frame(Opcode.Close, Buffer.from([0x03, 0xe8])),
      ])
      expect(events).toEqual([
        ["message", '[2,"é😀","A",{}]'],
        ["close", 1000, ""],
      ])
    }),
  )

  it.live.each([
    ["a broken sequence", [0xc3, 0x28]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["a sequence cut short", [0x61, 0xf0, 0x9f]],
  ] as const)("of %s ends the connection with 1007, and nothing of it or behind it is delivered", ([, bytes]) =>
    Effect.gen(function* () {
      const { answered, events } = yield* receiving([
        frame(Opcode.Binary, Buffer.from(bytes)),
        frame(Opcode.Text, "behind"),
        frame(Opcode.Close, Buffer.from([0x03, 0xef])),
      ])
      expect(answered).toBe(1007)
      expect(events.map(([kind]) => kind)).not.toContain("message")
    }),
  )
})

describe("frames that break RFC 6455", () => {
  it.live.each([
    ["text that is not UTF-8", [frame(Opcode.Text, Buffer.from([0xc3, 0x28]))], 1007],
    ["text with a surrogate", [frame(Opcode.Text, Buffer.from([0xed, 0xa0, 0x80]))], 1007],
    ["an unmasked frame", [Buffer.from([0x81, 0x01, 0x78])], 1002],
    ["a reserved bit", [Buffer.from([0xc1, 0x80, 0, 0, 0, 0])], 1002],
    ["a reserved opcode", [frame(3, "x")], 1002],
    ["a ping in fragments", [frame(Opcode.Ping, "x", { fin: false })], 1002],
    ["a continuation of nothing", [frame(Opcode.Continuation, "x")], 1002],
    ["a text within a fragmented text", [frame(Opcode.Text, "x", { fin: false }), frame(Opcode.Text, "y")], 1002],
    ["a close code that may not be sent", [frame(Opcode.Close, Buffer.from([0x03, 0xed]))], 1002],
    ["a close frame of one byte", [frame(Opcode.Close, "x")], 1002],
    ["a close reason that is not UTF-8", [frame(Opcode.Close, Buffer.from([0x03, 0xe8, 0xff]))], 1007],
  ] as const)("(%s) end the connection, say why, and deliver nothing", ([, chunks, code]) =>
    Effect.gen(function* () {
      const { answered, events } = yield* receiving(chunks)
      expect(answered).toBe(code)
      const [error, close] = events
      expect(events).toEqual([
        ["error", expect.stringMatching(/./)],
        ["close", 1006, error?.[1]],
      ])
      expect(close?.[0]).toBe("close")
    }),
  )
})

describe("closing", () => {
  it.live("by the client gives both ends its code and reason", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client } = yield* connectAndRecord()
      client.close(4001, "going home")
      expect(yield* untilClose(atServer)).toEqual([["close", 4001, "going home"]])
      expect(yield* untilClose(atClient)).toEqual([["close", 4001, "going home"]])
    }),
  )

  it.live("by the server gives both ends its code and reason", () =>
    Effect.gen(function* () {
      const { atClient, atServer, server } = yield* connectAndRecord()
      server.close(1012, "restart")
      expect(yield* untilClose(atClient)).toEqual([["close", 1012, "restart"]])
      expect(yield* untilClose(atServer)).toEqual([["close", 1012, "restart"]])
    }),
  )

  it.live.each([
    ["123 bytes", "x".repeat(123), "x".repeat(123)],
    ["124 bytes", "x".repeat(124), "x".repeat(123)],
    ["200 bytes of two each", "é".repeat(100), "é".repeat(61)],
    ["an é across the border", `${"x".repeat(122)}é`, "x".repeat(122)],
    ["an é before the border", `${"x".repeat(121)}éy`, `${"x".repeat(121)}é`],
    ["124 bytes of four each", "😀".repeat(31), "😀".repeat(30)],
    ["a € across the border", `${"x".repeat(121)}€`, "x".repeat(121)],
  ] as const)("with a reason of %s sends what fits, in whole characters", ([, reason, expected]) =>
    Effect.gen(function* () {
      const { atServer, client } = yield* connectAndRecord()
      client.close(1000, reason)
      expect(yield* untilClose(atServer)).toEqual([["close", 1000, expected]])
    }),
  )

  it.live.each([1005, 1006, 1015, 999, 2000, 5000, Number.NaN])(
    "with %d, which may not be sent, does not throw",
    (code) =>
      Effect.gen(function* () {
        const { atServer, client } = yield* connectAndRecord()
        client.close(code, "why")
        expect(yield* untilClose(atServer)).toEqual([["close", 1000, "why"]])
      }),
  )

  it.live("by a close frame without a code is reported as 1005", () =>
    Effect.gen(function* () {
      expect((yield* receiving([frame(Opcode.Close)])).events).toEqual([["close", 1005, ""]])
    }),
  )

  it.live("twice is closing once", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client } = yield* connectAndRecord()
      client.close(4001, "first")
      client.close(4002, "second")
      expect(yield* untilClose(atServer)).toEqual([["close", 4001, "first"]])
      expect(yield* untilClose(atClient)).toEqual([["close", 4001, "first"]])
    }),
  )

  it.live("is the last that an end hears and does: everything afterwards does nothing", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client, server } = yield* connectAndRecord()
      client.close(1000, "")
      client.send("too late")
      client.ping()
      expect(yield* untilClose(atServer)).toEqual([["close", 1000, ""]])
      expect(yield* untilClose(atClient)).toEqual([["close", 1000, ""]])
      for (const end of [client, server]) {
        end.send("too late")
        end.ping()
        end.close(1000, "")
        end.terminate()
      }
      expect(yield* Queue.size(atClient)).toBe(0)
      expect(yield* Queue.size(atServer)).toBe(0)
    }),
  )

  it.live("by terminate is 1006 at both ends", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client } = yield* connectAndRecord()
      client.terminate()
      expect((yield* untilClose(atServer)).at(-1)).toEqual(["close", 1006, ""])
      expect((yield* untilClose(atClient)).at(-1)).toEqual(["close", 1006, ""])
    }),
  )

  it.live("by a reset is 1006 at the other end", () =>
    Effect.gen(function* () {
      const { atClient, request } = yield* connectAndRecord()
      request.socket.resetAndDestroy()
      expect((yield* untilClose(atClient)).at(-1)).toEqual(["close", 1006, ""])
    }),
  )
})

describe("a ping", () => {
  it.live("of the client is a ping at the server and a pong at the client", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client } = yield* connectAndRecord()
      client.ping()
      expect(yield* Queue.take(atServer)).toEqual(["ping"])
      expect(yield* Queue.take(atClient)).toEqual(["pong"])
    }),
  )

  it.live("of the server is a ping at the client and a pong at the server", () =>
    Effect.gen(function* () {
      const { atClient, atServer, server } = yield* connectAndRecord()
      server.ping()
      expect(yield* Queue.take(atClient)).toEqual(["ping"])
      expect(yield* Queue.take(atServer)).toEqual(["pong"])
    }),
  )

  it.live("too many, whose pongs are not read, end the connection, and the close says why", () =>
    Effect.gen(function* () {
      const { events } = yield* receiving(Array(100).fill(frame(Opcode.Ping)))
      expect(events.at(-1)).toEqual(["close", 1006, "too many pings, whose pongs are not read"])
    }),
  )
})

it.live("bufferedAmount is what a peer that does not read leaves waiting", () =>
  Effect.gen(function* () {
    const length = 20_000_000
    const { atClient, atServer, client, request } = yield* connectAndRecord({ server: { maxPayload: length } })
    expect(client.bufferedAmount).toBe(0)
    request.socket.pause()
    client.send("x".repeat(length))
    expect(client.bufferedAmount).toBeGreaterThan(length / 2)
    request.socket.resume()
    yield* Queue.take(atServer)
    client.ping()
    expect(yield* Queue.take(atClient)).toEqual(["pong"])
    expect(client.bufferedAmount).toBe(0)
  }),
)

describe("compression", () => {
  const deflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

  /** What a client offers, and what the server answers. */
  const negotiated = Effect.fnUntraced(function* (
    client: Partial<WebSocket.DialOptions>,
    options?: Parameters<typeof WebSocket.makeAcceptor>[0],
  ) {
    const extensions = { offered: undefined as string | undefined, answered: undefined as string | undefined }
    const acceptor = WebSocket.makeAcceptor(options)
    const server = yield* Servers.http((request, socket, head) => {
      const write = socket.write.bind(socket)
      socket.write = ((chunk: string, ...rest: Array<never>) => {
        extensions.answered ??= /^Sec-WebSocket-Extensions: (.*)\r$/m.exec(`${chunk}`)?.[1]
        return write(chunk, ...rest)
      }) as typeof socket.write
      extensions.offered = request.headers["sec-websocket-extensions"]
      acceptor.accept(request, socket, head, undefined)
    })
    yield* dial(server.url, client)
    return extensions
  })

  it.live("is not offered unless asked for", () =>
    Effect.gen(function* () {
      expect(yield* negotiated({})).toEqual({ offered: undefined, answered: undefined })
    }),
  )

  it.live("is accepted, without context takeover, when it is offered", () =>
    Effect.gen(function* () {
      const { answered, offered } = yield* negotiated({ perMessageDeflate: true })
      expect(offered).toMatch(/^permessage-deflate/)
      expect(answered).toBe(deflate)
    }),
  )

  it.live("is not accepted when it is switched off", () =>
    Effect.gen(function* () {
      const { answered } = yield* negotiated({ perMessageDeflate: true }, { perMessageDeflate: false })
      expect(answered).toBeUndefined()
    }),
  )

  it.live("makes long messages shorter, both ways, and changes nothing of them", () =>
    Effect.gen(function* () {
      const { atClient, atServer, client, request, server } = yield* connectAndRecord({
        client: { perMessageDeflate: true },
      })
      const text = '{"é":1}'.repeat(10_000)
      const { bytesRead, bytesWritten } = request.socket
      for (let n = 0; n < 3; n++) {
        client.send(text)
        server.send(text)
        expect(yield* Queue.take(atServer)).toEqual(["message", text])
        expect(yield* Queue.take(atClient)).toEqual(["message", text])
      }
      expect(request.socket.bytesRead - bytesRead).toBeLessThan(text.length / 10)
      expect(request.socket.bytesWritten - bytesWritten).toBeLessThan(text.length / 10)
    }),
  )

  it.live("leaves short messages of the server alone", () =>
    Effect.gen(function* () {
      const { atClient, request, server } = yield* connectAndRecord({ client: { perMessageDeflate: true } })
      const { bytesWritten } = request.socket
      server.send("x".repeat(1000))
      yield* Queue.take(atClient)
      expect(request.socket.bytesWritten - bytesWritten).toBeGreaterThan(1000)
    }),
  )

  it.live("keeps the order of long and short messages", () =>
    Effect.gen(function* () {
      const { atServer, client } = yield* connectAndRecord({ client: { perMessageDeflate: true } })
      const texts = Array.from({ length: 50 }, (_, n) => `${n}`.repeat(n % 2 === 0 ? 1 : 2000))
      for (const text of texts) client.send(text)
      client.close(1000, "")
      expect(yield* untilClose(atServer)).toEqual([...texts.map((text) => ["message", text]), ["close", 1000, ""]])
    }),
  )
})

describe("an acceptor", () => {
  it.live("agrees on the subprotocol that it is given", () =>
    Effect.gen(function* () {
      const server = yield* serve({}, "ocpp1.6")
      const client = yield* dial(server.url, { protocols: ["ocpp2.1", "ocpp1.6"] })
      const { transport } = yield* server.next
      expect([client.protocol, transport.protocol]).toEqual(["ocpp1.6", "ocpp1.6"])
    }),
  )

  it.live("completes the handshake without a subprotocol when it is given none", () =>
    Effect.gen(function* () {
      const server = yield* serve()
      const client = yield* dial(server.url)
      const { transport } = yield* server.next
      expect([client.protocol, transport.protocol]).toEqual(["", ""])
    }),
  )

  it.live("says what is wrong with an invalid opening handshake, and leaves the answer to others", () =>
    Effect.gen(function* () {
      const result = yield* Deferred.make<unknown>()
      const acceptor = WebSocket.makeAcceptor()
      const server = yield* Servers.http((request, socket, head) => {
        Deferred.doneUnsafe(result, Effect.succeed(acceptor.accept(request, socket, head, undefined)))
        socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")
      })
      expect((yield* exchange(server.port, upgradeRequest(12))).toString()).toMatch(/^HTTP\/1\.1 400 /)
      expect(yield* Deferred.await(result)).toEqual({
        code: 400,
        message: "Missing or invalid Sec-WebSocket-Version header",
        headers: { "Sec-WebSocket-Version": "13, 8" },
      })
    }),
  )

  it.live("survives a socket that is gone already", () =>
    Effect.gen(function* () {
      const result = yield* Deferred.make<unknown>()
      const acceptor = WebSocket.makeAcceptor()
      const server = yield* Servers.http((request, socket, head) => {
        socket.destroy()
        Deferred.doneUnsafe(result, Effect.succeed(acceptor.accept(request, socket, head, undefined)))
      })
      yield* exchange(server.port, upgradeRequest())
      expect(yield* Deferred.await(result)).toMatchObject({ code: 400 })
    }),
  )
})

describe("dialling", () => {
  const failure = (url: string, options?: Partial<WebSocket.DialOptions>) => Effect.flip(dial(url, options))

  it.live("sends path, query, headers and subprotocols", () =>
    Effect.gen(function* () {
      const server = yield* serve({}, "ocpp1.6")
      yield* dial(`${server.url}?a=b`, {
        protocols: ["ocpp2.1", "ocpp1.6"],
        headers: { authorization: "Basic x" },
        webSocket: { headers: { "x-model": "M1", authorization: "Basic y" } },
      })
      const { request } = yield* server.next
      expect(request.url).toBe("/CP001?a=b")
      expect(request.headers).toMatchObject({
        authorization: "Basic x",
        "x-model": "M1",
        "sec-websocket-protocol": "ocpp2.1,ocpp1.6",
      })
    }),
  )

  it.live("a port where nobody listens fails, and may be tried again", () =>
    Effect.gen(function* () {
      const { url } = yield* Effect.scoped(Servers.tcp(() => {}))
      const error = yield* failure(url)
      expect(error).toMatchObject({ _tag: "ConnectError", retryable: true })
      expect(error.message).toContain("ECONNREFUSED")
    }),
  )

  it.live.each([
    ["401 Unauthorized", 401],
    ["404 Not Found", 404],
    ["503 Service Unavailable", 503],
    ["200 OK", 200],
    ["426", 426],
  ] as const)("a server that answers %s fails with that code", ([status, code]) =>
    Effect.gen(function* () {
      const server = yield* Servers.answering(() => `HTTP/1.1 ${status}\r\nX-Why: because\r\nContent-Length: 0\r\n\r\n`)
      const error = yield* failure(server.url)
      expect(error).toMatchObject({ _tag: "UnexpectedHttpResponse", code })
      expect(error.message).toContain(`: the server answered ${status}`)
      if (error._tag === "UnexpectedHttpResponse") expect(error.response.headers["x-why"]).toBe("because")
    }),
  )

  it.live("a redirect is not followed", () =>
    Effect.gen(function* () {
      let visits = 0
      const other = yield* Servers.answering((key) => {
        visits++
        return Servers.switching(key)
      })
      const server = yield* Servers.answering(
        () => `HTTP/1.1 302 Found\r\nLocation: ${other.url}\r\nContent-Length: 0\r\n\r\n`,
      )
      expect(yield* failure(server.url)).toMatchObject({ _tag: "UnexpectedHttpResponse", code: 302 })
      yield* dial(other.url)
      expect(visits).toBe(1)
    }),
  )

  it.live.each([
    ["agrees on no subprotocol", (key: string) => Servers.switching(key)],
    ["agrees on another", (key: string) => Servers.switching(key, "Sec-WebSocket-Protocol: ocpp1.5")],
    ["agrees on two", (key: string) => Servers.switching(key, "Sec-WebSocket-Protocol: ocpp1.6, ocpp2.1")],
    ["agrees in the wrong case", (key: string) => Servers.switching(key, "Sec-WebSocket-Protocol: OCPP1.6")],
    ["sends another Sec-WebSocket-Accept", (key: string) => Servers.switching(`${key}x`)],
  ] as const)("a server that %s fails for good", ([, answer]) =>
    Effect.gen(function* () {
      const server = yield* Servers.answering(answer)
      const error = yield* failure(server.url, { protocols: ["ocpp1.6", "ocpp2.1"] })
      expect(error).toMatchObject({ _tag: "ConnectError", retryable: false })
    }),
  )

  it.live("a server that agrees on a subprotocol that nobody offered fails for good", () =>
    Effect.gen(function* () {
      const server = yield* Servers.answering((key) => Servers.switching(key, "Sec-WebSocket-Protocol: ocpp1.6"))
      expect(yield* failure(server.url)).toMatchObject({ _tag: "ConnectError", retryable: false })
    }),
  )

  it.live.each([
    ["speaks no HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n"],
    ["answers 16 KiB of header", `HTTP/1.1 101 Switching Protocols\r\nX: ${"x".repeat(20_000)}\r\n\r\n`],
  ] as const)("a server that %s fails", ([, answer]) =>
    Effect.gen(function* () {
      const server = yield* Servers.answering(() => answer)
      expect(yield* failure(server.url)).toMatchObject({ _tag: "ConnectError" })
    }),
  )

  it.live("a server that hangs up fails, and may be tried again", () =>
    Effect.gen(function* () {
      const server = yield* Servers.tcp((socket) => void socket.destroy())
      expect(yield* failure(server.url)).toMatchObject({ _tag: "ConnectError", retryable: true })
    }),
  )

  it.live("a silent server fails when the handshake has taken its time, and may be tried again", () =>
    Effect.gen(function* () {
      const server = yield* Servers.tcp(() => {})
      const error = yield* failure(server.url, { handshakeTimeout: 50 })
      expect(error).toMatchObject({ _tag: "ConnectError", retryable: true })
      expect(error.message).toContain("timed out")
    }),
  )

  it.live(
    "a server that answers one byte at a time fails just as soon",
    () =>
      Effect.gen(function* () {
        const sockets = yield* Queue.unbounded<Socket>()
        const server = yield* Servers.tcp((socket) => void Queue.offerUnsafe(sockets, socket))
        const drip = Effect.flatMap(Queue.take(sockets), (socket) => {
          socket.write("HTTP/1.1 101 Switching Protocols\r\nX: ")
          return Effect.repeat(
            Effect.sync(() => socket.write("x")),
            Schedule.spaced("10 millis"),
          )
        })
        yield* Effect.forkChild(drip)
        expect(yield* failure(server.url, { handshakeTimeout: 100 })).toMatchObject({
          _tag: "ConnectError",
          retryable: true,
        })
      }),
    1_000,
  )

  it.live("a handshake that may take for ever is dialled", () =>
    Effect.gen(function* () {
      const server = yield* serve()
      expect((yield* dial(server.url, { handshakeTimeout: Number.POSITIVE_INFINITY })).protocol).toBe("")
    }),
  )

  it.live.each([
    ["nonsense", "nonsense"],
    ["an empty URL", ""],
    ["a URL of another scheme", "ftp://127.0.0.1/CP001"],
    ["a URL with a fragment", "ws://127.0.0.1/CP001#x"],
  ] as const)("%s fails for good", ([, url]) =>
    Effect.gen(function* () {
      expect(yield* failure(url)).toMatchObject({ _tag: "ConnectError", retryable: false })
    }),
  )

  it.live.each([
    ["an invalid subprotocol", { protocols: ["ocpp 1.6"] }],
    ["the same subprotocol twice", { protocols: ["ocpp1.6", "ocpp1.6"] }],
    ["a header with a line break", { headers: { "x-model": "a\r\nX-Injected: b" } }],
  ] as const)("%s fails for good", ([, options]) =>
    Effect.gen(function* () {
      const server = yield* serve()
      expect(yield* failure(server.url, options)).toMatchObject({ _tag: "ConnectError", retryable: false })
    }),
  )

  /** A server that says nothing, and the ends of its connections. */
  const silent = Effect.gen(function* () {
    const opened = yield* Queue.unbounded<void>()
    const closed = yield* Queue.unbounded<void>()
    const server = yield* Servers.tcp((socket) => {
      socket.on("close", () => Queue.offerUnsafe(closed, undefined)).resume()
      Queue.offerUnsafe(opened, undefined)
    })
    return { ...server, opened: Queue.take(opened), closed: Queue.take(closed) }
  })

  it.live("interrupted, it leaves no socket", () =>
    Effect.gen(function* () {
      const server = yield* silent
      const dialling = yield* Effect.forkChild(dial(server.url))
      yield* server.opened
      yield* Fiber.interrupt(dialling)
      yield* server.closed
    }),
  )

  it.live("interrupted at once, it fails nobody", () =>
    Effect.gen(function* () {
      const server = yield* silent
      const dialling = yield* Effect.forkChild(dial(server.url), { startImmediately: true })
      yield* Fiber.interrupt(dialling)
      const next = yield* Effect.forkChild(dial(server.url))
      yield* server.opened
      yield* Fiber.interrupt(next)
      yield* server.closed
    }),
  )

  it.live("timed out, it leaves no socket", () =>
    Effect.gen(function* () {
      const server = yield* silent
      yield* failure(server.url, { handshakeTimeout: 20 })
      yield* server.closed
    }),
  )

  it.live("refused, it leaves no socket", () =>
    Effect.gen(function* () {
      const closed = yield* Deferred.make<void>()
      const server = yield* Servers.tcp((socket) => {
        socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void)).resume()
        socket.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 1000\r\n\r\nnever ending")
      })
      expect(yield* failure(server.url)).toMatchObject({ _tag: "UnexpectedHttpResponse", code: 401 })
      yield* Deferred.await(closed)
    }),
  )
})

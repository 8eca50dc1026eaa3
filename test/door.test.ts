/** At the door of a server: who gets in, under which name, and what the others are told. Real sockets, both faces. */
import { once } from "node:events"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { WebSocket as Socket } from "ws"
import { RPCServer } from "../src/promise/RPCServer.ts"
import * as Security from "../src/Security.ts"
import * as Server from "../src/Server.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../src/schemas/ocpp21.ts"
import { exchange } from "./support/RawClient.ts"
import { upgradeOf } from "./support/serve.ts"

/** The answer to an upgrade request, as text. */
const ask = (port: number, path: string, headers: ReadonlyArray<string> = []) =>
  Effect.map(exchange(port, Buffer.from(upgradeOf(path, headers))), String)

/** A server on a free port that tells who has come. */
const serving = Effect.fnUntraced(function* (options: Server.Options) {
  const server = yield* Server.make({ protocols: [Ocpp16], closeTimeout: "50 millis", ...options })
  const events = yield* Queue.unbounded<Server.Event>()
  server.subscribe((event) => void Queue.offerUnsafe(events, event))
  yield* server.listen({ port: 0, host: "127.0.0.1" })
  const connected = Effect.gen(function* () {
    for (;;) {
      const event = yield* Queue.take(events)
      if (event._tag === "Connected") return event.station
    }
  })
  const aborted = Effect.gen(function* () {
    for (;;) {
      const event = yield* Queue.take(events)
      if (event._tag === "UpgradeAborted") return event.error
    }
  })
  return { server, port: server.port as number, connected, aborted }
})

const offer16 = ["Sec-WebSocket-Protocol: ocpp1.6"]

describe("a refusal", () => {
  it.live.each([
    [401, {}, /\r\nWWW-Authenticate: Basic realm="OCPP", charset="UTF-8"\r\n/],
    [401, { "www-authenticate": "Negotiate" }, /\r\nwww-authenticate: Negotiate\r\n/],
    [503, {}, /\r\nRetry-After: 10\r\n/],
    [503, { "Retry-After": "3" }, /\r\nRetry-After: 3\r\n/],
    [429, { "X-Reason": "storm" }, /\r\nX-Reason: storm\r\n/],
  ] as const)("with %d and %o has the headers that a client needs", ([code, headers, expected]) =>
    Effect.gen(function* () {
      const { port } = yield* serving({ auth: () => Server.reject(code, "no", headers) })
      const answer = yield* ask(port, "/CP001", offer16)
      expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${code} `))
      expect(answer).toMatch(expected)
      expect(answer.match(/authenticate|retry-after/gi)?.length ?? 0).toBeLessThanOrEqual(1)
    }),
  )

  it.each([
    ["a line break", { "X-A": "b\r\nSet-Cookie: c" }],
    ["a colon in a name", { "X-A: b": "c" }],
  ])("cannot be made with %s", (_, headers) => {
    expect(() => Server.reject(401, "", headers as Record<string, string>)).toThrow(RangeError)
  })

  it.live("of a handshake that ws refuses tells the reason to both sides", () =>
    Effect.gen(function* () {
      const { aborted, port } = yield* serving({})
      const request = upgradeOf("/CP001", offer16).replace(/Sec-WebSocket-Key: .*/, "Sec-WebSocket-Key: abc")
      const answer = String(yield* exchange(port, Buffer.from(request)))
      const reason = "Missing or invalid Sec-WebSocket-Key header"
      expect(answer).toContain(reason)
      expect((yield* aborted).message).toBe(reason)
    }),
  )
})

describe("no common subprotocol", () => {
  it.live("is completed without one by default, and refused where that is asked for (TC_B_58, TC_088)", () =>
    Effect.gen(function* () {
      const closing = yield* serving({})
      const rejecting = yield* serving({ onNoProtocol: "reject" })
      const offer = ["Sec-WebSocket-Protocol: ocpp0.1"]
      expect(yield* ask(closing.port, "/CP001", offer)).toMatch(/^HTTP\/1\.1 101 /)
      const refused = yield* ask(rejecting.port, "/CP001", offer)
      expect(refused).toMatch(/^HTTP\/1\.1 400 /)
      expect(refused).toContain("no common subprotocol (offered: ocpp0.1; served: ocpp1.6)")
    }),
  )

  it.live("is not the fate of a station that offers none, where there is a default", () =>
    Effect.gen(function* () {
      const { connected, port } = yield* serving({ protocols: [Ocpp21, Ocpp16], defaultProtocol: Ocpp16 })
      const socket = new Socket(`ws://127.0.0.1:${port}/CP001`)
      const station = yield* connected
      yield* Effect.promise(async () => socket.readyState === 1 || once(socket, "open"))
      expect([station.protocol, socket.protocol]).toEqual(["ocpp1.6", ""])
      socket.terminate()
    }),
  )
})

describe("an identity", () => {
  it.live.each([
    ["/CP%2F1", { allowSlash: true }, "CP/1"],
    ["//CP1", {}, "CP1"],
    ["http://host:9000/EVB-1", {}, "EVB-1"],
    ["/ocpp?id=CP2", { identify: ({ url = "" }) => new URL(url, "ws://x").searchParams.get("id") ?? undefined }, "CP2"],
  ] satisfies ReadonlyArray<readonly [string, Server.Options, string]>)("of %s is read", ([path, options, identity]) =>
    Effect.gen(function* () {
      const { connected, port } = yield* serving(options as Server.Options)
      yield* Effect.forkChild(ask(port, path, offer16))
      expect((yield* connected).identity).toBe(identity)
    }),
  )

  it.live(
    "with a slash is refused where it is not allowed; one that identify does not find, and an identify that throws, too",
    () =>
      Effect.gen(function* () {
        const strict = yield* serving({})
        expect(yield* ask(strict.port, "/CP%2F1", offer16)).toMatch(/^HTTP\/1\.1 400 /)
        const nobody = yield* serving({ identify: () => undefined })
        expect(yield* ask(nobody.port, "/CP1", offer16)).toMatch(/^HTTP\/1\.1 400 /)
      }),
  )

  it.live("may be that of two stations, of two tenants", () =>
    Effect.gen(function* () {
      const { connected, port, server } = yield* serving({
        registryKey: ({ endpoint, identity }) => `${endpoint}/${identity}`,
      })
      const sockets = ["/tenantA/CP1", "/tenantB/CP1"].map(
        (path) => new Socket(`ws://127.0.0.1:${port}${path}`, "ocpp1.6"),
      )
      yield* connected
      yield* connected
      yield* Effect.promise(() => Promise.all(sockets.map((socket) => socket.readyState === 1 || once(socket, "open"))))
      expect((yield* server.stations).map(({ identity }) => identity)).toEqual(["CP1", "CP1"])
      expect((yield* server.station("/tenantB/CP1")).handshake.endpoint).toBe("/tenantB")
      for (const socket of sockets) socket.terminate()
    }),
  )
})

it.live("the address of a station is plain, and that which a trusted proxy names", () =>
  Effect.gen(function* () {
    const { connected, port } = yield* serving({ trustProxy: ["127.0.0.0/8"] })
    yield* Effect.forkChild(ask(port, "/CP1", [...offer16, "X-Forwarded-For: 1.2.3.4, 203.0.113.7"]))
    const station = yield* connected
    expect(station.handshake.remoteAddress).toBe("203.0.113.7")
    const plain = yield* serving({})
    yield* Effect.forkChild(ask(plain.port, "/CP1", [...offer16, "X-Forwarded-For: 203.0.113.7"]))
    expect((yield* plain.connected).handshake.remoteAddress).toBe("127.0.0.1")
  }),
)

it.live("requirePassword asks for a password", () =>
  Effect.gen(function* () {
    const { port } = yield* serving({ auth: (handshake) => Security.requirePassword(handshake, "secret") })
    expect(yield* ask(port, "/CP001", offer16)).toMatch(/^HTTP\/1\.1 401 [\s\S]*WWW-Authenticate: Basic/)
  }),
)

it("an option that is undefined is not given: reconfigure changes nothing by it", async () => {
  const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true })
  server.auth((_, reject) => reject(401))
  server.reconfigure({ strictMode: undefined, protocols: undefined } as never)
  const { port } = (await server.listen(0, "127.0.0.1")).address() as { port: number }
  const socket = new Socket(`ws://127.0.0.1:${port}/CP001`, "ocpp1.6")
  const [error] = await once(socket, "error")
  expect(String(error)).toContain("401")
  await server.close()
})

it.live("an option that is undefined is not given: auth and strict mode stay as they were", () =>
  Effect.gen(function* () {
    const { port, server } = yield* serving({ auth: () => Server.reject(403), strictMode: true })
    server.reconfigure({ auth: undefined, strictMode: undefined } as never)
    expect(yield* ask(port, "/CP001", offer16)).toMatch(/^HTTP\/1\.1 403 /)
  }),
)

it("on the promise face, strict mode holds for a station that offers no subprotocol", async () => {
  const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true })
  const seen: Array<unknown> = []
  server.on("client", (client) => client.handle((call) => void seen.push(call)))
  const { port } = (await server.listen(0, "127.0.0.1")).address() as { port: number }
  const socket = new Socket(`ws://127.0.0.1:${port}/CP001`)
  await once(socket, "open")
  socket.send('[2,"1","BootNotification",{"wrong":true}]')
  const [answer] = await once(socket, "message")
  expect([JSON.parse(String(answer)).slice(0, 2), seen]).toEqual([[4, "1"], []])
  socket.terminate()
  await server.close()
})

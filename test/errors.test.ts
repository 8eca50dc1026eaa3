/** What a program is told of its own mistakes, and of why it was not let in: where, what was expected, what came. */
import { once } from "node:events"
import * as Http from "node:http"
import { buffer } from "node:stream/consumers"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { RPCClient, RPCServer, UnexpectedHttpResponse } from "effect-ocpp"
import { onTestFinished } from "vitest"
import * as Backoff from "../src/Backoff.ts"
import * as Client from "../src/Client.ts"
import * as Handlers from "../src/Handlers.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { connected, endpointOf, listening, makeClient } from "./support/listening.ts"
import { connect, Echo } from "./support/rawPeer.ts"
import { serve, soon } from "./support/serve.ts"

const rejection = (promise: Promise<unknown>): Promise<Error & { readonly code?: unknown }> =>
  promise.then(
    () => expect.unreachable("it succeeded"),
    (error) => error,
  )

describe("a client that is not let in", () => {
  it("learns why, and can read the answer", async () => {
    const { endpoint, server } = await listening()
    server.auth((_, reject) => reject(403, "your contract has ended"))
    const error = await rejection(makeClient(endpoint).connect())
    if (!(error instanceof UnexpectedHttpResponse)) throw error
    expect(error.message).toBe(`${endpoint}/CP001: the server answered 403 Forbidden: your contract has ended`)
    expect(String(await buffer(error.response))).toBe("your contract has ended")
  })

  it("is told the beginning of an answer that is long, or has no body, on one line", async () => {
    const bodies = ["", `${"x".repeat(100)}\nforged`]
    const httpServer = Http.createServer((_, response) => response.writeHead(503).end(bodies.shift())).listen(0)
    onTestFinished(() => void httpServer.close())
    await once(httpServer, "listening")
    const client = makeClient(endpointOf(httpServer))
    const answered = `${endpointOf(httpServer)}/CP001: the server answered 503 Service Unavailable`
    expect((await rejection(client.connect())).message).toBe(answered)
    expect((await rejection(client.connect())).message).toBe(`${answered}: ${"x".repeat(64)}…`)
  })

  it("learns where nobody listens, with the code of the socket's error", async () => {
    const error = await rejection(makeClient("ws://127.0.0.1:1").connect())
    expect([error.message, error.code]).toEqual([
      "ws://127.0.0.1:1/CP001: connect ECONNREFUSED 127.0.0.1:1",
      "ECONNREFUSED",
    ])
  })

  it("learns which subprotocols it has offered; the server, those that it serves", async () => {
    const { endpoint, server } = await listening({ protocols: ["ocpp1.6"] })
    const aborted = once(server, "upgradeAborted")
    const error = await rejection(makeClient(endpoint, { protocols: ["ocpp2.0.1"] }).connect())
    expect(error.message).toBe(`${endpoint}/CP001: Server sent no subprotocol (offered: ocpp2.0.1)`)
    const [event] = await aborted
    expect(event.error.message).toBe("no common subprotocol (offered: ocpp2.0.1; served: ocpp1.6)")
  })

  it.each([
    ["CP%2F001", "Missing or invalid Sec-WebSocket-Key header"],
    ["CP%0A001", "the identity has a control character"],
    ["x".repeat(256), "the identity is longer than 255 characters"],
    ["%ff", "the identity is not percent-encoded UTF-8"],
    ["", "the path must end in the identity of a charging station"],
  ])("learns what is wrong with the identity %j", async (identity, reason) => {
    const { server } = await listening()
    const httpServer = await server.listen(0, "127.0.0.1")
    const headers = { connection: "Upgrade", upgrade: "websocket" }
    const request = Http.request(`${endpointOf(httpServer, "http")}/${identity}`, { headers }).end()
    const [response] = await once(request, "response")
    expect([response.statusCode, String(await buffer(response))]).toEqual([400, reason])
  })
})

describe("a mistake of the program's", () => {
  it("in the options of a client says what there is", () => {
    expect(() => new RPCClient({ identity: "CP001", callTimeout: 1 } as never)).toThrow(
      /^unknown option "callTimeout": the options are .*; did you mean "callTimeoutMs"\?$/,
    )
    expect(() => new RPCClient({ identity: 42 as never })).toThrow("'identity' is required: a string, not 42")
  })

  it("in the options of a call or a close costs neither", async () => {
    const { client } = await connected({}, {}, (station) => station.handle(() => "here"))
    expect((await rejection(client.call("X", {}, { timeoutMs: 1 } as never))).message).toMatch(
      /^unknown option "timeoutMs"/,
    )
    expect((await rejection(client.close({ awaitPendng: true } as never))).message).toMatch(
      /^unknown option "awaitPendng"/,
    )
    expect(await client.call("X")).toBe("here")
  })

  it("is refused as a handler", async () => {
    const { client } = await connected()
    expect(() => client.handle("Reset", {} as never)).toThrow("the handler of Reset must be a function; got an object")
    expect(() => Handlers.make(Ocpp16, { Reset: {} } as never)).toThrow("the handler of Reset must be a function")
  })

  it.each(["abc", "", " ", -1, 70_000])("the port %j is no place to listen", async (port) => {
    const server = new RPCServer()
    const error = await rejection(server.listen(port as never, "127.0.0.1"))
    expect(error.message).toMatch(/^port must be an integer from 0 to 65535/)
  })

  it("in the options of a back-off is named", () => {
    expect(() => Backoff.ocpp({ waitMin: 1 } as never)).toThrow('unknown option "waitMin"')
    expect(() => Backoff.exponential({ delay: 1 } as never)).toThrow('unknown option "delay"')
  })

  it.effect("is told by the name of the option, and by its place in a list", () =>
    Effect.gen(function* () {
      const dial = () => Effect.never
      const defect = (options: object) =>
        Effect.map(Effect.exit(Effect.scoped(Client.makeUnconnected(dial, options as never))), String)
      expect(yield* defect({ identity: "CP001", protocols: [Echo, "ocpp1.6"] })).toContain(
        'protocols[1] must be a subprotocol such as Ocpp16; got "ocpp1.6"',
      )
      expect(yield* defect({ identity: "CP001", handlers: [{}] })).toContain("handlers[0] must be what Handlers.make")
    }),
  )

  it.effect("such as an action that is undefined, or an option that calls do not have, ends the call", () =>
    Effect.gen(function* () {
      const { connection } = yield* connect()
      expect(() => connection.call(undefined as never, {})).toThrow("it must be an action or its name")
      expect(() => connection.call(Echo.Echo, { text: "" }, { timeoutMs: 1 } as never)).toThrow('"timeoutMs"')
    }),
  )

  it.effect("such as a handler that gives no Effect is the handler's defect, and says so", () =>
    Effect.gen(function* () {
      const handlers = [Handlers.make(Echo, { Echo: () => ({ text: "" }) as never })]
      const { peer } = yield* connect({ handlers, respondWithDetailedErrors: true })
      yield* peer.send([2, "1", "Echo", { text: "" }])
      const [[, , code, description]] = peer.take() as [ReadonlyArray<string>]
      expect(code).toBe("InternalError")
      expect(description).toContain("the handler of Echo must return an Effect; got an object")
    }),
  )
})

describe("a raw message", () => {
  it.live("that comes after the end fails with the code and reason of the end", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const client = yield* connect("CP001")
      const station = yield* server.station("CP001")
      const gone = yield* soon(server, "Disconnected")
      yield* client.close({ code: 4000, reason: "enough" })
      yield* Fiber.join(gone)
      for (const peer of [client, station]) {
        expect(yield* Effect.exit(peer.sendRaw("x"))).toMatchObject(
          Exit.fail({ _tag: "DisconnectedError", code: 4000, reason: "enough" }),
        )
      }
    }),
  )
})

/** With `ocpp-rpc@2.2.1` at the other end: its clients at our server, and our clients at its server. */
import { describe, expect, it, onTestFinished, vi } from "@effect/vitest"
import {
  createRPCError,
  NOREPLY,
  RPCClient,
  type RPCClientOptions,
  RPCServer,
  RPCServerClient,
  type RPCServerOptions,
  TimeoutError,
} from "effect-ocpp"
import { next, record, rejection } from "../support/listeners.ts"
import { endpointOf } from "../support/listening.ts"
import { type OriginalClient, type OriginalServer, original } from "../support/originals.ts"

/** What both implementations document alike. */
type End = OriginalClient

/** Connects a client and what the server has of it. */
type Connect = (
  serverOptions?: RPCServerOptions,
  clientOptions?: Partial<RPCClientOptions>,
  prepare?: (station: End) => void,
) => Promise<{ readonly client: End; readonly station: End; readonly server: OriginalServer }>

const pairing =
  (Client: new (options: any) => unknown, Server: new (options?: any) => unknown): Connect =>
  async (serverOptions = {}, clientOptions = {}, prepare = () => {}) => {
    const server = new Server(serverOptions) as OriginalServer
    const httpServer = await server.listen(0, "127.0.0.1")
    const endpoint = endpointOf(httpServer)
    const client = new Client({ endpoint, identity: "CP001", reconnect: false, ...clientOptions }) as End
    onTestFinished(async () => {
      await client.close({ force: true })
      await server.close({ force: true })
    })
    server.on("client", prepare as never)
    const [[station]] = await Promise.all([next(server, "client"), client.connect()])
    return { client, server, station: station as End }
  }

const isOurs = (end: unknown) => end instanceof RPCClient || end instanceof RPCServerClient

const pairings: ReadonlyArray<readonly [string, Connect]> = [
  ["their client at our server", pairing(original.RPCClient, RPCServer)],
  ["our client at their server", pairing(RPCClient, original.RPCServer)],
]

const unanswered = () => new Promise<never>(() => {})

const now = "2024-01-01T00:00:00Z"

const versions = [
  {
    protocol: "ocpp1.6",
    boot: { chargePointVendor: "V", chargePointModel: "M" },
    reset: { type: "Hard" },
    missing: { chargePointVendor: "V" },
  },
  {
    protocol: "ocpp2.0.1",
    boot: { reason: "PowerUp", chargingStation: { model: "M", vendorName: "V" } },
    reset: { type: "Immediate" },
    missing: { reason: "PowerUp" },
  },
]

describe.each(pairings)("%s", (_, connect) => {
  describe.each(versions)("strictly in $protocol", ({ boot, missing, protocol, reset }) => {
    const strict = { protocols: [protocol], strictMode: true }
    const lax = { protocols: [protocol] }

    it("calls both ways", async () => {
      const { client, station } = await connect(strict, strict, (station) => {
        station.handle("BootNotification", ({ params }) => {
          expect(params).toEqual(boot)
          return { status: "Accepted", interval: 300, currentTime: now }
        })
        station.handle("Heartbeat", () => ({ currentTime: now }))
      })
      client.handle("Reset", ({ params }) => ({ status: params.type === reset.type ? "Accepted" : "Rejected" }))
      expect([client.protocol, station.protocol]).toEqual([protocol, protocol])
      expect(await client.call("BootNotification", boot)).toMatchObject({ status: "Accepted" })
      expect(await Promise.all([client.call("Heartbeat", {}), station.call("Reset", reset)])).toEqual([
        { currentTime: now },
        { status: "Accepted" },
      ])
    })

    it("an invalid call is refused by whoever receives it", async () => {
      const handler = vi.fn(() => ({}))
      const { client, station } = await connect(strict, lax, (station) => station.handle(handler))
      const failure = next(station, "strictValidationFailure")
      const { rpcErrorCode } = await rejection(client.call("BootNotification", missing))
      expect(["OccurrenceConstraintViolation", "OccurenceConstraintViolation"]).toContain(rpcErrorCode)
      expect((await failure)[0]).toMatchObject({ method: "BootNotification", outbound: false, isCall: true })
      expect(handler).not.toHaveBeenCalled()
    })

    it("an invalid result is replaced by InternalError, or refused by whoever receives it", async () => {
      for (const [serverOptions, clientOptions] of [
        [strict, lax],
        [lax, strict],
      ] as const) {
        const { client } = await connect(serverOptions, clientOptions, (station) =>
          station.handle("Heartbeat", () => ({ currentTime: 5 })),
        )
        const { rpcErrorCode } = await rejection(client.call("Heartbeat", {}))
        expect(["InternalError", "TypeConstraintViolation"]).toContain(rpcErrorCode)
      }
    })

    it("an action without a handler is NotSupported by us, NotImplemented by them", async () => {
      const { client, station } = await connect(strict, strict)
      const codes = [
        (await rejection(client.call("Heartbeat", {}))).rpcErrorCode,
        (await rejection(station.call("Reset", reset))).rpcErrorCode,
      ]
      expect(codes.sort()).toEqual(["NotImplemented", "NotSupported"])
    })
  })

  it.each([
    "GenericError",
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "PropertyConstraintViolation",
    "TypeConstraintViolation",
    "MessageTypeNotSupported",
    "RpcFrameworkError",
    "FormatViolation",
    "OccurrenceConstraintViolation",
  ] as const)("%s travels both ways with its message and details", async (type) => {
    const { client, station } = await connect()
    for (const [from, to] of [
      [client, station],
      [station, client],
    ] as const) {
      const create = isOurs(to) ? createRPCError : original.createRPCError
      to.handle("Fail", () => {
        throw create(type, "what it is", { why: "so" })
      })
      const error = await rejection(from.call("Fail"))
      expect(error).toMatchObject({ rpcErrorCode: type, message: "what it is", details: { why: "so" } })
    }
  })

  it("the spellings of 1.6 are understood by both", async () => {
    const { client, station } = await connect({ protocols: ["ocpp1.6"] }, { protocols: ["ocpp1.6"] })
    for (const [from, to] of [
      [client, station],
      [station, client],
    ] as const) {
      const create = isOurs(to) ? createRPCError : original.createRPCError
      to.handle("Fail", () => {
        throw create("FormatViolation")
      })
      const { rpcErrorCode } = await rejection(from.call("Fail"))
      expect(rpcErrorCode).toBe(isOurs(from) ? "FormatViolation" : "FormationViolation")
    }
  })

  it("an ordinary error is a GenericError with its message, and details only when asked for", async () => {
    for (const respondWithDetailedErrors of [false, true]) {
      const options = { respondWithDetailedErrors }
      const { client, station } = await connect(options, options, (station) =>
        station.handle(async () => {
          throw new Error("kaputt")
        }),
      )
      client.handle(() => {
        throw new Error("kaputt")
      })
      for (const end of [client, station]) {
        const error = await rejection(end.call("Break"))
        expect(error).toMatchObject({ rpcErrorCode: "GenericError", message: "kaputt" })
        expect(Object.keys(error.details).sort()).toEqual(respondWithDetailedErrors ? ["message", "stack"] : [])
      }
    }
  })

  it("NOREPLY sends nothing, and the caller times out", async () => {
    const { client, station } = await connect()
    for (const [from, to] of [
      [client, station],
      [station, client],
    ] as const) {
      to.handle("Quiet", () => (isOurs(to) ? NOREPLY : original.NOREPLY))
      const responses = record(to, "response")
      const error = await rejection(from.call("Quiet", {}, { callTimeoutMs: 20 }))
      expect(error).toBeInstanceOf(isOurs(from) ? TimeoutError : original.TimeoutError)
      expect(responses).toEqual([])
    }
  })

  it("noReply resolves at once, and the answer is a bad message", async () => {
    const { client, station } = await connect({}, {}, (station) => station.handle(() => ({})))
    client.handle(() => ({}))
    for (const end of [client, station]) {
      const bad = next(end, "badMessage")
      expect(await end.call("Tell", {}, { noReply: true })).toBeUndefined()
      expect((await bad)[0].response).toBeNull()
    }
  })

  it("a call of either side ends with its timeout", async () => {
    const { client, station } = await connect({ callTimeoutMs: 20 }, { callTimeoutMs: 20 })
    client.handle(unanswered)
    station.handle(unanswered)
    for (const end of [client, station]) {
      const error = await rejection(end.call("Slow"))
      expect(error).toBeInstanceOf(isOurs(end) ? TimeoutError : original.TimeoutError)
    }
  })

  it("calls can cross, and be made from handlers", async () => {
    const { client, station } = await connect({ callConcurrency: 2 }, { callConcurrency: 2 })
    client.handle("Ask", async () => ({ through: await client.call("Answer") }))
    station.handle("Answer", () => "42")
    expect(await Promise.all([station.call("Ask"), client.call("Answer")])).toEqual([{ through: "42" }, "42"])
  })

  it("broken frames get the same answers", async () => {
    const { client, station } = await connect()
    for (const [from, to] of [
      [client, station],
      [station, client],
    ] as const) {
      for (const [text, code] of [
        ["bad", "RpcFrameworkError"],
        ['[9,"id"]', "MessageTypeNotSupported"],
      ]) {
        const bad = next(to, "badMessage")
        from.sendRaw(text as string)
        expect((await bad)[0].error.rpcErrorCode).toBe(code)
      }
    }
  })

  it("the client closes with a code and a reason", async () => {
    const { client, station } = await connect()
    const theirs = next(station, "close")
    expect(await client.close({ code: 4001, reason: "enough" })).toEqual({ code: 4001, reason: "enough" })
    expect(await theirs).toEqual([{ code: 4001, reason: "enough" }])
  })

  it("the server's end closes with a code and a reason", async () => {
    const { client, station } = await connect()
    const theirs = next(client, "close")
    expect(await station.close({ code: 4002, reason: "go" })).toEqual({ code: 4002, reason: "go" })
    expect(await theirs).toEqual([{ code: 4002, reason: "go" }])
  })

  it("the server closes with a code and a reason", async () => {
    const { client, server } = await connect()
    const theirs = next(client, "close")
    await server.close({ code: 1012, reason: "restart" })
    expect(await theirs).toEqual([{ code: 1012, reason: "restart" }])
  })

  it("awaitPending lets the calls of both sides end", async () => {
    for (const who of ["client", "station"] as const) {
      const ends = await connect()
      const answers: Array<(value: unknown) => void> = []
      const bothAsked = new Promise<void>((resolve) => {
        for (const end of [ends.client, ends.station]) {
          end.handle(
            () =>
              new Promise((answer) => {
                if (answers.push(answer) === 2) resolve()
              }),
          )
        }
      })
      const calls = [ends.client.call("Slow"), ends.station.call("Slow")]
      await bothAsked
      const closed = ends[who].close({ code: 4001, awaitPending: true })
      for (const answer of answers) answer("done")
      expect(await Promise.all(calls)).toEqual(["done", "done"])
      expect(await closed).toMatchObject({ code: 4001 })
    }
  })

  it("force is 1006 at both ends", async () => {
    const { client, station } = await connect()
    const theirs = next(client, "close")
    expect((await station.close({ force: true })).code).toBe(1006)
    expect((await theirs)[0].code).toBe(1006)
  })

  it("a client reconnects after a cut, with the subprotocol of before, and goes on", async () => {
    const { client, server, station } = await connect(
      { protocols: ["a", "b"] },
      { protocols: ["b", "a"], reconnect: true, backoff: { initialDelay: 1 } },
      (station) => station.handle("Echo", ({ params }) => params),
    )
    expect(client.protocol).toBe("a")
    const again = next(server, "client")
    const lost = next(client, "disconnect")
    void station.close({ force: true })
    expect((await lost)[0].code).toBe(1006)
    expect((await again)[0].protocol).toBe("a")
    expect(await client.call("Echo", { n: 1 })).toEqual({ n: 1 })
  })

  it("pings are answered", async () => {
    const { client, station } = await connect({ pingIntervalMs: 10 }, { pingIntervalMs: 10 })
    const pings = await Promise.all([next(client, "ping"), next(station, "ping")])
    for (const [{ rtt }] of pings) expect(rtt).toBeGreaterThanOrEqual(0)
  })

  it("passwords arrive as they are, with colons everywhere", async () => {
    const password = Buffer.from([0, 58, 255, 128, 13, 10])
    const { station } = await connect({}, { identity: "this:is:ok", password })
    expect((station as any).handshake).toMatchObject({ identity: "this:is:ok", password })
  })

  it("a rejected client gets the code", async () => {
    const { client, server } = await connect()
    server.auth((_: unknown, reject: (code: number) => void) => reject(401))
    await client.close()
    expect(await rejection(client.connect())).toMatchObject({ code: 401 })
  })
})

describe("the exports", () => {
  it("have every name that ocpp-rpc exports", async () => {
    const ours: object = await import("effect-ocpp")
    expect(Object.keys(original).filter((name) => !(name in ours))).toEqual([])
  })

  it("have one class for both spellings of a code", async () => {
    const ours: any = await import("effect-ocpp")
    for (const [legacy, current, code] of [
      ["RPCFormationViolationError", "RPCFormatViolationError", "FormationViolation"],
      ["RPCOccurenceConstraintViolationError", "RPCOccurrenceConstraintViolationError", "OccurenceConstraintViolation"],
    ] as const) {
      expect(ours.createRPCError(code)).toBeInstanceOf(ours[current])
      expect(ours.createRPCError(code)).toBeInstanceOf(ours[legacy])
    }
  })
})

describe("our client at their server in 2.1", () => {
  it("talks where neither is strict", async () => {
    const connect = pairing(RPCClient, original.RPCServer)
    const options = { protocols: ["ocpp2.1"] }
    const { client } = await connect(options, options, (station) => station.handle(() => ({ currentTime: now })))
    expect(await client.call("Heartbeat", {})).toEqual({ currentTime: now })
  })
})

/**
 * What users of the promise face see of the types. `tsc` checks this file: an expected error that does not occur fails it.
 */
import { Buffer } from "node:buffer"
import type { IncomingMessage } from "node:http"
import { describe, expectTypeOf, it } from "@effect/vitest"
import {
  createRPCError,
  NOREPLY,
  RPCClient,
  type RPCError,
  RPCServer,
  type RPCServerClient,
  standardValidators,
} from "effect-ocpp"

declare const typed: RPCClient<"ocpp1.6">
declare const newer: RPCClient<"ocpp2.0.1" | "ocpp2.1">
declare const own: RPCClient<"echo1.0">
declare const untyped: RPCClient
declare const station: RPCServerClient<"ocpp1.6">

const never = () => false

describe("new RPCClient<subprotocol>", () => {
  it("takes the options, and nothing else", () => {
    if (never()) {
      new RPCClient<"ocpp1.6">({ endpoint: "ws://localhost", identity: "A", protocols: ["ocpp1.6"], strictMode: true })
      new RPCClient({ identity: "A", password: Buffer.alloc(1), query: { a: "1" }, wsOpts: { minVersion: "TLSv1.2" } })
      new RPCClient({ identity: "A", password: null, strictModeValidators: [...standardValidators] })
      // @ts-expect-error the identity is missing
      new RPCClient({ endpoint: "ws://localhost" })
      // @ts-expect-error an option that does not exist
      new RPCClient({ identity: "A", timeout: 5 })
      // @ts-expect-error an option of the wrong type
      new RPCClient({ identity: "A", callTimeoutMs: "5s" })
      // @ts-expect-error an option that does not exist
      new RPCServer({ identity: "A" })
    }
  })
})

describe("call", () => {
  it("is typed by its action", () => {
    if (never()) {
      const result = typed.call("BootNotification", { chargePointVendor: "V", chargePointModel: "M" })
      expectTypeOf(result).resolves.toExtend<{
        readonly status: "Accepted" | "Pending" | "Rejected"
        readonly interval: number
      }>()
      expectTypeOf(typed.call("Heartbeat", {})).resolves.toHaveProperty("currentTime")
      expectTypeOf(station.call("Reset", { type: "Hard" })).resolves.toHaveProperty("status")
      typed.call("Heartbeat", {}, { callTimeoutMs: 5, signal: AbortSignal.timeout(1), noReply: true })

      // @ts-expect-error an action that 1.6 does not have
      typed.call("TransactionEvent", {})
      // @ts-expect-error a required field is missing
      typed.call("BootNotification", { chargePointVendor: "V" })
      // @ts-expect-error a field that does not exist
      typed.call("BootNotification", { chargePointVendor: "V", chargePointModel: "M", color: "red" })
      // @ts-expect-error a field of the wrong type
      typed.call("BootNotification", { chargePointVendor: "V", chargePointModel: 5 })
      // @ts-expect-error a value that is not in the enumeration
      station.call("Reset", { type: "Lukewarm" })
      // @ts-expect-error an option that does not exist
      typed.call("Heartbeat", {}, { timeout: 5 })
      // @ts-expect-error a field that the result does not have
      typed.call("Heartbeat", {}).then((heartbeat) => heartbeat.status)
    }
  })

  it("knows the actions of several subprotocols", () => {
    if (never()) {
      newer.call("Heartbeat", {})
      // @ts-expect-error an action that only 1.6 has
      newer.call("StartTransaction", {})
    }
  })

  it("is loose where the subprotocol is not known", () => {
    if (never()) {
      for (const client of [untyped, own]) {
        expectTypeOf(client.call("Anything", "at all")).resolves.toBeAny()
        client.call("Anything")
        client.call("Echo", ["bar"], {})
      }
      untyped.call("BootNotification", { whatever: 1 })
      // @ts-expect-error a method is a string
      untyped.call(5)
    }
  })
})

describe("handle", () => {
  it("is typed by its action", () => {
    if (never()) {
      station.handle("BootNotification", ({ messageId, method, params, reply, signal }) => {
        expectTypeOf(method).toEqualTypeOf<"BootNotification">()
        expectTypeOf(params.chargePointVendor).toEqualTypeOf<string>()
        expectTypeOf(messageId).toEqualTypeOf<string>()
        expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
        reply({ status: "Accepted", interval: 300, currentTime: new Date().toISOString() })
        reply(Promise.resolve(NOREPLY))
        reply(createRPCError("SecurityError"))
        // @ts-expect-error a result of another action
        reply({ currentTime: "now" })
      })
      station.handle("Heartbeat", () => ({ currentTime: new Date().toISOString() }))
      station.handle("Heartbeat", async () => ({ currentTime: new Date().toISOString() }))
      station.handle("Heartbeat", () => NOREPLY)
      station.handle("Heartbeat", ({ reply }) => reply({ currentTime: "2024-01-01T00:00:00Z" }))
      station.handle("Heartbeat", () => {
        throw createRPCError("NotSupported")
      })
      station.removeHandler("Heartbeat")
      station.removeHandler()

      // @ts-expect-error a result without its required field
      station.handle("Heartbeat", () => ({}))
      // @ts-expect-error a result of the wrong type
      station.handle("Heartbeat", async () => ({ currentTime: 5 }))
      // @ts-expect-error an action that 1.6 does not have
      station.handle("TransactionEvent", () => ({}))
      // @ts-expect-error a field that the request does not have
      station.handle("Heartbeat", ({ params }) => ({ currentTime: params.time }))
      // @ts-expect-error an action that 1.6 does not have
      station.removeHandler("TransactionEvent")
    }
  })

  it("without a method takes anything", () => {
    if (never()) {
      typed.handle(({ method, params }) => {
        expectTypeOf(method).toEqualTypeOf<string>()
        expectTypeOf(params).toBeUnknown()
        return { anything: 1 }
      })
      typed.handle(() => {
        throw createRPCError("NotImplemented")
      })
    }
  })

  it("is loose where the subprotocol is not known", () => {
    if (never()) {
      untyped.handle("Say", ({ params }) => expectTypeOf(params).toBeAny())
      untyped.handle("Say", ({ params }) => params.any.thing)
      untyped.handle(({ params }) => params.any.thing)
      untyped.handle(async () => ({ status: "Accepted" }))
      untyped.removeHandler("Say")
    }
  })
})

describe("the events", () => {
  it("are typed", () => {
    if (never()) {
      typed.on("open", ({ response }) => expectTypeOf(response).toEqualTypeOf<IncomingMessage | undefined>())
      typed.on("close", ({ code, reason }) => expectTypeOf([code, reason]).toEqualTypeOf<Array<number | string>>())
      typed.on("protocol", (protocol) => expectTypeOf(protocol).toBeString())
      typed.on("ping", ({ rtt }) => expectTypeOf(rtt).toBeNumber())
      typed.on("message", ({ outbound }) => expectTypeOf(outbound).toBeBoolean())
      typed.on("call", ({ payload }) => expectTypeOf(payload).toEqualTypeOf<Array<unknown>>())
      typed.on("callError", ({ error }) => expectTypeOf(error).toEqualTypeOf<RPCError>())
      typed.on("callResult", ({ result }) => expectTypeOf(result).toBeUnknown())
      typed.on("badMessage", ({ buffer }) => expectTypeOf(buffer).toEqualTypeOf<Buffer>())
      typed.on("strictValidationFailure", ({ isCall }) => expectTypeOf(isCall).toBeBoolean())
      typed.on("socketError", (error) => expectTypeOf(error).toEqualTypeOf<Error>())
      typed.once("closing", () => {})
      // @ts-expect-error a field that the event does not have
      typed.on("close", ({ status }) => status)
      // @ts-expect-error an argument that the event does not have
      typed.on("closing", (event: object) => event)
    }
  })

  it("of a server are typed", () => {
    if (never()) {
      const server = new RPCServer()
      server.on("client", (client) => expectTypeOf(client).toExtend<RPCServerClient>())
      server.on("client", ({ handshake, session }) => {
        expectTypeOf(handshake.password).toEqualTypeOf<Buffer | undefined>()
        expectTypeOf(handshake.query).toEqualTypeOf<URLSearchParams>()
        expectTypeOf(session).toBeAny()
      })
      server.on("upgradeAborted", ({ error, identity }) => {
        expectTypeOf(error).toEqualTypeOf<Error>()
        expectTypeOf(identity).toEqualTypeOf<string | undefined>()
      })
      server.auth((accept, reject, { identity }, signal) => {
        if (signal.aborted) return reject(401, identity)
        accept({ any: "thing" }, "ocpp1.6")
      })
      server.auth(async (accept) => accept())
      // @ts-expect-error a code is a number
      server.auth((_, reject) => reject("401"))
    }
  })
})

describe("the clients of an RPCServer", () => {
  it("are typed by the subprotocol that the server is said to speak", () => {
    const server = new RPCServer<"ocpp1.6">({ protocols: ["ocpp1.6"] })
    server.on("client", (client) => {
      expectTypeOf(client).toEqualTypeOf<RPCServerClient<"ocpp1.6">>()
      client.handle("Authorize", ({ params }) => {
        expectTypeOf(params.idTag).toEqualTypeOf<string>()
        return { idTagInfo: { status: "Accepted" } }
      })
      // @ts-expect-error a response of another action
      client.handle("Heartbeat", () => ({ status: "Accepted" }))
      // @ts-expect-error an action that is misspelt
      client.handle("Hartbeat", () => ({}))
    })
  })

  it("take anything when nothing is said", () => {
    const server = new RPCServer()
    server.on("client", (client) => {
      client.handle("Anything", ({ params }) => params.whatever)
    })
  })
})

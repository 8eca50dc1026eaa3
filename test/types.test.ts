/**
 * What users see of the types. `tsc` checks this file: an expected error that does not occur fails it.
 */
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as RateLimiter from "effect/persistence/RateLimiter"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import {
  Action,
  Client,
  type Connection,
  Handlers,
  Middleware,
  Ocpp16,
  Ocpp21,
  Ocpp201,
  Protocol,
  RPCSecurityError,
  Server,
} from "effect-ocpp"

class Registry extends Context.Service<Registry, { readonly add: (identity: string) => Effect.Effect<void> }>()(
  "test/Registry",
) {}

class Clerk extends Context.Service<Clerk, { readonly name: string }>()("test/Clerk") {}

declare const station: Server.Station
declare const server: Server.Server
declare const client: Client.Client

const never = () => false

describe("a call", () => {
  it("is typed by its action", () => {
    if (never()) {
      const call = client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
      expectTypeOf(call).toExtend<
        Effect.Effect<{ readonly status: "Accepted" | "Pending" | "Rejected" }, Connection.CallFailure>
      >()
      expectTypeOf(client.call("Anything", { at: "all" })).toEqualTypeOf<
        Effect.Effect<unknown, Connection.CallFailure>
      >()

      // @ts-expect-error a required field is missing
      client.call(Ocpp16.BootNotification, { chargePointVendor: "V" })
      // @ts-expect-error a field that does not exist
      client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M", color: "red" })
      // @ts-expect-error a field of the wrong type
      client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: 5 })
      // @ts-expect-error a value that is not in the enumeration
      client.call(Ocpp16.StatusNotification, { connectorId: 1, errorCode: "NoError", status: "available" })
      // @ts-expect-error undefined is not a value
      client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M", iccid: undefined })
    }
  })

  it("can only be made by the side that sends the action", () => {
    if (never()) {
      station.call(Ocpp16.Reset, { type: "Hard" })
      station.call(Ocpp16.DataTransfer, { vendorId: "V" })
      client.call(Ocpp16.DataTransfer, { vendorId: "V" })
      // @ts-expect-error a CSMS resets a station, not the other way round
      client.call(Ocpp16.Reset, { type: "Hard" })
      // @ts-expect-error a station boots, a CSMS does not
      station.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
    }
  })

  it("is not what a SEND is", () => {
    if (never()) {
      const data = { id: 1, pending: 0, basetime: "2025-01-01T00:00:00Z", data: [{ t: 1, v: "5" }] } as const
      expectTypeOf(client.send(Ocpp21.NotifyPeriodicEventStream, data)).toEqualTypeOf<
        Effect.Effect<void, Connection.CallFailure>
      >()
      // @ts-expect-error a SEND has no result to wait for
      client.call(Ocpp21.NotifyPeriodicEventStream, data)
      // @ts-expect-error a CALL cannot be sent unconfirmed
      client.send(Ocpp21.Heartbeat, {})
    }
  })

  it("fails with nothing but what the types say", () => {
    if (never()) {
      const handled = client.call(Ocpp16.Heartbeat, {}).pipe(
        Effect.catchTags({
          RPCError: (error) => Effect.succeed(error.code),
          TimeoutError: (error) => Effect.succeed(error.timeout),
          DisconnectedError: (error) => Effect.succeed(error.code),
          CallQueueFullError: (error) => Effect.succeed(error.limit),
        }),
      )
      expectTypeOf<Effect.Error<typeof handled>>().toEqualTypeOf<never>()
    }
  })
})

describe("handlers", () => {
  it("are typed by their actions, and remember what they require", () => {
    const handlers = Handlers.make(Ocpp16, {
      BootNotification: Effect.fn("boot")(function* (request) {
        expectTypeOf(request.chargePointModel).toEqualTypeOf<string>()
        const { identity } = yield* Server.Station
        const registry = yield* Registry
        yield* registry.add(identity)
        return { status: "Accepted", currentTime: "2025-01-01T00:00:00Z", interval: 300 }
      }),
      Authorize: ({ idTag }) =>
        idTag === "ok" ? Effect.succeed({ idTagInfo: { status: "Accepted" } }) : new RPCSecurityError("unknown"),
    })
    expectTypeOf(handlers).toEqualTypeOf<Handlers.Handlers<"station", Server.Station | Registry>>()

    const server = Server.make({ protocols: [Ocpp16], handlers: [handlers] })
    expectTypeOf<Registry>().toExtend<Effect.Services<typeof server>>()
    expectTypeOf<Server.Station>().not.toExtend<Effect.Services<typeof server>>()
  })

  it("refuse what their actions do not allow", () => {
    Handlers.make(Ocpp16, {
      // @ts-expect-error the response of another action
      Heartbeat: () => Effect.succeed({ status: "Accepted" }),
    })
    Handlers.make(Ocpp16, {
      // @ts-expect-error a value that is not in the enumeration
      Authorize: () => Effect.succeed({ idTagInfo: { status: "accepted" } }),
    })
    const ofAnotherVersion = () =>
      Handlers.make(Ocpp16, {
        // @ts-expect-error an action of another version
        TransactionEvent: () => Effect.succeed({}),
      })
    expect(ofAnotherVersion).toThrow('ocpp1.6 has no action "TransactionEvent"')
    Handlers.make(Ocpp16, {
      // @ts-expect-error an error that cannot travel in a CALLERROR
      Heartbeat: () => Effect.fail(new Error("no")),
    })
  })

  it("belong to one side", () => {
    const forStation = Handlers.make(Ocpp201, { Reset: () => Effect.succeed({ status: "Accepted" }) })
    const forCsms = Handlers.make(Ocpp201, {
      Heartbeat: () => Effect.succeed({ currentTime: "2025-01-01T00:00:00Z" }),
    })
    const forBoth = Handlers.make(Ocpp201, { DataTransfer: () => Effect.succeed({ status: "Accepted" }) })
    const endpoint = { endpoint: "ws://localhost", identity: "CP001" }
    Server.make({ handlers: [forCsms, forBoth] })
    Client.make({ ...endpoint, handlers: [forStation, forBoth] })
    // @ts-expect-error what a station handles, a CSMS is never asked
    Server.make({ handlers: [forStation] })
    // @ts-expect-error what a CSMS handles, a station is never asked
    Client.make({ ...endpoint, handlers: [forCsms] })
  })
})

const accepted = { status: "Accepted", currentTime: "2025-01-01T00:00:00Z", interval: 300 } as const

describe("handlers put together", () => {
  const forCsms = Handlers.make(Ocpp16, { Heartbeat: () => Effect.as(Registry, { currentTime: "" }) })
  const forStation = Handlers.make(Ocpp16, { Reset: () => Effect.as(Clerk, { status: "Accepted" }) })
  const forAny = Handlers.wildcard(() => Effect.succeed({}))
  const endpoint = { endpoint: "ws://localhost", identity: "CP001" }

  it("require what each requires, and are of one side as long as all are", () => {
    const other = Handlers.make(Ocpp201, { Heartbeat: () => Effect.as(Clerk, { currentTime: "" }) })
    const merged = Handlers.merge(forCsms, other, forAny)
    expectTypeOf(merged).toEqualTypeOf<Handlers.Handlers<"station", Registry | Clerk>>()
    expectTypeOf(Handlers.merge()).toEqualTypeOf<Handlers.Handlers>()
    Server.make({ handlers: [merged] })
    // @ts-expect-error all of them are a CSMS's
    Client.make({ ...endpoint, handlers: [merged] })
    const mixed = Handlers.merge(forCsms, forStation)
    // @ts-expect-error some of them are a station's
    Server.make({ handlers: [mixed] })
    // @ts-expect-error some of them are a CSMS's
    Client.make({ ...endpoint, handlers: [mixed] })
  })

  it("of several versions answer with what is valid in all of them", () => {
    const common = Handlers.makeCommon([Ocpp16, Ocpp201, Ocpp21], {
      BootNotification: Effect.fn("boot")(function* () {
        yield* Registry
        return accepted
      }),
      Heartbeat: () => Effect.succeed({ currentTime: "" }),
    })
    expectTypeOf(common).toEqualTypeOf<Handlers.Handlers<"station", Registry>>()
    Handlers.makeCommon([Ocpp16, Ocpp201], {
      BootNotification: (request) => {
        // @ts-expect-error only 1.6 has it there
        request.chargePointModel
        return Effect.succeed(accepted)
      },
    })
    Handlers.makeCommon([Ocpp16, Ocpp201], {
      // @ts-expect-error valid in 1.6, but 2.0.1 asks for idTokenInfo
      Authorize: () => Effect.succeed({ idTagInfo: { status: "Accepted" } }),
    })
    Handlers.makeCommon([Ocpp16, Ocpp201], {
      // @ts-expect-error a field that 1.6 has not
      BootNotification: () => Effect.succeed({ ...accepted, statusInfo: { reasonCode: "x" } }),
    })
    Handlers.makeCommon([Ocpp16, Ocpp201], {
      // @ts-expect-error no value of either
      BootNotification: () => Effect.succeed({ ...accepted, status: "accepted" }),
    })
  })

  it("of several versions know no action that one of them lacks", () => {
    const notIn16 = () =>
      Handlers.makeCommon([Ocpp16, Ocpp201], {
        // @ts-expect-error 1.6 has no TransactionEvent
        TransactionEvent: () => Effect.succeed({}),
      })
    const notIn201 = () =>
      Handlers.makeCommon([Ocpp16, Ocpp201], {
        // @ts-expect-error 2.0.1 has no StartTransaction
        StartTransaction: () => Effect.succeed({ transactionId: 1, idTagInfo: { status: "Accepted" } }),
      })
    expect(notIn16).toThrow('ocpp1.6 has no action "TransactionEvent"')
    expect(notIn201).toThrow('ocpp2.0.1 has no action "StartTransaction"')
    Handlers.makeCommon([Ocpp201, Ocpp21], { TransactionEvent: () => Effect.succeed({}) })
  })

  it("belong to one side, though they are of several versions", () => {
    const common = Handlers.makeCommon([Ocpp201, Ocpp21], { Reset: () => Effect.succeed({ status: "Accepted" }) })
    expectTypeOf(common).toEqualTypeOf<Handlers.Handlers<"csms">>()
    // @ts-expect-error what a station handles, a CSMS is never asked
    Server.make({ handlers: [common] })
  })
})

describe("a middleware", () => {
  const handlers = Handlers.make(Ocpp16, {
    Heartbeat: () => Effect.as(Registry, { currentTime: "" }),
    Authorize: () => Effect.as(Clerk, { idTagInfo: { status: "Accepted" } }),
  })

  it("leaves what it does not provide, and adds what it requires", () => {
    const provided = Handlers.wrap(handlers, (handle) => Effect.provideService(handle, Clerk, { name: "C" }))
    expectTypeOf(provided).toEqualTypeOf<Handlers.Handlers<"station", Registry>>()
    const requiring = Handlers.wrap(provided, (handle) => Effect.andThen(Clerk, handle))
    expectTypeOf(requiring).toEqualTypeOf<Handlers.Handlers<"station", Registry | Clerk>>()
    const layer = Server.layer({ handlers: [provided] })
    expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<Registry>()
  })

  it("fails with nothing that cannot travel in a CALLERROR", () => {
    // @ts-expect-error an error that is no RPCError
    Handlers.wrap(handlers, () => Effect.fail(new Error("no")))
    Handlers.wrap(handlers, () => new RPCSecurityError("no"))
  })

  it("of ours is for a CSMS, and says what it requires", () => {
    const limited = Middleware.rateLimit({ limit: 1, window: "1 second" })(Middleware.requireBoot(handlers))
    expectTypeOf(limited).toEqualTypeOf<
      Handlers.Handlers<"station", Registry | Clerk | Server.Station | RateLimiter.RateLimiter>
    >()
    const clerk = Layer.effect(
      Clerk,
      Effect.map(Server.Station, ({ identity }) => ({ name: identity })),
    )
    expectTypeOf(Middleware.perConnection(clerk)(handlers)).toEqualTypeOf<
      Handlers.Handlers<"station", Registry | Server.Station>
    >()
    const forStation = Handlers.make(Ocpp16, { Reset: () => Effect.succeed({ status: "Accepted" }) })
    // @ts-expect-error a station does not wait for its own boot
    Middleware.requireBoot(forStation)
    const failing = Layer.effect(Clerk, Effect.fail("no clerk"))
    // @ts-expect-error nobody handles the failure to build it
    Middleware.perConnection(failing)
  })
})

describe("a server", () => {
  it("broadcasts what a CSMS calls, and what comes of it is typed", () => {
    if (never()) {
      const results = server.broadcast(Ocpp16.Reset, { type: "Soft" }, { where: ({ protocol }) => protocol !== "" })
      expectTypeOf<Effect.Error<typeof results>>().toEqualTypeOf<never>()
      expectTypeOf(server.changes).toEqualTypeOf<Stream.Stream<ReadonlyArray<Server.Station>>>()
      // @ts-expect-error a station boots, a CSMS does not
      server.broadcast(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
      // @ts-expect-error a value that is not in the enumeration
      server.broadcast(Ocpp16.Reset, { type: "soft" })
    }
  })

  it("or a client that is configured fails with ConfigError as well", () => {
    const handlers = Handlers.make(Ocpp16, { Heartbeat: () => Effect.as(Registry, { currentTime: "" }) })
    const csms = Server.layerConfig({ port: Config.Port("PORT"), handlers: [handlers], strictMode: true })
    expectTypeOf(csms).toEqualTypeOf<Layer.Layer<Server.Server, Server.ListenError | Config.ConfigError, Registry>>()
    const password: Config.Config<Redacted.Redacted<string>> = Config.Redacted("PASSWORD")
    const configured = Client.layerConfig({ endpoint: Config.String("URL"), identity: "CP001", password })
    expectTypeOf(configured).toEqualTypeOf<Layer.Layer<Client.Client, Client.ConnectFailure | Config.ConfigError>>()
    // @ts-expect-error a Config of something else
    Server.layerConfig({ port: Config.String("PORT") })
    // @ts-expect-error the identity is required
    Client.layerConfig({ endpoint: "ws://localhost" })
  })
})

describe("a subprotocol of one's own", () => {
  it("is typed like the built-in ones", () => {
    const text = Schema.Struct({ text: Schema.String })
    const Echo = Protocol.make("echo1.0", [Action.make("Echo", { request: text, response: text })])
    if (never()) {
      expectTypeOf(client.call(Echo.Echo, { text: "hi" })).toEqualTypeOf<
        Effect.Effect<{ readonly text: string }, Connection.CallFailure>
      >()
      // @ts-expect-error the wrong type
      client.call(Echo.Echo, { text: 5 })
    }
    const Extended = Protocol.extend(Ocpp16, [Action.make("Vendor", { request: text, response: text })])
    Handlers.make(Extended, { Vendor: Effect.succeed, Heartbeat: () => Effect.succeed({ currentTime: "" }) })
  })
})

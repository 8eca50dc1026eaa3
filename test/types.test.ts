/**
 * What users see of the types. `tsc` checks this file: an expected error that does not occur fails it.
 */
import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import {
  Action,
  Client,
  type Connection,
  Handlers,
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

declare const station: Server.Station
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
    Handlers.make(Ocpp16, {
      // @ts-expect-error an action of another version
      TransactionEvent: () => Effect.succeed({}),
    })
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

/** What is remembered of boots, and who is let in by it. Stations connect in memory. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Scope from "effect/Scope"
import * as BootStore from "../src/BootStore.ts"
import { askedBy } from "../src/boot/Asks.ts"
import type * as Client from "../src/Client.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Middleware from "../src/Middleware.ts"
import type * as Server from "../src/Server.ts"
import * as Schemas16 from "../src/schemas/ocpp16.ts"
import * as Schemas21 from "../src/schemas/ocpp21.ts"
import * as Schemas201 from "../src/schemas/ocpp201.ts"
import * as Network from "../src/testing/Network.ts"
import { settled } from "../src/testing/settled.ts"

const { Ocpp16 } = Schemas16
const { Ocpp201 } = Schemas201
const { Ocpp21 } = Schemas21

const now = "2026-01-01T00:00:00Z"

/** A CSMS that answers a boot with the status that its station gives as its model, and anything else with `{}`, a little later. */
const CentralSystem = Handlers.merge(
  Handlers.make(Ocpp21, {
    BootNotification: ({ chargingStation: { model } }) =>
      Effect.succeed({ status: model as BootStore.Status, currentTime: now, interval: 300 }),
  }),
  Handlers.wildcard(() => Effect.as(settled, {})),
)

/** A station that does whatever it is asked to. */
const obedient = Handlers.wildcard<never>((_, { action }) =>
  Effect.succeed(action === "GetConfiguration" ? {} : { status: "Accepted" }),
)

const serve = Effect.fnUntraced(function* (options: Middleware.BootOptions = {}) {
  const handlers = [Middleware.requireBoot(CentralSystem, options)]
  const network = yield* Network.make<Server.Station>({ protocols: [Ocpp21, Ocpp16], handlers })
  const connect = (identity: string) =>
    network.station({ identity, protocols: [Ocpp21], handlers: [obedient], reconnect: false })
  return { network, connect, server: network.csms }
})

const boot = (station: Client.Client, status: BootStore.Status) =>
  station.call(Ocpp21.BootNotification, { reason: "PowerUp", chargingStation: { vendorName: "V", model: status } })

/** "ok", or the code with which a call of this action is refused. */
const outcome = (station: Client.Client, action: string) =>
  Effect.match(station.call(action, {}), {
    onSuccess: () => "ok",
    onFailure: (error) => (error._tag === "RPCError" ? error.code : error._tag),
  })

/** Calls a station of the CSMS. */
const ask = (server: Server.Server, identity: string, action: string, request: object = {}) =>
  Effect.flatMap(server.station(identity), (station) => station.call(action, request))

describe("what a station was asked for", () => {
  it.effect("passes while its boot is pending: triggered messages and reports, as often as it calls them", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const station = yield* connect("CP001")
      yield* boot(station, "Pending")
      for (const [action, request, asked] of [
        ["TriggerMessage", { requestedMessage: "StatusNotification" }, "StatusNotification"],
        ["TriggerMessage", { requestedMessage: "SignChargingStationCertificate" }, "SignCertificate"],
        ["GetBaseReport", { requestId: 1, reportBase: "FullInventory" }, "NotifyReport"],
        ["GetLog", {}, "LogStatusNotification"],
      ] as const) {
        expect([asked, yield* outcome(station, asked)]).toEqual([asked, "SecurityError"])
        yield* ask(server, "CP001", action, request)
        expect([asked, yield* outcome(station, asked)]).toEqual([asked, "ok"])
        expect(yield* outcome(station, asked)).toBe("ok")
      }
      expect(yield* outcome(station, "Heartbeat")).toBe("SecurityError")
      expect(yield* outcome(station, "TransactionEvent")).toBe("SecurityError")
    }),
  )

  it.effect("passes after another pending boot and on another connection, but not once a boot was accepted", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const first = yield* connect("CP001")
      yield* boot(first, "Rejected")
      yield* ask(server, "CP001", "GetReport")
      yield* boot(first, "Pending")
      expect(yield* outcome(first, "NotifyReport")).toBe("ok")
      yield* first.close()
      const second = yield* connect("CP001")
      expect(yield* outcome(second, "NotifyReport")).toBe("ok")
      yield* boot(second, "Accepted")
      yield* boot(second, "Pending")
      expect(yield* outcome(second, "NotifyReport")).toBe("SecurityError")
    }),
  )

  it.effect("passes on another connection, though nothing came of it on the one on which it was asked for", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const first = yield* connect("CP001")
      yield* boot(first, "Pending")
      yield* ask(server, "CP001", "GetBaseReport")
      yield* first.close()
      expect(yield* outcome(yield* connect("CP001"), "NotifyReport")).toBe("ok")
    }),
  )

  it.effect("is its own matter", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const [one, other] = [yield* connect("CP001"), yield* connect("CP002")]
      for (const station of [one, other]) yield* boot(station, "Pending")
      yield* ask(server, "CP001", "GetBaseReport")
      expect(yield* outcome(one, "NotifyReport")).toBe("ok")
      expect(yield* outcome(other, "NotifyReport")).toBe("SecurityError")
    }),
  )

  it("is told by the calls of the CSMS, whatever they hold", () => {
    expect(askedBy("TriggerMessage", { requestedMessage: "MeterValues" })).toBe("MeterValues")
    expect(askedBy("ExtendedTriggerMessage", { requestedMessage: "SignChargePointCertificate" })).toBe(
      "SignCertificate",
    )
    expect(askedBy("UpdateFirmware", {})).toBe("FirmwareStatusNotification")
    for (const request of [undefined, null, 7, {}, { requestedMessage: 7 }]) {
      expect(askedBy("TriggerMessage", request)).toBeUndefined()
    }
    for (const action of ["Reset", "GetVariables", "constructor", "__proto__"])
      expect(askedBy(action, {})).toBeUndefined()
  })

  it("is an action of a station, for every message that can be triggered", () => {
    for (const [protocol, { literals }] of [
      [Ocpp16, Schemas16.MessageTrigger],
      [Ocpp16, Schemas16.MessageTriggerEnumType],
      [Ocpp201, Schemas201.MessageTriggerEnumType],
      [Ocpp21, Schemas21.MessageTriggerEnumType],
    ] as const) {
      for (const requestedMessage of literals) {
        // What a vendor makes of it nobody knows.
        if (requestedMessage === "CustomTrigger") continue
        const action = askedBy("TriggerMessage", { requestedMessage }) ?? ""
        expect([requestedMessage, protocol.actions.get(action)?.sender]).toEqual([requestedMessage, "station"])
      }
    }
  })
})

describe("a station that is shut out", () => {
  it.effect("is listened to only as long as it is", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const client = yield* connect("CP001")
      const station = yield* server.station("CP001")
      let listeners = 0
      const subscribe = station.subscribe
      Object.defineProperty(station, "subscribe", {
        value: (observer: Parameters<typeof subscribe>[0]) => {
          listeners++
          const end = subscribe.call(station, observer)
          return () => {
            listeners--
            end()
          }
        },
      })
      yield* outcome(client, "Heartbeat")
      expect(listeners).toBe(0)
      yield* boot(client, "Pending")
      yield* boot(client, "Rejected")
      yield* outcome(client, "Heartbeat")
      expect(listeners).toBe(1)
      yield* boot(client, "Accepted")
      expect(listeners).toBe(0)
    }),
  )
})

describe("askToBoot", () => {
  it.effect(
    "asks a station to boot of which nothing is remembered, once a connection, after its first call was answered",
    () =>
      Effect.gen(function* () {
        const { connect } = yield* serve({ askToBoot: true })
        const station = yield* connect("CP001")
        const said: Array<string> = []
        station.subscribe((event) => {
          if (event._tag === "Call" && !event.outbound) said.push(`${event.action} ${JSON.stringify(event.request)}`)
          if (event._tag === "CallResult" && event.outbound) said.push(`answered ${event.action}`)
        })
        expect(yield* outcome(station, "Heartbeat")).toBe("ok")
        yield* settled
        const asked = 'TriggerMessage {"requestedMessage":"BootNotification"}'
        expect(said).toEqual(["answered Heartbeat", asked])
        yield* outcome(station, "Heartbeat")
        yield* settled
        expect(said.filter((text) => text === asked)).toHaveLength(1)
        yield* station.close()
        const again = yield* connect("CP001")
        const triggered = yield* Deferred.make<string>()
        again.subscribe((event) => {
          if (event._tag === "Call" && !event.outbound) Deferred.doneUnsafe(triggered, Exit.succeed(event.action))
        })
        yield* outcome(again, "Heartbeat")
        expect(yield* Deferred.await(triggered)).toBe("TriggerMessage")
      }),
  )

  it.effect("asks nobody who has booted, nor anybody unless it is set", () =>
    Effect.gen(function* () {
      for (const [askToBoot, hasBooted] of [
        [true, true],
        [false, false],
      ]) {
        const { connect } = yield* serve({ askToBoot: askToBoot === true })
        const station = yield* connect("CP001")
        let asked = 0
        station.subscribe((event) => {
          if (event._tag === "Call" && !event.outbound) asked++
        })
        if (hasBooted) yield* boot(station, "Accepted")
        yield* outcome(station, "Heartbeat")
        yield* settled
        expect(asked).toBe(0)
      }
    }),
  )
})

describe("a store", () => {
  const inMemory = Layer.fresh(BootStore.layerMemory())
  const inKeyValueStore = Layer.provideMerge(BootStore.layerKeyValueStore, Layer.fresh(KeyValueStore.layerMemory))

  describe.each([
    ["in memory", inMemory],
    ["over a KeyValueStore", inKeyValueStore],
  ] as ReadonlyArray<readonly [string, Layer.Layer<BootStore.BootStore>]>)("%s", (_, layer) => {
    it.effect("remembers the last answer, and what was asked for since the station was last accepted", () =>
      Effect.gen(function* () {
        const store = yield* BootStore.BootStore
        expect(yield* store.find("CP001")).toBeUndefined()
        yield* store.answered("CP001", "Pending")
        expect(yield* store.find("CP001")).toEqual({ status: "Pending", asked: [] })
        yield* store.asked("CP001", ["NotifyReport"])
        yield* store.answered("CP001", "Rejected")
        yield* store.asked("CP001", ["NotifyReport", "MeterValues"])
        expect(yield* store.find("CP001")).toEqual({ status: "Rejected", asked: ["NotifyReport", "MeterValues"] })
        yield* store.answered("CP001", "Accepted")
        expect(yield* store.find("CP001")).toEqual({ status: "Accepted", asked: [] })
        yield* store.asked("CP001", ["NotifyReport"])
        expect(yield* store.find("CP001")).toEqual({ status: "Accepted", asked: [] })
        for (const other of ["CP002", "__proto__", "", "CP001/x"]) expect(yield* store.find(other)).toBeUndefined()
      }).pipe(Effect.provide(layer)),
    )

    it.effect("that is provided is shared by all servers, and outlives them", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { connect, server } = yield* serve()
            const station = yield* connect("CP001")
            yield* boot(station, "Pending")
            yield* ask(server, "CP001", "GetReport")
            // Any call will do: with it, what was asked for is written down.
            yield* outcome(station, "Heartbeat")
          }),
        )
        const store = yield* BootStore.BootStore
        expect(yield* store.find("CP001")).toEqual({ status: "Pending", asked: ["NotifyReport"] })
        const { connect } = yield* serve()
        const station = yield* connect("CP001")
        expect([yield* outcome(station, "NotifyReport"), yield* outcome(station, "Heartbeat")]).toEqual([
          "ok",
          "SecurityError",
        ])
      }).pipe(Effect.provide(layer)),
    )
  })

  it.effect(
    "in memory forgets the boot that is longest ago, of those that are accepted and of those that are not",
    () =>
      Effect.gen(function* () {
        const store = BootStore.makeMemoryUnsafe({ capacity: 2 })
        for (const status of ["Accepted", "Pending"] as const) {
          for (const identity of ["1", "2", "1", "3"]) yield* store.answered(`${status} ${identity}`, status)
        }
        for (const status of ["Accepted", "Pending"] as const) {
          expect(yield* store.find(`${status} 2`)).toBeUndefined()
          for (const identity of ["1", "3"])
            expect(yield* store.find(`${status} ${identity}`)).toMatchObject({ status })
        }
      }),
  )

  it.each([0, -1, 1.5, Number.NaN])("in memory cannot have room for %d", (capacity) => {
    expect(() => BootStore.makeMemoryUnsafe({ capacity })).toThrow(RangeError)
  })

  it.effect("that fails lets nobody in, and is a defect", () => {
    const broken: BootStore.BootStore = {
      find: () => Effect.die("gone"),
      answered: () => Effect.die("gone"),
      asked: () => Effect.die("gone"),
    }
    return Effect.gen(function* () {
      const { connect } = yield* serve()
      const station = yield* connect("CP001")
      expect(yield* outcome(station, "Heartbeat")).toBe("InternalError")
      expect(yield* Effect.flip(boot(station, "Accepted"))).toMatchObject({ code: "InternalError" })
    }).pipe(Effect.provideService(BootStore.BootStore, broken), Effect.provide(Logger.layer([])))
  })

  it.effect("that takes its time does not overrule a boot that was answered meanwhile", () =>
    Effect.gen(function* () {
      const memory = BootStore.makeMemoryUnsafe()
      const looked = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const slow: BootStore.BootStore = {
        ...memory,
        find: (identity) =>
          Effect.tap(memory.find(identity), () => {
            Deferred.doneUnsafe(looked, Effect.void)
            return Deferred.await(goOn)
          }),
      }
      const { connect } = yield* Effect.provideService(serve(), BootStore.BootStore, slow)
      const station = yield* connect("CP001")
      station.reconfigure({ callConcurrency: 2 })
      const early = yield* Effect.forkChild(outcome(station, "Heartbeat"))
      yield* Deferred.await(looked)
      yield* boot(station, "Pending")
      yield* Deferred.succeed(goOn, undefined)
      expect(yield* Fiber.join(early)).toBe("SecurityError")
      expect(yield* outcome(station, "Heartbeat")).toBe("SecurityError")
    }),
  )
})

describe("watch", () => {
  const provided = Effect.provide(BootStore.layerMemory())

  it.effect("hears what is asked for before the station has said anything on its connection", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      yield* BootStore.watch(server)
      const first = yield* connect("CP001")
      yield* boot(first, "Pending")
      yield* first.close()
      const second = yield* connect("CP001")
      yield* ask(server, "CP001", "TriggerMessage", { requestedMessage: "StatusNotification" })
      expect(yield* outcome(second, "StatusNotification")).toBe("ok")
      expect(yield* outcome(second, "MeterValues")).toBe("SecurityError")
    }).pipe(provided),
  )

  it.effect("is what is needed for that, and ends with its Scope", () =>
    Effect.gen(function* () {
      const { connect, server } = yield* serve()
      const scope = yield* Scope.make()
      yield* Scope.provide(BootStore.watch(server), scope)
      yield* Scope.close(scope, Exit.void)
      const first = yield* connect("CP001")
      yield* boot(first, "Pending")
      yield* first.close()
      const second = yield* connect("CP001")
      yield* ask(server, "CP001", "TriggerMessage", { requestedMessage: "StatusNotification" })
      expect(yield* outcome(second, "StatusNotification")).toBe("SecurityError")
    }).pipe(provided),
  )
})

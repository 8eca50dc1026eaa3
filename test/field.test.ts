/** What chargers and CSMSs of the field send, as it was reported; every input is of our own making. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Repair from "../src/Repair.ts"
import { RPCFormatViolationError } from "../src/RPCError.ts"
import * as Server from "../src/Server.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../src/schemas/ocpp21.ts"
import * as Transport from "../src/Transport.ts"
import { serve } from "./support/inMemory.ts"
import { settled } from "./support/rawPeer.ts"

/** A CSMS over one transport, and the texts that its station receives. */
const csms = Effect.fnUntraced(function* (options: Partial<Connection.MakeOptions<"csms">> = {}) {
  const [near, far] = Transport.makePair("ocpp1.6")
  const received: Array<Array<unknown>> = []
  const ignore = () => {}
  far.listen({
    onMessage: (text) => received.push(JSON.parse(text)),
    onPing: ignore,
    onPong: ignore,
    onError: ignore,
    onClose: ignore,
  })
  const connection = yield* Connection.make(near, { side: "csms", protocol: Ocpp16, ...options })
  const events: Array<Connection.Event> = []
  connection.subscribe((event) => void events.push(event))
  yield* settled
  const say = (text: string) =>
    Effect.andThen(
      Effect.sync(() => far.send(text)),
      settled,
    )
  return { connection, events, received, say }
})

const reset = { type: "Soft" } as const

describe("an answer of the peer that is hard to read", () => {
  it.effect.each([
    ["a CALLERROR whose code is a number", '3,"text",{}', "3"],
    ["a CALLERROR without anything", "", ""],
    ["a CALLERROR with other elements", '"Nope",{"a":1},[2],7', "Nope"],
  ])("ends its call at once: %s", ([, rest, receivedCode]) =>
    Effect.gen(function* () {
      const { connection, received, say } = yield* csms()
      const first = yield* Effect.forkChild(Effect.flip(connection.call(Ocpp16.Reset, reset)), {
        startImmediately: true,
      })
      const second = yield* Effect.forkChild(connection.call(Ocpp16.Reset, reset), { startImmediately: true })
      yield* settled
      const id = received[0]![1]
      yield* say(`[4,"${id}"${rest === "" ? "" : `,${rest}`}]`)
      expect(yield* Fiber.join(first)).toMatchObject({ code: "GenericError", receivedCode })
      expect(received).toHaveLength(2)
      yield* Fiber.interrupt(second)
    }),
  )

  it.effect("ends its call at once: a CALLRESULT that nests too deep, and the next call leaves", () =>
    Effect.gen(function* () {
      const { connection, received, say } = yield* csms()
      const first = yield* Effect.forkChild(Effect.flip(connection.call(Ocpp16.Reset, reset)), {
        startImmediately: true,
      })
      const second = yield* Effect.forkChild(connection.call(Ocpp16.Reset, reset), { startImmediately: true })
      yield* settled
      yield* say(`[3,"${received[0]![1]}",${"[".repeat(100)}${"]".repeat(100)}]`)
      expect(yield* Fiber.join(first)).toMatchObject({ _tag: "RPCError", code: "FormatViolation" })
      expect(received).toHaveLength(2)
      yield* Fiber.interrupt(second)
    }),
  )
})

describe("a message id of 40 characters", () => {
  const id = "i".repeat(40)
  const Beating = Handlers.make(Ocpp16, { Heartbeat: () => Effect.succeed({ currentTime: "2026-01-01T00:00:00Z" }) })

  it.effect.each([
    ["reject", "CallError", 1],
    ["report", "CallResult", 1],
    ["ignore", "CallResult", 0],
  ] as const)("with validateInbound: %s", ([validateInbound, answer, told]) =>
    Effect.gen(function* () {
      const { events, received, say } = yield* csms({ handlers: [Beating], strictMode: true, validateInbound })
      yield* say(`[2,"${id}","Heartbeat",{}]`)
      expect(received.map(([type]) => type)).toEqual([answer === "CallResult" ? 3 : 4])
      expect(events.filter(({ _tag }) => _tag === "BadMessage")).toHaveLength(told)
    }),
  )
})

it.effect(
  "an action that the subprotocol has not is NotImplemented, though a wildcard would handle it in strict mode",
  () =>
    Effect.gen(function* () {
      const handlers = [Handlers.wildcard(() => Effect.succeed({}))]
      const { received, say } = yield* csms({ handlers, strictMode: true })
      yield* say('[2,"1","Invented",{}]')
      expect(received[0]!.slice(0, 3)).toEqual([4, "1", "NotImplemented"])
    }),
)

describe("repair", () => {
  const Stopping = Handlers.make(Ocpp16, { Heartbeat: () => Effect.succeed({ currentTime: "2026-01-01T00:00:00Z" }) })

  it.effect("mends a text before it is read", () =>
    Effect.gen(function* () {
      const broken = '\ufeff[2,"1","Heartbeat",{}]\0\0'
      const plain = yield* csms({ handlers: [Stopping] })
      yield* plain.say(broken)
      const mending = yield* csms({ handlers: [Stopping], repair: (text) => Repair.knownFaults(text) })
      yield* mending.say(broken)
      expect([plain.received[0]![0], mending.received[0]![0]]).toEqual([4, 3])
    }),
  )

  it.effect("is told whose text it is", () =>
    Effect.gen(function* () {
      const stations: Array<unknown> = []
      const repair = (text: string, station: unknown) => {
        stations.push(station)
        return text
      }
      const { say } = yield* csms({ identity: "CP001", handlers: [Stopping], repair })
      yield* say('[2,"1","Heartbeat",{}]')
      expect(stations).toEqual([{ identity: "CP001", protocol: "ocpp1.6" }])
    }),
  )
})

describe("afterReply", () => {
  it.effect("has something done once the answer has left, in the station's Scope", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const gone = yield* Deferred.make<void>()
      const Booting = Handlers.make(Ocpp16, {
        BootNotification: () =>
          Effect.gen(function* () {
            const station = yield* Server.Station
            yield* Handlers.afterReply(
              Effect.gen(function* () {
                log.push(
                  (yield* station.call(Ocpp16.TriggerMessage, { requestedMessage: "StatusNotification" })).status,
                )
                yield* Effect.onInterrupt(Effect.never, () => Deferred.succeed(gone, undefined))
              }),
            )
            log.push("answering")
            return { status: "Accepted", currentTime: "2026-01-01T00:00:00Z", interval: 1 } as const
          }),
      })
      const Triggered = Handlers.make(Ocpp16, {
        TriggerMessage: () =>
          Effect.sync(() => ({ status: log.includes("answered") ? "Accepted" : "Rejected" }) as const),
      })
      const { connect } = yield* serve(Ocpp16, [Booting])
      const station = yield* connect("CP001", { handlers: [Triggered] })
      station.subscribe((event) => {
        if (event._tag === "CallResult" && event.outbound) log.push("answered")
      })
      yield* station.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
      yield* settled
      expect(log).toEqual(["answering", "answered", "Accepted"])
      yield* station.close()
      yield* Deferred.await(gone)
    }),
  )

  it.effect("does nothing when the handler fails", () =>
    Effect.gen(function* () {
      let done = false
      const Failing = Handlers.make(Ocpp16, {
        Heartbeat: () =>
          Effect.andThen(
            Handlers.afterReply(Effect.sync(() => void (done = true))),
            Effect.fail(new RPCFormatViolationError("no")),
          ),
      })
      const { received, say } = yield* csms({ handlers: [Failing] })
      yield* say('[2,"1","Heartbeat",{}]')
      expect([received[0]![0], done]).toEqual([4, false])
    }),
  )
})

it.effect("a result that the caller cannot process is answered with CALLRESULTERROR in 2.1, and fails the call", () =>
  Effect.gen(function* () {
    const [near, far] = Transport.makePair("ocpp2.1")
    const Authorizing = Handlers.make(Ocpp21, {
      Authorize: () => Effect.succeed({ idTokenInfo: { status: "Accepted" as const } }),
    })
    const server = yield* Connection.make(far, { side: "csms", protocol: Ocpp21, handlers: [Authorizing] })
    const refused: Array<Connection.Event> = []
    server.subscribe((event) => void (event._tag === "CallResultError" && refused.push(event)))
    const station = yield* Connection.make(near, { side: "station", protocol: Ocpp21 })
    const error = yield* Effect.flip(
      station.call(
        Ocpp21.Authorize,
        { idToken: { idToken: "1", type: "Central" } },
        { refuse: ({ tariff }) => (tariff === undefined ? new RPCFormatViolationError("no tariff") : undefined) },
      ),
    )
    yield* settled
    expect(error).toMatchObject({ code: "FormatViolation", message: "no tariff" })
    expect(refused).toMatchObject([{ error: { code: "FormatViolation", message: "no tariff" } }])
  }),
)

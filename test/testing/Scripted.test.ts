import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import {
  Client,
  Connection,
  Handlers,
  Ocpp16,
  RPCNotSupportedError,
  RPCSecurityError,
  Server,
  Transport,
} from "effect-ocpp"
import { Network, Scripted, settled } from "effect-ocpp/testing"
import { Echo } from "../support/rawPeer.ts"

const soon = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** A station and the script that is its CSMS. */
const stationAndCsms = Effect.fnUntraced(function* <R = never>(options: Partial<Client.Options<R>> = {}) {
  const csms = yield* Scripted.csms(Echo, { patience: 50 })
  const client = yield* Client.makeWith(csms.dial, { identity: "CP001", protocols: [Echo], ...options })
  return { csms, client, peer: yield* csms.accept }
})

/** The failure of an expectation that is not met. */
const failureOf = <A, E>(effect: Effect.Effect<A, E | Scripted.ExpectationError>) =>
  Effect.flip(effect) as Effect.Effect<Scripted.ExpectationError>

describe("a scripted CSMS", () => {
  it.effect("expects a call, and answers it", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* stationAndCsms()
      const echo = yield* soon(client.call(Echo.Echo, { text: "hi" }))
      const call = yield* peer.expectCall(Echo.Echo)
      expect([call.action, call.payload.text]).toEqual(["Echo", "hi"])
      yield* peer.answer(call, { text: "ho" })
      expect(yield* Fiber.join(echo)).toEqual({ text: "ho" })
    }),
  )

  it.effect("refuses a call with an error, as its subprotocol spells it", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* stationAndCsms()
      const echo = yield* soon(Effect.flip(client.call("Echo", { text: "" })))
      yield* peer.refuse(yield* peer.expectCall("Echo"), new RPCSecurityError("no", { why: 1 }))
      expect(yield* Fiber.join(echo)).toMatchObject({ code: "SecurityError", message: "no", details: { why: 1 } })
    }),
  )

  it.effect("calls, and gets the answer though the station calls meanwhile", () =>
    Effect.gen(function* () {
      const handlers = [
        Handlers.make(Echo, {
          Slow: Effect.fnUntraced(function* () {
            return yield* (yield* Client.Client).call(Echo.Echo, { text: "asked back" })
          }, Effect.orDie),
          Echo: () => Effect.fail(new RPCNotSupportedError("not here")),
        }),
      ]
      const { peer } = yield* stationAndCsms({ handlers })
      const slow = yield* soon(peer.call(Echo.Slow, { text: "" }))
      yield* peer.answer(yield* peer.expectCall(Echo.Echo), { text: "answered" })
      expect(yield* Fiber.join(slow)).toEqual({ text: "answered" })
      expect(yield* Effect.flip(peer.call(Echo.Echo, { text: "" }))).toMatchObject({ code: "NotSupported" })
    }),
  )

  it.effect("sends and expects what has no answer", () =>
    Effect.gen(function* () {
      const notes: Array<string> = []
      const handlers = [Handlers.make(Echo, { Note: ({ text }) => Effect.sync(() => void notes.push(text)) })]
      const { client, peer } = yield* stationAndCsms({ handlers })
      yield* peer.notify(Echo.Note, { text: "1" })
      yield* peer.notify("Note", { text: "2" })
      expect(notes).toEqual(["1", "2"])
      yield* client.send(Echo.Note, { text: "3" })
      expect((yield* peer.expectSend(Echo.Note)).text).toBe("3")
    }),
  )

  it.effect("says what it likes, and expects any frame", () =>
    Effect.gen(function* () {
      const { peer } = yield* stationAndCsms()
      yield* peer.send("nonsense")
      expect(yield* peer.expectFrame("CallError")).toMatchObject({ messageId: "-1", code: "RpcFrameworkError" })
      yield* peer.send([3, "unknown", {}])
      yield* peer.expectNothing
    }),
  )

  it.effect("answers some calls always, unseen", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* stationAndCsms()
      yield* peer.always(Echo.Echo, ({ text }) => ({ text: `${text}!` }))
      expect(yield* client.call(Echo.Echo, { text: "hi" })).toEqual({ text: "hi!" })
      yield* peer.expectNothing
    }),
  )

  it.effect("closes and drops, and accepts the station again", () =>
    Effect.gen(function* () {
      const { client, csms, peer } = yield* stationAndCsms({ reconnect: Schedule.spaced("10 seconds") })
      yield* peer.close(1012, "restart")
      expect(yield* peer.expectClose(1012)).toEqual({ code: 1012, reason: "restart" })
      yield* TestClock.adjust("10 seconds")
      const second = yield* csms.accept
      yield* second.drop
      expect(client.state).toBe(Connection.State.CONNECTING)
      yield* TestClock.adjust("10 seconds")
      const third = yield* csms.accept
      yield* client.close({ code: 4000, reason: "done" })
      expect(yield* third.expectClose()).toEqual({ code: 4000, reason: "done" })
    }),
  )

  it.effect("cannot be reached while its link is cut, nor in another subprotocol", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Ocpp16)
      const connect = (protocols: ReadonlyArray<typeof Ocpp16 | typeof Echo>) =>
        Client.makeWith(csms.dial, { identity: "CP001", protocols })
      expect(yield* Effect.flip(connect([Echo]))).toMatchObject({ retryable: false })
      yield* csms.link.cut
      expect(yield* Effect.flip(connect([Ocpp16]))).toMatchObject({ retryable: true })
    }),
  )
})

describe("a scripted station", () => {
  it.effect("talks to a CSMS over the network", () =>
    Effect.gen(function* () {
      const network = yield* Network.make({
        protocols: [Ocpp16],
        handlers: [Handlers.make(Ocpp16, { Authorize: () => Effect.succeed({ idTagInfo: { status: "Blocked" } }) })],
        auth: ({ password }) => (String(password) === "secret" ? Effect.void : Server.reject(401)),
      })
      const peer = yield* network.scripted({ identity: "CP001", password: "secret", protocol: Ocpp16 })
      const { idTagInfo } = yield* peer.call(Ocpp16.Authorize, { idTag: "A" })
      expect(idTagInfo.status).toBe("Blocked")
      const station = yield* network.csms.station("CP001")
      const reset = yield* soon(station.call(Ocpp16.Reset, { type: "Hard" }))
      yield* peer.answer(yield* peer.expectCall(Ocpp16.Reset), { status: "Accepted" })
      expect(yield* Fiber.join(reset)).toEqual({ status: "Accepted" })
      yield* station.close()
      yield* peer.expectClose(1000)
      expect(peer.transcript).toMatchObject([
        '-> [2,"script-1","Authorize",{"idTag":"A"}]',
        '<- [3,"script-1",{"idTagInfo":{"status":"Blocked"}}]',
        expect.stringMatching(/^<- \[2,".{36}","Reset",\{"type":"Hard"\}\]$/),
        expect.stringMatching(/^-> \[3,".{36}",\{"status":"Accepted"\}\]$/),
        '<- close 1000 ""',
      ])
    }),
  )
})

it("a peer's actions are those of its side", () => {
  const check = (peer: Scripted.Peer<"csms">, call: Scripted.Received<{ idTag: string }, { idTagInfo: object }>) => [
    peer.expectCall(Ocpp16.Authorize),
    // @ts-expect-error a CSMS is not called with Reset
    peer.expectCall(Ocpp16.Reset),
    // @ts-expect-error a CSMS does not call Authorize
    peer.call(Ocpp16.Authorize, { idTag: "" }),
    peer.answer(call, { idTagInfo: {} }),
    // @ts-expect-error this is not the answer
    peer.answer(call, {}),
  ]
  expect(check).toBeTypeOf("function")
})

describe("an expectation that is not met", () => {
  it.effect("says what was expected, what came instead, and what was said", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* stationAndCsms()
      yield* peer.send([2, "1", "Echo", {}])
      yield* soon(Effect.exit(client.send(Echo.Note, { text: "x" })))
      yield* peer.expectFrame("CallError")
      const error = yield* failureOf(peer.expectCall(Echo.Echo))
      expect(error).toMatchObject({ _tag: "ExpectationError", expected: "a CALL of Echo" })
      expect(error.received).toMatch(/^\[6,"[^"]+","Note",\{"text":"x"\}\]$/)
      expect(error.message.split("\n")).toEqual([
        `expected a CALL of Echo, but ${error.received} came`,
        '  -> [2,"1","Echo",{}]',
        '  <- [4,"1","NotSupported","Echo has no handler",{}]',
        `  <- ${error.received}`,
      ])
    }),
  )

  it.effect("fails when nothing comes, without the test's clock", () =>
    Effect.gen(function* () {
      const { csms, peer } = yield* stationAndCsms()
      const error = yield* failureOf(peer.expectCall("Echo"))
      expect(error.message).toBe("expected a CALL of Echo, but nothing came\n  (nothing was said)")
      expect((yield* failureOf(csms.accept)).expected).toBe("a connection")
      yield* csms.link.halfOpen
      expect((yield* failureOf(peer.call(Echo.Echo, { text: "" }))).expected).toBe("an answer to the CALL of Echo")
      yield* csms.link.heal
    }),
  )

  it.effect("fails at once when the connection ends before the answer", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* stationAndCsms({ handlers: [Handlers.wildcard(() => Effect.never)] })
      const call = yield* soon(failureOf(peer.call(Echo.Slow, { text: "" })))
      yield* settled
      yield* client.close({ code: 4000 })
      expect((yield* Fiber.join(call)).received).toBe('close 4000 ""')
      yield* peer.expectClose(4000)
    }),
  )

  it.effect("leaves an answer that comes too late to the next", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const handlers = [Handlers.make(Echo, { Slow: (request) => Effect.as(Deferred.await(gate), request) })]
      const { peer } = yield* stationAndCsms({ handlers })
      yield* failureOf(peer.call(Echo.Slow, { text: "" }))
      yield* Deferred.succeed(gate, undefined)
      expect((yield* peer.expectFrame("CallResult")).payload).toEqual({ text: "" })
    }),
  )

  it.effect("fails for a payload that is not what the action's type says", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* stationAndCsms({ handlers: [Handlers.wildcard(() => Effect.succeed({ no: 1 }))] })
      yield* soon(Effect.exit(client.call("Echo", { text: 5 })))
      expect((yield* failureOf(peer.expectCall(Echo.Echo))).message).toMatch(/^expected a CALL of Echo that is valid/)
      expect((yield* failureOf(peer.call(Echo.Slow, { text: "" }))).message).toContain("one that is not")
    }),
  )

  it.effect("fails for a close with another code, and for something where nothing is expected", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* stationAndCsms()
      yield* soon(client.close({ code: 4000 }))
      expect((yield* failureOf(peer.expectNothing)).received).toBe('close 4000 ""')
      expect((yield* failureOf(peer.expectClose(1000))).message).toContain(
        'expected a close with 1000, but close 4000 "" came',
      )
    }),
  )

  it.effect("that is interrupted leaves what comes to the next", () =>
    Effect.gen(function* () {
      const [ours, theirs] = Transport.makePair()
      const peer = yield* Scripted.peer(ours, { side: "csms", protocol: Echo })
      theirs.listen({ onMessage() {}, onPing() {}, onPong() {}, onError() {}, onClose() {} })
      const waiting = yield* soon(peer.expectCall("Echo"))
      yield* Fiber.interrupt(waiting)
      theirs.send('[2,"1","Echo"]')
      yield* settled
      expect(yield* peer.expectCall("Echo")).toMatchObject({ messageId: "1", payload: {} })
    }),
  )
})

import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Client from "../../src/Client.ts"
import * as Connection from "../../src/Connection.ts"
import * as Scripted from "../../src/testing/Scripted.ts"
import { altered, dialling, Echo, settled } from "../support/rawPeer.ts"

const { CLOSED, CONNECTING, OPEN } = Connection.State
const options = { identity: "CP001", protocols: [Echo], reconnect: false, pingInterval: "Infinity" } as const

const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), settled)

describe("client", () => {
  it.effect(
    "an observer that closes it when an attempt fails, and connects again, gets a new life that nobody ends",
    () =>
      Effect.gen(function* () {
        const csms = yield* Scripted.csms(Echo)
        const refused = new Client.ConnectError({ message: "refused", retryable: true })
        let dials = 0
        const dial = () => (dials++ === 0 ? Effect.fail(refused) : csms.dial([Echo.name]))
        const client = yield* Client.makeUnconnected(dial, options)
        const events: Array<string> = []
        client.subscribe((event) => {
          events.push(event._tag)
          if (event._tag === "ConnectFailure") Effect.runFork(Effect.andThen(client.close(), client.connect))
        })
        yield* start(Effect.exit(client.connect))
        yield* settled
        expect(events).toEqual(["Connecting", "ConnectFailure", "Closing", "Close", "Connecting", "Open"])
        expect(client.state).toBe(OPEN)
      }),
  )

  it.effect("an observer that closes it when it hears that it closes hears of it once", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const client = yield* Client.makeWith(csms.dial, options)
      const events: Array<string> = []
      client.subscribe((event) => {
        events.push(event._tag)
        if (event._tag === "Closing") Effect.runFork(client.close())
      })
      yield* csms.link.reset
      yield* settled
      expect(events).toEqual(["Disconnect", "Closing", "Close"])
    }),
  )

  it.effect("a caller that connects again when its call is lost gets a client whose `closed` is not done", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const client = yield* Client.makeWith(csms.dial, options)
      // queued behind the first, so it fails when the client closes for good
      yield* start(Effect.exit(client.call(Echo.Echo, { text: "1" })))
      const again = yield* start(
        Effect.catchTag(client.call(Echo.Echo, { text: "2" }), "DisconnectedError", () => client.connect),
      )
      yield* csms.link.reset
      yield* settled
      const joined = yield* Fiber.await(again)
      expect(Exit.isSuccess(joined)).toBe(true)
      expect(client.state).toBe(OPEN)
      const closed = yield* start(client.closed)
      expect(closed.pollUnsafe()).toBeUndefined()
    }),
  )

  it.effect("an observer that connects again on Close gets a client whose `closed` is not done", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const client = yield* Client.makeWith(csms.dial, options)
      let times = 0
      client.subscribe((event) => {
        if (event._tag === "Close" && times++ === 0) Effect.runFork(client.connect)
      })
      yield* csms.link.reset
      yield* settled
      expect(client.state).toBe(OPEN)
      const closed = yield* start(client.closed)
      expect(closed.pollUnsafe()).toBeUndefined()
    }),
  )

  it.effect("a call that waits after a reconnect from Close still times out", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const gate = yield* Deferred.make<void>()
      let dials = 0
      const dial = () =>
        dials++ === 0 ? csms.dial([Echo.name]) : Effect.andThen(Deferred.await(gate), csms.dial([Echo.name]))
      const client = yield* Client.makeWith(dial, { ...options, callTimeout: "5 seconds" })
      yield* start(Effect.exit(client.call(Echo.Echo, { text: "1" })))
      const again = yield* start(
        Effect.exit(
          Effect.catchTag(client.call(Echo.Echo, { text: "2" }), "DisconnectedError", () => {
            Effect.runFork(client.connect)
            return client.call(Echo.Echo, { text: "3" })
          }),
        ),
      )
      yield* csms.link.reset
      yield* settled
      yield* TestClock.adjust("1 minute")
      yield* settled
      expect(client.state).toBe(CONNECTING)
      expect(again.pollUnsafe()).toBeDefined()
    }),
  )

  it.effect("close() in the very first Connecting event stays closed", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo, { patience: 20 })
      const client = yield* Client.makeUnconnected(csms.dial, options)
      const life: Array<string> = []
      client.subscribe((event) => {
        life.push(event._tag)
        if (event._tag === "Connecting") Effect.runFork(client.close())
      })
      yield* Effect.exit(client.connect)
      yield* settled
      expect(life).toEqual(["Connecting", "Closing", "Close"])
      expect(client.state).toBe(CLOSED)
      expect(yield* Effect.flip(csms.accept)).toMatchObject({ expected: "a connection" })
    }),
  )

  it.effect("connect while closing does not succeed with a connection that ends", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const client = yield* Client.makeWith(csms.dial, options)
      yield* Effect.forkChild(client.close(), { startImmediately: true })
      yield* client.connect
      yield* settled
      expect(client.state).toBe(OPEN)
    }),
  )

  it.effect("connect while reconnecting waits for the connection", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const client = yield* Client.makeWith(csms.dial, { ...options, reconnect: Schedule.spaced("10 seconds") })
      yield* csms.link.reset
      yield* settled
      expect(client.state).toBe(CONNECTING)
      const connect = yield* start(client.connect)
      expect(connect.pollUnsafe()).toBeUndefined()
    }),
  )

  it.effect("nothing outlives the Scope: connect after it has closed opens nothing", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(Client.makeWith(csms.dial, options), scope)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.exit(client.connect)
      expect(client.state).toBe(CLOSED)
    }),
  )

  it.effect("sendRaw from Disconnect waits for the next connection", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      const client = yield* Client.makeWith(csms.dial, { ...options, reconnect: Schedule.spaced("10 seconds") })
      client.subscribe((event) => {
        if (event._tag === "Disconnect") Effect.runFork(client.sendRaw("kept"))
      })
      yield* csms.link.reset
      yield* settled
      yield* TestClock.adjust("10 seconds")
      yield* settled
      yield* csms.accept
      expect((yield* csms.accept).transcript).toEqual(["<- kept"])
    }),
  )
  it.effect("a defect of dial while reconnecting is not swallowed", () =>
    Effect.gen(function* () {
      const csms = yield* Scripted.csms(Echo)
      let dials = 0
      const logged: Array<string> = []
      const dial = () => (dials++ === 0 ? csms.dial([Echo.name]) : Effect.die(new Error("bug in dial")))
      const client = yield* Client.makeWith(dial, { ...options, reconnect: Schedule.spaced("10 seconds") })
      client.subscribe((event) => logged.push(event._tag === "ConnectFailure" ? String(event.error) : ""))
      yield* csms.link.reset
      yield* settled
      yield* TestClock.adjust("10 seconds")
      const info = yield* client.closed
      expect(`${info.reason}${logged.join()}`).toContain("bug in dial")
    }),
  )
})

describe("a client", () => {
  it.effect("that an observer closes and connects again when it is told of a loss keeps its new connection", () =>
    Effect.gen(function* () {
      const { dial, peers } = dialling()
      const client = yield* Client.makeUnconnected(dial, { ...options, reconnect: Schedule.forever })
      const events: Array<string> = []
      client.subscribe(({ _tag }) => {
        events.push(_tag)
        if (peers.length > 1) return
        if (_tag === "Disconnect") Effect.runFork(client.close())
        if (_tag === "Close") Effect.runFork(client.connect)
      })
      yield* client.connect
      yield* settled
      peers[0]!.transport.terminate()
      yield* settled
      expect(events).toEqual(["Connecting", "Open", "Disconnect", "Closing", "Close", "Connecting", "Open"])
      expect([client.state, peers.length, peers[1]?.transport.writable]).toEqual([OPEN, 2, true])
    }),
  )

  it.effect("refuses a schedule that is none, and strict mode for a subprotocol that it does not offer", () =>
    Effect.gen(function* () {
      const client = yield* Client.makeUnconnected(dialling().dial, options)
      expect(() => client.reconfigure({ strictMode: ["echo10"] })).toThrow('strictMode names "echo10"')
      expect(() => client.reconfigure({ reconnect: 5 as never })).toThrow(
        "reconnect must be a Schedule or false; got 5",
      )
    }),
  )

  it.effect("asks the schedule that it was given last when to try again", () =>
    Effect.gen(function* () {
      const { dial, peers } = dialling()
      const client = yield* Client.makeWith(dial, { ...options, reconnect: Schedule.spaced("1 second") })
      const lose = Effect.suspend(() => {
        peers.at(-1)!.transport.terminate()
        return Effect.andThen(settled, TestClock.adjust("1 second"))
      })
      yield* settled
      yield* lose
      expect(peers).toHaveLength(2)
      client.reconfigure({ reconnect: Schedule.spaced("1 hour") })
      yield* lose
      expect(peers).toHaveLength(2)
      yield* TestClock.adjust("1 hour")
      expect(peers).toHaveLength(3)
    }),
  )

  it.effect("keeps a raw message for the next connection while the last one ends", () =>
    Effect.gen(function* () {
      const { dial, peers } = dialling()
      let buffered = 0
      const slow = () =>
        Effect.map(dial(), (transport) => {
          const isFirst = peers.length === 1
          return altered(transport, {
            get bufferedAmount() {
              return isFirst ? buffered : 0
            },
          })
        })
      const client = yield* Client.makeWith(slow, { ...options, reconnect: Schedule.spaced("1 second") })
      yield* settled
      buffered = Number.POSITIVE_INFINITY
      const sent = yield* start(client.sendRaw("raw"))
      yield* settled
      expect(sent.pollUnsafe()).toBe(undefined)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(sent)
      expect(peers.map(({ received }) => received)).toEqual([[], ["raw"]])
    }),
  )

  it.effect("is closed with a code that can be sent, whether or not it is connected", () =>
    Effect.gen(function* () {
      const { dial, peers } = dialling()
      const client = yield* Client.makeWith(dial, { ...options, reconnect: Schedule.spaced("1 hour") })
      yield* settled
      peers[0]!.transport.terminate()
      yield* settled
      expect(yield* client.close({ code: 99_999, reason: null as never })).toEqual({ code: 1000, reason: "" })
    }),
  )

  it.effect("goes on connecting while one of those who wait for it is left", () =>
    Effect.gen(function* () {
      const { dial } = dialling()
      const client = yield* Client.makeUnconnected(() => Effect.delay(dial(), "1 second"), options)
      const [first, second] = [yield* start(client.connect), yield* start(client.connect)]
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(second)
      expect(client.state).toBe(OPEN)
      yield* client.close()
      const third = yield* start(client.connect)
      yield* Fiber.interrupt(third)
      expect(client.state).toBe(CLOSED)
    }),
  )

  it.effect("sends a raw message while it drains", () =>
    Effect.gen(function* () {
      const { dial, peers } = dialling()
      const client = yield* Client.makeWith(dial, options)
      yield* settled
      yield* start(Effect.exit(client.call(Echo.Echo, { text: "" })))
      yield* start(client.close({ awaitPending: true }))
      yield* client.sendRaw("raw")
      yield* settled
      expect(peers[0]!.received.at(-1)).toBe("raw")
    }),
  )

  it.effect("does not go on connecting for those who waited in another life", () =>
    Effect.gen(function* () {
      const refused = new Client.ConnectError({ message: "refused", retryable: true })
      let dials = 0
      const dial = () => (dials++ === 0 ? Effect.andThen(settled, Effect.fail(refused)) : Effect.never)
      const client = yield* Client.makeUnconnected(dial, options)
      client.subscribe(({ _tag }) => {
        if (_tag === "Close" && dials === 1) Effect.runFork(client.connect).interruptUnsafe()
      })
      yield* Effect.exit(client.connect)
      yield* settled
      expect([client.state, dials]).toEqual([CLOSED, 2])
    }),
  )
})

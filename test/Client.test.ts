import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import * as Client from "../src/Client.ts"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Protocol from "../src/Protocol.ts"
import * as Transport from "../src/Transport.ts"
import { ConnectError } from "../src/WebSocket.ts"
import { Echo, RawPeer, settled } from "./support/rawPeer.ts"

const { CLOSED, CLOSING, CONNECTING, OPEN } = Connection.State

const refused = new ConnectError({ message: "refused", retryable: true })

/** A CSMS that one can switch on and off, and what the client offered at each attempt. */
const makeCsms = () => {
  const csms = {
    up: true as boolean | Effect.Effect<void, ConnectError>,
    speaks: Echo.name as string,
    offers: [] as Array<ReadonlyArray<string>>,
    peers: [] as Array<RawPeer>,
    dial: (protocols: ReadonlyArray<string>) =>
      Effect.suspend(() => {
        csms.offers.push(protocols)
        if (csms.up === false) return Effect.fail(refused)
        const accept = Effect.sync(() => {
          const [ours, theirs] = Transport.makePair(csms.speaks)
          csms.peers.push(new RawPeer(theirs))
          return ours
        })
        return csms.up === true ? accept : Effect.andThen(csms.up, accept)
      }),
  }
  return csms
}

const options = {
  identity: "CP001",
  protocols: [Echo],
  reconnect: Schedule.spaced("10 seconds"),
  pingInterval: "Infinity",
} as const

const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), settled)

/** Names of the events that change the state, as they come. */
const lifeOf = (client: Client.Client) => {
  const life: Array<string> = []
  client.subscribe((event) => {
    if (["Connecting", "Open", "Disconnect", "Closing", "Close"].includes(event._tag)) life.push(event._tag)
  })
  return life
}

describe("a client", () => {
  it.effect("connects, calls, and closes with its Scope", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const closes = yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* Client.makeWith(csms.dial, options)
          expect([client.identity, client.protocol, client.state]).toEqual(["CP001", "echo1.0", OPEN])
          const call = yield* start(client.call(Echo.Echo, { text: "hi" }))
          const peer = csms.peers[0]!
          yield* peer.send([3, peer.take()[0]![1], { text: "ho" }])
          expect(yield* Fiber.join(call)).toEqual({ text: "ho" })
          return peer.closes
        }),
      )
      expect(closes).toEqual([{ code: 1000, reason: "" }])
    }),
  )

  it.effect("fails when its first connection fails, and does not try again", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      csms.up = false
      expect(yield* Effect.flip(Client.makeWith(csms.dial, options))).toBe(refused)
      yield* TestClock.adjust("1 hour")
      expect(csms.offers).toHaveLength(1)
    }),
  )

  it.effect("answers the calls of the CSMS, and its handlers know the client", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const handlers = [
        Handlers.make(Echo, {
          Echo: Effect.fnUntraced(function* ({ text }) {
            const client = yield* Client.Client
            return { text: `${text} ${client.identity}` }
          }),
        }),
      ]
      yield* Client.makeWith(csms.dial, { ...options, handlers })
      const peer = csms.peers[0]!
      yield* peer.send([2, "1", "Echo", { text: "I am" }])
      expect(peer.take()).toEqual([[3, "1", { text: "I am CP001" }]])
    }),
  )

  it.effect("reconnects when its Schedule says so, until it succeeds", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, options)
      const life = lifeOf(client)
      csms.up = false
      csms.peers[0]!.transport.terminate()
      yield* settled
      expect([client.state, csms.offers.length]).toEqual([CONNECTING, 1])
      yield* TestClock.adjust("9 seconds")
      expect(csms.offers).toHaveLength(1)
      yield* TestClock.adjust("1 second")
      expect(csms.offers).toHaveLength(2)
      csms.up = true
      yield* TestClock.adjust("10 seconds")
      yield* settled
      expect([client.state, csms.offers.length]).toEqual([OPEN, 3])
      expect(life).toEqual(["Disconnect", "Connecting", "Connecting", "Open"])
    }),
  )

  it.effect("reconnects also when the CSMS closes the connection in good order", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, options)
      csms.peers[0]!.transport.close(1001, "restart")
      yield* settled
      yield* TestClock.adjust("10 seconds")
      yield* settled
      expect([client.state, csms.peers.length]).toEqual([OPEN, 2])
    }),
  )

  it.effect("keeps the subprotocol of its first connection", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      yield* Client.makeWith(csms.dial, { ...options, protocols: [Protocol.make("echo2.0", []), Echo] })
      csms.peers[0]!.transport.terminate()
      yield* settled
      yield* TestClock.adjust("10 seconds")
      yield* settled
      expect(csms.offers).toEqual([["echo2.0", "echo1.0"], ["echo1.0"]])
    }),
  )

  it.effect("gives up with 1001 when its Schedule ends", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, { ...options, reconnect: Schedule.recurs(2) })
      const life = lifeOf(client)
      csms.up = false
      csms.peers[0]!.transport.terminate()
      expect(yield* client.closed).toEqual({ code: 1001, reason: "giving up: refused" })
      expect(client.state).toBe(CLOSED)
      expect(life).toEqual(["Disconnect", "Connecting", "Connecting", "Closing", "Close"])
    }),
  )

  it.effect("gives up at once when the CSMS no longer speaks its subprotocol", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, options)
      csms.up = Effect.fail(new ConnectError({ message: "Server sent no subprotocol", retryable: false }))
      csms.peers[0]!.transport.terminate()
      yield* settled
      yield* TestClock.adjust("10 seconds")
      expect(yield* client.closed).toMatchObject({ code: 1001 })
    }),
  )

  it.effect("does not reconnect when told so", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, { ...options, reconnect: false })
      csms.peers[0]!.transport.close(4000, "go away")
      expect(yield* client.closed).toEqual({ code: 4000, reason: "go away" })
      yield* TestClock.adjust("1 hour")
      expect(csms.offers).toHaveLength(1)
    }),
  )

  it.effect("starts its Schedule afresh after a connection on which the CSMS has said something, and only then", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const growing = { ...options, reconnect: Schedule.exponential("1 second") }
      const client = yield* Client.makeWith(csms.dial, growing)
      const cut = () => csms.peers.at(-1)!.transport.terminate()
      const waits = [1, 2, 4]
      for (const seconds of waits) {
        cut()
        yield* settled
        yield* TestClock.adjust(seconds * 1000 - 1)
        yield* settled
        expect(client.state).toBe(CONNECTING)
        yield* TestClock.adjust(1)
        yield* settled
        expect(client.state).toBe(OPEN)
      }
      yield* csms.peers.at(-1)!.send([2, "1", "Echo", { text: "" }])
      cut()
      yield* settled
      yield* TestClock.adjust("1 second")
      yield* settled
      expect(client.state).toBe(OPEN)
    }),
  )
})

describe("calls of a client that reconnects", () => {
  it.effect("wait for the next connection when they have not been sent", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, options)
      const inFlight = yield* start(Effect.flip(client.call(Echo.Echo, { text: "in flight" })))
      const queued = yield* start(client.call(Echo.Echo, { text: "queued" }))
      csms.peers[0]!.transport.terminate()
      expect(yield* Fiber.join(inFlight)).toMatchObject({ _tag: "DisconnectedError", sent: true })
      const during = yield* start(client.call(Echo.Echo, { text: "during" }))
      yield* TestClock.adjust("10 seconds")
      yield* settled
      const peer = csms.peers[1]!
      for (const text of ["queued", "during"]) {
        const [[, id, , payload]] = peer.take() as [Array<unknown>]
        expect(payload).toEqual({ text })
        yield* peer.send([3, id, { text }])
      }
      expect(yield* Fiber.joinAll([queued, during])).toEqual([{ text: "queued" }, { text: "during" }])
    }),
  )

  it.effect("that timed out while it reconnected are never transmitted", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, { ...options, callTimeout: "5 seconds" })
      csms.peers[0]!.transport.terminate()
      yield* settled
      const call = yield* start(Effect.flip(client.call(Echo.Echo, { text: "" })))
      yield* TestClock.adjust("10 seconds")
      expect(yield* Fiber.join(call)).toMatchObject({ _tag: "TimeoutError", sent: false })
      yield* settled
      expect([client.state, csms.peers[1]!.take()]).toEqual([OPEN, []])
    }),
  )

  it.effect("fail when it gives up", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, { ...options, reconnect: Schedule.recurs(1) })
      const gate = yield* Deferred.make<void>()
      csms.up = Effect.andThen(Deferred.await(gate), Effect.fail(refused))
      csms.peers[0]!.transport.terminate()
      yield* settled
      const call = yield* start(Effect.flip(client.call(Echo.Echo, { text: "" })))
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(call)).toMatchObject({ _tag: "DisconnectedError", code: 1001, sent: false })
    }),
  )

  it.effect("can be made before the first connection, and are sent when it opens", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const gate = yield* Deferred.make<void>()
      csms.up = Deferred.await(gate)
      const client = yield* Client.makeUnconnected(csms.dial, options)
      expect(yield* Effect.flip(client.call(Echo.Echo, { text: "" }))).toMatchObject({ _tag: "DisconnectedError" })
      const connecting = yield* start(client.connect)
      yield* start(client.call(Echo.Echo, { text: "early" }))
      yield* start(client.send(Echo.Note, { text: "a note" }))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(connecting)
      yield* settled
      expect(csms.peers[0]!.take().map((frame) => frame[2])).toEqual(["Echo", "Note"])
    }),
  )
})

describe("closing a client", () => {
  it.effect("while it connects for the first time aborts the attempt", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      let abandoned = false
      csms.up = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          abandoned = true
        }),
      )
      const client = yield* Client.makeUnconnected(csms.dial, options)
      const connecting = yield* start(Effect.flip(client.connect))
      expect(yield* client.close({ code: 4000 })).toEqual({ code: 1001, reason: "Connection aborted" })
      expect((yield* Fiber.join(connecting))._tag).toBe("ConnectError")
      expect([client.state, abandoned]).toEqual([CLOSED, true])
    }),
  )

  it.effect("while it waits to reconnect ends the attempts", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, options)
      const life = lifeOf(client)
      csms.peers[0]!.transport.terminate()
      yield* settled
      expect(yield* client.close({ code: 4000, reason: "enough" })).toEqual({ code: 4000, reason: "enough" })
      yield* TestClock.adjust("1 hour")
      expect([csms.offers.length, client.state]).toEqual([1, CLOSED])
      expect(life).toEqual(["Disconnect", "Closing", "Close"])
    }),
  )

  it.effect("changes the state at once, and ends in a Close event", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, options)
      const life = lifeOf(client)
      const closing = yield* Effect.forkChild(client.close({ code: 4000 }), { startImmediately: true })
      expect(client.state).toBe(CLOSING)
      expect(yield* Fiber.join(closing)).toEqual({ code: 4000, reason: "" })
      expect(life).toEqual(["Closing", "Disconnect", "Close"])
      yield* TestClock.adjust("1 hour")
      expect(csms.offers).toHaveLength(1)
    }),
  )

  it.effect("that never connected succeeds at once", () =>
    Effect.gen(function* () {
      const client = yield* Client.makeUnconnected(makeCsms().dial, options)
      expect(yield* client.close()).toEqual({ code: 1000, reason: "not connected" })
    }),
  )

  it.effect("does not keep it from connecting again, with any subprotocol", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const Other = Protocol.make("other", [])
      const client = yield* Client.makeWith(csms.dial, { ...options, protocols: [Echo, Other] })
      yield* client.close()
      csms.speaks = "other"
      yield* client.connect
      expect([client.state, client.protocol]).toEqual([OPEN, "other"])
    }),
  )

  it.effect("ends a connection with 1002 after too many bad messages, and connects again as its Schedule says", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, { ...options, maxBadMessages: 0 })
      const ends: Array<Connection.Event> = []
      client.subscribe((event) => void (event._tag === "Disconnect" && ends.push(event)))
      yield* csms.peers[0]!.send("nonsense")
      yield* settled
      expect([ends, client.state]).toEqual([
        [{ _tag: "Disconnect", code: 1002, reason: "too many bad messages" }],
        CONNECTING,
      ])
      yield* TestClock.adjust("1 hour")
      yield* settled
      expect([client.state, csms.offers.length]).toEqual([OPEN, 2])
    }),
  )
})

describe("a dial that dies", () => {
  it.effect("at first is a defect of connect, and leaves the client closed", () =>
    Effect.gen(function* () {
      const client = yield* Client.makeUnconnected(() => Effect.die("bug"), options)
      const exit = yield* Effect.exit(client.connect)
      expect([Exit.isFailure(exit), client.state]).toEqual([true, CLOSED])
    }),
  )

  it.effect("later closes the client", () =>
    Effect.gen(function* () {
      const csms = makeCsms()
      const client = yield* Client.makeWith(csms.dial, options)
      csms.up = Effect.die("bug")
      csms.peers[0]!.transport.terminate()
      yield* settled
      yield* TestClock.adjust("10 seconds")
      expect(yield* client.closed).toMatchObject({ code: 1001 })
    }),
  )
})

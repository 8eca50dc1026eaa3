import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { Client, Connection, Handlers, Protocol, Server } from "effect-ocpp"
import { Network, settled } from "effect-ocpp/testing"
import { Echo } from "../support/rawPeer.ts"

const { CLOSED, CONNECTING, OPEN } = Connection.State
const Other = Protocol.make("other1.0", [])
const echoing = Handlers.make(Echo, { Echo: Effect.succeed })
const csms = { protocols: [Echo], handlers: [echoing] }
const station = { identity: "CP001", protocols: [Echo], reconnect: Schedule.spaced("10 seconds") } as const

describe("a network", () => {
  it.effect("lets a CSMS and its stations talk in both directions", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const handlers = [Handlers.make(Echo, { Slow: ({ text }) => Effect.succeed({ text: `${text}!` }) })]
      const client = yield* network.station({ ...station, handlers })
      expect(yield* client.call(Echo.Echo, { text: "hi" })).toEqual({ text: "hi" })
      const seen = yield* network.csms.station("CP001")
      expect(yield* seen.call(Echo.Slow, { text: "ho" })).toEqual({ text: "ho!" })
    }),
  )

  it.effect("shows the CSMS who dials: identity, path, query, password, headers, offer", () =>
    Effect.gen(function* () {
      const seen: Array<Server.Handshake> = []
      const network = yield* Network.make({ ...csms, auth: (handshake) => Effect.sync(() => seen.push(handshake)) })
      yield* network.station({
        ...station,
        identity: "a b:c",
        endpoint: "ws://csms.example:8080/ocpp",
        password: Buffer.from([0xff, 0x3a]),
        headers: { "X-Serial": "7" },
        query: { q: "5" },
        protocols: [Other, Echo],
      })
      const [{ endpoint, headers, identity, password, protocols, query, request }] = seen as [Server.Handshake]
      expect({ endpoint, identity, password, protocols: [...protocols], q: query.get("q") }).toEqual({
        endpoint: "/ocpp",
        identity: "a b:c",
        password: Buffer.from([0xff, 0x3a]),
        protocols: ["other1.0", "echo1.0"],
        q: "5",
      })
      expect([headers["x-serial"], headers.host, request.method]).toEqual(["7", "csms.example:8080", "GET"])
    }),
  )

  it.effect("agrees on the subprotocol that the CSMS likes best", () =>
    Effect.gen(function* () {
      const network = yield* Network.make({ protocols: [Other, Echo] })
      expect((yield* network.station({ ...station, protocols: [Echo, Other] })).protocol).toBe("other1.0")
    }),
  )

  it.effect("without common subprotocol fails as a WebSocket does", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const error = yield* Effect.flip(network.station({ ...station, protocols: [Other] }))
      expect(error).toMatchObject({
        _tag: "ConnectError",
        retryable: false,
        message: "ws://csms/CP001: Server sent no subprotocol (offered: other1.0)",
      })
      yield* settled
      expect(yield* network.csms.stations).toEqual([])
    }),
  )

  it.effect("gives a station the HTTP answer of its refusal", () =>
    Effect.gen(function* () {
      const network = yield* Network.make({ ...csms, auth: () => Server.reject(401, "who are you?") })
      const error = yield* Effect.flip(network.station({ ...station, password: "secret" }))
      if (error._tag !== "UnexpectedHttpResponse") throw error
      expect([error.code, error.message]).toEqual([
        401,
        "ws://csms/CP001: the server answered 401 Unauthorized: who are you?",
      ])
      expect(error.request.getHeader("sec-websocket-protocol")).toBe("echo1.0")
      const body = yield* Effect.promise(() => error.response.toArray())
      expect(String(Buffer.concat(body))).toBe("who are you?")
    }),
  )

  it.effect("replaces or rejects a second connection of an identity, as the CSMS says", () =>
    Effect.gen(function* () {
      const replacing = yield* Network.make(csms)
      const older = yield* replacing.station({ ...station, reconnect: false })
      yield* replacing.station(station)
      expect(yield* older.closed).toEqual({ code: 1008, reason: "replaced by a newer connection" })
      const rejecting = yield* Network.make({ ...csms, duplicateIdentity: "reject" })
      yield* rejecting.station(station)
      expect(yield* Effect.flip(rejecting.station(station))).toMatchObject({ code: 409 })
    }),
  )

  it.effect("does not ask auth about a station for which there is no place", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const auth = ({ identity }: Server.Handshake) => Effect.sync(() => asked.push(identity))
      const network = yield* Network.make({ ...csms, auth, maxConnections: 1 })
      yield* network.station(station)
      expect(yield* Effect.flip(network.station({ ...station, identity: "CP002" }))).toMatchObject({ code: 503 })
      expect(asked).toEqual(["CP001"])
    }),
  )

  it.effect("times out by the test's clock: auth at the CSMS, the handshake at the station", () =>
    Effect.gen(function* () {
      const network = yield* Network.make({ ...csms, auth: () => Effect.never, authTimeout: "10 seconds" })
      const patient = yield* Effect.forkChild(Effect.flip(network.station(station)), { startImmediately: true })
      const hasty = yield* Effect.forkChild(
        Effect.flip(network.station({ ...station, identity: "CP002", handshakeTimeout: "1 second" })),
        { startImmediately: true },
      )
      yield* settled
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(hasty)).toMatchObject({
        message: "ws://csms/CP002: the opening handshake timed out",
        retryable: true,
      })
      yield* TestClock.adjust("9 seconds")
      expect(yield* Fiber.join(patient)).toMatchObject({ code: 503 })
    }),
  )

  it.effect("interrupts auth when the station goes away", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const auth = () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      const network = yield* Network.make({ ...csms, auth })
      const connecting = yield* Effect.forkChild(network.station(station), { startImmediately: true })
      yield* settled
      yield* Fiber.interrupt(connecting)
      yield* Deferred.await(interrupted)
      expect(yield* network.csms.stations).toEqual([])
    }),
  )

  it.effect("does not ask about a station that is gone before its request arrives", () =>
    Effect.gen(function* () {
      const network = yield* Network.make({ ...csms, auth: () => Effect.die("not to be asked") })
      const told: Array<string> = []
      network.csms.subscribe(({ _tag }) => told.push(_tag))
      const connecting = yield* Effect.forkChild(network.station(station), { startImmediately: true })
      connecting.interruptUnsafe()
      yield* settled
      expect([told, yield* network.csms.stations]).toEqual([[], []])
    }),
  )

  it.effect("drops a station that was gone when the CSMS let it in", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const network = yield* Network.make({ ...csms, auth: () => Effect.uninterruptible(Deferred.await(gate)) })
      const connecting = yield* Effect.forkChild(network.station(station), { startImmediately: true })
      yield* settled
      yield* Fiber.interrupt(connecting)
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      expect(yield* network.csms.stations).toEqual([])
    }),
  )

  it.effect("ends without time passing though a station never listens", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      yield* network.dial({ identity: "CP001" })([Echo.name])
      expect(yield* network.csms.stations).toHaveLength(1)
    }),
  )

  it.effect("refuses connections once the CSMS is closed", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      yield* network.csms.close()
      expect(yield* Effect.flip(network.station(station))).toMatchObject({ _tag: "ConnectError", retryable: true })
    }),
  )

  it.effect("reaches a server that is there already", () =>
    Effect.gen(function* () {
      const server = yield* Server.make(csms)
      const network = yield* Network.of(server)
      yield* network.station(station)
      expect(yield* server.stations).toHaveLength(1)
    }),
  )

  it.effect("keeps pinging, and nobody dies of it, however much time passes", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const client = yield* network.station(station)
      yield* TestClock.adjust("1 hour")
      yield* settled
      expect([client.state, (yield* network.csms.stations).length]).toEqual([OPEN, 1])
      expect(yield* client.call(Echo.Echo, { text: "" })).toEqual({ text: "" })
    }),
  )

  it.effect("ends without time passing, with calls in flight and half-open links", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const network = yield* Scope.provide(
        Network.make({ ...csms, handlers: [Handlers.make(Echo, { Slow: () => Effect.never })] }),
        scope,
      )
      const client = yield* Scope.provide(network.station(station), scope)
      const other = yield* network.station({ ...station, identity: "CP002", reconnect: false })
      const scripted = yield* network.scripted({ identity: "CP003", protocol: Echo })
      const call = yield* Effect.forkChild(Effect.flip(client.call(Echo.Slow, { text: "" })), {
        startImmediately: true,
      })
      yield* network.link("CP001").halfOpen
      yield* network.link("CP003").halfOpen
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(call)).toMatchObject({ _tag: "DisconnectedError", sent: true })
      expect(yield* other.closed).toMatchObject({ code: 1001 })
      yield* scripted.expectClose(1006)
      expect(client.state).toBe(CLOSED)
    }),
  )
})

describe("the link of a station", () => {
  it.effect("stays half-open when the station is gone: the CSMS has yet to notice", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(network.station(station), scope)
      const link = network.link("CP001")
      yield* link.halfOpen
      yield* Scope.close(scope, Exit.void)
      yield* settled
      expect([client.state, link.state, (yield* network.csms.station("CP001")).state]).toEqual([
        CLOSED,
        "halfOpen",
        OPEN,
      ])
      yield* link.heal
      yield* settled
      expect(yield* network.csms.stations).toEqual([])
    }),
  )

  it.effect("that delays messages does not delay the end of the station", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const seen: Array<string> = []
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(
        network.station({ ...station, faults: { station: [{ delay: "1 hour" }] } }),
        scope,
      )
      ;(yield* network.csms.station("CP001")).subscribe(({ _tag }) => seen.push(_tag))
      yield* client.send(Echo.Note, { text: "under way" })
      yield* Scope.close(scope, Exit.void)
      yield* settled
      expect(seen).toEqual(["Frame", "Call", "BadMessage", "Disconnect", "Closing", "Close"])
    }),
  )

  it.effect("when it is reset is dialled again, at the time that the schedule says", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const client = yield* network.station(station)
      yield* network.link("CP001").reset
      yield* settled
      expect([client.state, yield* network.csms.stations]).toEqual([CONNECTING, []])
      const call = yield* Effect.forkChild(client.call(Echo.Echo, { text: "later" }), { startImmediately: true })
      yield* TestClock.adjust("9 seconds")
      expect(client.state).toBe(CONNECTING)
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(call)).toEqual({ text: "later" })
      expect((yield* network.csms.station("CP001")).state).toBe(OPEN)
    }),
  )

  it.effect("when it is cut lets nobody through until it heals", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const client = yield* network.station(station)
      const failures: Array<unknown> = []
      client.subscribe((event) => event._tag === "ConnectFailure" && failures.push(event.error))
      yield* network.link("CP001").cut
      yield* settled
      yield* TestClock.adjust("30 seconds")
      yield* settled
      expect(failures).toMatchObject(
        Array(3).fill({ _tag: "ConnectError", message: "ws://csms/CP001: the link is cut", retryable: true }),
      )
      yield* network.link("CP001").heal
      yield* TestClock.adjust("10 seconds")
      yield* settled
      expect(client.state).toBe(OPEN)
    }),
  )

  it.effect("when it is half-open is noticed by the pings of either side only", () =>
    Effect.gen(function* () {
      const network = yield* Network.make({ ...csms, pingInterval: "1 minute" })
      const client = yield* network.station({ ...station, pingInterval: "2 minutes" })
      const seen = yield* network.csms.station("CP001")
      yield* network.link("CP001").halfOpen
      yield* settled
      expect([client.state, seen.state]).toEqual([OPEN, OPEN])
      yield* TestClock.adjust("2 minutes")
      yield* settled
      expect([client.state, seen.state]).toEqual([OPEN, CLOSED])
      yield* TestClock.adjust("2 minutes")
      yield* settled
      expect(client.state).toBe(CONNECTING)
    }),
  )

  it.effect("when it goes half-open during the handshake loses the answer", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const network = yield* Network.make({ ...csms, auth: () => Deferred.await(gate) })
      const connecting = yield* Effect.forkChild(Effect.flip(network.station(station)), { startImmediately: true })
      yield* settled
      yield* network.link("CP001").halfOpen
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      expect([connecting.pollUnsafe(), (yield* network.csms.stations).length]).toEqual([undefined, 1])
      yield* TestClock.adjust("30 seconds")
      expect(yield* Fiber.join(connecting)).toMatchObject({
        message: "ws://csms/CP001: the opening handshake timed out",
      })
      yield* network.link("CP001").heal
      yield* settled
      expect(yield* network.csms.stations).toEqual([])
    }),
  )

  it.effect("when it is cut during the handshake ends auth, and the attempt", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const auth = () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      const network = yield* Network.make({ ...csms, auth })
      const connecting = yield* Effect.forkChild(Effect.flip(network.station(station)), { startImmediately: true })
      yield* settled
      yield* network.link("CP001").cut
      yield* Deferred.await(interrupted)
      expect(yield* Fiber.join(connecting)).toMatchObject({ message: "ws://csms/CP001: the link was cut" })
    }),
  )

  it.effect("takes a policy for what is said", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const client = yield* network.station({ ...station, callTimeout: "30 seconds", faults: { csms: ["drop"] } })
      const lost = yield* Effect.forkChild(Effect.flip(client.call(Echo.Echo, { text: "lost" })), {
        startImmediately: true,
      })
      yield* settled
      yield* TestClock.adjust("30 seconds")
      expect(yield* Fiber.join(lost)).toMatchObject({ _tag: "TimeoutError", sent: true })
      expect(yield* client.call(Echo.Echo, { text: "through" })).toEqual({ text: "through" })
    }),
  )

  it.effect("carries a client that is made from its dial", () =>
    Effect.gen(function* () {
      const network = yield* Network.make(csms)
      const client = yield* Client.makeUnconnected(network.dial({ identity: "CP009" }), {
        ...station,
        identity: "CP009",
      })
      yield* client.connect
      expect(yield* client.call(Echo.Echo, { text: "" })).toEqual({ text: "" })
    }),
  )
})

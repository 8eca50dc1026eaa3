import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { TestClock } from "effect/testing"
import { Transport } from "effect-ocpp"
import { Faults, Link, settled } from "effect-ocpp/testing"
import { collectUncaught } from "../support/uncaught.ts"

/** Everything that an end is told, as text. */
const listen = (transport: Transport.Transport) => {
  const heard: Array<string> = []
  transport.listen({
    onMessage: (text) => heard.push(text),
    onPing: () => heard.push("ping"),
    onPong: () => heard.push("pong"),
    onError: () => {},
    onClose: (code, reason) => heard.push(`close ${code} ${reason}`),
  })
  return heard
}

const connect = Effect.fnUntraced(function* (faults?: Faults.Policy) {
  const link = yield* Link.make(faults)
  const { csms, station } = yield* link.connect("p")
  return { link, station, csms, atStation: listen(station), atCsms: listen(csms) }
})

describe("a link", () => {
  it.effect("carries messages, pings and closing handshakes as a pair in memory does", () =>
    Effect.gen(function* () {
      const { atCsms, atStation, csms, station } = yield* connect()
      station.send("1")
      station.send(new TextEncoder().encode("2"))
      csms.ping()
      yield* settled
      station.close(4000, "bye")
      expect([station.protocol, station.writable, csms.writable]).toEqual(["p", false, true])
      station.send("too late")
      yield* settled
      expect(atCsms).toEqual(["1", "2", "pong", "close 4000 bye"])
      expect(atStation).toEqual(["ping", "close 4000 bye"])
    }),
  )

  it.effect("drops, duplicates, swaps and replaces what its policy says, for each side by itself", () =>
    Effect.gen(function* () {
      const { atCsms, atStation, csms, station } = yield* connect({
        station: ["drop", "duplicate", "swap", "deliver", { replace: "!" }],
        csms: ["deliver", "drop"],
      })
      for (const text of ["0", "1", "2", "3", "4", "5"]) station.send(text)
      for (const text of ["a", "b", "c"]) csms.send(text)
      yield* settled
      expect(atCsms).toEqual(["1", "1", "3", "2", "!", "5"])
      expect(atStation).toEqual(["a", "c"])
    }),
  )

  it.effect("asks a policy that is a function with sender, index, text and frame", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const { atCsms, csms, station } = yield* connect(({ frame, from, index }) => {
        asked.push([from, index, frame._tag])
        return frame._tag === "CallResult" ? "drop" : "deliver"
      })
      station.send('[2,"1","A",{}]')
      csms.send("nonsense")
      station.send('[3,"1",{}]')
      yield* settled
      expect(asked).toEqual([
        ["station", 0, "Call"],
        ["csms", 0, "Malformed"],
        ["station", 1, "CallResult"],
      ])
      expect(atCsms).toEqual(['[2,"1","A",{}]'])
    }),
  )

  it.effect("delays by the clock, and what is behind a delayed message stays behind it, the close too", () =>
    Effect.gen(function* () {
      const { atCsms, station } = yield* connect({ station: ["deliver", { delay: "5 seconds" }] })
      for (const text of ["0", "1", "2"]) station.send(text)
      station.close(1000, "")
      yield* settled
      expect(atCsms).toEqual(["0"])
      yield* TestClock.adjust("4999 millis")
      yield* settled
      expect(atCsms).toEqual(["0"])
      yield* TestClock.adjust(1)
      yield* settled
      expect(atCsms).toEqual(["0", "1", "2", "close 1000 "])
    }),
  )

  it.effect("keeps the order of messages that are all delayed", () =>
    Effect.gen(function* () {
      const { atCsms, station } = yield* connect({ station: [{ delay: 500 }, { delay: 100 }, { delay: 900 }] })
      for (const text of ["0", "1", "2"]) station.send(text)
      yield* TestClock.adjust(500)
      yield* settled
      expect(atCsms).toEqual(["0", "1"])
      yield* TestClock.adjust(400)
      yield* settled
      expect(atCsms).toEqual(["0", "1", "2"])
    }),
  )

  it.effect("reset closes both ends with 1006, loses what is under way, and can be connected again", () =>
    Effect.gen(function* () {
      const { atCsms, atStation, link, station } = yield* connect({ station: [{ delay: "1 second" }] })
      station.send("under way")
      yield* link.reset
      yield* TestClock.adjust("1 minute")
      yield* settled
      expect([atCsms, atStation]).toEqual([["close 1006 "], ["close 1006 "]])
      yield* link.connect()
    }),
  )

  it.effect("happens to be cut by a message, which is lost", () =>
    Effect.gen(function* () {
      const { atCsms, atStation, link, station } = yield* connect({ station: ["deliver", "cut"] })
      station.send("0")
      yield* settled
      station.send("1")
      yield* settled
      expect([atCsms, atStation, link.state]).toEqual([["0", "close 1006 "], ["close 1006 "], "cut"])
      expect(yield* Effect.flip(link.connect())).toMatchObject({ _tag: "ConnectError", retryable: true })
    }),
  )

  it.effect("half-open carries nothing, and tells nobody; healed, it carries again", () =>
    Effect.gen(function* () {
      const { atCsms, atStation, csms, link, station } = yield* connect()
      yield* link.halfOpen
      station.send("lost")
      station.ping()
      csms.ping()
      yield* settled
      expect([atCsms, atStation, station.writable]).toEqual([[], [], true])
      const connecting = yield* Effect.forkChild(link.connect(), { startImmediately: true })
      yield* settled
      expect(connecting.pollUnsafe()).toBeUndefined()
      yield* link.heal
      station.send("back")
      yield* Fiber.join(connecting)
      yield* settled
      expect(atCsms).toEqual(["back"])
    }),
  )

  it.effect("half-open tells who gives up, and the other end when it heals", () =>
    Effect.gen(function* () {
      const { atCsms, atStation, csms, link, station } = yield* connect()
      yield* link.halfOpen
      station.close(1000, "lost")
      yield* settled
      expect([atStation, station.writable]).toEqual([[], false])
      station.terminate()
      station.terminate()
      yield* settled
      expect([atStation, atCsms, csms.writable]).toEqual([["close 1006 "], [], true])
      yield* link.heal
      yield* settled
      expect([atStation, atCsms]).toEqual([["close 1006 "], ["close 1006 "]])
      yield* link.reset
      yield* settled
      expect([atStation, atCsms]).toEqual([["close 1006 "], ["close 1006 "]])
    }),
  )

  it.effect("tells an end that begins to listen after it was dropped", () =>
    Effect.gen(function* () {
      const link = yield* Link.make()
      for (const state of [link.halfOpen, link.heal]) {
        const { station } = yield* link.connect()
        yield* state
        station.terminate()
        yield* settled
        const heard = listen(station)
        yield* settled
        expect(heard).toEqual(["close 1006 "])
        yield* link.heal
      }
    }),
  )

  it.effect("goes in front of any transport, for the side that uses it", () =>
    Effect.gen(function* () {
      const [a, b] = Transport.makePair("p")
      const link = yield* Link.make({ station: ["deliver", "drop"], csms: ["drop"] })
      const atB = listen(b)
      const station = yield* link.through(a, "station")
      const atStation = listen(station)
      for (const text of ["0", "1", "2"]) station.send(text)
      b.send("a")
      b.send("b")
      yield* settled
      expect([station.protocol, atB, atStation]).toEqual(["p", ["0", "2"], ["b"]])
      b.close(4001, "enough")
      yield* settled
      expect(atStation.at(-1)).toBe("close 4001 enough")
    }),
  )

  it.effect("that is cut drops the transport behind it", () =>
    Effect.gen(function* () {
      const [a, b] = Transport.makePair("p")
      const link = yield* Link.make()
      const atB = listen(b)
      const atStation = listen(yield* link.through(a, "station"))
      yield* link.cut
      yield* settled
      expect([atB, atStation]).toEqual([["close 1006 "], ["close 1006 "]])
    }),
  )

  it.effect("delivers when its policy throws, and lets the error surface", () =>
    Effect.gen(function* () {
      const seen = yield* collectUncaught(1)
      const { atCsms, station } = yield* connect(() => {
        throw new Error("bug")
      })
      station.send("0")
      yield* settled
      expect([atCsms, seen]).toMatchObject([["0"], [{ message: "bug" }]])
    }),
  )
})

describe("random faults", () => {
  const verdicts = (seed: string) =>
    Random.withSeed(
      Effect.gen(function* () {
        const link = yield* Link.make(
          yield* Faults.random({ drop: 0.2, duplicate: 0.2, swap: 0.2, delay: 0.2, maxDelay: "3 seconds" }),
        )
        const { csms, station } = yield* link.connect()
        const heard = listen(csms)
        for (let i = 0; i < 200; i++) station.send(`${i}`)
        yield* settled
        yield* TestClock.adjust("3 seconds")
        yield* settled
        return heard
      }),
      seed,
    )

  it.effect("are the same for the same seed", () =>
    Effect.gen(function* () {
      const once = yield* verdicts("7")
      expect(yield* verdicts("7")).toEqual(once)
      expect(yield* verdicts("8")).not.toEqual(once)
      const delivered = new Set(once)
      expect(delivered.size).toBeGreaterThan(120)
      expect(delivered.size).toBeLessThan(190)
      expect(once.length - delivered.size).toBeGreaterThan(20)
    }),
  )
})

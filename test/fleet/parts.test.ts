/** The parts of a node by themselves: what their promises rest on. */
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { Directory, isNewer } from "../../src/fleet/Directory.ts"
import type { Member } from "../../src/fleet/Engine.ts"
import { EngineClock } from "../../src/fleet/EngineClock.ts"
import { Guard, tickInterval } from "../../src/fleet/Guard.ts"
import { Incoming, type Server } from "../../src/fleet/Incoming.ts"
import * as Message from "../../src/fleet/Message.ts"
import { Meters } from "../../src/fleet/Meters.ts"
import { Owners } from "../../src/fleet/Owners.ts"
import { Seen } from "../../src/fleet/Seen.ts"
import { settled } from "../../src/testing/settled.ts"
import { NodeClock } from "./support/NodeClock.ts"

describe("the guard of a node that sleeps", () => {
  const make = () => {
    const time = { now: 0, wall: 0 }
    const marks: Array<number> = []
    const guard = new Guard({ monotonic: () => time.now, wall: () => time.wall }, (id) => marks.push(id))
    const pass = (millis: number, wall = millis) => {
      time.now += millis
      time.wall += wall
    }
    return { guard, marks, pass }
  }

  it("lets calls through while its ticks come in time", () => {
    const { guard, marks, pass } = make()
    for (let i = 0; i < 20; i++) {
      pass(tickInterval + 300)
      expect(guard.awake).toBe(true)
      expect(guard.tick()).toBe(false)
    }
    expect(marks).toEqual([])
  })

  it("lets none through after a late tick, until its marker is back", () => {
    const { guard, marks, pass } = make()
    pass(600)
    expect(guard.awake).toBe(false)
    expect(marks).toEqual([1])
    guard.returned(0)
    expect(guard.awake).toBe(false)
    guard.returned(1)
    expect(guard.awake).toBe(true)
  })

  it("notices before its tick comes, and when only the wall clock has gone on", () => {
    const { guard, pass } = make()
    pass(0, 3_600_000)
    expect(guard.tick()).toBe(true)
    expect(guard.awake).toBe(false)
  })

  it("does not take a wall clock that goes back for sleep", () => {
    const { guard, pass } = make()
    pass(100, -3_600_000)
    expect(guard.tick()).toBe(false)
    expect(guard.awake).toBe(true)
  })

  it("sends another marker when one got lost, and waits for the last", () => {
    const { guard, marks, pass } = make()
    pass(600)
    guard.tick()
    for (let i = 0; i < 12; i++) {
      pass(100)
      guard.tick()
    }
    expect(marks).toEqual([1, 2])
    guard.returned(1)
    expect(guard.awake).toBe(false)
    guard.returned(2)
    expect(guard.awake).toBe(true)
  })
})

describe("calls that have come", () => {
  it("are known until their deadline and 300 milliseconds more, then forgotten", () => {
    const seen = new Seen(100)
    expect(seen.add("a", 1, 10_000)).toBe("new")
    expect(seen.add("a", 1, 10_000)).toBe("known")
    expect(seen.add("b", 1, 10_000)).toBe("new")
    expect(seen.add("a", 2, 10_000)).toBe("new")
    seen.forget(10_300)
    expect(seen.add("a", 1, 10_000)).toBe("known")
    seen.forget(12_000)
    expect(seen.size).toBe(0)
  })

  it("are not remembered without limit", () => {
    const seen = new Seen(2)
    expect([1, 2, 3].map((id) => seen.add("a", id, 1_000))).toEqual(["new", "new", "full"])
  })
})

describe("the engine's time", () => {
  it.effect("is known from the reading that took the least time, until it may have drifted", () =>
    Effect.gen(function* () {
      const base = yield* Clock.Clock
      const clock = new EngineClock(new NodeClock(base, 3_600_000, 500))
      expect(clock.now()).toBeNaN()
      yield* TestClock.adjust("1 second")
      // Asked at 1,000 of the test's time, answered at once; the engine's clock is 7,000 ahead of the test's.
      clock.read(clock.monotonic(), 8_000)
      expect(clock.now()).toBe(8_000)
      const asked = clock.monotonic()
      yield* TestClock.adjust("400 millis")
      clock.read(asked, 8_100)
      expect(clock.now()).toBe(8_400)
      yield* TestClock.adjust("1 hour")
      clock.read(clock.monotonic() - 100, 3_608_500 + 40)
      expect(clock.now()).toBe(3_608_500 - 10 + 100)
    }),
  )

  it.effect("is taken anew when the engine's clock has jumped", () =>
    Effect.gen(function* () {
      const clock = new EngineClock(yield* Clock.Clock)
      clock.read(clock.monotonic(), 10_000)
      clock.read(clock.monotonic() - 100, 4_000)
      expect(clock.now()).toBe(4_050)
    }),
  )
})

describe("owners that are remembered", () => {
  it("are believed for five seconds, and no more of them than allowed", () => {
    let now = 0
    const owners = new Owners(() => now, 2)
    const owner = { node: "a", epoch: 1, protocol: "" }
    for (const identity of ["CP1", "CP2", "CP3"]) owners.set(identity, owner)
    expect(["CP1", "CP2", "CP3"].map((identity) => owners.get(identity))).toEqual([undefined, owner, owner])
    now = 5_000
    expect(owners.get("CP3")).toBeUndefined()
  })

  it("that have turned out wrong are forgotten, but not what has become known since", () => {
    const owners = new Owners(() => 0, 10)
    owners.set("CP1", { node: "b", epoch: 2, protocol: "" })
    owners.forget("CP1", { node: "a", epoch: 1, protocol: "" })
    expect(owners.get("CP1")?.node).toBe("b")
    owners.forget("CP1", { node: "b", epoch: 2, protocol: "" })
    expect(owners.get("CP1")).toBeUndefined()
  })
})

describe("two connections of one station", () => {
  const entry = (node: string, since: number) => ({ node, since })

  it("are compared by when they were made, then by their nodes", () => {
    expect(isNewer(entry("a", 2), entry("b", 1), 10)).toBe(true)
    expect(isNewer(entry("a", 1), entry("b", 2), 10)).toBe(false)
    expect(isNewer(entry("a", 1), entry("b", 1), 10)).toBe(false)
    expect(isNewer(entry("b", 1), entry("a", 1), 10)).toBe(true)
  })

  it("of which one was made in the future: the engine's clock has gone back, and the other one wins", () => {
    expect(isNewer(entry("a", 20), entry("b", 1), 10)).toBe(false)
  })

  it("keep their order, however late their claims are repeated", () => {
    let now = 1_000
    const directory = new Directory(
      () => now,
      () => {},
    )
    for (const node of ["a", "b"]) directory.beat(node, 60_000)
    const claim = (node: string, age: number, since?: number) =>
      directory.claim(node, [{ identity: "CP1", protocol: "", age, since }])[0]
    const first = claim("a", 100)
    expect(claim("b", 50)).toMatchObject({ _tag: "Owned" })
    now = 5_000
    const since = first?._tag === "Owned" ? first.since : 0
    // Its machine was suspended: it believes its connection to be younger than it is.
    expect(claim("a", 200, since)).toMatchObject({ _tag: "Newer" })
    expect(claim("a", 200)).toMatchObject({ _tag: "Owned" })
  })
})

describe("a call that has come", () => {
  const make = Effect.gen(function* () {
    const answers: Array<unknown> = []
    const called: Array<string> = []
    const context = yield* Effect.context()
    const clock = new EngineClock(yield* Clock.Clock)
    clock.read(clock.monotonic(), 0)
    const state = { serves: true }
    const run = Effect.runForkWith(context)
    const server: Server = {
      id: "a",
      clock,
      meters: new Meters(context, "a"),
      isUp: true,
      member: {
        send: (_: string, text: string) =>
          Effect.sync(() => {
            const message = Message.decode(text)
            if (message?.type === "answer") answers.push(message.outcome)
            return "handed" as const
          }),
      } as unknown as Member,
      maxMessageBytes: 10_000,
      maxCalls: 2,
      run,
      get serves() {
        return state.serves
      },
      station: () => ({
        identity: "CP1",
        protocol: "",
        state: 1,
        call: (action, payload) =>
          Effect.andThen(
            Effect.sync(() => called.push(`${action} ${String(payload)}`)),
            payload === "wait" ? Effect.never : Effect.succeed("done"),
          ),
        send: () => Effect.void,
        close: () => Effect.succeed({ code: 1000, reason: "" }),
      }),
      disown: () => {},
    }
    const incoming = new Incoming(server)
    let id = 0
    const come = (payload: string, expires = 1_000) => {
      const call = { type: "call", id: ++id, from: "b", identity: "CP1", epoch: 1, kind: "Call", action: "Do" } as const
      incoming.called({ ...call, payload, timeout: 1_000, expires })
      return id
    }
    return { answers, called, come, incoming, state }
  })

  it.effect("after its deadline is not made, and its caller is told so", () =>
    Effect.gen(function* () {
      const { answers, called, come } = yield* make
      yield* TestClock.adjust("2 seconds")
      come("late")
      come("in time", 3_000)
      yield* settled
      expect(called).toEqual(["Do in time"])
      expect(answers).toEqual([{ _tag: "Expired" }, { _tag: "Success", value: "done" }])
    }),
  )

  it.effect("to a node that does not serve is not made there, not even when it comes again", () =>
    Effect.gen(function* () {
      const { answers, called, come, incoming, state } = yield* make
      state.serves = false
      const id = come("first")
      state.serves = true
      incoming.called({
        ...{ type: "call", id, from: "b", identity: "CP1", epoch: 1, kind: "Call", action: "Do" },
        ...{ payload: "first", timeout: 1_000, expires: 1_000 },
      })
      yield* settled
      expect(called).toEqual([])
      expect(answers).toEqual([{ _tag: "NotHere" }])
    }),
  )

  it.effect("behind its own cancelling is not made", () =>
    Effect.gen(function* () {
      const { called, come, incoming } = yield* make
      incoming.cancelled({ type: "cancel", id: 1, from: "b", expires: 1_000 })
      come("cancelled")
      come("other")
      yield* settled
      expect(called).toEqual(["Do other"])
    }),
  )

  it.effect("beyond what may run at a time is refused as not sent", () =>
    Effect.gen(function* () {
      const { answers, called, come } = yield* make
      for (let i = 0; i < 3; i++) come("wait")
      yield* settled
      expect(called).toHaveLength(2)
      expect(answers).toMatchObject([{ _tag: "CallQueueFullError", action: "Do", limit: 2 }])
    }),
  )
})

/** Messages keep their order, whatever time each of them takes. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import fc from "fast-check"
import { Lane } from "../../src/signing/Lane.ts"
import { settled } from "../../src/testing/settled.ts"

const make = (limits = {}) => {
  const lane = new Lane(Effect.runFork, limits)
  const seen: Array<string> = []
  const see = (name: string) => () => seen.push(name)
  return { lane, seen, see }
}

describe("a lane", () => {
  it("lets everything through in the tick in which it comes, while nothing takes its time", () => {
    const { lane, see, seen } = make()
    lane.pass(1, see("a"))
    lane.enter(1, Exit.succeed("b"), see("b"))
    lane.enter(
      1,
      Effect.sync(() => "c"),
      see("c"),
    )
    lane.enter(1, Effect.fail("d"), (exit) => see(`d ${exit._tag}`)())
    expect(seen).toEqual(["a", "b", "c", "d Failure"])
    expect(lane.isIdle).toBe(true)
  })

  it.effect("starts what takes its time at once, and lets through nothing that came behind it", () =>
    Effect.gen(function* () {
      const { lane, see, seen } = make()
      const [first, second] = [Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>()]
      lane.enter(1, Deferred.await(first), see("first"))
      lane.pass(1, see("behind the first"))
      lane.enter(1, Deferred.await(second), see("second"))
      lane.enter(1, Exit.void, see("behind the second"))
      yield* Deferred.succeed(second, undefined)
      yield* settled
      expect(seen).toEqual([])
      expect(lane.size).toBe(4)
      yield* Deferred.succeed(first, undefined)
      yield* settled
      expect(seen).toEqual(["first", "behind the first", "second", "behind the second"])
      expect(lane.isIdle).toBe(true)
    }),
  )

  it.effect("puts what a message causes behind those that wait", () =>
    Effect.gen(function* () {
      const { lane, see, seen } = make()
      const ready = Deferred.makeUnsafe<void>()
      lane.enter(1, Deferred.await(ready), () => {
        see("first")()
        lane.pass(1, see("caused"))
      })
      lane.pass(1, see("second"))
      yield* Deferred.succeed(ready, undefined)
      yield* settled
      expect(seen).toEqual(["first", "second", "caused"])
    }),
  )

  it.effect("finishes with a message before it lets the next through, whatever the first one causes", () =>
    Effect.gen(function* () {
      const { lane, see, seen } = make()
      const ready = Deferred.makeUnsafe<void>()
      lane.enter(1, Deferred.await(ready), () => {
        leave()
        see("first")()
      })
      const leave = lane.enter(1, Effect.never, see("never"))
      lane.pass(1, () => {
        lane.pass(1, see("caused"))
        see("last")()
      })
      yield* Deferred.succeed(ready, undefined)
      yield* settled
      expect(seen).toEqual(["first", "last", "caused"])
    }),
  )

  it("gives a message its place before that does anything", () => {
    const { lane, see, seen } = make()
    lane.enter(
      1,
      Effect.sync(() => lane.pass(1, see("caused"))),
      see("first"),
    )
    expect(seen).toEqual(["first", "caused"])
  })

  it.effect("lets the others through when one gives its place up, and interrupts that", () =>
    Effect.gen(function* () {
      const { lane, see, seen } = make()
      const chip = Effect.onInterrupt(Effect.never, () => Effect.sync(see("interrupted")))
      const leave = lane.enter(1, chip, see("never"))
      const leaveToo = lane.pass(1, see("nor this"))
      lane.pass(1, see("behind"))
      leaveToo()
      leave()
      leave()
      expect(seen).toContain("behind")
      yield* settled
      expect(seen.toSorted()).toEqual(["behind", "interrupted"])
      expect(lane.isIdle).toBe(true)
    }),
  )

  it("waits for no message that has left, even if that cannot be interrupted", () => {
    const { lane, see, seen } = make()
    const leave = lane.enter(1, Effect.uninterruptible(Effect.never), see("never"))
    lane.pass(1, see("behind"))
    leave()
    expect(seen).toEqual(["behind"])
  })

  it.effect("lets nothing through once stopped, and waits for what it interrupts", () =>
    Effect.gen(function* () {
      const { lane, see, seen } = make()
      const slow = Effect.onInterrupt(Effect.never, () =>
        Effect.andThen(Effect.yieldNow, Effect.sync(see("interrupted"))),
      )
      lane.enter(1, slow, see("never"))
      lane.pass(1, see("never"))
      yield* lane.stop()
      expect(seen).toEqual(["interrupted"])
      lane.pass(1, see("never"))
      lane.enter(1, Exit.void, see("never"))
      lane.enter(1, Effect.sync(see("never")), see("never"))
      yield* settled
      expect(seen).toEqual(["interrupted"])
    }),
  )

  it.effect("interrupts what stops it", () =>
    Effect.gen(function* () {
      const { lane, see, seen } = make()
      const stopping = Effect.andThen(
        Effect.sync(() => void lane.stop()),
        Effect.never,
      )
      lane.enter(
        1,
        Effect.onInterrupt(stopping, () => Effect.sync(see("interrupted"))),
        see("never"),
      )
      yield* settled
      expect(seen).toEqual(["interrupted"])
    }),
  )

  it("has room for so many messages and characters, and for one of any length", () => {
    const { lane } = make({ maxMessages: 2, maxLength: 10 })
    expect(lane.hasRoom(1000)).toBe(true)
    const leave = lane.enter(6, Effect.never, () => {})
    expect([lane.hasRoom(4), lane.hasRoom(5)]).toEqual([true, false])
    lane.pass(4, () => {})
    expect(lane.hasRoom(0)).toBe(false)
    leave()
    expect(lane.hasRoom(10)).toBe(true)
    const another = make({ maxLength: 10 }).lane
    another.enter(1, Effect.never, () => {})
    another.enter(9, Effect.never, () => {})()
    expect([another.hasRoom(9), another.hasRoom(10)]).toEqual([true, false])
  })

  it("keeps any messages in order, whenever they are ready, and whichever of them leave", async () => {
    const step = fc.oneof(
      fc.constant({ do: "pass" } as const),
      fc.constant({ do: "enter" } as const),
      fc.record({ do: fc.constantFrom("ready", "leave"), which: fc.nat(9) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const lane = new Lane(Effect.runFork)
        const seen: Array<number> = []
        const expected: Array<number> = []
        const unready = new Map<number, { readonly ready: () => void; readonly leave: () => void }>()
        for (const [index, one] of steps.entries()) {
          if (one.do === "pass" || one.do === "enter") expected.push(index)
          if (one.do === "pass") lane.pass(1, () => seen.push(index))
          if (one.do === "enter") {
            const ready = Deferred.makeUnsafe<void>()
            const leave = lane.enter(1, Deferred.await(ready), () => seen.push(index))
            unready.set(index, { leave, ready: () => Deferred.doneUnsafe(ready, Exit.void) })
          }
          if (one.do !== "ready" && one.do !== "leave") continue
          const [which, message] = [...unready][one.which % Math.max(unready.size, 1)] ?? []
          if (which === undefined || message === undefined) continue
          unready.delete(which)
          if (one.do === "leave") expected.splice(expected.indexOf(which), 1)
          message[one.do]()
        }
        for (const { ready } of unready.values()) ready()
        await Effect.runPromise(settled)
        expect(seen).toEqual(expected)
        expect(lane.size).toBe(0)
      }),
      { numRuns: 200, seed: 20_261_126 },
    )
  })
})

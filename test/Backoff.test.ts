import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import * as Backoff from "../src/Backoff.ts"

/** The first `n` waits of a schedule, in milliseconds. */
const waits = Effect.fnUntraced(function* (schedule: Schedule.Schedule<Duration.Duration>, n: number) {
  const step = yield* Schedule.toStep(schedule)
  const result: Array<number> = []
  while (result.length < n) result.push(Duration.toMillis((yield* step(0, undefined))[1]))
  return result
})

/** Makes every random number `next()`. */
const withRandom = (next: () => number) =>
  Effect.provideService(Random.Random, { nextDoubleUnsafe: next, nextIntUnsafe: () => 0 })

const doublings = (minimum: number, repeat: number, n: number) => minimum * 2 ** Math.min(n, repeat)

describe("ocpp", () => {
  it.effect("waits 10 s, doubles five times, then stays, when chance adds nothing", () =>
    Effect.gen(function* () {
      const seconds = [10, 20, 40, 80, 160, 320, 320, 320, 320]
      expect(yield* waits(Backoff.ocpp(), 9)).toEqual(seconds.map((s) => s * 1000))
    }).pipe(withRandom(() => 0)),
  )

  it.effect("the random part is new each time and is not doubled", () => {
    const draws = [0.5, 0.25, 0, 0.75]
    return Effect.gen(function* () {
      const schedule = Backoff.ocpp({ waitMinimum: 1000, randomRange: 100, repeatTimes: 2 })
      expect(yield* waits(schedule, 4)).toEqual([1050, 2025, 4000, 4075])
      expect(draws).toEqual([])
    }).pipe(withRandom(() => draws.shift()!))
  })

  it.effect("stays at its last base for ever", () =>
    Effect.gen(function* () {
      const all = yield* waits(Backoff.ocpp({ waitMinimum: 1, randomRange: 0, repeatTimes: 3 }), 5000)
      expect(all.slice(0, 4)).toEqual([1, 2, 4, 8])
      expect(new Set(all.slice(3))).toEqual(new Set([8]))
    }),
  )

  it.effect("without doublings every wait has the same base", () =>
    Effect.gen(function* () {
      const schedule = Backoff.ocpp({ waitMinimum: "2 seconds", randomRange: 0, repeatTimes: 0 })
      expect(yield* waits(schedule, 3)).toEqual([2000, 2000, 2000])
    }),
  )

  it.effect("10,000 sequences keep the law", () =>
    Effect.gen(function* () {
      for (let sequence = 0; sequence < 10_000; sequence++) {
        const waitMinimum = yield* Random.nextIntBetween(1, 60_000)
        const randomRange = yield* Random.nextIntBetween(0, 60_000)
        const repeatTimes = yield* Random.nextIntBetween(0, 6)
        const all = yield* waits(Backoff.ocpp({ waitMinimum, randomRange, repeatTimes }), 9)
        const random = all.map((wait, n) => wait - doublings(waitMinimum, repeatTimes, n))
        if (!random.every((part) => part >= 0 && part <= randomRange)) {
          expect.fail(`${all} breaks the law of ${JSON.stringify({ waitMinimum, randomRange, repeatTimes })}`)
        }
      }
    }).pipe(Random.withSeed("10,000 sequences")),
  )

  it.effect("the random part fills its range evenly", () =>
    Effect.gen(function* () {
      const all = yield* waits(Backoff.ocpp({ waitMinimum: 1000, randomRange: 1000, repeatTimes: 0 }), 20_000)
      const tenths = all.map((wait) => Math.floor((wait - 1000) / 100))
      for (let tenth = 0; tenth < 10; tenth++) {
        const share = tenths.filter((t) => t === tenth).length / all.length
        expect(share).toBeCloseTo(0.1, 1.7)
      }
    }).pipe(Random.withSeed("evenly")),
  )

  it.effect("each use of a schedule starts afresh", () =>
    Effect.gen(function* () {
      const schedule = Backoff.ocpp({ waitMinimum: 10, randomRange: 0 })
      expect(yield* waits(schedule, 3)).toEqual([10, 20, 40])
      expect(yield* waits(schedule, 3)).toEqual([10, 20, 40])
    }),
  )

  it.effect("attempts happen when it says, on the clock", () =>
    Effect.gen(function* () {
      let attempts = 0
      const attempt = Effect.suspend(() => Effect.fail(++attempts))
      const retrying = yield* Effect.forkChild(Effect.retry(attempt, Backoff.ocpp({ randomRange: 0 })))
      const attemptsAfter = (time: Duration.Input) => Effect.map(TestClock.adjust(time), () => attempts)
      expect(yield* attemptsAfter("9999 millis")).toBe(1)
      expect(yield* attemptsAfter("1 millis")).toBe(2)
      expect(yield* attemptsAfter("19999 millis")).toBe(2)
      expect(yield* attemptsAfter("1 millis")).toBe(3)
      yield* Fiber.interrupt(retrying)
    }),
  )

  it.each([
    ["waitMinimum", 0],
    ["waitMinimum", -1],
    ["waitMinimum", Number.NaN],
    ["waitMinimum", "soon"],
    ["randomRange", -1],
    ["randomRange", Number.NaN],
    ["randomRange", Number.POSITIVE_INFINITY],
    ["randomRange", "soon"],
    ["repeatTimes", -1],
    ["repeatTimes", 1.5],
    ["repeatTimes", Number.NaN],
  ])("refuses %s = %s, and names it", (name, value) => {
    const make = () => Backoff.ocpp({ [name]: value })
    expect(make).toThrow(RangeError)
    expect(make).toThrow(name)
    expect(make).toThrow(String(value))
  })
})

describe("exponential", () => {
  it.effect("starts at 1 s, doubles, and stops at 10 s, when chance adds nothing", () =>
    Effect.gen(function* () {
      expect(yield* waits(Backoff.exponential(), 7)).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000, 10_000])
    }).pipe(withRandom(() => 0)),
  )

  it.effect("chance lengthens a delay by at most its part, and the next one is not built on it", () =>
    Effect.gen(function* () {
      const schedule = Backoff.exponential({ initialDelay: 100, maxDelay: 500, factor: 3, randomisationFactor: 0.5 })
      expect(yield* waits(schedule, 4)).toEqual([150, 450, 750, 750])
    }).pipe(withRandom(() => 1)),
  )

  it.effect("a delay stays finite however often it is multiplied", () =>
    Effect.gen(function* () {
      const all = yield* waits(Backoff.exponential({ factor: 10, randomisationFactor: 0 }), 2000)
      expect(all.at(-1)).toBe(10_000)
    }),
  )

  it.each([
    ["initialDelay", 0],
    ["initialDelay", "soon"],
    ["maxDelay", -1],
    ["maxDelay", Number.NaN],
    ["factor", 0.5],
    ["factor", Number.NaN],
    ["randomisationFactor", -0.1],
    ["randomisationFactor", 1.1],
    ["randomisationFactor", Number.NaN],
  ])("refuses %s = %s, and names it", (name, value) => {
    const make = () => Backoff.exponential({ [name]: value })
    expect(make).toThrow(RangeError)
    expect(make).toThrow(name)
    expect(make).toThrow(String(value))
  })
})

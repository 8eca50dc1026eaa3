/**
 * The specification's back-off, on Effect's TestClock: when a client dials, against the law written out once more
 * (OCPP 2.x part 4, "Reconnecting").
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import type { Listener, Transport } from "../../../../src/Transport.ts"
import { library } from "../../../processes/library.ts"

const { Backoff, Client, ConnectError } = library

/** The parameters of a sequence, chosen by its number. */
const lawOf = (sequence: number) => ({
  waitMinimum: 1_000 * (1 + (sequence % 30)),
  randomRange: 500 * (sequence % 41),
  repeatTimes: sequence % 7,
})

/** Random numbers between 0 and 1 that a sequence's number decides. */
const randomsOf = (sequence: number) => {
  let state = (sequence + 1) * 2_654_435_761
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.abs(state) / 2_147_483_648
  }
}

/** The loss of a connection: how many milliseconds it lasts before, and how many attempts fail after it. */
interface Loss {
  readonly lasts: number
  readonly fails: number
}

/** The second is lost too early for the law to start afresh, the third is not. */
const lossesOf = (sequence: number): ReadonlyArray<Loss> => [
  { lasts: 60_000, fails: 1 + (sequence % 9) },
  { lasts: 9_999, fails: sequence % 3 },
  { lasts: 10_000, fails: 1 },
]

const nobody = () => {}

/** A transport that is lost when it is told. */
class Losable implements Transport {
  readonly protocol = "ocpp1.6"
  readonly bufferedAmount = 0
  readonly writable = true
  lose = nobody
  readonly send = nobody
  readonly ping = nobody

  close(): void {
    this.lose()
  }

  terminate(): void {
    this.lose()
  }

  listen(listener: Listener): void {
    this.lose = () => listener.onClose(1006, "")
  }
}

/** A connection begins to listen a turn after it was opened. */
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const simulateOne = (sequence: number) =>
  Effect.gen(function* () {
    const faults: Array<string> = []
    const { randomRange, repeatTimes, waitMinimum } = lawOf(sequence)
    let dials = 0
    let failures = 0
    let transport = new Losable()
    const dial = () =>
      Effect.suspend(() => {
        dials++
        if (failures-- > 0) return new ConnectError({ message: "refused", retryable: true })
        transport = new Losable()
        return Effect.succeed(transport)
      })
    const client = yield* Client.makeWith(dial, {
      identity: "CP001",
      protocols: [library.Ocpp16],
      reconnect: Backoff.ocpp({ randomRange, repeatTimes, waitMinimum }),
      pingInterval: "Infinity",
    })
    const expected = randomsOf(sequence)
    let step = 0
    for (const { fails, lasts } of lossesOf(sequence)) {
      yield* turn
      yield* TestClock.adjust(lasts)
      if (lasts >= 10_000) step = 0
      failures = fails
      transport.lose()
      /** By how much the simulated clock is past the latest dial. */
      let late = 0
      for (let attempt = 0; attempt <= fails; attempt++) {
        const wait = waitMinimum * 2 ** Math.min(step++, repeatTimes) + expected() * randomRange
        const before = dials
        yield* TestClock.adjust(wait - 1 - late)
        if (dials !== before) faults.push(`sequence ${sequence}, step ${step}: dialled before ${wait} ms`)
        late = 0.5
        yield* TestClock.adjust(1 + late)
        if (dials !== before + 1) faults.push(`sequence ${sequence}, step ${step}: not dialled after ${wait} ms`)
      }
    }
    if (client.state !== 1) faults.push(`sequence ${sequence}: not connected in the end`)
    return faults
  })

/** Simulates so many sequences. Gives the deviations from the law; stops after some. */
export const simulate = (sequences: number): Promise<ReadonlyArray<string>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const faults: Array<string> = []
      for (let n = 0; n < sequences && faults.length < 5; n++) {
        const next = randomsOf(n)
        const random = { nextDoubleUnsafe: next, nextIntUnsafe: () => Math.floor(next() * Number.MAX_SAFE_INTEGER) }
        const one = Effect.provideService(simulateOne(n), Random.Random, random)
        faults.push(...(yield* Effect.scoped(Effect.provide(one, TestClock.layer()))))
      }
      return faults
    }),
  )

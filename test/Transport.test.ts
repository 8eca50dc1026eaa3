import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Transport from "../src/Transport.ts"
import { record, untilClose } from "./support/Recorder.ts"

describe("a pair in memory", () => {
  it.effect("delivers everything that was sent before the other end listened, in order", () =>
    Effect.gen(function* () {
      const [a, b] = Transport.makePair("p")
      a.send("1")
      a.ping()
      a.send(new TextEncoder().encode("2"))
      a.close(4000, "bye")
      yield* Effect.promise(() => new Promise(setImmediate))
      expect(yield* untilClose(yield* record(b))).toEqual([
        ["message", "1"],
        ["ping"],
        ["message", "2"],
        ["close", 4000, "bye"],
      ])
      expect(yield* untilClose(yield* record(a))).toEqual([["pong"], ["close", 4000, "bye"]])
    }),
  )
})

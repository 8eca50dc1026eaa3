import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Echo, makeFleet, pass } from "./support/nodes.ts"

describe("a call", () => {
  it.effect("reaches a station of another node, and brings its answer back", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      yield* a.connect("CP001")
      const call = yield* Effect.forkChild(b.fleet.call("CP001", Echo.Echo, { text: "hi" }))
      yield* pass(50)
      expect(yield* Fiber.join(call)).toEqual({ text: "CP001: hi" })
      expect(yield* a.fleet.call("CP001", Echo.Echo, { text: "here" })).toEqual({ text: "CP001: here" })
    }),
  )

  it.effect("of a station that is nowhere fails at once", () =>
    Effect.gen(function* () {
      const { a } = yield* makeFleet
      const error = yield* Effect.flip(a.fleet.call("CP001", Echo.Echo, { text: "hi" }))
      expect(error).toMatchObject({ _tag: "NotConnectedError", identity: "CP001" })
    }),
  )
})

import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { open, reset } from "../../examples/signed.ts"

describe("examples/signed.ts", () => {
  it.effect("signs a message and opens it, and refuses the same without a signature", () =>
    Effect.gen(function* () {
      const text = yield* reset
      expect(JSON.parse(text)).toMatchObject([2, "1", "Reset-Signed", { payload: expect.any(String) }])
      expect(yield* open(text)).toEqual({ action: "Reset", payload: { type: "Immediate" }, isSigned: true })
      const error = yield* Effect.flip(open('[2,"2","Reset",{"type":"Immediate"}]'))
      expect(error).toMatchObject({ code: "SecurityError" })
    }),
  )
})

// First: what has been used before is not compiled.
import "effect/schema/SchemaJITCompiler/enable"
import { describe, expect, it, vi } from "@effect/vitest"
import { compareVerdicts } from "./verdicts.ts"

describe("our verdicts", () => {
  it("are those of the code that Effect compiles, on valid and broken payloads of all messages", () => {
    let compiled = 0
    const counting = new Proxy(Function, {
      // Effect calls the constructor, we make a `new` one.
      apply: (target, _, source: Array<string>) => {
        compiled++
        return target(...source)
      },
    })
    vi.stubGlobal("Function", counting)
    const { count, differences } = compareVerdicts(20250402)
    vi.unstubAllGlobals()
    expect(differences).toEqual([])
    expect(count).toBeGreaterThan(12_000)
    expect(compiled).toBeGreaterThan(387)
  }, 60_000)
})

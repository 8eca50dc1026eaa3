import { describe, expect, it } from "@effect/vitest"
import { compareVerdicts } from "./verdicts.ts"

describe("our verdicts", () => {
  it("are those of Effect's parser on valid and broken payloads of all messages", () => {
    const { count, differences, valid } = compareVerdicts(20250401)
    console.info(`${count} payloads, ${valid} of them valid`)
    expect(differences).toEqual([])
    expect(count).toBeGreaterThan(12_000)
    expect(valid).toBeGreaterThan(700)
  }, 60_000)
})

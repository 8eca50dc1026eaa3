/** The promise face judges payloads by text that is made of the Schemas: its verdicts are those of the Schemas. */
import { describe, expect, it } from "vitest"
import type * as Action from "../../src/Action.ts"
import type * as Protocol from "../../src/Protocol.ts"
import { standardValidators } from "../../src/promise/createValidator.ts"
import { standard } from "../../src/promise/standard.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../../src/schemas/ocpp201.ts"
import { request, response, sample } from "../../src/testing/arbitraries.ts"

const protocols: ReadonlyArray<Protocol.Protocol> = [Ocpp16, Ocpp201, Ocpp21]

type Part = "request" | "response"

const valid = (action: Action.Any, part: Part): ReadonlyArray<object> => {
  const options = { seed: 7, count: 3 }
  if (part === "request") return sample(request(action), options) as ReadonlyArray<object>
  return action.kind === "send" ? [] : (sample(response(action), options) as ReadonlyArray<object>)
}

/** Numbers from 0 to 1, the same in every run. */
const randomFrom = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}

/** A copy of a payload that is broken at some place, at any depth. */
const broken = (payload: object, random: () => number): object => {
  const copy = structuredClone(payload)
  const place = { of: copy as Record<string, unknown>, key: "unheardOf" }
  for (;;) {
    const keys = Object.keys(place.of)
    place.key = keys[Math.floor(random() * (keys.length + 0.3))] ?? "unheardOf"
    const inner = place.of[place.key]
    if (typeof inner !== "object" || inner === null || random() < 0.2) break
    place.of = inner as Record<string, unknown>
  }
  const [wrong] = [undefined, "wrong", -1.25, "x".repeat(6_000), {}, []].slice(Math.floor(random() * 6))
  place.of[place.key] = wrong
  return JSON.parse(JSON.stringify(copy))
}

describe.each(protocols.map((protocol) => [protocol.name, protocol] as const))("%s as text", (name, protocol) => {
  const own = standardValidators.find(({ subprotocol }) => subprotocol === name)

  it("gives the verdict of the Schemas on valid payloads and on payloads broken somewhere", () => {
    const random = randomFrom(7)
    let refused = 0
    for (const action of protocol.actions.values()) {
      for (const part of ["request", "response"] as const) {
        for (const payload of valid(action, part)) {
          for (const candidate of [payload, ...Array.from({ length: 8 }, () => broken(payload, random))]) {
            const expected = protocol.validator.check(action.name, part, candidate)
            const verdict = own?.check(action.name, part, candidate)
            expect([verdict?.code, verdict?.message, verdict?.details]).toEqual([
              expected?.code,
              expected?.message,
              expected?.details,
            ])
            if (verdict !== undefined) refused++
          }
        }
      }
    }
    expect(refused).toBeGreaterThan(500)
  }, 60_000)

  it("knows the same actions, frames and spelling", () => {
    const subprotocol = standard(name)
    const kinds = (actions: ReadonlyMap<string, { readonly kind: string }> | undefined) =>
      new Map(Array.from(actions ?? [], ([action, { kind }]) => [action, kind]))
    expect(kinds(subprotocol?.actions)).toEqual(kinds(protocol.actions))
    expect([subprotocol?.extendedFrames, subprotocol?.spelling]).toEqual([protocol.extendedFrames, protocol.spelling])
  })
})

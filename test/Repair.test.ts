import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import { knownFaults } from "../src/Repair.ts"

const call = (payload: string) => `[2,"19","MeterValues",${payload}]`

describe("a member without a value", () => {
  it.each([
    ['{"connectorId":1,"transactionId":,"meterValue":[]}', '{"connectorId":1,"meterValue":[]}'],
    ['{"transactionId":,"meterValue":[]}', '{"meterValue":[]}'],
    ['{"meterValue":[],"transactionId":}', '{"meterValue":[]}'],
    ['{"transactionId":}', "{}"],
    ['{"a":,"b":,"c":}', "{}"],
    ['{"x":1,"a":,"b":}', '{"x":1}'],
    ['{"x":1,"a":,"b":,"y":{"c":},"d":}', '{"x":1,"y":{}}'],
    ['{"a":{"b":,"c":1},"d":[{"e":}]}', '{"a":{"c":1},"d":[{}]}'],
    ['{ "x" : 1 , "a" : , "y" : 2 }', '{ "x" : 1 ,  "y" : 2 }'],
    ['{ "x" : 1 , "a" : }', '{ "x" : 1 }'],
    ['{"a\\"b":,"c":1}', '{"c":1}'],
    ['{"a\nb":,"c":1}', '{"c":1}'],
    ['{"x":":,","a":}', '{"x":":,"}'],
  ])("is left out of %j", (payload, repaired) => {
    expect(knownFaults(call(payload))).toBe(call(repaired))
  })
})

describe("a control character in a string", () => {
  it.each([
    ['{"info":"two\nlines"}', '{"info":"two\\nlines"}'],
    ['{"info":"\ttab\r"}', '{"info":"\\ttab\\r"}'],
    ['{"info":"SN1\u0000\u0001\u001f"}', '{"info":"SN1\\u0000\\u0001\\u001f"}'],
    ['{"in\nfo":"\\\\\n"}', '{"in\\nfo":"\\\\\\n"}'],
  ])("of %j is escaped", (payload, repaired) => {
    expect(knownFaults(call(payload))).toBe(call(repaired))
  })

  it("is the same character when the text is read", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii" }), (value) => {
        const raw = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
        expect(JSON.parse(knownFaults(call(`{"info":"${raw}"}`)))[3]).toEqual({ info: value })
      }),
    )
  })
})

describe("around the text", () => {
  const text = call('{"connectorId":1}')

  it.each([
    ["NULs behind it", `${text}\0\0\0`],
    ["a NUL and the rest of a buffer", `${text}\0"meterValue":[{`],
    ["a line feed and NULs", `${text}\n\0\0`],
    ["a byte order mark", `\uFEFF${text}`],
    ["two of them", `\uFEFF\uFEFF${text}`],
    ["one that was encoded twice", `\u00EF\u00BB\u00BF${text}`],
  ])("%s is taken away", (_, sent) => {
    expect(knownFaults(sent).trimEnd()).toBe(text)
  })

  it("everything at once is mended", () => {
    const sent = `\uFEFF${call('{"a":,"info":"x\ny","b":}')}\0\0`
    expect(knownFaults(sent)).toBe(call('{"info":"x\\ny"}'))
  })
})

describe("what cannot be mended", () => {
  it.each([
    "",
    "\0",
    "\uFEFF",
    "not JSON",
    "[2,",
    '[2,"1","Heartbeat",{}',
    '[2,"1","Heartbeat",{}]]',
    '[2,"1","Heartbeat",{"a":1,}]',
    "[1,,2]",
    '{"a":]',
    '["a":,1]',
    ":,",
    '{:,"a":1}',
    '{"a":1:,}',
    '{"a" "b":,}',
    '{"x":1 "a":}',
    '{"x":"a":}',
    '{"x":"a":,"y":1}',
    '"never ending\n',
    '{"a":,"never ending',
    '"\\\n"',
    `${'{"a":'.repeat(70)}"b":}${"}".repeat(70)}`,
  ])("%j stays as it is", (text) => {
    expect(knownFaults(text)).toBe(text)
  })
})

describe("whatever the text", () => {
  /** Texts that are made of what the repairs are about. */
  const parts = fc.constantFrom(
    ...[
      "{",
      "}",
      "[",
      "]",
      '"a"',
      '"',
      ":",
      ",",
      ":,",
      ":}",
      "1",
      "null",
      " ",
      "\n",
      "\0",
      "\\",
      "\uFEFF",
      "\u00EF\u00BB\u00BF",
    ],
  )
  const likely = fc.array(parts, { maxLength: 40 }).map((parts) => parts.join(""))

  it("is JSON, it is not touched", () => {
    const spaced = fc
      .tuple(fc.json(), fc.constantFrom("", " ", "\n", "\t \r\n"))
      .map(([json, blank]) => blank + json + blank)
    fc.assert(
      fc.property(spaced, (text) => void expect(knownFaults(text)).toBe(text)),
      { numRuns: 1_000 },
    )
  })

  it("it becomes JSON or stays as it is, and nothing is thrown", () => {
    let mended = 0
    fc.assert(
      fc.property(fc.oneof(likely, likely, fc.string({ unit: "binary" })), (text) => {
        const repaired = knownFaults(text)
        if (repaired === text) return
        mended++
        expect(() => JSON.parse(repaired)).not.toThrow()
        expect(knownFaults(repaired)).toBe(repaired)
      }),
      { numRuns: 20_000 },
    )
    expect(mended).toBeGreaterThan(50)
  })

  it("a member without a value may stand anywhere beside others", () => {
    const name = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 8 })
    const members = fc.uniqueArray(fc.tuple(name, fc.option(fc.jsonValue({ maxDepth: 2 }))), {
      selector: ([name]) => name,
    })
    fc.assert(
      fc.property(members, (members) => {
        const written = members.map(
          ([name, value]) => `${JSON.stringify(name)}:${value === null ? "" : JSON.stringify(value)}`,
        )
        const expected = Object.fromEntries(members.filter(([, value]) => value !== null))
        expect(JSON.parse(knownFaults(`{${written.join(",")}}`))).toEqual(JSON.parse(JSON.stringify(expected)))
      }),
    )
  })

  it("takes time in proportion to its length", () => {
    const length = 2 ** 20
    const attacks = ['{"a":,', '"a":,', '{"x":1,"a":}', "\n", '"\n', "[", "{", ":", "\uFEFF", '{"a":"\n', '\\"']
    for (const attack of attacks) {
      for (const text of [attack.repeat(length / attack.length), `{${attack.repeat(length / attack.length)}`]) {
        const startedAt = performance.now()
        knownFaults(text)
        expect([attack, performance.now() - startedAt < 1_000]).toEqual([attack, true])
      }
    }
  })
})

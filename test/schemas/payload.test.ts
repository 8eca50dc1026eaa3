import { createRequire } from "node:module"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import * as payload from "../../src/schemas/payload.ts"
import { sample } from "../../src/testing/arbitraries.ts"
import {
  invalidDateTimes,
  invalidUris,
  isDateTime,
  isoDateTimes,
  randomFrom,
  validDateTimes,
  validUris,
} from "./official.ts"

const seed = Number(process.env.OCPP_SEED ?? 20250401)
console.info(`OCPP_SEED=${seed}`)

interface Formats {
  readonly uri: (value: string) => boolean
  readonly "date-time": { readonly validate: (value: string) => boolean }
}
const formats: Formats = createRequire(import.meta.url)("ajv-formats/dist/formats.js").fullFormats

/** Copies of a text with one character replaced, removed or doubled. */
const variants = (text: string, alphabet: string, count: number): ReadonlyArray<string> => {
  const random = randomFrom(seed)
  return Array.from({ length: count }, () => {
    const at = Math.floor(random() * text.length)
    const other = alphabet[Math.floor(random() * alphabet.length)] ?? ""
    const [before, after] = [text.slice(0, at), text.slice(at + 1)]
    return (
      [before + other + after, before + after, before + text[at] + text[at] + after][Math.floor(random() * 3)] ?? ""
    )
  })
}

describe("dateTime", () => {
  const accepts = Schema.is(payload.dateTime)

  it.each(validDateTimes)("accepts %j", (value) => expect(accepts(value)).toBe(true))
  it.each(invalidDateTimes)("refuses %j", (value) => expect(accepts(value)).toBe(false))

  it.each(isoDateTimes)("refuses %j, which is ISO 8601 and not RFC 3339", (value) => {
    expect(accepts(value)).toBe(false)
  })

  it.each([
    ["2016-12-31T23:59:60Z", true],
    ["2017-01-01T00:59:60+01:00", true],
    ["2016-12-31T18:29:60-05:30", true],
    ["2016-12-31T23:59:60+01:00", false],
    ["2016-12-31T24:59:60+01:00", false],
    ["2016-12-31T22:59:60Z", false],
  ])("knows leap seconds at the end of a day in UTC only: %j is %j", (value, expected) => {
    expect(accepts(value)).toBe(expected)
  })

  it("agrees with RFC 3339 on thousands of near misses", () => {
    for (const text of validDateTimes) {
      for (const value of variants(text, "0123456789-+:.TtZz ", 2000)) {
        expect(accepts(value), value).toBe(isDateTime(value, "RFC 3339"))
      }
    }
  })

  it("agrees with ajv-formats but for spaces, short offsets and hours past midnight", () => {
    const known = /\s|[+-]\d\d(\d\d)?$|[Tt]2[4-9]/
    for (const text of validDateTimes) {
      for (const value of variants(text, "0123456789-+:.TtZz ", 2000)) {
        if (!known.test(value)) expect(accepts(value), value).toBe(formats["date-time"].validate(value))
      }
    }
  })
})

describe("isoDateTime", () => {
  const accepts = Schema.is(payload.isoDateTime)

  it.each(validDateTimes)("accepts %j, as every version does", (value) => expect(accepts(value)).toBe(true))
  it.each(isoDateTimes)("accepts %j", (value) => expect(accepts(value)).toBe(true))
  it.each(invalidDateTimes)("refuses %j", (value) => expect(accepts(value)).toBe(false))

  it("agrees with a second reading of ISO 8601 on thousands of near misses", () => {
    let valid = 0
    for (const text of [...validDateTimes, ...isoDateTimes]) {
      for (const value of variants(text, "0123456789-+:.,TtZz ", 2000)) {
        expect(accepts(value), value).toBe(isDateTime(value, "ISO 8601"))
        if (accepts(value)) valid++
      }
    }
    expect(valid).toBeGreaterThan(1000)
  })

  it("is generated in all its forms", () => {
    const generated = sample(Arbitrary.schema(payload.isoDateTime), { seed, count: 300 })
    const forms = [
      /Z$/,
      /:\d\d$/,
      /[+-]\d\d$/,
      /[+-]\d\d:\d\d$/,
      /[+-]\d{4}$/,
      / /,
      /T/,
      /,/,
      /\./,
      /[T ]\d\d:\d\d[Z+-]/,
    ]
    expect(forms.filter((form) => !generated.some((value) => form.test(value)))).toEqual([])
    expect(generated.filter((value) => !accepts(value))).toEqual([])
  })
})

describe("uri", () => {
  const accepts = Schema.is(payload.uri)

  it.each(validUris)("accepts %j", (value) => expect(accepts(value)).toBe(true))
  it.each(invalidUris)("refuses %j", (value) => expect(accepts(value)).toBe(false))

  it("agrees with ajv-formats on thousands of near misses", () => {
    const more = [
      ...validUris,
      "x:",
      "http://[v1.a:b]/",
      "http://[::ffff:1.2.3.4]:80",
      "http://1.2.3.256/'\"",
      "a://@:1/",
    ]
    for (const text of more) {
      for (const value of variants(text, "aZ09:/?#[]@!$&'()*+,;=-._~%\"\\^ é", 2000)) {
        expect(accepts(value), value).toBe(formats.uri(value))
      }
    }
  })
})

describe("text", () => {
  it("counts code points", () => {
    const accepts = Schema.is(payload.text(3))
    expect(["", "abc", "😀😀😀", "é漢😀", "\ud800\ud800\ud800"].map(accepts)).not.toContain(false)
    expect(["abcd", "😀😀😀😀", "\ud800\ud800\ud800\ud800"].map(accepts)).not.toContain(true)
  })
})

describe("integer", () => {
  it("accepts JSON integers of any size", () => {
    const accepts = Schema.is(payload.integer)
    expect([0, -0, 1e3, 2 ** 53 + 2, -1e300].map(accepts)).not.toContain(false)
    expect([0.5, Number.NaN, Number.POSITIVE_INFINITY, "1", 1n].map(accepts)).not.toContain(true)
  })
})

describe("tenths", () => {
  it("accepts numbers with at most one decimal digit", () => {
    const accepts = Schema.is(payload.tenths)
    for (let count = -20_000; count <= 20_000; count++) {
      expect(accepts(Number(`${count}e-1`)), `${count}e-1`).toBe(true)
      expect(accepts(Number(`${count}e-2`)), `${count}e-2`).toBe(count % 10 === 0)
    }
    expect([1e21, 123456789012.3, -8.1].map(accepts)).not.toContain(false)
    expect([0.30000000000000004, 1e-7, 8.1000001, Number.NaN].map(accepts)).not.toContain(true)
  })
})

describe("closed", () => {
  class Point extends payload.closed<Point>()({ x: payload.integer, label: payload.optional(payload.text(5)) }) {}

  it("refuses unknown properties without any parse option", () => {
    const accepts = Schema.is(Point)
    expect(accepts({ x: 1, label: "here" })).toBe(true)
    expect(accepts({ x: 1, z: 1 })).toBe(false)
    expect(accepts(JSON.parse('{ "x": 1, "__proto__": 1 }'))).toBe(false)
  })

  it("has a type that plain objects are of", () => {
    const point: Point = { x: 1 }
    expect(Schema.decodeUnknownSync(Point)(point)).toEqual({ x: 1 })
  })
})

describe("open", () => {
  it("keeps properties that it does not name", () => {
    class Custom extends payload.open<Custom>()({ vendorId: payload.text(255) }) {}
    const custom: Custom = { vendorId: "v", more: [1] }
    expect(Schema.decodeUnknownSync(Custom)(custom)).toEqual(custom)
    expect(Schema.is(Custom)({ more: [1] })).toBe(false)
  })
})

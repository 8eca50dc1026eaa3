import * as Crypto from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Security, Server } from "effect-ocpp"
import * as fc from "fast-check"
// The mocks have to come from here.
import { vi } from "vitest"
import { basic } from "../support/RawSocket.ts"

vi.mock("node:crypto", async (original) => {
  const crypto = await original<typeof Crypto>()
  return { ...crypto, scrypt: vi.fn(crypto.scrypt) }
})

const scrypt = vi.mocked(Crypto.scrypt)

/** The work of which an Effect makes scrypt, as `[length of the salt, length of the hash, options]`. */
const workOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.suspend(() => {
    scrypt.mockClear()
    return Effect.map(effect, (value) => {
      const work = scrypt.mock.calls.map(([, salt, length, options]) => [(salt as Buffer).length, length, options])
      return { value, work }
    })
  })

/** As little as is allowed: most tests are not about work. */
const cheap = { cost: 2 }

const station = (password: string | Uint8Array | undefined) => ({
  password: password === undefined ? undefined : Buffer.from(password),
})

const key = Security.fromAuthorizationKey("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")

describe("an AuthorizationKey", () => {
  it("is the bytes of its hexadecimal digits: the vector of the specification", () => {
    expect(basic("AL1000", key)).toBe("Basic QUwxMDAwOgABAgMEBQYH////////////////")
    expect(key.hex).toBe("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
    expect(Security.fromAuthorizationKey(key.hex.toLowerCase())).toEqual(key)
  })

  it("is read from what it is written as", () => {
    const bytes = fc.uint8Array({ minLength: 16, maxLength: 20 })
    fc.assert(
      fc.property(bytes, (bytes) => {
        const hex = Security.toAuthorizationKey(bytes)
        expect(Buffer.from(Security.fromAuthorizationKey(hex)).equals(bytes)).toBe(true)
        expect(Security.fromAuthorizationKey(hex).hex).toBe(hex)
      }),
    )
  })

  it.each(["", "00".repeat(15), "00".repeat(21), `${"00".repeat(16)}0`, "zz".repeat(16), ` ${"00".repeat(16)}`])(
    "is not %j, which is not quoted",
    (hex) => {
      expect(() => Security.fromAuthorizationKey(hex)).toThrow(/^an AuthorizationKey is the text of 32 to 40 hex/)
    },
  )

  it("is told from other bytes, and its parts are other bytes", () => {
    expect(Security.isAuthorizationKey(key)).toBe(true)
    for (const other of [Buffer.from(key), new Uint8Array(key), key.slice(), key.subarray(1), key.hex, undefined]) {
      expect(Security.isAuthorizationKey(other)).toBe(false)
    }
  })

  it("is matched by its bytes, and by its text in either case", () => {
    for (const given of [key, key.hex, key.hex.toLowerCase()]) {
      expect(Security.passwordMatches(station(given), key)).toBe(true)
      expect(Security.passwordMatches(station(given), Redacted.make(key))).toBe(true)
    }
    for (const given of [undefined, "", key.hex.slice(2), `${key.hex}00`, `${key.hex} `, key.subarray(1)]) {
      expect(Security.passwordMatches(station(given), key)).toBe(false)
    }
  })

  it("alone has two forms: a string or bytes that look like one are matched by themselves only", () => {
    expect(Security.passwordMatches(station(key.hex), Buffer.from(key))).toBe(false)
    expect(Security.passwordMatches(station(key), key.hex)).toBe(false)
    expect(Security.passwordMatches(station(key.hex.toLowerCase()), key.hex)).toBe(false)
    expect(Security.passwordMatches(station(key.hex), key.hex)).toBe(true)
  })
})

describe("generatePassword", () => {
  it("makes 20 bytes without a zero for 1.6, or as many as are asked for", () => {
    for (let i = 0; i < 200; i++) expect([...Security.generatePassword("ocpp1.6")]).not.toContain(0)
    expect(Security.generatePassword("ocpp1.6").length).toBe(20)
    expect(Security.generatePassword("ocpp1.6").hex).toMatch(/^[0-9A-F]{40}$/)
    expect(Security.generatePassword("ocpp1.6", { length: 16 }).hex).toMatch(/^[0-9A-F]{32}$/)
  })

  it("makes a passwordString for 2.x, of 32 characters or as many as are asked for", () => {
    for (const protocol of ["ocpp2.0.1", "ocpp2.1"] as const) {
      expect(Security.generatePassword(protocol)).toMatch(/^[\w*=:+|@.-]{32}$/)
      expect(Security.generatePassword(protocol, { length: 16 })).toMatch(/^[\w*=:+|@.-]{16}$/)
      expect(Security.generatePassword(protocol, { length: 40 })).toMatch(/^[\w*=:+|@.-]{40}$/)
    }
  })

  it("makes another one each time", () => {
    const made = Array.from({ length: 100 }, () => Security.generatePassword("ocpp2.1"))
    expect(new Set(made).size).toBe(100)
  })

  it.each([
    ["ocpp1.6", 15],
    ["ocpp1.6", 21],
    ["ocpp2.0.1", 15],
    ["ocpp2.1", 41],
    ["ocpp2.1", 20.5],
    ["ocpp2.1", Number.NaN],
  ])("refuses %s with the length %d", (protocol, length) => {
    expect(() => Security.generatePassword(protocol, { length })).toThrow(RangeError)
  })

  it("knows no other subprotocol", () => {
    expect(() => Security.generatePassword("echo1.0")).toThrow('got "echo1.0"')
  })
})

describe("a hash", () => {
  it.live("says how it was made, and differs each time", () =>
    Effect.gen(function* () {
      const form = /^\$scrypt\$ln=4,r=2,p=3\$[\w+/]{22}\$[\w+/]{43}$/
      const options = { cost: 16, blockSize: 2, parallelization: 3 }
      const [one, other] = [yield* Security.hashPassword("x", options), yield* Security.hashPassword("x", options)]
      expect([one, other]).toEqual([expect.stringMatching(form), expect.stringMatching(form)])
      expect(one).not.toBe(other)
    }),
  )

  it.live("is of its password and of no other, whatever options say now", () =>
    Effect.gen(function* () {
      const hash = yield* Security.hashPassword("pässword", { cost: 4 })
      expect(yield* Security.verifyPassword("pässword", hash)).toBe(true)
      expect(yield* Security.verifyPassword(Buffer.from("pässword"), hash, { cost: 8 })).toBe(true)
      expect(yield* Security.verifyPassword(Redacted.make("pässword"), hash)).toBe(true)
      for (const other of ["", "password", "pässword ", undefined]) {
        expect(yield* Security.verifyPassword(other, hash)).toBe(false)
      }
    }),
  )

  it.live("that another program has made is understood", () =>
    Effect.gen(function* () {
      // RFC 7914 §12: scrypt("pleaseletmein", "SodiumChloride", N = 16384, r = 8, p = 1).
      const derived =
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
      const unpadded = (bytes: Buffer) => bytes.toString("base64").replaceAll("=", "")
      const salt = unpadded(Buffer.from("SodiumChloride"))
      const hash = `$scrypt$ln=14,r=8,p=1$${salt}$${unpadded(Buffer.from(derived, "hex"))}`
      expect(yield* Security.verifyPassword("pleaseletmein", hash)).toBe(true)
      expect(yield* Security.verifyPassword("pleaseletmeout", hash)).toBe(false)
    }),
  )

  it.live("of an AuthorizationKey is of its text, too; that of other bytes is not", () =>
    Effect.gen(function* () {
      const ofKey = yield* Security.hashPassword(key, cheap)
      const ofBytes = yield* Security.hashPassword(new Uint8Array(key), cheap)
      for (const [given, isKey, areBytes] of [
        [Buffer.from(key), true, true],
        [key.hex, true, false],
        [key.hex.toLowerCase(), true, false],
        [`${key.hex}00`, false, false],
      ] as const) {
        expect(yield* Security.verifyPassword(given, ofKey)).toBe(isKey)
        expect(yield* Security.verifyPassword(given, ofBytes)).toBe(areBytes)
      }
    }),
  )

  it.live("that is none is a defect, and is not quoted", () =>
    Effect.gen(function* () {
      const texts = [
        "secret",
        "",
        "$scrypt$ln=14,r=8,p=1$secret$secret",
        "$scrypt$ln=31,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      ]
      for (const text of texts) {
        const exit = yield* Effect.exit(Security.verifyPassword("x", text))
        expect(exit._tag).toBe("Failure")
        expect(String(exit)).toContain("is no hash that hashPassword has made")
        expect(String(exit)).not.toContain("secret")
      }
    }),
  )

  it.live("is to be made anew when the options have changed", () =>
    Effect.gen(function* () {
      const hash = yield* Security.hashPassword("x", { cost: 4 })
      expect(Security.needsRehash(hash, { cost: 4 })).toBe(false)
      expect(Security.needsRehash(hash, { cost: 8 })).toBe(true)
      expect(Security.needsRehash(hash, { cost: 4, blockSize: 4 })).toBe(true)
      expect(Security.needsRehash(hash, { cost: 4, parallelization: 2 })).toBe(true)
      expect(() => Security.needsRehash("secret")).toThrow(/^what is stored is no hash that hashPassword has made$/)
    }),
  )

  it.each([
    { cost: 1 },
    { cost: 15 },
    { cost: 2 ** 21 },
    { blockSize: 0 },
    { blockSize: 1.5 },
    { parallelization: 65 },
    { cost: 2 ** 20, blockSize: 64 },
  ])("is not made with %j", (options) => {
    expect(() => Security.hashPassword("x", options)).toThrow(RangeError)
    expect(() => Security.verifyPassword("x", undefined, options)).toThrow(RangeError)
  })
})

describe("the work of verifying", () => {
  it.live("is the same for an identity that is not known", () =>
    Effect.gen(function* () {
      const options = { cost: 4, blockSize: 2 }
      const hash = yield* Security.hashPassword("secret", options)
      const known = yield* workOf(Security.verifyPassword("wrong", hash, options))
      const unknown = yield* workOf(Security.verifyPassword("wrong", undefined, options))
      expect(known.work).toHaveLength(1)
      expect(unknown).toEqual(known)
      const standard = yield* Security.hashPassword("secret")
      const ofKnown = yield* workOf(Effect.exit(Security.requirePassword(station("wrong"), { hash: standard })))
      const ofUnknown = yield* workOf(Effect.exit(Security.requirePassword(station("wrong"), { hash: undefined })))
      expect(ofUnknown).toEqual(ofKnown)
      expect(ofUnknown.work).toHaveLength(1)
    }),
  )

  it.live("is none without a password", () =>
    Effect.gen(function* () {
      const hash = yield* Security.hashPassword("secret", cheap)
      for (const stored of [hash, undefined]) {
        expect(yield* workOf(Security.verifyPassword(undefined, stored))).toEqual({ value: false, work: [] })
      }
    }),
  )

  it.live("leaves the loop to others, and half of the threads", () =>
    Effect.gen(function* () {
      let running = 0
      let most = 0
      const { scrypt: original } = yield* Effect.promise(() => vi.importActual<typeof Crypto>("node:crypto"))
      scrypt.mockImplementation((password, salt, length, options, done) => {
        most = Math.max(most, ++running)
        original(password, salt, length, options, (error, hash) => {
          running--
          done(error, hash)
        })
      })
      let turns = 0
      const count = setInterval(() => turns++, 0)
      yield* Effect.forEach(Array(10), () => Security.hashPassword("x", { cost: 2 ** 12 }), {
        concurrency: "unbounded",
      })
      clearInterval(count)
      scrypt.mockImplementation(original)
      expect(most).toBe(Math.max(1, (Number(process.env.UV_THREADPOOL_SIZE) || 4) >> 1))
      expect(turns).toBeGreaterThan(5)
    }),
  )
})

describe("requirePassword", () => {
  const outcome = (given: string | Uint8Array | undefined, expected: Parameters<typeof Security.requirePassword>[1]) =>
    Effect.match(Security.requirePassword(station(given), expected), {
      onSuccess: (nothing) => nothing,
      onFailure: (error) => [error instanceof Server.Rejected, error.code],
    })

  it.live("succeeds with nothing, or is refused with 401", () =>
    Effect.gen(function* () {
      const hash = yield* Security.hashPassword("secret", cheap)
      for (const expected of ["secret", Buffer.from("secret"), Redacted.make("secret"), { hash }]) {
        expect(yield* outcome("secret", expected)).toBeUndefined()
        expect(yield* outcome("wrong", expected)).toEqual([true, 401])
        expect(yield* outcome(undefined, expected)).toEqual([true, 401])
      }
      expect(yield* outcome(key.hex, key)).toBeUndefined()
    }),
  )

  it.live("refuses who is not known, even with an empty password or none", () =>
    Effect.gen(function* () {
      for (const expected of [undefined, { hash: undefined, ...cheap }]) {
        for (const given of ["", "secret", undefined]) expect(yield* outcome(given, expected)).toEqual([true, 401])
      }
    }),
  )
})

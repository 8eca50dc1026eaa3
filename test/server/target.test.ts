import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fc from "fast-check"
import * as Target from "../../src/server/target.ts"
import { exchange, frame, Opcode } from "../support/RawClient.ts"
import { serve, soon, upgradeOf } from "../support/serve.ts"

describe("a target", () => {
  it.each([
    ["/EVB-1", "", "EVB-1", ""],
    ["/ocpp/EVB-1?x=1", "/ocpp", "EVB-1", "?x=1"],
    ["//CP1", "/", "CP1", ""],
    ["///CP1", "//", "CP1", ""],
    ["//////ocpp//CP1?", "//////ocpp/", "CP1", "?"],
    ["http://host:9000/EVB-1", "", "EVB-1", ""],
    ["http://host/a/b/EVB-1?x=/y", "/a/b", "EVB-1", "?x=/y"],
    ["http://host//EVB-1", "/", "EVB-1", ""],
    ["HTTP://HOST/EVB-1", "", "EVB-1", ""],
    ["https://host:/EVB-1", "", "EVB-1", ""],
    ["ws://127.0.0.1:80/EVB-1", "", "EVB-1", ""],
    ["wss://[2001:db8::1]:443/EVB-1", "", "EVB-1", ""],
    ["http://h%C3%B6st.example/EVB-1", "", "EVB-1", ""],
    ["http://a/http://b/EVB-1", "/http://b", "EVB-1", ""],
    ["http://host/EVB%2D1%3F", "", "EVB-1?", ""],
  ])("%s is read", (target, endpoint, identity, query) => {
    expect(Target.read(target)).toEqual({ _tag: "Target", endpoint, identity, query })
  })

  it.each([
    "http://",
    "http://host",
    "http://host?x=1",
    "http://host/",
    "http:///EVB-1",
    "http://:80/EVB-1",
    "http://host:80:80/EVB-1",
    "http://host:65536/EVB-1",
    "http://host:x/EVB-1",
    "http://user@host/EVB-1",
    "http://user:password@host/EVB-1",
    "http://@host/EVB-1",
    "http://[/EVB-1",
    "http://[::1/EVB-1",
    "http://[::1]x/EVB-1",
    "http://ho st/EVB-1",
    "http://ho%2/EVB-1",
    "http:/host/EVB-1",
    "http:host/EVB-1",
    "ftp://host/EVB-1",
    "://host/EVB-1",
    "//",
    "/\n/EVB-1",
    "/a\u0085/EVB-1",
    "*",
    "host:80",
    "?x",
    "",
  ])("%j is refused", (target) => {
    expect(Target.read(target)).toEqual({ _tag: "Fault", reason: expect.stringMatching(/^the /) })
  })

  it("is read or refused, whatever it is, in words that quote none of it", () => {
    const target = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.string().map((rest) => `/${rest}`),
      fc.string().map((rest) => `http://${rest}`),
      fc
        .array(fc.constantFrom("/", "//", "http:", "%2F", "%00", "[", "]", "@", ":", "?", "#", "CP1"), {
          maxLength: 20,
        })
        .map((parts) => parts.join("")),
    )
    const reasons = new Set<string>()
    fc.assert(
      fc.property(target, fc.boolean(), (text, allowSlash) => {
        const read = Target.read(text, { allowSlash })
        if (read._tag === "Fault") reasons.add(read.reason)
        else {
          expect(read.identity).not.toMatch(allowSlash ? /^$|\p{Cc}/u : /^$|[\p{Cc}/]/u)
          expect(text).toContain(read.endpoint)
          expect(text.endsWith(read.query)).toBe(true)
        }
      }),
      { numRuns: 2_000 },
    )
    expect(reasons.size).toBeLessThan(10)
  })

  it("of an identity that a client writes is read as it was meant", () => {
    const identity = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
      .filter((text) => !/\p{Cc}/u.test(text))
    fc.assert(
      fc.property(
        identity,
        fc.constantFrom("", "/", "/ocpp", "http://host:9000", "http://host/ocpp/"),
        (text, endpoint) => {
          const read = Target.read(`${endpoint}/${encodeURIComponent(text)}`, { allowSlash: true })
          expect(read).toMatchObject({ identity: text })
        },
      ),
    )
  })

  it("of a mebibyte costs time in proportion", () => {
    for (const text of ["/", "http://", "http://a", "%2", "http://["]) {
      const target = text.repeat(2 ** 20 / text.length)
      const startedAt = performance.now()
      Target.read(target)
      expect(performance.now() - startedAt).toBeLessThan(500)
    }
  })
})

describe("a station", () => {
  it.live.each(["/EVB-1", "//EVB-1", "///EVB-1", "http://host:9000/EVB-1", "http://host:9000//EVB-1?x=1"])(
    "that asks for %s is let in as EVB-1",
    (target) =>
      Effect.gen(function* () {
        const { server } = yield* serve({ protocols: [] })
        const connected = yield* soon(server, "Connected")
        yield* exchange(server.port as number, Buffer.from(upgradeOf(target)), frame(Opcode.Close))
        expect((yield* Fiber.join(connected)).station.identity).toBe("EVB-1")
      }),
  )
})

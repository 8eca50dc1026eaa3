/** Whatever comes is opened or refused, never anything else. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import fc from "fast-check"
import type * as Frame from "../../src/Frame.ts"
import { frame, open, sessionOf, sign } from "./support/session.ts"
import { believed, signerOf } from "./support/vectors.ts"

const seed = Number(process.env.OCPP_SEED ?? 20_261_126)

const kind = fc.constantFrom("Call" as const, "CallResult" as const, "Send" as const)
const encoded = (text: string) => Buffer.from(text).toString("base64url")

/** What a member of a JWS may be, sensible or not. */
const member = fc.oneof(
  fc.json().map(encoded),
  fc.dictionary(fc.string(), fc.jsonValue()).map((value) => encoded(JSON.stringify(value))),
  fc.string().map(encoded),
  fc.base64String(),
  fc.string(),
  fc.jsonValue(),
)

const header = fc
  .record(
    {
      alg: fc.constantFrom("ES256", "RS256", "RS384", "none", 1),
      OCPPAction: fc.constantFrom("Reset", "Reset-Signed", "", null),
      OCPPMessageTypedId: fc.constantFrom(2, 3, 6, "2", null),
      OCPPMessageTypeId: fc.constantFrom(2, 3),
      "x5t#S256": fc.oneof(fc.string(), fc.jsonValue()),
      crit: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  .map((value) => encoded(JSON.stringify(value)))

const jws = fc.record({
  protected: fc.oneof(header, member),
  payload: member,
  signature: fc.oneof(
    fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString("base64url")),
    member,
  ),
})

describe("for any", () => {
  it("payload that is called signed, there is an RPCError or an object, in the same tick where nothing is verified", () => {
    const session = sessionOf()
    const outcomes = { opened: 0, refused: 0 }
    fc.assert(
      fc.property(kind, jws, (which, value) => {
        // JSON all of it.
        const opening = open(session, frame({ kind: which, action: "Reset" }, value as Frame.Call["payload"]), "Reset")
        if (!Exit.isExit(opening)) throw new Error("it takes its time")
        const exit = opening as Exit.Exit<Frame.Call, unknown>
        if (exit._tag === "Success") {
          outcomes.opened++
          expect(exit.value.payload).toBeTypeOf("object")
          expect(Array.isArray(exit.value.payload)).toBe(false)
        } else {
          outcomes.refused++
          expect(exit.cause.reasons).toMatchObject([{ _tag: "Fail", error: { code: "FormatViolation" } }])
        }
      }),
      { seed, numRuns: 2000 },
    )
    expect(Math.min(outcomes.opened, outcomes.refused)).toBeGreaterThan(100)
  })

  it("JWS that nobody has signed, there is an RPCError where one must be", async () => {
    const session = sessionOf({ verify: "required", keys: believed })
    await fc.assert(
      fc.asyncProperty(kind, jws, async (which, value) => {
        const message = frame({ kind: which, action: "Reset" }, value as Frame.Call["payload"])
        const error = await Effect.runPromise(Effect.flip(open(session, message, "Reset")))
        expect(["SecurityError", "FormatViolation"]).toContain(error.code)
      }),
      { seed, numRuns: 1000 },
    )
  })

  it("change of a signed message, it is refused", async () => {
    const session = sessionOf({ verify: "required", keys: believed })
    const original = await Effect.runPromise(
      sign(
        sessionOf({ signer: signerOf("rsa"), sign: "everything" }),
        { kind: "Call", action: "Reset" },
        '{"type":"Idle"}',
      ),
    )
    const name = fc.constantFrom("protected" as const, "payload" as const, "signature" as const)
    await fc.assert(
      fc.asyncProperty(name, fc.nat(), fc.nat({ max: 63 }), fc.boolean(), async (which, at, value, isInserted) => {
        const text = original[which]
        const place = at % text.length
        const digit = Buffer.from([value << 2]).toString("base64url")[0]
        const changed = text.slice(0, place) + digit + text.slice(isInserted ? place : place + 1)
        fc.pre(changed !== text)
        const message = frame({ kind: "Call", action: "Reset" }, { ...original, [which]: changed })
        const error = await Effect.runPromise(Effect.flip(open(session, message, "Reset")))
        expect(["SecurityError", "FormatViolation"]).toContain(error.code)
      }),
      { seed, numRuns: 1000 },
    )
  })

  it("payload that we sign, the receiver has its very text", async () => {
    const signing = sessionOf({ signer: signerOf("station"), sign: "everything" })
    const verifying = sessionOf({ verify: "required", keys: believed })
    await fc.assert(
      fc.asyncProperty(
        kind,
        fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ maxDepth: 4 })),
        async (which, value) => {
          const text = JSON.stringify(value)
          const message = { kind: which, action: "Reset" }
          const opened = await Effect.runPromise(
            Effect.flatMap(sign(signing, message, text), (made) => open(verifying, frame(message, made), "Reset")),
          )
          expect(opened.signed).toMatchObject({ verified: true, text })
          expect(opened.payload).toEqual(JSON.parse(text))
        },
      ),
      { seed, numRuns: 100 },
    )
  })
})

/** What is done to signed messages on their way, and what answers it. */
import { createPrivateKey, sign as nodeSign } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { FlattenedSign } from "jose"
import * as Signing from "../../src/Signing.ts"
import { maxHeaderLength } from "../../src/signing/Jws.ts"
import { frame, open, receive, type Signable, sessionOf, sign } from "./support/session.ts"
import { believed, keys, privateKey, sha256, signerOf, vectors } from "./support/vectors.ts"

const payload = '{"reason":"PowerUp"}'
const call = { kind: "Call", action: "BootNotification" } as const
const result = { kind: "CallResult", action: "BootNotification" } as const
const kinds: ReadonlyArray<{ readonly kind: Signing.Message["kind"]; readonly action: string }> = [
  call,
  result,
  { kind: "Send", action: "NotifyPeriodicEventStream" },
]

const requiring = sessionOf({ verify: "required", keys: believed })
const checking = sessionOf({ verify: "ifPresent", keys: believed })
const signing = sessionOf({ signer: signerOf("station"), sign: "everything" })

const base64url = (value: string | object | Uint8Array) =>
  Buffer.from(typeof value === "string" || value instanceof Uint8Array ? value : JSON.stringify(value)).toString(
    "base64url",
  )

const hash = sha256(Buffer.from(keys.station.certificate.replaceAll(/-----.*-----|\n/g, ""), "base64"))

const header = { alg: "ES256", OCPPAction: "BootNotification", OCPPMessageTypedId: 2, "x5t#S256": hash }

/** A JWS whose signature is right, whatever it says. */
const sealed = (
  head: object | string,
  text: string | Uint8Array = payload,
  dsaEncoding: "der" | "ieee-p1363" = "ieee-p1363",
) => {
  const words = { protected: base64url(head), payload: base64url(text) }
  const input = Buffer.from(`${words.protected}.${words.payload}`)
  const key = createPrivateKey({ key: keys.station.jwk, format: "jwk" })
  return { ...words, signature: nodeSign("sha256", input, { key, dsaEncoding }).toString("base64url") }
}

const errorOf = (session: Signing.Session, message: Signable, action: string = call.action) =>
  Effect.flip(open(session, message, action))

const security = (why: string) => ({ code: "SecurityError", message: `the signature is refused: ${why}` })
const format = (why: string) => ({ code: "FormatViolation", message: `the signed payload is no JWS: ${why}` })

describe.each(kinds)("a $kind", (message) => {
  it.effect("that is not signed is refused with SecurityError where it must be", () =>
    Effect.gen(function* () {
      const plain: Signable =
        message.kind === "CallResult"
          ? { _tag: message.kind, messageId: "1", payload: {} }
          : { _tag: message.kind, messageId: "1", action: message.action, payload: {} }
      const error = yield* errorOf(requiring, plain, message.action)
      expect(error).toMatchObject({ code: "SecurityError", message: "the message must be signed" })
      expect(receive(checking, plain, message.action)).toBeUndefined()
    }),
  )

  it.effect("whose signature was taken off is one that is not signed, and no JWS where it is called signed", () =>
    Effect.gen(function* () {
      const inner = frame(message, JSON.parse(payload))
      const expected =
        message.kind === "CallResult"
          ? { code: "SecurityError", message: "the message must be signed" }
          : format("it must have the strings protected, payload and signature")
      expect(yield* errorOf(requiring, inner, message.action)).toMatchObject(expected)
    }),
  )

  it.effect("that was signed as another action is refused with SecurityError", () =>
    Effect.gen(function* () {
      const jws = yield* sign(signing, { kind: message.kind, action: "Heartbeat" }, payload)
      const error = yield* errorOf(checking, frame(message, jws), message.action)
      expect(error).toMatchObject(security("it was made for another action"))
    }),
  )

  it.effect("that was signed as another type is refused with SecurityError", () =>
    Effect.gen(function* () {
      for (const { kind } of kinds.filter((other) => other.kind !== message.kind)) {
        const jws = yield* sign(signing, { kind, action: message.action }, payload)
        const error = yield* errorOf(checking, frame(message, jws), message.action)
        expect(error).toMatchObject(security("it was made for another message type"))
      }
    }),
  )

  it.effect("of which one character was changed is refused", () =>
    Effect.gen(function* () {
      const jws = yield* sign(signing, message, payload)
      for (const member of ["protected", "payload", "signature"] as const) {
        for (const at of [0, 7, jws[member].length - 1]) {
          const other = jws[member][at] === "A" ? "B" : "A"
          const changed = { ...jws, [member]: jws[member].slice(0, at) + other + jws[member].slice(at + 1) }
          const error = yield* errorOf(checking, frame(message, changed), message.action)
          expect(["SecurityError", "FormatViolation"]).toContain(error.code)
        }
      }
    }),
  )
})

describe("a result that comes back as a call", () => {
  it.effect("is refused, though it is an old and right one", () =>
    Effect.gen(function* () {
      const old = vectors.find(({ kind }) => kind === "CallResult")
      if (old === undefined) throw new Error("no such vector")
      const [, , jws] = JSON.parse(old.frame)
      const error = yield* errorOf(requiring, frame({ kind: "Call", action: old.action }, jws))
      expect(error).toMatchObject(security("it was made for another message type"))
    }),
  )
})

describe("a signature", () => {
  const cases: ReadonlyArray<readonly [what: string, jws: () => Signing.Jws, why: string]> = [
    ["in DER", () => sealed(header, payload, "der"), "it does not fit"],
    ["of no bytes", () => ({ ...sealed(header), signature: "" }), "it does not fit"],
    ["of zeros", () => ({ ...sealed(header), signature: base64url(new Uint8Array(64)) }), "it does not fit"],
    ["of another message", () => ({ ...sealed(header), signature: sealed(header, "{}").signature }), "it does not fit"],
    [
      "of a payload that was written again",
      () => ({ ...sealed(header, '{ "reason": "PowerUp" }'), payload: base64url(payload) }),
      "it does not fit",
    ],
    [
      "by no algorithm",
      () => sealed({ ...header, alg: "none" }),
      "it is made with an algorithm that OCPP does not allow",
    ],
    [
      "by no algorithm and of no bytes",
      () => ({ ...sealed({ ...header, alg: "none" }), signature: "" }),
      "it is made with an algorithm that OCPP does not allow",
    ],
    ["by NONE", () => sealed({ ...header, alg: "NONE" }), "it is made with an algorithm that OCPP does not allow"],
    ["by HS256", () => sealed({ ...header, alg: "HS256" }), "it is made with an algorithm that OCPP does not allow"],
    ["by PS256", () => sealed({ ...header, alg: "PS256" }), "it is made with an algorithm that OCPP does not allow"],
    [
      "by a list of algorithms",
      () => sealed({ ...header, alg: ["ES256"] }),
      "it is made with an algorithm that OCPP does not allow",
    ],
    [
      "by an algorithm of other keys",
      () => sealed({ ...header, alg: "RS256" }),
      "its algorithm is not that of the signer's key",
    ],
    ["with a critical extension", () => sealed({ ...header, crit: ["exp"], exp: 1 }), "its header has crit"],
    ["with crit and b64", () => sealed({ ...header, crit: ["b64"], b64: false }), "its header has crit"],
    ["with an empty crit", () => sealed({ ...header, crit: [] }), "its header has crit"],
    ["with a crit that is null", () => sealed({ ...header, crit: null }), "its header has crit"],
    ["for no action", () => sealed({ ...header, OCPPAction: undefined }), "it was made for another action"],
    [
      "for the signed action",
      () => sealed({ ...header, OCPPAction: "BootNotification-Signed" }),
      "it was made for another action",
    ],
    ["for no type", () => sealed({ ...header, OCPPMessageTypedId: undefined }), "it was made for another message type"],
    [
      "for a type in letters",
      () => sealed({ ...header, OCPPMessageTypedId: "2" }),
      "it was made for another message type",
    ],
    [
      "for two types, in both spellings",
      () => sealed({ ...header, OCPPMessageTypeId: 3 }),
      "it was made for another message type",
    ],
    ["by an unknown certificate", () => sealed({ ...header, "x5t#S256": sha256("other") }), "the signer is not known"],
    ["by no certificate", () => sealed({ ...header, "x5t#S256": undefined }), "the signer is not known"],
    ["by a list of certificates", () => sealed({ ...header, "x5t#S256": [hash] }), "the signer is not known"],
  ]
  it.effect.each(cases)("%s is refused with SecurityError", ([, jws, why]) =>
    Effect.gen(function* () {
      for (const session of [requiring, checking]) {
        expect(yield* errorOf(session, frame(call, jws()))).toMatchObject(security(why))
      }
      // A receiver that verifies nothing understands what it can read.
      const opened = yield* open(sessionOf(), frame(call, jws()), call.action)
      expect(opened.signed).toMatchObject({ verified: false, key: undefined })
    }),
  )

  it.effect("is accepted in either spelling of the type, and in both at once", () =>
    Effect.gen(function* () {
      const { OCPPMessageTypedId: type, ...others } = header
      const spellings = [{ OCPPMessageTypedId: type }, { OCPPMessageTypeId: type }]
      for (const spelt of [...spellings, Object.assign({}, ...spellings)]) {
        const opened = yield* open(requiring, frame(call, sealed({ ...others, ...spelt })), call.action)
        expect(opened.signed.verified).toBe(true)
      }
    }),
  )

  it.effect("of a key that the header brings along is refused", () =>
    Effect.gen(function* () {
      const { d: _, ...jwk } = keys.station.jwk
      const jws = sealed({
        ...header,
        "x5t#S256": sha256("mine"),
        jwk,
        x5c: [base64url("certificate")],
        jku: "https://x",
      })
      expect(yield* errorOf(requiring, frame(call, jws))).toMatchObject(security("the signer is not known"))
    }),
  )

  it.effect("that stands beside an unprotected header is judged without that", () =>
    Effect.gen(function* () {
      const { alg: _, ...others } = header
      const unprotected = { ...sealed(others), header: { alg: "ES256" } }
      expect(yield* errorOf(requiring, frame(call, unprotected))).toMatchObject({ code: "SecurityError" })
      const opened = yield* open(requiring, frame(call, { ...sealed(header), header: { alg: "none" } }), call.action)
      expect(opened.signed.header).toEqual(header)
    }),
  )

  it.effect("by jose with a key that nobody knows is refused", () =>
    Effect.gen(function* () {
      const jws = yield* Effect.promise(() =>
        new FlattenedSign(Buffer.from(payload)).setProtectedHeader({ ...header, alg: "RS256" }).sign(privateKey("rsa")),
      )
      const anyKey: Signing.Keys["Service"] = {
        find: () => Effect.succeed(Option.some(Signing.verificationKey(keys.station.certificate))),
      }
      const session = sessionOf({ verify: "required", keys: anyKey })
      const error = yield* errorOf(session, frame(call, { ...jws } as Signing.Jws))
      expect(error).toMatchObject(security("its algorithm is not that of the signer's key"))
    }),
  )
})

describe("what is called signed and is no JWS", () => {
  const members = "it must have the strings protected, payload and signature"
  const noPayload = "its payload is not a JSON object in base64url without padding"
  const noHeader = "its header is not a JSON object in base64url without padding"
  const noSignature = "its signature is not base64url without padding"
  const with_ = (changes: object) => ({ ...sealed(header), ...changes })
  const padded = Buffer.from('{"a":1}').toString("base64").replaceAll("+", "-").replaceAll("/", "_")
  const cases: ReadonlyArray<readonly [what: string, payload: () => unknown, why: string]> = [
    ["nothing", () => undefined, members],
    ["null", () => null, members],
    ["a text, as in the compact serialization", () => Object.values(sealed(header)).join("."), members],
    ["an array", () => Object.values(sealed(header)), members],
    ["a header that is no string", () => with_({ protected: header }), members],
    ["a signature that is no string", () => with_({ signature: 1 }), members],
    ["the general serialization", () => ({ payload: base64url(payload), signatures: [sealed(header)] }), members],
    ["a payload that is no string", () => with_({ payload: { reason: "PowerUp" } }), members],
    ["a payload that is padded", () => with_({ payload: padded }), noPayload],
    ["a header that is padded", () => with_({ protected: `${base64url({ ...header, a: 1 })}==` }), noHeader],
    ["a signature that is padded", () => with_({ signature: `${sealed(header).signature}==` }), noSignature],
    ["a payload in base64", () => with_({ payload: Buffer.from('{"a":"???>>>"}').toString("base64") }), noPayload],
    ["a payload with a line break", () => with_({ payload: `${base64url(payload)}\n` }), noPayload],
    ["a payload with bits that nobody reads", () => with_({ payload: "e31" }), noPayload],
    ["a payload of no bytes", () => with_({ payload: "" }), noPayload],
    [
      "a payload that is no UTF-8",
      () => sealed(header, Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)),
      noPayload,
    ],
    ["a payload with a byte order mark", () => sealed(header, `\uFEFF${payload}`), noPayload],
    ["a payload that is no JSON", () => sealed(header, "{reason:1}"), noPayload],
    ["a payload that is an array", () => sealed(header, `[${payload}]`), noPayload],
    ["a payload that is null", () => sealed(header, "null"), noPayload],
    ["a payload that is a text", () => sealed(header, '"PowerUp"'), noPayload],
    ["a header that is no JSON", () => sealed("alg"), noHeader],
    ["a header that is an array", () => sealed([header]), noHeader],
    [
      "a header of megabytes",
      () => sealed({ ...header, fill: "x".repeat(4 << 20) }),
      `its header has over ${maxHeaderLength} characters`,
    ],
    [
      "a signature of megabytes",
      () => with_({ signature: "A".repeat(4 << 20) }),
      "its signature has over 2731 characters",
    ],
  ]
  it.effect.each(cases)("%s, is refused with FormatViolation, whatever is asked of it", ([, value, why]) =>
    Effect.gen(function* () {
      for (const session of [requiring, checking, sessionOf()]) {
        // What JSON can say, and what a caller in JavaScript can give.
        const error = yield* errorOf(session, frame(call, value() as Signing.Jws))
        expect(error).toMatchObject(format(why))
      }
    }),
  )

  it.effect("nor one that nests too deep, or holds a number that is none", () =>
    Effect.gen(function* () {
      const deep = `{"a":${"[".repeat(64)}${"]".repeat(64)}}`
      for (const [text, why] of [
        [deep, "the payload nests deeper than 64 levels"],
        ['{"a":1e400}', "the payload holds a number out of range"],
      ] as const) {
        const error = yield* errorOf(sessionOf(), frame(call, sealed(header, text)))
        expect(error).toMatchObject({ code: "FormatViolation", message: why })
      }
    }),
  )

  it("is said in the same tick, before a key is looked for", () => {
    const session = sessionOf({ verify: "required", keys: { find: () => Effect.die("asked") } })
    const opening = open(session, frame(call, sealed(header, "[]")), call.action)
    expect(Exit.isExit(opening) && Exit.isFailure(opening)).toBe(true)
  })
})

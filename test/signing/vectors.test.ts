/** Signed messages that are pinned, made by us and by others, and verified by both. */
import { createPublicKey, X509Certificate } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { p256 } from "@noble/curves/nist.js"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { FlattenedSign, flattenedVerify } from "jose"
import * as Signing from "../../src/Signing.ts"
import { frame, open, sessionOf, sign } from "./support/session.ts"
import {
  believed,
  frameOf,
  jwsOf,
  keys,
  privateKey,
  publicKey,
  published,
  sha256,
  signerOf,
  vectors,
} from "./support/vectors.ts"

const requiring = sessionOf({ verify: "required", keys: believed })

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe("the pinned messages", () => {
  it("are made by us and by jose, of each kind and with each algorithm", () => {
    const have = (property: "algorithm" | "kind" | "madeWith") => new Set(vectors.map((vector) => vector[property]))
    expect(have("algorithm")).toEqual(new Set(["ES256", "RS256", "RS384"]))
    expect(have("kind")).toEqual(new Set(["Call", "CallResult", "Send"]))
    expect(have("madeWith")).toEqual(new Set(["effect-ocpp", "jose 6.2.18"]))
  })

  for (const vector of vectors) {
    describe(vector.name, () => {
      it.effect("is verified by us", () =>
        Effect.gen(function* () {
          const opened = yield* open(requiring, frameOf(vector), vector.action)
          expect(opened.signed).toMatchObject({ verified: true, text: vector.payload })
          expect(opened.signed.key?.subject).toBe(`CN=${vector.key}`)
          expect(opened.payload).toEqual(JSON.parse(vector.payload))
          expect(opened.messageId).toBe(vector.messageId)
          if (opened._tag !== "CallResult") expect(opened.action).toBe(vector.action)
        }),
      )

      it("is verified by jose", async () => {
        const { payload, protectedHeader } = await flattenedVerify(jwsOf(vector), publicKey(vector.key), {
          algorithms: [vector.algorithm],
        })
        expect(textOf(payload)).toBe(vector.payload)
        expect(protectedHeader).toMatchObject({
          alg: vector.algorithm,
          OCPPAction: vector.action,
          "x5t#S256": sha256(new X509Certificate(keys[vector.key].certificate).raw),
        })
      })
    })
  }

  const deterministic = vectors.filter(({ algorithm, madeWith }) => algorithm !== "ES256" && madeWith === "effect-ocpp")

  it.effect.each(deterministic)("is signed by us again, to the letter: $name", (vector) =>
    Effect.gen(function* () {
      const session = sessionOf({ signer: signerOf(vector.key, vector.algorithm), sign: "everything" })
      expect(yield* sign(session, vector, vector.payload)).toEqual(jwsOf(vector))
    }),
  )
})

describe("what is signed now", () => {
  const payload = '{"reason":"PowerUp","chargingStation":{"model":"Säule 7","vendorName":"Ω"}}'
  const cases = [
    { key: "station", algorithm: "ES256", kind: "Call", type: 2 },
    { key: "rsa", algorithm: "RS256", kind: "CallResult", type: 3 },
    { key: "rsa", algorithm: "RS384", kind: "Send", type: 6 },
  ] as const

  it.effect.each(cases)("by us, $algorithm, is verified by jose: $kind", ({ algorithm, key, kind, type }) =>
    Effect.gen(function* () {
      const session = sessionOf({ signer: signerOf(key, algorithm), sign: "everything" })
      const jws = yield* sign(session, { kind, action: "BootNotification" }, payload)
      const verified = yield* Effect.promise(() => flattenedVerify(jws, publicKey(key), { algorithms: [algorithm] }))
      expect(textOf(verified.payload)).toBe(payload)
      expect(verified.protectedHeader).toEqual({
        alg: algorithm,
        OCPPAction: "BootNotification",
        OCPPMessageTypedId: type,
        "x5t#S256": sha256(new X509Certificate(keys[key].certificate).raw),
      })
    }),
  )

  it.effect.each(cases)("by jose, $algorithm, is verified by us: $kind", ({ algorithm, key, kind, type }) =>
    Effect.gen(function* () {
      const header = { alg: algorithm, OCPPAction: "BootNotification", OCPPMessageTypedId: type }
      const hash = sha256(new X509Certificate(keys[key].certificate).raw)
      const jws = yield* Effect.promise(() =>
        new FlattenedSign(new TextEncoder().encode(payload))
          .setProtectedHeader({ ...header, "x5t#S256": hash })
          .sign(privateKey(key)),
      )
      const action = "BootNotification"
      const message = frame({ kind, action }, { ...jws } as Signing.Jws)
      const opened = yield* open(requiring, message, action)
      expect(opened.signed).toMatchObject({ verified: true, certificateHash: hash, text: payload })
    }),
  )
})

describe("the inputs that another implementation has published", () => {
  const scalar = new Uint8Array(32).fill(published.scalarByte)
  const point = p256.getPublicKey(scalar, false)
  const coordinate = (from: number) => Buffer.from(point.subarray(from, from + 32)).toString("base64url")
  const jwk = { kty: "EC", crv: "P-256", x: coordinate(1), y: coordinate(33) }

  it("give this signature, which RFC 6979 determines", () => {
    const jws = jwsOf(published)
    const input = new TextEncoder().encode(`${jws.protected}.${jws.payload}`)
    const signature = p256.sign(input, scalar, { prehash: true, lowS: false })
    expect(Buffer.from(signature).toString("base64url")).toBe(jws.signature)
    expect(JSON.parse(Buffer.from(jws.protected, "base64url").toString())).toEqual({
      alg: "ES256",
      OCPPAction: published.action,
      OCPPMessageTypedId: 2,
      "x5t#S256": sha256(published.certificateText),
    })
  })

  it.effect("are verified by us", () =>
    Effect.gen(function* () {
      const key = Signing.verificationKey(jwk)
      const keys: Signing.Keys["Service"] = {
        find: ({ certificateHash }) =>
          Effect.succeed(certificateHash === sha256(published.certificateText) ? Option.some(key) : Option.none()),
      }
      const session = sessionOf({ verify: "required", keys })
      const opened = yield* open(session, frameOf(published), published.action)
      expect(opened.signed).toMatchObject({ verified: true, text: published.payload })
    }),
  )

  it("are verified by jose", async () => {
    const key = createPublicKey({ key: jwk, format: "jwk" })
    const { payload } = await flattenedVerify(jwsOf(published), key, { algorithms: ["ES256"] })
    expect(textOf(payload)).toBe(published.payload)
  })

  it.effect("are signed by us in the same words", () =>
    Effect.gen(function* () {
      const key = { ...jwk, d: Buffer.from(scalar).toString("base64url") }
      const signer = Signing.signer({ key, certificateHash: sha256(published.certificateText) })
      const jws = yield* sign(sessionOf({ signer, sign: "everything" }), published, published.payload)
      const { signature: _, ...words } = jwsOf(published)
      expect(jws).toMatchObject(words)
      const { payload } = yield* Effect.promise(() =>
        flattenedVerify(jws, createPublicKey({ key: jwk, format: "jwk" })),
      )
      expect(textOf(payload)).toBe(published.payload)
    }),
  )
})

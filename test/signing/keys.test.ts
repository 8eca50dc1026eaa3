/** The keys that sign and verify, in whatever form a program has them. */
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as nodeSign,
  webcrypto,
  X509Certificate,
} from "node:crypto"
import { inspect } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { flattenedVerify } from "jose"
import * as Signing from "../../src/Signing.ts"
import { frame, open, sessionOf, sign } from "./support/session.ts"
import { believed, keys, privateKey, publicKey, sha256, signerOf } from "./support/vectors.ts"

const { subtle } = webcrypto

const call = { kind: "Call", action: "Reset" } as const
const payload = '{"type":"Immediate"}'

const signWith = (signer: Signing.Signer) => sign(sessionOf({ signer, sign: "everything" }), call, payload)

/** Whether jose finds the signature right. */
const isRight = (jws: Signing.Jws, key: KeyObject) =>
  Effect.promise(() =>
    flattenedVerify(jws, key).then(({ payload: bytes }) => new TextDecoder().decode(bytes) === payload),
  )

const ec = privateKey("station")
const rsa = privateKey("rsa")

const importKey = (key: KeyObject, algorithm: object, use: "sign" | "verify", extractable = false) =>
  subtle.importKey(
    use === "sign" ? "pkcs8" : "spki",
    use === "sign" ? key.export({ type: "pkcs8", format: "der" }) : key.export({ type: "spki", format: "der" }),
    // What Web Crypto knows is asked of Web Crypto.
    algorithm as webcrypto.EcKeyImportParams,
    extractable,
    [use],
  )

const p256 = { name: "ECDSA", namedCurve: "P-256" }
const pkcs1 = (hash: string) => ({ name: "RSASSA-PKCS1-v1_5", hash })

describe("a signer", () => {
  const encrypted = { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "secret" } as const
  const forms: ReadonlyArray<
    readonly [what: string, options: () => Signing.KeyOptions | Promise<Signing.KeyOptions>, KeyObject]
  > = [
    ["PKCS #8", () => ({ key: ec.export({ type: "pkcs8", format: "pem" }).toString() }), ec],
    ["SEC 1", () => ({ key: ec.export({ type: "sec1", format: "pem" }).toString() }), ec],
    ["PKCS #1", () => ({ key: rsa.export({ type: "pkcs1", format: "pem" }).toString() }), rsa],
    ["PEM as bytes", () => ({ key: Buffer.from(rsa.export({ type: "pkcs8", format: "pem" })) }), rsa],
    ["Redacted PEM", () => ({ key: Redacted.make(ec.export({ type: "pkcs8", format: "pem" }).toString()) }), ec],
    ["encrypted PEM", () => ({ key: ec.export(encrypted).toString(), passphrase: Redacted.make("secret") }), ec],
    ["a JWK", () => ({ key: rsa.export({ format: "jwk" }) }), rsa],
    ["a KeyObject", () => ({ key: ec }), ec],
    ["a CryptoKey of P-256", async () => ({ key: await importKey(ec, p256, "sign") }), ec],
    ["a CryptoKey of RSA", async () => ({ key: await importKey(rsa, pkcs1("SHA-384"), "sign") }), rsa],
  ]
  it.effect.each(forms)("has its key as %s", ([, options, key]) =>
    Effect.gen(function* () {
      const jws = yield* signWith(Signing.signer(yield* Effect.promise(async () => options())))
      expect(yield* isRight(jws, createPublicKey(key))).toBe(true)
    }),
  )

  it("signs with ES256 by a P-256 key, with RS256 or what it is told by an RSA key", async () => {
    const algorithmOf = (options: Signing.KeyOptions) => Signing.signer(options).algorithm
    expect(algorithmOf({ key: ec })).toBe("ES256")
    expect(algorithmOf({ key: rsa })).toBe("RS256")
    expect(algorithmOf({ key: rsa, algorithm: "RS384" })).toBe("RS384")
    expect(algorithmOf({ key: { ...rsa.export({ format: "jwk" }), alg: "RS384" } })).toBe("RS384")
    expect(algorithmOf({ key: await importKey(rsa, pkcs1("SHA-384"), "sign") })).toBe("RS384")
  })

  it("names its certificate by the SHA-256 of its DER", () => {
    const { certificate, jwk } = keys.station
    const expected = sha256(new X509Certificate(certificate).raw)
    const { raw } = new X509Certificate(certificate)
    for (const form of [certificate, `${certificate}${keys.rsa.certificate}`, Buffer.from(certificate), raw]) {
      expect(Signing.signer({ key: jwk, certificate: form }).certificateHash).toBe(expected)
    }
    expect(Signing.signer({ key: jwk, certificate: new X509Certificate(certificate) }).certificateHash).toBe(expected)
    expect(Signing.signer({ key: jwk, certificateHash: expected }).certificateHash).toBe(expected)
    expect(Signing.signer({ key: jwk }).certificateHash).toBeUndefined()
  })

  const jwk = ec.export({ format: "jwk" })
  const kind = "key must be an EC key of the curve P-256, or an RSA key of 2048 bits or more"
  const wrong: ReadonlyArray<readonly [what: string, options: () => object | Promise<object>, why: string | RegExp]> = [
    ["of another curve", () => ({ key: generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey }), kind],
    ["of a short modulus", () => ({ key: generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey }), kind],
    ["of Ed25519", () => ({ key: generateKeyPairSync("ed25519").privateKey }), kind],
    ["for RSA-PSS alone", () => ({ key: generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).privateKey }), kind],
    ["that is public", () => ({ key: createPublicKey(ec) }), "key is no key to sign with"],
    ["that is public, as PEM", () => ({ key: keys.station.certificate }), /^key cannot be read/],
    [
      "that is public, as a JWK",
      () => ({ key: publicKey("station").export({ format: "jwk" }) }),
      /^key cannot be read/,
    ],
    ["that is no PEM", () => ({ key: "secret" }), /^key cannot be read/],
    ["that is no key", () => ({ key: null }), "key must be left out or have a value; got null"],
    ["that is a number", () => ({ key: 7 }), "key must be PEM, a JWK, a KeyObject or a CryptoKey"],
    [
      "of another passphrase",
      () => ({ key: ec.export(encrypted).toString(), passphrase: "guess" }),
      /^key cannot be read/,
    ],
    ["that is for encryption", () => ({ key: { ...jwk, use: "enc" } }), "key is a JWK whose use is not sig"],
    ["that may not sign", () => ({ key: { ...jwk, key_ops: ["verify"] } }), "key is a JWK whose key_ops has no sign"],
    ["for another algorithm", () => ({ key: { ...jwk, alg: "ES512" } }), "key is a JWK of another alg"],
    [
      "told an algorithm of others",
      () => ({ key: ec, algorithm: "RS256" }),
      "algorithm must be one of the key's, ES256",
    ],
    [
      "told one that is none",
      () => ({ key: rsa, algorithm: "PS256" }),
      "algorithm must be one of the key's, RS256 or RS384",
    ],
    [
      "of another certificate",
      () => ({ key: ec, certificate: keys.rsa.certificate }),
      "certificate is that of another key",
    ],
    ["whose certificate is none", () => ({ key: ec, certificate: "none" }), "certificate must be one, in PEM or DER"],
    [
      "whose hash is hexadecimal",
      () => ({ key: ec, certificateHash: "00".repeat(32) }),
      /^certificateHash must be the SHA-256 of a certificate, base64url without padding/,
    ],
    [
      "of two certificates",
      () => ({ key: ec, certificate: keys.station.certificate, certificateHash: sha256("") }),
      "certificateHash cannot be given beside certificate",
    ],
    [
      "of a CryptoKey for RSA-PSS",
      async () => ({ key: await importKey(rsa, { name: "RSA-PSS", hash: "SHA-256" }, "sign") }),
      kind,
    ],
    ["of a CryptoKey for SHA-512", async () => ({ key: await importKey(rsa, pkcs1("SHA-512"), "sign") }), kind],
    [
      "of a CryptoKey of a short modulus",
      async () => {
        const { privateKey: short } = generateKeyPairSync("rsa", { modulusLength: 1024 })
        return { key: await importKey(short, pkcs1("SHA-256"), "sign") }
      },
      kind,
    ],
    [
      "of a CryptoKey that verifies",
      async () => ({ key: await importKey(publicKey("station"), p256, "verify") }),
      "key is a CryptoKey whose usages have no sign",
    ],
    ["that is misspelt", () => ({ kye: ec }), /^unknown option "kye"/],
    ["whose function is none", () => ({ algorithm: "ES256", sign: "chip" }), "sign must be a function"],
    [
      "whose function has no algorithm",
      () => ({ sign: () => new Uint8Array() }),
      "algorithm must be ES256, RS256 or RS384",
    ],
  ]
  it.each(wrong)("with a key %s is refused, by an error that shows nothing of the key", async (_, options, why) => {
    const given = await options()
    const make = () => Signing.signer(given as Signing.KeyOptions)
    expect(make).toThrow(typeof why === "string" ? new RangeError(why) : why)
    expect(make).toThrow(RangeError)
    try {
      make()
    } catch (error) {
      expect(inspect(error, { depth: 9 })).not.toContain(String(jwk.d))
    }
  })

  it("shows nothing of its key", () => {
    expect(inspect(signerOf("station"), { depth: 9, showHidden: true })).not.toContain(String(jwk.d))
    expect(JSON.stringify(signerOf("station"))).not.toContain(String(jwk.d))
  })
})

describe("a signer of the program's own", () => {
  const rs = (input: Uint8Array) => nodeSign("sha256", input, { key: ec, dsaEncoding: "ieee-p1363" })
  const functions: ReadonlyArray<readonly [what: string, sign: Signing.CustomOptions["sign"]]> = [
    ["bytes", rs],
    ["a promise", async (input) => rs(input)],
    [
      "an Effect",
      (input) =>
        Effect.delay(
          Effect.sync(() => rs(input)),
          0,
        ),
    ],
  ]
  it.effect.each(functions)("gives %s", ([, signature]) =>
    Effect.gen(function* () {
      const { certificate } = keys.station
      const jws = yield* signWith(Signing.signer({ algorithm: "ES256", certificate, sign: signature }))
      expect(yield* isRight(jws, publicKey("station"))).toBe(true)
      const opened = yield* open(sessionOf({ verify: "required", keys: believed }), frame(call, jws), call.action)
      expect(opened.signed.verified).toBe(true)
    }),
  )

  const failures: ReadonlyArray<readonly [what: string, sign: Signing.CustomOptions["sign"], cause: RegExp]> = [
    ["fails", () => Effect.fail(new Error("the chip is gone")), /the chip is gone/],
    ["rejects", () => Promise.reject(new Error("the chip is gone")), /the chip is gone/],
    ["dies", () => Effect.die(new Error("the chip is gone")), /the chip is gone/],
    [
      "throws",
      () => {
        throw new Error("the chip is gone")
      },
      /the chip is gone/,
    ],
    ["gives DER", (input) => nodeSign("sha256", input, ec), /64 bytes, R and S; the signer has given 7\d \(DER\?\)/],
  ]
  it.effect.each(failures)(
    "that %s fails the message with InternalError, and the log says why",
    ([, signature, cause]) =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.make(({ cause, message }) => lines.push(inspect([message, cause], { depth: 9 })))
        const error = yield* Effect.flip(signWith(Signing.signer({ algorithm: "ES256", sign: signature }))).pipe(
          Effect.provide(Logger.layer([logger])),
        )
        expect(error).toMatchObject({ code: "InternalError", message: "Reset could not be signed" })
        expect(lines).toHaveLength(1)
        expect(lines[0]).toMatch(cause)
      }),
  )

  it.effect("is interrupted with its message, and nothing is logged", () =>
    Effect.gen(function* () {
      const lines: Array<unknown> = []
      const interrupted: Array<string> = []
      const chip = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push("chip")))
      const fiber = yield* Effect.forkChild(
        signWith(Signing.signer({ algorithm: "ES256", sign: () => chip })).pipe(
          Effect.provide(Logger.layer([Logger.make(({ message }) => lines.push(message))])),
        ),
        { startImmediately: true },
      )
      yield* Fiber.interrupt(fiber)
      expect(interrupted).toEqual(["chip"])
      expect(lines).toEqual([])
      expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
    }),
  )
})

describe("a key that verifies", () => {
  const input = new TextEncoder().encode("what is signed")
  const signature = {
    ES256: nodeSign("sha256", input, { key: ec, dsaEncoding: "ieee-p1363" }),
    RS256: nodeSign("sha256", input, rsa),
    RS384: nodeSign("sha384", input, rsa),
  }
  type Given = Parameters<typeof Signing.verificationKey>[0]
  const spki = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString()
  const forms: ReadonlyArray<
    readonly [what: string, key: () => Given | Promise<Given>, algorithms: ReadonlyArray<Signing.Algorithm>]
  > = [
    ["a certificate in PEM", () => keys.station.certificate, ["ES256"]],
    ["a certificate in PEM, as bytes", () => Buffer.from(keys.rsa.certificate), ["RS256", "RS384"]],
    ["a certificate in DER", () => new X509Certificate(keys.station.certificate).raw, ["ES256"]],
    ["an X509Certificate", () => new X509Certificate(keys.rsa.certificate), ["RS256", "RS384"]],
    ["a public key in PEM", () => spki(publicKey("station")), ["ES256"]],
    ["a public key in PEM, as bytes", () => Buffer.from(spki(publicKey("rsa"))), ["RS256", "RS384"]],
    ["a JWK", () => publicKey("station").export({ format: "jwk" }), ["ES256"]],
    ["a JWK with its alg", () => ({ ...publicKey("rsa").export({ format: "jwk" }), alg: "RS384" }), ["RS384"]],
    ["a KeyObject", () => publicKey("rsa"), ["RS256", "RS384"]],
    ["the private key", () => ec, ["ES256"]],
    ["a CryptoKey of P-256", () => importKey(publicKey("station"), p256, "verify"), ["ES256"]],
    ["a CryptoKey of RSA", () => importKey(publicKey("rsa"), pkcs1("SHA-256"), "verify"), ["RS256"]],
  ]
  it.effect.each(forms)("is %s", ([, given, algorithms]) =>
    Effect.gen(function* () {
      const key = Signing.verificationKey(yield* Effect.promise(async () => given()))
      expect(key.algorithms).toEqual(algorithms)
      for (const algorithm of algorithms) {
        expect(yield* key.verify(algorithm, input, signature[algorithm])).toBe(true)
        expect(yield* key.verify(algorithm, new TextEncoder().encode("another"), signature[algorithm])).toBe(false)
        for (const bytes of [
          new Uint8Array(),
          new Uint8Array(64),
          new Uint8Array(300),
          nodeSign("sha256", input, ec),
        ]) {
          expect(yield* key.verify(algorithm, input, bytes)).toBe(false)
        }
      }
    }),
  )

  it("knows of a certificate its hash and its subject, of a bare key neither", () => {
    expect(Signing.verificationKey(keys.station.certificate)).toMatchObject({
      certificateHash: Signing.certificateHash(keys.station.certificate),
      subject: "CN=station",
    })
    const bare = Signing.verificationKey(publicKey("station"))
    expect(bare.certificateHash).toBeUndefined()
    expect(bare.subject).toBeUndefined()
    expect(() => Signing.byCertificateHash([bare])).toThrow(RangeError)
  })

  const wrong: ReadonlyArray<readonly [what: string, key: () => unknown]> = [
    ["of another curve", () => generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey],
    ["of a short modulus", () => generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey],
    ["that is a secret", () => ({ kty: "oct", k: "c2VjcmV0" })],
    ["that is for encryption", () => ({ ...publicKey("rsa").export({ format: "jwk" }), use: "enc" })],
    ["that is no key", () => "-----BEGIN PUBLIC KEY-----"],
    ["that is no certificate", () => "-----BEGIN CERTIFICATE-----"],
  ]
  it.each(wrong)("is not one %s", (_, key) => {
    expect(() => Signing.verificationKey(key() as string)).toThrow(RangeError)
  })
})

import * as Tls from "node:tls"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Client, Ocpp16, Security, Server } from "effect-ocpp"
import { makeAuthority } from "./support/Certificates.ts"

describe("passwordMatches", () => {
  const given = (password: string | Uint8Array | undefined) => ({
    password: password === undefined ? undefined : Buffer.from(password),
  })

  it("compares bytes; a string is UTF-8", () => {
    expect(Security.passwordMatches(given("pässword"), "pässword")).toBe(true)
    expect(Security.passwordMatches(given(Uint8Array.of(255, 0, 58)), Uint8Array.of(255, 0, 58))).toBe(true)
    expect(Security.passwordMatches(given(Uint8Array.of(255)), Uint8Array.of(254))).toBe(false)
    expect(Security.passwordMatches(given("secret"), "secret2")).toBe(false)
  })

  it("takes no password for none at all, not for an empty one", () => {
    expect(Security.passwordMatches(given(""), "")).toBe(true)
    expect(Security.passwordMatches(given(undefined), "")).toBe(false)
  })
})

describe("certificateMatches", () => {
  let trusted: ReturnType<typeof makeAuthority>
  let stranger: ReturnType<typeof makeAuthority>
  beforeAll(() => {
    trusted = makeAuthority("Trusted CA")
    stranger = makeAuthority("Stranger CA")
  })
  afterAll(() => {
    trusted.remove()
    stranger.remove()
  })

  const verdict = (identity: string, certified: { readonly cert: string; readonly key: string } | undefined) =>
    Effect.gen(function* () {
      const verdicts: Array<boolean> = []
      const server = yield* Server.make({
        protocols: [Ocpp16],
        auth: (handshake) => Effect.sync(() => verdicts.push(Security.certificateMatches(handshake))),
      })
      const tls = { ...trusted.issue({ name: "CSMS" }), ca: trusted.cert, requestCert: true, rejectUnauthorized: false }
      yield* server.listen({ tls, host: "127.0.0.1" })
      yield* Client.make({
        endpoint: `wss://127.0.0.1:${server.port}`,
        identity,
        protocols: [Ocpp16],
        webSocket: { ca: trusted.cert, ...certified },
      })
      return verdicts
    })

  it.live("says yes to the certificate of the station itself, and no to every other", () =>
    Effect.gen(function* () {
      expect(yield* verdict("CP001", trusted.issue({ name: "CP001" }))).toEqual([true])
      expect(yield* verdict("CP001", trusted.issue({ name: "CP002" }))).toEqual([false])
      expect(yield* verdict("CP001", stranger.issue({ name: "CP001" }))).toEqual([false])
      expect(yield* verdict("CP001", trusted.issue({ name: "CP001", expired: true }))).toEqual([false])
      expect(yield* verdict("CP001", undefined)).toEqual([false])
    }),
  )

  it.live("says no where there is no TLS", () =>
    Effect.gen(function* () {
      const verdicts: Array<boolean> = []
      const server = yield* Server.make({
        protocols: [Ocpp16],
        auth: (handshake) => Effect.sync(() => verdicts.push(Security.certificateMatches(handshake))),
      })
      yield* server.listen({ host: "127.0.0.1" })
      yield* Client.make({ endpoint: `ws://127.0.0.1:${server.port}`, identity: "CP001", protocols: [Ocpp16] })
      expect(verdicts).toEqual([false])
    }),
  )
})

describe("the TLS that a server makes", () => {
  let authority: ReturnType<typeof makeAuthority>
  beforeAll(() => {
    authority = makeAuthority("CSMS CA")
  })
  afterAll(() => authority.remove())

  /** The cipher suite that a client gets, or why it gets none. */
  const agreed = (port: number, options: Tls.ConnectionOptions) =>
    Effect.callback<string>((resume) => {
      const socket = Tls.connect({ port, host: "127.0.0.1", ca: authority.cert, ...options })
      const end = (verdict: string) => {
        socket.destroy()
        resume(Effect.succeed(verdict))
      }
      socket.on("secureConnect", () => end(socket.getCipher().name))
      socket.on("error", () => end("refused"))
    })

  const listenWith = (tls: Tls.TlsOptions) =>
    Effect.gen(function* () {
      const server = yield* Server.make({ protocols: [Ocpp16] })
      const certified = [authority.issue({ name: "CSMS", algorithm: "rsa" }), authority.issue({ name: "CSMS" })]
      const cert = certified.map(({ cert }) => cert)
      const key = certified.map(({ key }) => key)
      yield* server.listen({ host: "127.0.0.1", tls: { cert, key, ...tls } })
      return server.port as number
    })

  const refused = ["ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "AES128-SHA", "AES256-SHA256"]
  const accepted = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
  ]

  it.live("accepts suites that authenticate as they encrypt, those that OCPP asks for among them, and no other", () =>
    Effect.gen(function* () {
      const port = yield* listenWith({})
      for (const ciphers of refused) {
        expect([ciphers, yield* agreed(port, { ciphers, maxVersion: "TLSv1.2" })]).toEqual([ciphers, "refused"])
      }
      for (const ciphers of accepted) expect(yield* agreed(port, { ciphers, maxVersion: "TLSv1.2" })).toBe(ciphers)
      expect(yield* agreed(port, {})).toBe("TLS_AES_256_GCM_SHA384")
    }),
  )

  it.live("accepts other suites when it is told to", () =>
    Effect.gen(function* () {
      const ciphers = "ECDHE-RSA-AES128-SHA256"
      const port = yield* listenWith({ ciphers })
      expect(yield* agreed(port, { ciphers, maxVersion: "TLSv1.2" })).toBe(ciphers)
    }),
  )
})

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

/** E. TLS: versions and suites, client certificates, handshakes that stall. */
import { Buffer } from "node:buffer"
import * as Tls from "node:tls"
import { type Certified, makeAuthority } from "../../../test/support/Certificates.ts"
import { pause, within } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { exchange } from "../rawServers.ts"

/** An authority whose files go when the case does. */
const authority = (context: Context, name: string) => {
  const made = makeAuthority(name)
  context.finally(made.remove)
  return made
}

/** Tries a TLS handshake. Gives version and suite; `undefined` when it fails. */
const handshake = (port: number, options: Tls.ConnectionOptions): Promise<string | undefined> =>
  within(
    10_000,
    "a TLS handshake",
    new Promise((resolve) => {
      const socket = Tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options })
      const done = (result: string | undefined) => {
        resolve(result)
        socket.destroy()
      }
      socket.once("secureConnect", () => done(`${socket.getProtocol()} ${socket.getCipher().name}`))
      socket.once("error", () => done(undefined))
      socket.once("close", () => done(undefined))
    }),
  )

const isAead = (suite: string) => /gcm|chacha20|ccm/i.test(suite)

/** The suites of the OCPP security whitepaper, of which a certificate can serve one half. */
const demanded = {
  rsa: ["aes128-gcm-sha256", "aes256-gcm-sha384"],
  ecdsa: ["ecdhe-ecdsa-aes128-gcm-sha256", "ecdhe-ecdsa-aes256-gcm-sha384"],
}

/** The suites of TLS 1.2 that a server speaks. */
const spokenBy = async (port: number): Promise<ReadonlyArray<string>> => {
  const spoken: Array<string> = []
  for (const suite of Tls.getCiphers().filter((name) => !name.startsWith("tls_"))) {
    const only = { ciphers: `${suite.toUpperCase()}:@SECLEVEL=0`, maxVersion: "TLSv1.2" } as const
    const result = await handshake(port, only).catch(() => undefined)
    if (result !== undefined) spoken.push(suite)
  }
  return spoken
}

export const tlsFloor = fault<"rsa" | "ecdsa">({
  id: "E7",
  promise: "TLS 1.2 is the floor, and only AEAD suites are spoken, those that OCPP asks for among them",
  faces: ["effect"],
  inputs: { "RSA certificate": "rsa", "ECDSA certificate": "ecdsa" },
  check: async ({ context, input: algorithm }) => {
    const ca = authority(context, "CSMS root")
    const { port } = await context.serve({ tls: ca.issue({ name: "127.0.0.1", algorithm }) })
    for (const version of ["TLSv1", "TLSv1.1"] as const) {
      const old = { minVersion: version, maxVersion: version, ciphers: "ALL:@SECLEVEL=0" }
      same(await handshake(port, old), undefined, version)
    }
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const spoken = await handshake(port, { minVersion: version, maxVersion: version })
      check(spoken?.startsWith(version), `${version} is spoken: ${spoken}`)
    }
    const spoken = await spokenBy(port)
    same(
      spoken.filter((suite) => !isAead(suite)),
      [],
      "suites that are not AEAD",
    )
    same(
      demanded[algorithm].filter((suite) => !spoken.includes(suite)),
      [],
      "suites that OCPP asks for and that are not spoken",
    )
  },
})

export const clientCertificates = fault<boolean>({
  id: "E8",
  promise: "a client certificate that is absent, expired, of another authority or another station's is refused",
  faces: ["effect"],
  // Whether TLS refuses it, or auth, is the program's choice.
  inputs: { "TLS decides": true, "auth decides": false },
  check: async ({ context, input: rejectUnauthorized }) => {
    const ca = authority(context, "station root")
    const foreign = authority(context, "another root").issue({ name: "CP001" })
    const refusedByTls = rejectUnauthorized ? 0 : 401
    const table: ReadonlyArray<readonly [what: string, certificate: Certified | undefined, status: number]> = [
      ["its own", ca.issue({ name: "CP001" }), 101],
      ["none", undefined, refusedByTls],
      ["an expired one", ca.issue({ name: "CP001", expired: true }), refusedByTls],
      ["one of another authority", foreign, refusedByTls],
      ["that of another station", ca.issue({ name: "CP002" }), 401],
      ["one with a name that only begins so", ca.issue({ name: "CP0010" }), 401],
    ]
    const tls = { ...ca.issue({ name: "127.0.0.1" }), ca: ca.cert, requestCert: true, rejectUnauthorized }
    const server = await context.serve({ tls, auth: "ownCertificate", bystander: !rejectUnauthorized })
    for (const [what, certificate, status] of table) {
      const station = await context.attack(server, { path: "/CP001", tls: { ...certificate }, mayFail: true })
      same(station.status, status, what)
    }
    await server.event(/^UpgradeAborted 401/, "CP001")
  },
})

const hello = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03])

export const stalledTls = fault({
  id: "E9",
  promise: "a TLS handshake that stalls is ended after 10 s; others go on",
  faces: ["effect"],
  check: async ({ context }) => {
    const server = await context.serve({ tls: authority(context, "CSMS root").issue({ name: "127.0.0.1" }) })
    const stalled = [Buffer.alloc(0), hello].map((bytes) => exchange(server.port, bytes))
    await pause(1_000)
    const other = await within(5_000, "another station", context.attack(server, { path: "/OTHER", tls: {} }))
    same((await other.ask("1", "Heartbeat")).slice(0, 2), [3, "1"], "another station's Heartbeat")
    for (const { after } of await Promise.all(stalled)) {
      check(after > 5_000 && after < 13_000, `a stalled handshake was ended after ${after} ms`)
    }
  },
})

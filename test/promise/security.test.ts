/** The security profiles of OCPP: passwords, TLS, and mutual TLS, with certificates made for these tests. */
import { Buffer } from "node:buffer"
import * as Https from "node:https"
import type * as Tls from "node:tls"
import { afterAll, describe, expect, it, onTestFinished } from "@effect/vitest"
import { RPCServer } from "effect-ocpp"
import { type Authority, type Certified, makeAuthority } from "../support/Certificates.ts"
import { next, rejection } from "../support/listeners.ts"
import { endpointOf, listening, makeClient } from "../support/listening.ts"
import { basic, rawStation } from "../support/RawSocket.ts"

const allBytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))

describe("profile 1: the password", () => {
  /** What the server takes for the password of a client of ours. */
  const passwordOf = async (identity: string, password?: string | Uint8Array | null) => {
    const { endpoint, server } = await listening()
    const accepted = next(server, "client")
    await makeClient(endpoint, { identity, ...(password === undefined ? {} : { password }) }).connect()
    return (await accepted)[0].handshake.password
  }

  /** What the server takes for the password in an Authorization header. */
  const passwordIn = async (identity: string, authorization: string) => {
    const { endpoint, server } = await listening()
    const accepted = next(server, "client")
    await rawStation(endpoint, { identity, headers: { authorization } })
    return (await accepted)[0].handshake.password
  }

  it("may be a string, which is encoded as UTF-8", async () => {
    expect(await passwordOf("AzureDiamond", "hunter2")).toEqual(Buffer.from("hunter2"))
    expect(await passwordOf("AzureDiamond", "pässwört €")).toEqual(Buffer.from("pässwört €", "utf8"))
  })

  it("may be any bytes", async () => {
    expect(await passwordOf("RPC", allBytes)).toEqual(allBytes)
    expect(await passwordOf("RPC", new Uint8Array([0, 255, 58]))).toEqual(Buffer.from([0, 255, 58]))
  })

  it.each([
    ["this:is:ok", "as:is:this"],
    [":", ":"],
    ["a:", ":b"],
    ["a:b", "a:b:c"],
    ["a", "b:c"],
    ["ünïcode:é", "p"],
  ])("and the identity may have colons: %j with %j", async (identity, password) => {
    expect((await passwordOf(identity, password)).toString()).toBe(password)
  })

  it("may be empty", async () => {
    expect(await passwordOf("CP001", "")).toEqual(Buffer.alloc(0))
    expect(await passwordOf("CP001", Buffer.alloc(0))).toEqual(Buffer.alloc(0))
  })

  it("is undefined where the client sends none", async () => {
    expect(await passwordOf("CP001")).toBeUndefined()
    expect(await passwordOf("CP001", null)).toBeUndefined()
  })

  it.each([
    ["of another identity", basic("CP002", "secret")],
    ["of an identity that begins alike", basic("CP0011", "secret")],
    ["of the beginning of the identity", basic("CP00", "1:secret")],
    ["without a user", basic("", "secret")],
    ["without a colon", `Basic ${Buffer.from("CP001").toString("base64")}`],
    ["of another scheme", "Bearer Q1AwMDE6c2VjcmV0"],
    ["without credentials", "Basic"],
    ["with garbage", "Basic !!!"],
  ])("is undefined where the Authorization header is %s", async (_, authorization) => {
    expect(await passwordIn("CP001", authorization)).toBeUndefined()
  })

  it("is found whatever the case of `Basic`", async () => {
    const credentials = basic("CP001", "secret").slice("Basic ".length)
    for (const scheme of ["basic", "BASIC", "Basic "]) {
      expect((await passwordIn("CP001", `${scheme} ${credentials}`))?.toString()).toBe("secret")
    }
  })

  it("decides, in auth, who may connect", async () => {
    const { endpoint, server } = await listening()
    server.auth((accept, reject, { identity, password }) => {
      if (identity === "AzureDiamond" && password?.toString("utf8") === "hunter2") accept()
      else reject(401)
    })
    await makeClient(endpoint, { identity: "AzureDiamond", password: "hunter2" }).connect()
    for (const options of [{ identity: "AzureDiamond", password: "*******" }, { identity: "AzureDiamond" }]) {
      expect(await rejection(makeClient(endpoint, options).connect())).toMatchObject({ code: 401 })
    }
  })

  it("is not in what is printed of the error when it is refused", async () => {
    const { endpoint, server } = await listening()
    server.auth((_, reject) => reject(401))
    const error = await rejection(makeClient(endpoint, { password: "hunter2" }).connect())
    const { inspect } = await import("node:util")
    expect(inspect(error, { depth: 10 })).not.toContain(Buffer.from("CP001:hunter2").toString("base64"))
  })

  it("that is changed by reconfigure() takes effect at the next connection", async () => {
    const { endpoint, server } = await listening()
    const passwords: Array<string | undefined> = []
    server.on("client", ({ handshake }) => passwords.push(handshake.password?.toString()))
    const client = makeClient(endpoint, { password: "old", reconnect: true, backoff: { initialDelay: 1 } })
    const first = next(server, "client")
    await client.connect()
    client.reconfigure({ password: "new" })
    const reconnected = next(client, "open")
    await (await first)[0].close()
    await reconnected
    client.reconfigure({ password: null })
    await client.close()
    await client.connect()
    expect(passwords).toEqual(["old", "new", undefined])
  })
})

const removals: Array<() => void> = []
afterAll(() => {
  for (const remove of removals) remove()
})

/** Made when first asked for. */
const once = <A>(make: () => A) => {
  let made: { readonly value: A } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

const authority = (name: string): (() => Authority) =>
  once(() => {
    const made = makeAuthority(name)
    removals.push(made.remove)
    return made
  })

const trusted = authority("Trusted CA")
const stranger = authority("Stranger CA")
const rsa = once(() => trusted().issue({ name: "csms", algorithm: "rsa" }))
const ecdsa = once(() => trusted().issue({ name: "csms", algorithm: "ecdsa" }))

/** An RPCServer behind an HTTPS server with these certificates. */
const listeningByTls = async (certificates: ReadonlyArray<Certified>, options: Https.ServerOptions = {}) => {
  const server = new RPCServer()
  const httpsServer = Https.createServer({
    cert: certificates.map(({ cert }) => cert),
    key: certificates.map(({ key }) => key),
    minVersion: "TLSv1.2",
    ...options,
  })
  httpsServer.on("upgrade", server.handleUpgrade)
  await new Promise<void>((resolve) => httpsServer.listen(0, "127.0.0.1", resolve))
  onTestFinished(async () => {
    await server.close({ force: true })
    httpsServer.closeAllConnections()
    httpsServer.close()
  })
  return { server, endpoint: endpointOf(httpsServer, "wss") }
}

/** The socket of the client that connects next, as `auth` sees it. */
const seenByAuth = (server: RPCServer) =>
  new Promise<Tls.TLSSocket>((resolve) =>
    server.auth((accept, _, { request }) => {
      resolve((request as unknown as { client: Tls.TLSSocket }).client)
      accept()
    }),
  )

describe("profile 2: TLS", () => {
  it("keeps the password, and auth sees version, cipher and certificate of the connection", async () => {
    const { endpoint, server } = await listeningByTls([rsa(), ecdsa()])
    const socket = seenByAuth(server)
    const accepted = next(server, "client")
    await makeClient(endpoint, { password: "monkey1", wsOpts: { ca: trusted().cert } }).connect()
    expect((await accepted)[0].handshake.password.toString()).toBe("monkey1")
    const tls = await socket
    expect(["TLSv1.2", "TLSv1.3"]).toContain(tls.getProtocol())
    expect(tls.getCipher().name).toEqual(expect.any(String))
    expect(tls.getCertificate()).toMatchObject({ subject: { CN: "csms" } })
  })

  it.each([["ECDHE-RSA-AES128-GCM-SHA256"], ["ECDHE-ECDSA-AES128-GCM-SHA256"]])(
    "has a certificate for %s",
    async (ciphers) => {
      const { endpoint, server } = await listeningByTls([rsa(), ecdsa()])
      const socket = seenByAuth(server)
      await makeClient(endpoint, { wsOpts: { ca: trusted().cert, ciphers, maxVersion: "TLSv1.2" } }).connect()
      const tls = await socket
      expect(tls.getCipher().name).toBe(ciphers)
      expect(tls.getProtocol()).toBe("TLSv1.2")
    },
  )

  it("refuses a certificate that nobody trusts", async () => {
    const { endpoint } = await listeningByTls([stranger().issue({ name: "csms" })])
    const error = await rejection(makeClient(endpoint, { wsOpts: { ca: trusted().cert } }).connect())
    expect(error).toBeInstanceOf(Error)
    expect(error.code).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE")
    expect(error.message).toMatch(/certificate|verify/i)
  })

  it("refuses, without `ca`, a certificate of an authority of one's own", async () => {
    const { endpoint } = await listeningByTls([ecdsa()])
    expect((await rejection(makeClient(endpoint).connect())).message).toMatch(/certificate|issuer/i)
  })

  it("refuses a certificate that has expired", async () => {
    const { endpoint } = await listeningByTls([trusted().issue({ name: "csms", expired: true })])
    const error = await rejection(makeClient(endpoint, { wsOpts: { ca: trusted().cert } }).connect())
    expect(error.code).toBe("CERT_HAS_EXPIRED")
    expect(error.message).toContain("expired")
  })

  it("refuses a certificate of another host", async () => {
    const { endpoint } = await listeningByTls([ecdsa()])
    const wsOpts = { ca: trusted().cert, servername: "csms.example.com" }
    const error = await rejection(makeClient(endpoint, { wsOpts }).connect())
    expect(error.code).toBe("ERR_TLS_CERT_ALTNAME_INVALID")
  })

  // Ciphers of TLS 1.1 exist in OpenSSL 3 at security level 0 only.
  const old = { ciphers: "DEFAULT:@SECLEVEL=0" }

  it("does not talk TLS 1.1 to a server that knows nothing newer, unless asked to", async () => {
    const { endpoint } = await listeningByTls([rsa()], { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ...old })
    const error = await rejection(makeClient(endpoint, { wsOpts: { ca: trusted().cert, ...old } }).connect())
    expect(error.message).toMatch(/protocol|version/i)
    const wsOpts = { ca: trusted().cert, minVersion: "TLSv1.1", ...old } as const
    await makeClient(endpoint, { wsOpts }).connect()
  })

  it("a server with minVersion TLSv1.2 refuses a client of TLS 1.1", async () => {
    const { endpoint, server } = await listeningByTls([rsa()], old)
    const wsOpts = { ca: trusted().cert, minVersion: "TLSv1", maxVersion: "TLSv1.1", ...old } as const
    const error = await rejection(makeClient(endpoint, { wsOpts }).connect())
    expect(error.message).toMatch(/protocol|version/i)
    expect(server.listenerCount("client")).toBe(0)
  })

  it("does not take a wss endpoint for granted: a plain server is refused with a clear error", async () => {
    const { endpoint } = await listening()
    const error = await rejection(makeClient(endpoint.replace("ws:", "wss:")).connect())
    expect(error).toBeInstanceOf(Error)
    expect(error.message).not.toBe("")
  })
})

describe("profile 3: mutual TLS", () => {
  /** The certificate that auth sees, and whether it is of an authority that the server trusts. */
  const presented = async (certified: Certified | undefined, options: Https.ServerOptions = {}) => {
    const { endpoint, server } = await listeningByTls([ecdsa()], {
      requestCert: true,
      rejectUnauthorized: false,
      ca: trusted().cert,
      ...options,
    })
    const socket = seenByAuth(server)
    await makeClient(endpoint, { wsOpts: { ca: trusted().cert, ...certified } }).connect()
    const tls = await socket
    return { certificate: tls.getPeerCertificate(), authorized: tls.authorized }
  }

  it("shows auth the client's certificate", async () => {
    const { authorized, certificate } = await presented(trusted().issue({ name: "CP001" }))
    expect([certificate.subject.CN, certificate.issuer.CN, authorized]).toEqual(["CP001", "Trusted CA", true])
  })

  it("shows auth an RSA certificate alike", async () => {
    const { authorized, certificate } = await presented(trusted().issue({ name: "CP001", algorithm: "rsa" }))
    expect([certificate.subject.CN, authorized]).toEqual(["CP001", true])
  })

  it("shows auth an empty object where the client has no certificate", async () => {
    expect(await presented(undefined)).toEqual({ certificate: {}, authorized: false })
  })

  it("shows auth that a certificate is of a stranger, or has expired", async () => {
    expect((await presented(stranger().issue({ name: "CP001" }))).authorized).toBe(false)
    expect((await presented(trusted().issue({ name: "CP001", expired: true }))).authorized).toBe(false)
  })

  it("lets auth refuse the certificate of another station", async () => {
    const { endpoint, server } = await listeningByTls([ecdsa()], { requestCert: true, ca: trusted().cert })
    server.auth((accept, reject, { identity, request }) => {
      const { client } = request as unknown as { client: Tls.TLSSocket }
      if (client.authorized && client.getPeerCertificate().subject.CN === identity) accept()
      else reject(401)
    })
    const wsOpts = { ca: trusted().cert, ...trusted().issue({ name: "CP001" }) }
    await makeClient(endpoint, { identity: "CP001", wsOpts }).connect()
    expect(await rejection(makeClient(endpoint, { identity: "CP002", wsOpts }).connect())).toMatchObject({ code: 401 })
  })

  it.each([
    ["none", () => undefined],
    ["one of a stranger", () => stranger().issue({ name: "CP001" })],
    ["one that has expired", () => trusted().issue({ name: "CP001", expired: true })],
  ])("with rejectUnauthorized does not even ask auth about a client whose certificate is %s", async (_, certified) => {
    const { endpoint, server } = await listeningByTls([ecdsa()], { requestCert: true, ca: trusted().cert })
    let asked = false
    server.auth((accept) => {
      asked = true
      accept()
    })
    const error = await rejection(makeClient(endpoint, { wsOpts: { ca: trusted().cert, ...certified() } }).connect())
    expect(error).toBeInstanceOf(Error)
    expect(asked).toBe(false)
  })
})

/** E. Identities, request targets, refusals, passwords. */
import { Buffer } from "node:buffer"
import { performance } from "node:perf_hooks"
import { passwordMatches } from "../../../src/Security.ts"
import { basic as basicValue } from "../../../test/support/handshake.ts"
import { fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { upgrade } from "../RawStation.ts"
import { exchange } from "../rawServers.ts"
import type { ServerSubject } from "../subjects.ts"

/** An Authorization header. */
export const basic = (user: string, password: Uint8Array | string) => `Authorization: ${basicValue(user, password)}`

/** The status that an upgrade request gets. */
export const statusOf = async (context: Context, port: number, path: string, headers: ReadonlyArray<string> = []) =>
  (await context.attack({ port }, { path, headers, mayFail: true })).status

const badEscapes = ["%E0%A4%A", "%", "%zz", "%C3%28", "%ED%A0%80", "%00", "a%0d%0aSet-Cookie:x", "a%7f", "a%C2%85"]
const badIdentities = [...badEscapes, "..%2f", "a%2Fb", "", "x".repeat(256), "x".repeat(300), "%41".repeat(300)]
const goodIdentities = [
  ...["a%252fb", "a%2525", "x".repeat(255), "%E2%82%AC", "__proto__", "constructor", "..", "a:b", "%20"],
]

export const identities = fault({
  id: "E1",
  promise:
    "an identity that cannot be decoded, is empty, too long, or holds a slash or control characters is a 400; it is decoded once",
  server: {},
  check: async ({ context, server }) => {
    for (const path of badIdentities) {
      same(await statusOf(context, server.port, `/ocpp/${path}`), 400, path.slice(0, 40))
    }
    for (const path of goodIdentities) {
      same(await statusOf(context, server.port, `/ocpp/${path}`), 101, path.slice(0, 40))
      await server.event(/^Connected/, decodeURIComponent(path))
    }
    same((await server.counts()).UpgradeAborted, badIdentities.length, "refusals that were told")
  },
  tells: [[/^UpgradeAborted 400 the identity has a slash or a control character/, undefined]],
})

const badTargets = [
  ...["http://[", "http://evil", "http:///CP001", "http://CP001@evil/CP001", "ftp://evil/CP001"],
  ...["//", "*", "?x", "CP001", "http://[::1", "/\u0000", "/a b"],
]

export const targets = fault({
  id: "E2",
  promise:
    "targets whose absolute form is malformed, or that are none, are a 400; nothing in a target is taken for a host of ours",
  server: {},
  check: async ({ attack, server }) => {
    for (const path of badTargets) same((await exchange(server.port, upgrade({ path }))).status, 400, path)
    for (const path of ["http://evil/CP001", "//evil/CP001", "ws://localhost/CP001", "///CP001"]) {
      const attacker = await attack({ path })
      attacker.send([2, "1", "Heartbeat", {}])
      same((await attacker.receive())[1], "1", path)
    }
  },
  tells: [[/^UpgradeAborted 400 the request target must be a path/, undefined]],
})

export const splitting = fault({
  id: "E3",
  promise: "CR and LF in the message of a refusal stay in the body; the status of a refusal is 400 to 599",
  server: { auth: "split", observed: false },
  check: async ({ context, face, server }) => {
    const { answer, status } = await exchange(server.port, upgrade())
    const [head = "", ...body] = answer.split("\r\n\r\n")
    same(status, 403, "the status")
    check(!/set-cookie/i.test(head), `the head has been split: ${head}`)
    check(body.join("\r\n\r\n").startsWith("no\r\nSet-Cookie: evil=1"), "the message is the body")
    check(/content-type: text\/plain/i.test(head), "a body that nobody takes for a page")
    const wrong = await context.serve({ face, auth: "noRefusal" })
    same((await exchange(wrong.port, upgrade())).status, 500, "a refusal with 200")
    await wrong.event(/^UpgradeAborted (500|200)/, "ATTACKER")
  },
})

export const passwordTiming = fault({
  id: "E5",
  promise: "the time that a wrong password takes does not depend on where it is wrong",
  faces: "once",
  check: async () => {
    const right = Buffer.alloc(4_000_000, "x")
    const wrongAt = (at: number) => {
      const password = Buffer.from(right)
      password[at] = 0
      return { password }
    }
    const [early, late] = [wrongAt(0), wrongAt(right.length - 1)]
    // A comparison that stops at the first difference is a thousand times faster for the one than for the other.
    const naive = ratio(
      () => early.password.equals(right),
      () => late.password.equals(right),
    )
    const ours = ratio(
      () => passwordMatches(early, right),
      () => passwordMatches(late, right),
    )
    check(naive < 0.25, `a naive comparison is not told from ours on this machine: ${naive}`)
    check(ours > 0.5 && ours < 2, `an early difference takes ${ours} of the time of a late one`)
    check(passwordMatches({ password: right }, right), "the right password")
    check(!passwordMatches({ password: undefined }, ""), "no password is not the empty one")
  },
})

/** Measures the time of one thing by that of another, both tried in turn. */
const ratio = (one: () => unknown, other: () => unknown): number => {
  const times = [one, other].map(() => Number.POSITIVE_INFINITY)
  for (let round = 0; round < 15; round++) {
    for (const [i, run] of [one, other].entries()) {
      const start = performance.now()
      run()
      times[i] = Math.min(times[i] ?? 0, performance.now() - start)
    }
  }
  return (times[0] ?? 0) / (times[1] ?? 1)
}

const encoded = (text: string) => `Authorization: Basic ${Buffer.from(text).toString("base64")}`

const binary = Buffer.from([0xff, 0x00, 0x3a, 0x80, 0xfe])

const passwordTable: ReadonlyArray<readonly [auth: string, path: string, header: string | undefined, status: number]> =
  [
    ["secret", "/CP001", basic("CP001", "secret"), 101],
    ["secret", "/CP%3A1", basic("CP:1", "secret"), 101],
    ["secret", "/CP", basic("CP:1", "secret"), 401],
    ["secret", "/CP001", basic("CP002", "secret"), 401],
    ["secret", "/CP001", basic("", "secret"), 401],
    ["secret", "/CP001", basic("CP001", "Secret"), 401],
    ["secret", "/CP001", basic("CP001", "secret\0"), 401],
    ["secret", "/CP001", basic("CP001", ""), 401],
    ["secret", "/CP001", encoded("CP001"), 401],
    ["secret", "/CP001", "Authorization: Basic", 401],
    ["secret", "/CP001", "Authorization: Basic !!!!", 401],
    ["secret", "/CP001", "Authorization: Bearer secret", 401],
    ["secret", "/CP001", undefined, 401],
    ["binary", "/CP001", basic("CP001", binary), 101],
    ["binary", "/CP001", basic("CP001", binary.toString("latin1")), 401],
    ["emptyPassword", "/CP001", basic("CP001", ""), 101],
    ["emptyPassword", "/CP001", undefined, 401],
    ["emptyPassword", "/CP001", encoded("CP001"), 401],
  ]

export const passwords = fault({
  id: "E6",
  promise:
    "passwords are bytes; colons are theirs or the identity's; empty is not absent; another's user name is nobody's",
  check: async ({ context, face }) => {
    const servers = new Map<string, ServerSubject>()
    for (const [auth, path, header, status] of passwordTable) {
      const server = servers.get(auth) ?? (await context.serve({ face, auth }))
      servers.set(auth, server)
      const headers = header === undefined ? [] : [header]
      same(await statusOf(context, server.port, path, headers), status, `${auth} for ${path} ${header}`)
    }
    await servers.get("secret")?.event(/^UpgradeAborted 401/, "CP001")
  },
})

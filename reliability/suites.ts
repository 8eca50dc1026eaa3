/**
 * Tests a CSMS in a process of its own with the tools of others, and compares their findings with our expectations: the checks
 * and the fuzzer of ocpp-ws-cli, slowhttptest, sslscan.
 */
import { makeAuthority } from "../test/support/Certificates.ts"
import { Child } from "./processes/Child.ts"
import { bystander, type Report } from "./suites/Bystander.ts"
import { findDebian, installOcppCli, run, runOcppCli, withFolder } from "./suites/tools.ts"
import type { Setting, commands as victimCommands } from "./suites/victim.ts"
import { commandLine, positive } from "./support/commandLine.ts"
import { pause } from "./support/waiting.ts"

const values = commandLine(
  `
npm run suites                          a tool that is not there is skipped
npm run suites -- --install             as root: installs slowhttptest and sslscan with apt-get
npm run suites -- --require             a tool that is skipped is a failure
npm run suites -- --only sslscan        the tools that are called so
npm run suites -- --fuzz-seconds 10     default 60

Exit code 1 when a finding is not as expected.`,
  {
    install: { type: "boolean", default: false },
    require: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    "fuzz-seconds": { type: "string", default: "60" },
  },
)

type Victim = Child<typeof victimCommands>
const startVictim = (): Victim => new Child({ name: "victim", script: new URL("./suites/victim.ts", import.meta.url) })

interface Row {
  readonly tool: string
  readonly measured: string
  /** Deviations from the expectations. */
  readonly problems: ReadonlyArray<string>
  readonly skipped?: boolean
}

/** The finding of a tool. */
type Finding = Omit<Row, "tool">

const bystanderLimit = 250

const problemsOf = ({ answered, p99, sent, slowest }: Report): ReadonlyArray<string> => [
  ...(answered === sent && sent > 0 ? [] : [`of ${sent} Heartbeats of the bystander ${answered} were answered`]),
  ...(p99 <= bystanderLimit ? [] : [`the bystander waited ${p99.toFixed(0)} ms (p99; ${slowest.toFixed(0)} at most)`]),
]

/** Starts a victim, lets a tool attack it while a bystander works, and asks both how they are. */
const against = async (
  tool: string,
  setting: Setting,
  attack: (port: number, victim: Victim) => Promise<Finding>,
): Promise<Row> => {
  const victim = startVictim()
  try {
    const port = await victim.do("listen", setting)
    const station = await bystander(port)
    const finding = await attack(port, victim)
    const beside = await station.leave()
    const left = await socketsLeft(victim)
    await victim.do("close", undefined)
    await victim.end(10_000)
    const measured = `${finding.measured}; bystander: ${beside.answered} answers, p99 ${beside.p99.toFixed(0)} ms`
    const problems = [...finding.problems, ...problemsOf(beside), ...left, ...victim.faults]
    return { tool, measured, problems }
  } catch (error) {
    return { tool, measured: "–", problems: [String(error), ...victim.faults] }
  } finally {
    await victim.kill()
  }
}

/** Waits up to 15 seconds for the last socket to go. Says how many are left. */
const socketsLeft = async (victim: Victim): Promise<ReadonlyArray<string>> => {
  const deadline = performance.now() + 15_000
  for (;;) {
    const count = await victim.do("sockets", undefined)
    if (count === 0) return []
    if (performance.now() > deadline) return [`${count} sockets are left`]
    await pause(200)
  }
}

const skipped = (tool: string, why: string): Row => ({ tool, measured: `skipped: ${why}`, problems: [], skipped: true })

/** Checks of ocpp-ws-cli that OCPP-J does not ask for; `docs/reliability.md` has the reasons. */
const messageId = "Server enforces MessageId is a string"
const missingPayload = "Server rejects missing payload in CALL"
const subprotocol = "Server requires subprotocol"
const oversized = "Server rejects oversized frames (>128KB)"

interface Compliance {
  readonly name: string
  readonly protocol: string
  readonly setting: Setting
  /** The checks that may be missed. */
  readonly known: ReadonlyArray<string>
}

const asTheToolWants: Setting = { maxPayload: 128 * 1024, refuseWithoutProtocol: true }

const compliance: ReadonlyArray<Compliance> = [
  {
    name: "ocpp-ws-cli test, 2.0.1, set as it wants",
    protocol: "ocpp2.0.1",
    setting: asTheToolWants,
    known: [messageId],
  },
  {
    name: "ocpp-ws-cli test, 1.6, set as it wants",
    protocol: "ocpp1.6",
    setting: asTheToolWants,
    known: [messageId, missingPayload],
  },
  {
    name: "ocpp-ws-cli test, 2.0.1, defaults",
    protocol: "ocpp2.0.1",
    setting: {},
    known: [messageId, subprotocol, oversized],
  },
]

const checksOfOcppCli = 21

const runCompliance = (path: string, { known, name, protocol, setting }: Compliance): Promise<Row> =>
  against(name, setting, async (port) => {
    const endpoint = `ws://127.0.0.1:${port}`
    const args = ["test", "-e", endpoint, "-i", "CP001", "-p", protocol, "--suite", "all"]
    const results = (await runOcppCli(path, args, { milliseconds: 90_000 }))?.testResults ?? []
    const missed = results.filter(({ passed }) => !passed).map(({ name }) => name)
    const unknown = missed.filter((name) => !known.includes(name))
    const problems = unknown.map((name) => `missed: ${name}`)
    if (results.length !== checksOfOcppCli) problems.push(`it has made ${results.length} checks of ${checksOfOcppCli}`)
    const named = missed.length === 0 ? "" : ` (missed: ${missed.join("; ")})`
    return { measured: `${results.length - missed.length} of ${results.length}${named}`, problems }
  })

/** One in 13 of its messages is a CALLERROR that belongs to no call, and gets no answer. */
const answeredByRule = 12 / 13

const runFuzz = (path: string, seconds: number): Promise<Row> =>
  against(`ocpp-ws-cli fuzz, ${seconds} s`, {}, async (port) => {
    const args = ["fuzz", "-e", `ws://127.0.0.1:${port}`, "-w", "10", "--flood"]
    const report = await runOcppCli(path, args, { milliseconds: seconds * 1_000, signal: "SIGINT" })
    const { anomaliesSent = 0, serverDrops = 0, serverErrors = 0, serverTolerated = 0 } = report?.metrics ?? {}
    const answered = (serverErrors + serverTolerated) / anomaliesSent
    const problems: Array<string> = []
    if (anomaliesSent < seconds * 100) problems.push(`it has sent ${anomaliesSent} messages only`)
    if (serverDrops > 0) problems.push(`${serverDrops} of its connections were closed`)
    if (!(Math.abs(answered - answeredByRule) < 0.02)) problems.push(`${(100 * answered).toFixed(1)} % were answered`)
    const measured = `${anomaliesSent} messages, ${serverErrors} CALLERROR, ${serverTolerated} CALLRESULT, ${serverDrops} dropped`
    return { measured, problems }
  })

const slowModes = [
  ["H", "slow headers"],
  ["B", "slow body"],
  ["R", "range"],
  ["X", "slow read"],
] as const

/** The server's limits for a request are 10 s, looked at every second. */
const settledAfter = 15_000

const runSlow = (mode: string, name: string): Promise<Row> =>
  against(`slowhttptest -${mode}, ${name}`, {}, async (port, victim) => {
    const target = ["-u", `http://127.0.0.1:${port}/CP001`]
    const args = [`-${mode}`, "-c", "400", "-r", "200", "-i", "2", "-l", "20", "-p", "3", ...target]
    const ended = run("slowhttptest", args, { milliseconds: 60_000 })
    await pause(settledAfter)
    const held = (await victim.do("sockets", undefined)) - 1
    const output = await ended
    const available = [...output.matchAll(/service available:\s+(\w+)/g)].map(([, answer]) => answer)
    const problems: Array<string> = []
    if (!available.includes("YES") || available.includes("NO"))
      problems.push("the service was not available throughout")
    if (!/Exit status: (No open connections left|Hit test time limit)/.test(output)) problems.push("the tool failed")
    // The tool looks whether the service is available by a connection of its own.
    if (held > 1) problems.push(`the server held ${held} of its sockets after ${settledAfter / 1_000} s`)
    const status = /Exit status: (.*)/.exec(output)?.[1] ?? "no exit status"
    return {
      measured: `available: ${[...new Set(available)].join(", ")}; ${held} sockets held after 15 s; "${status.trim()}"`,
      problems,
    }
  })

const aead = /GCM|CCM|CHACHA20/
/** OCPP 2.0.1 part 2, TLS with Basic authentication: what a CSMS has to support. */
const demanded = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "AES128-GCM-SHA256",
  "AES256-GCM-SHA384",
]

const certificates = (): Setting["tls"] => {
  const authority = makeAuthority("CSMS CA")
  try {
    const issued = [authority.issue({ name: "CSMS", algorithm: "rsa" }), authority.issue({ name: "CSMS" })]
    return { cert: issued.map(({ cert }) => cert), key: issued.map(({ key }) => key) }
  } finally {
    authority.remove()
  }
}

const scan = async (port: number): Promise<Finding> => {
  const output = await run("sslscan", ["--xml=-", `127.0.0.1:${port}`], { milliseconds: 60_000 })
  const protocols = [...output.matchAll(/<protocol type="(\w+)" version="([\d.]+)" enabled="(\d)"/g)]
  const enabled = protocols.filter(([, , , on]) => on === "1").map(([, type, version]) => `${type}${version}`)
  const ciphers = [...output.matchAll(/<cipher status="\w+" .*?cipher="([\w-]+)"/g)].map(([, name]) => name!)
  const problems = ciphers.filter((name) => !aead.test(name)).map((name) => `${name} is accepted`)
  if (enabled.join() !== "tls1.2,tls1.3") problems.push(`enabled: ${enabled.join(", ")}`)
  problems.push(...demanded.filter((name) => !ciphers.includes(name)).map((name) => `${name} is not accepted`))
  return {
    measured: `${enabled.join(", ")}; ${ciphers.filter((name) => aead.test(name)).length} of ${ciphers.length} suites are AEAD`,
    problems,
  }
}

const runScan = async (): Promise<Row> => {
  const victim = startVictim()
  try {
    const finding = await scan(await victim.do("listen", { tls: certificates()! }))
    await victim.do("close", undefined)
    await victim.end(10_000)
    return { tool: "sslscan", ...finding, problems: [...finding.problems, ...victim.faults] }
  } finally {
    await victim.kill()
  }
}

const rows: Array<Row> = []
const tell = (row: Row) => {
  rows.push(row)
  const verdict = row.skipped ? "skip" : row.problems.length === 0 ? "ok" : "FAIL"
  console.log(`${verdict.padEnd(5)} ${row.tool.padEnd(42)} ${row.measured}`)
  for (const problem of row.problems) console.log(`      ${problem}`)
}

const wanted = (tool: string) => tool.includes(values.only)

const ocppCli = async (folder: string) => {
  const path = await installOcppCli(folder)
  if (path === undefined) return tell(skipped("ocpp-ws-cli", "npm cannot install it"))
  for (const row of await Promise.all(compliance.map((one) => runCompliance(path, one)))) tell(row)
  tell(await runFuzz(path, positive("fuzz-seconds", values["fuzz-seconds"])))
}

const debian = async (tool: string, work: () => Promise<void>) => {
  if (findDebian(tool, values.install)) return work()
  tell(skipped(tool, values.install ? "apt-get cannot install it" : "not on the PATH; --install would install it"))
}

if (wanted("ocpp-ws-cli")) await withFolder(ocppCli)
if (wanted("slowhttptest")) {
  await debian("slowhttptest", async () => {
    for (const [mode, name] of slowModes) tell(await runSlow(mode, name))
  })
}
if (wanted("sslscan")) await debian("sslscan", async () => tell(await runScan()))

if (rows.length === 0) throw new Error(`no tool is called ${values.only}`)
const failed = rows.filter((row) => row.problems.length > 0 || (values.require && row.skipped === true))
console.log(
  `${rows.length} runs, ${failed.length} not as expected, ${rows.filter((row) => row.skipped).length} skipped`,
)
process.exitCode = failed.length === 0 ? 0 : 1

/** E. Texts of strangers: in close reasons, logs, regular expressions, answers; and options. */
import { Buffer } from "node:buffer"
import { performance } from "node:perf_hooks"
import { until } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import { canary } from "../Context.ts"
import { check, same } from "../expect.ts"
import { upgrade } from "../RawStation.ts"
import { exchange } from "../rawServers.ts"
import { basic, statusOf } from "./e-identities.ts"
import { isPrototypeClean, refusalOf } from "./victimPrograms.ts"

export const closeReasons = fault({
  id: "E4",
  promise: "a close reason is cut to 123 bytes between characters; a code that may not be sent becomes 1000",
  check: async ({ context, face }) => {
    for (const code of [1005, 1006, 1015, 999, 5000, 0, Number.NaN, 4000]) {
      const server = await context.serve({ face, bystander: false })
      const attacker = await context.attack(server)
      await server.close({ code, reason: `x${"😀".repeat(100)}` })
      const ended = await attacker.ended
      same(ended.code, code === 4000 ? 4000 : 1000, `the code ${code}`)
      same(ended.reason, `x${"😀".repeat(30)}`, "the reason")
    }
  },
})

const forged = `\r\nFORGED \u001b[31m${"z".repeat(5_000)}`

export const logs = fault({
  id: "E10",
  promise: "words of a station are logged escaped and short, and passwords never",
  fresh: true,
  server: { handlers: { Heartbeat: "heartbeat", "*": "fail" } },
  check: async ({ attack, context, face }) => {
    const attacker = await attack()
    same((await attacker.ask(`id${forged}`, `action${forged}`, { canary }))[0], 4, "the answer")
    same((await attacker.ask("1", "DataTransfer", { canary }))[0], 4, "the answer")
    for (const auth of ["throws", "rejects"]) {
      const closed = await context.serve({ face, auth })
      const headers = [basic("ATTACKER", canary), `X-Evil: ${canary}`]
      same(await statusOf(context, closed.port, "/ATTACKER", headers), 500, `an auth that ${auth}`)
      await closed.event(/^UpgradeAborted 500|^UpgradeAborted .*auth has/, "ATTACKER")
    }
  },
  afterwards: async ({ context, face }) => {
    if (face === "effect") return
    await until("the logs have come", () => context.victim.output.includes("auth failed"))
    const { output } = context.victim
    check(output.includes("the handler has a fault"), "a handler's defect is logged")
    check(!/^FORGED/m.test(output) && !output.includes("FORGED \u001b"), "a line of the log is forged")
    check(!output.includes("z".repeat(200)), "a log repeats more than 200 characters")
    check(!output.includes(Buffer.from(`ATTACKER:${canary}`).toString("base64")), "a log holds credentials")
  },
})

/** Tried, not analysed: for each new expression, add here what might make it slow. */
const pumps = ["1", "0-", "2026-01-01T", "Z", ".0", "+", ":", "a:", "//", "%", "[", "x@", " ", "\\", "é"]

const dateFrames = [
  ["", ""],
  ["2026-01-01T00:00:00", "!"],
  ["2026-01-01T00:00:00.", "x"],
] as const

export const slowExpressions = fault<string>({
  id: "E11",
  promise: "no regular expression of ours is slow, wherever it meets words of a station",
  faces: ["effect"],
  server: { options: { strictMode: true, maxBadMessages: 10_000 } },
  inputs: Object.fromEntries(pumps.map((pump) => [JSON.stringify(pump), pump])),
  check: async ({ attack, input: pump, server }) => {
    const attacker = await attack({ protocol: "ocpp2.1" })
    for (const [head, tail] of dateFrames) {
      const timestamp = `${head}${pump.repeat(Math.floor(500_000 / pump.length))}${tail}`
      const status = { timestamp, connectorStatus: "Available", evseId: 1, connectorId: 1 }
      const start = performance.now()
      const answer = await attacker.ask("1", "StatusNotification", status)
      check(answer[0] === 4, "it is no date")
      check(performance.now() - start < 2_000, `it took ${performance.now() - start} ms`)
    }
    const header = `Authorization: Basic${pump.repeat(Math.floor(6_000 / Buffer.byteLength(pump)))}`
    const start = performance.now()
    await exchange(server.port, upgrade({ path: `/${"%41".repeat(80)}%`, headers: [header] }))
    check(performance.now() - start < 2_000, `a header took ${performance.now() - start} ms`)
  },
})

const filler = "y".repeat(2_000)

const brokenMessages: Readonly<Record<string, unknown>> = {
  "one byte": "x",
  "a long text": filler,
  "an empty list": "[]",
  "an unknown type": [99, "id"],
  "an unknown type with a long id": [99, "i".repeat(2_000)],
  "a number for an id": [2, 1, filler, {}],
  "a number for an action": [2, "id", 5, { filler }],
  "a long id": [2, "i".repeat(2_000), "Heartbeat", {}],
  "a long action": [2, "id", filler, {}],
  "500 unknown properties": [
    ...[2, "id", "Heartbeat"],
    Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i])),
  ],
  "a long unknown property": [2, "id", "Heartbeat", { [filler]: filler }],
  "a long value": [2, "id", "Authorize", { idTag: filler }],
  "missing properties": [2, "id", "BootNotification", {}],
  "50 faults": [
    ...[2, "id", "MeterValues"],
    { connectorId: 1, meterValue: Array(50).fill({ timestamp: filler, sampledValue: [{}] }) },
  ],
}

export const reflection = fault<unknown>({
  id: "E12",
  // wire.md wants an answer to a message of one byte too: so the promise begins where the message is as long as an error.
  promise: "no broken message gets more bytes than it has, but for a short one that gets a short error",
  server: { options: { strictMode: true, maxBadMessages: 1_000 } },
  inputs: brokenMessages,
  check: async ({ attack, input }) => {
    const attacker = await attack()
    attacker.send(input)
    await attacker.receive()
    const { bytesIn, bytesOut } = attacker
    check(bytesIn <= Math.max(bytesOut + 150, 1_000), `${bytesIn} bytes answer ${bytesOut}`)
  },
})

const wrong: ReadonlyArray<readonly [json: string, name: string]> = [
  ['{"strictmode":true}', "strictmode"],
  ['{"__proto__":{"strictMode":false}}', "__proto__"],
  ['{"constructor":1}', "constructor"],
  ['{"toString":1}', "toString"],
  ['{"hasOwnProperty":1}', "hasOwnProperty"],
  ['{"strictMode":"yes"}', "strictMode"],
  ['{"strictMode":null}', "strictMode"],
  ['{"callConcurrency":"5"}', "callConcurrency"],
  ['{"callConcurrency":0}', "callConcurrency"],
  ['{"maxBadMessages":1.5}', "maxBadMessages"],
  ['{"deferPingsOnActivity":"no"}', "deferPingsOnActivity"],
  ['{"respondWithDetailedErrors":1}', "respondWithDetailedErrors"],
  ['{"protocols":"ocpp1.6"}', "protocols"],
]

export const wrongOptions = fault<"server" | "station">({
  id: "E14",
  promise:
    "options that do not exist, of the wrong type, or named like inherited properties are refused with their name",
  server: {},
  inputs: { server: "server", station: "station" },
  check: async ({ context: { victim }, face, input: role }) => {
    const time = face === "effect" ? "callTimeout" : "callTimeoutMs"
    const rows = [...wrong, [`{"${time}":"soon"}`, time], [`{"${time}":null}`, time]] as const
    for (const [json, name] of rows) {
      const refusal = await refusalOf(victim, { face, role, options: {}, json })
      check(refusal?.includes(name), `${json}: ${refusal ?? "taken"}`)
    }
    same(await refusalOf(victim, { face, role, options: {} }), undefined, "without options")
    check(await isPrototypeClean(victim), "Object.prototype is polluted")
  },
})

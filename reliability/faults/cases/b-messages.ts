/** B. The envelope of a message: its array, type, id, action, payload. */
import { fault } from "../Case.ts"
import { canary } from "../Context.ts"
import { check, same } from "../expect.ts"
import type { RawStation } from "../RawStation.ts"
import type { Options } from "../victim/commands.ts"
import { isPrototypeClean } from "./victimPrograms.ts"

export const echoing = { Heartbeat: "heartbeat", "*": "echo" }

/** Echoes, and counts bad messages without end: they are not what the case is about. */
export const patient = (options: Options = {}) => ({
  handlers: echoing,
  options: { maxBadMessages: 1_000_000, ...options },
})

/** The answer to a message that is followed by a good one: `undefined` when the good one is answered first. */
export const answerTo = async (attacker: RawStation, message: string): Promise<ReadonlyArray<unknown> | undefined> => {
  attacker.send(message)
  attacker.send([2, "good", "Heartbeat", {}])
  const answer = await attacker.receive()
  if (answer[1] === "good" && answer[0] === 3) return undefined
  same((await attacker.receive()).slice(0, 2), [3, "good"], "the answer to a good message after a bad one")
  return answer
}

/** A message, and type, id and code of its answer; `undefined` for no answer. */
type Row = readonly [message: string, answer: readonly [unknown, unknown, unknown] | undefined]

/** Fails unless each message gets its answer. */
export const answers = async (attacker: RawStation, table: ReadonlyArray<Row>): Promise<void> => {
  for (const [message, expected] of table) {
    const answer = await answerTo(attacker, message)
    same(answer?.slice(0, 3), expected, message.slice(0, 100))
    if (answer?.[0] === 4) isProper(answer, message)
  }
}

/** Fails unless a CALLERROR has five elements, details that are an object, and repeats nothing. */
const isProper = (answer: ReadonlyArray<unknown>, message: string): void => {
  const [, , , description, details] = answer
  same(answer.length, 5, "elements of the CALLERROR")
  check(typeof description === "string" && [...description].length <= 255, `the description of ${message.slice(0, 80)}`)
  check(typeof details === "object" && details !== null && !Array.isArray(details), "details are an object")
  check(!`${description}`.includes(canary), "the description repeats the message")
}

/** Fails unless calls with these ids are answered. */
export const accepts = async (attacker: RawStation, ids: ReadonlyArray<string>): Promise<void> => {
  for (const id of ids) same((await attacker.ask(id, "Heartbeat")).slice(0, 2), [3, id], `the id ${id.slice(0, 40)}`)
}

export const framework = (id = "-1") => [4, id, "RpcFrameworkError"] as const
const unsupported = (id = "-1") => [4, id, "MessageTypeNotSupported"] as const

const broken = [canary, "{", '{"a":1}', '"text"', "1", "null", "true", "[]", "[null]", "\u0000", "[2,", "\ufeff[]"]

export const notAFrame = fault<string>({
  id: "B1",
  promise:
    'a message that is not JSON, no array, or `[]` is answered RpcFrameworkError with the id "-1"; an empty one is ignored',
  server: patient(),
  inputs: { "OCPP 1.6": "ocpp1.6", "OCPP 2.1": "ocpp2.1" },
  check: async ({ attack, input, server }) => {
    const before = (await server.counts()).BadMessage ?? 0
    const attacker = await attack({ protocol: input })
    await answers(attacker, [...broken.map((message) => [message, framework()] as const), ["", undefined]])
    same((await server.counts()).BadMessage, before + broken.length, "bad messages that were reported")
  },
  tells: [/^BadMessage RpcFrameworkError the message is not/],
})

export const unknownTypes = fault({
  id: "B2",
  promise:
    "an unknown message type is answered MessageTypeNotSupported with the readable id; 5 and 6 are known to 2.1 only",
  server: patient(),
  check: async ({ attack }) => {
    const types = [99, 2.5, -2, 0, 1, 5, 6, 1e300]
    await answers(await attack(), [
      ...types.map((type) => [`[${type},"id","${canary}",{}]`, unsupported("id")] as const),
      [`[99,{"a":1}]`, unsupported()],
      [`[99]`, unsupported()],
      [`["2","id","Heartbeat",{}]`, framework()],
    ])
    await answers(await attack({ protocol: "ocpp2.1", path: "/TWO" }), [
      ['[5,"nobody","InternalError","",{}]', undefined],
      ['[6,"send","Unknown",{}]', undefined],
      ["[6,1]", undefined],
      ['[7,"id"]', unsupported("id")],
    ])
  },
  tells: [/^BadMessage MessageTypeNotSupported/, [/^BadMessage RpcFrameworkError/, "TWO"]],
})

export const oddIds = fault({
  id: "B3",
  // wire.md asks for the same id in the answer: so an answer may be longer than its question, but by a constant only.
  promise:
    "odd message ids: any string is answered under itself (over 36 characters refused in strict mode), others under -1",
  server: patient({ strictMode: true }),
  check: async ({ attack, context, face }) => {
    const strict = await attack()
    const loose = await context.attack(await context.serve({ face, ...patient() }))
    const long = "x".repeat(37)
    const huge = "x".repeat(1_000_000)
    const call = (id: unknown) => `[2,${JSON.stringify(id)},"Heartbeat",{}]`
    const odd = [1, null, {}, [], true].map((id) => [call(id), framework()] as const)
    await answers(strict, [...odd, [call(long), framework(long)], [call(huge), framework(huge)]])
    await answers(loose, odd)
    for (const attacker of [strict, loose])
      await accepts(attacker, ["", "x".repeat(36), "\ud800", "😀".repeat(36), "-1"])
    await accepts(loose, [long, huge])
    check(strict.bytesIn < strict.bytesOut + 40 * 200, `${strict.bytesIn} bytes for ${strict.bytesOut}`)
  },
  tells: [/^BadMessage RpcFrameworkError the message id is longer than 36/],
})

export const pollution = fault({
  id: "B9",
  promise:
    "__proto__ and constructor in payloads pollute nothing, are unknown properties, and stand in for no required one",
  server: patient({ strictMode: true }),
  check: async ({ attack, context, face }) => {
    const evil = '{"__proto__":{"polluted":true,"idTag":"x"},"constructor":{"prototype":{"polluted":true}}}'
    await answers(await attack(), [
      [`[2,"1","Heartbeat",${evil}]`, [4, "1", "PropertyConstraintViolation"]],
      [`[2,"2","Authorize",${evil}]`, [4, "2", "OccurenceConstraintViolation"]],
      ['[2,"3","Authorize",{"idTag":{"__proto__":"x"}}]', [4, "3", "TypeConstraintViolation"]],
    ])
    const loose = await context.serve({ face, ...patient() })
    const attacker = await context.attack(loose)
    await answers(attacker, [[`[2,"1","DataTransfer",${evil}]`, [3, "1", JSON.parse(evil)]]])
    attacker.send(`[4,"1","InternalError","",${evil}]`)
    await loose.event(/^BadMessage/, "ATTACKER")
    check(await isPrototypeClean(context.victim), "Object.prototype is polluted")
  },
  tells: [/^ValidationFailure PropertyConstraintViolation/],
})

const inherited = ["__proto__", "toString", "constructor", "", "*", "x".repeat(1_000_000), `evil\r\n${"y".repeat(200)}`]

export const inheritedActions = fault<boolean>({
  id: "B10",
  promise:
    "an action that is the name of an inherited property, or 1 MB long, is NotImplemented, and shortened in what is told",
  inputs: { relaxed: false, strict: true },
  check: async ({ context, face, input }) => {
    const server = await context.serve({ face, options: { strictMode: input } })
    const attacker = await context.attack(server)
    for (const action of inherited) {
      const answer = await attacker.ask("1", action)
      same(answer.slice(0, 3), [4, "1", "NotImplemented"], action.slice(0, 40))
      check(`${answer[3]}`.length < 200, `the description has ${`${answer[3]}`.length} characters`)
      check(!/[\r\n]/.test(`${answer[3]}`), "the description would break a line of a log")
    }
    same(await server.handledCount(), 0, "calls that were handled")
    const told = (await server.events("ATTACKER")).filter(({ tag }) => tag === "CallError")
    same(
      told.filter(({ text }) => /[\r\n]/.test(text) || text.length > 200),
      [],
      "events that would harm a log",
    )
    check(told.length >= inherited.length, "each is reported")
  },
})

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`

export const depths = fault({
  id: "B11",
  // Two million levels are longer than the longest message; how the decoder takes them is for test/Codec.test.ts.
  promise: "a payload of more than 64 levels is a CALLERROR, however deep; 64 levels are handled",
  server: patient(),
  check: async ({ attack }) => {
    const attacker = await attack()
    const deep = (depth: number) => `[2,"${depth}","DataTransfer",${nested(depth)}]`
    const objects = `[2,"o","DataTransfer",${'{"a":'.repeat(5_000)}0${"}".repeat(5_000)}]`
    same((await answerTo(attacker, deep(64)))?.slice(0, 2), [3, "64"], "64 levels")
    await answers(attacker, [
      ...[65, 5_000, 500_000].map((depth) => [deep(depth), [4, `${depth}`, "FormationViolation"]] as const),
      [objects, [4, "o", "FormationViolation"]],
      [nested(500_000), framework()],
      [`[4,"1","InternalError","",{"a":${nested(100_000)}}]`, undefined],
      [`[3,"1",${nested(100_000)}]`, undefined],
    ])
    attacker.send(deep(2_000_000))
    same((await attacker.ended).code, 1009, "2,000,000 levels")
  },
  tells: [/^BadMessage FormatViolation the payload nests deeper than 64/],
})

export const oddPayloads = fault({
  id: "B12",
  promise:
    "null is {}; in strict mode a payload that is no object or missing is a CALLERROR; further elements are ignored",
  server: patient({ strictMode: true }),
  check: async ({ attack, context, face }) => {
    const strict = await attack()
    await answers(strict, [
      ['[2,"1","DataTransfer",[]]', [4, "1", "TypeConstraintViolation"]],
      ['[2,"2","DataTransfer","x"]', [4, "2", "TypeConstraintViolation"]],
      ['[2,"3","DataTransfer",7]', [4, "3", "TypeConstraintViolation"]],
      ['[2,"4","DataTransfer"]', [4, "4", "FormationViolation"]],
      ['[2,"5","DataTransfer",null]', [4, "5", "OccurenceConstraintViolation"]],
    ])
    same((await answerTo(strict, '[2,"6","Heartbeat",null]'))?.slice(0, 2), [3, "6"], "null for {}")
    same((await answerTo(strict, '[2,"7","Heartbeat",{},1,[2],{}]'))?.slice(0, 2), [3, "7"], "further elements")
    const loose = await context.attack(await context.serve({ face, ...patient() }))
    await answers(loose, [
      ['[2,"1","X",null]', [3, "1", {}]],
      ['[2,"2","X"]', [3, "2", {}]],
      ['[2,"3","X",[1]]', [3, "3", [1]]],
      ['[2,"4","X","x","y"]', [3, "4", "x"]],
    ])
  },
  tells: [/^(ValidationFailure|CallError) TypeConstraintViolation/],
})

export const oddNumbers = fault({
  id: "B13",
  promise: "1e400 is a CALLERROR; -0, 2^53 + 1 and duplicate keys are read as JSON.parse reads them",
  server: patient(),
  check: async ({ attack }) =>
    answers(await attack(), [
      ['[2,"1","X",{"a":1e400}]', [4, "1", "FormationViolation"]],
      ['[2,"2","X",{"a":[-1e400]}]', [4, "2", "FormationViolation"]],
      ['[2,"3","X",{"a":-0}]', [3, "3", { a: 0 }]],
      ['[2,"4","X",{"a":9007199254740993}]', [3, "4", { a: 9007199254740992 }]],
      ['[2,"5","X",{"a":1,"a":2}]', [3, "5", { a: 2 }]],
      ['[2,"6","X",{"a":1E-400}]', [3, "6", { a: 0 }]],
      ['[2,"7","X",{"a":NaN}]', framework()],
      ['[2,"8","X",{"a":01}]', framework()],
      ['[2e0,"9","X",{}]', [3, "9", {}]],
    ]),
  tells: [/^BadMessage FormatViolation .*number/],
})

export const beforeBoot = fault({
  id: "B17",
  promise:
    "calls before BootNotification was accepted can be refused by handlers in front of the others: SecurityError",
  server: { handlers: { Heartbeat: "heartbeat", BootNotification: "boot", "*": "afterBoot" } },
  check: async ({ attack, face }) => {
    const attacker = await attack({ path: `/BOOTING-${face}` })
    same((await attacker.ask("1", "StatusNotification")).slice(0, 3), [4, "1", "SecurityError"], "before")
    const boot = await attacker.ask("2", "BootNotification", { chargePointVendor: "V", chargePointModel: "M" })
    same(boot.slice(0, 2), [3, "2"], "the boot")
    same(await attacker.ask("3", "StatusNotification"), [3, "3", {}], "after")
  },
  tells: [[/^CallError SecurityError BootNotification comes first/, undefined]],
})

/** B. The envelope: what stands around a payload. */
import { Buffer } from "node:buffer"
import { makeChaosProxy } from "../chaosProxy.ts"
import { type Case, type Context, canary, check, type ServerSubject, same, until, within } from "./Case.ts"
import type { Face, Options } from "./Program.ts"
import { type RawStation, text } from "./raw.ts"

const faces: ReadonlyArray<Face> = ["effect", "promise"]
const echoing = { Heartbeat: "heartbeat", "*": "echo" }
/** However many bad messages a case sends, it is not what the case is about. */
const patient = { maxBadMessages: 1_000_000 }

/** A server that echoes, and an attacker who is connected to it. */
const duel = async (context: Context, face: Face, options: Options = {}, protocol = "ocpp1.6") => {
  const server = await context.serve({ face, handlers: echoing, options: { ...patient, ...options } })
  return { server, attacker: await context.attack(server, { protocol }) }
}

/** What a message gets that is followed by a good one: `undefined` when the good one is answered first. */
const answerTo = async (attacker: RawStation, message: string): Promise<ReadonlyArray<unknown> | undefined> => {
  attacker.send(message)
  attacker.send([2, "good", "Heartbeat", {}])
  const answer = await attacker.receive()
  if (answer[1] === "good" && answer[0] === 3) return undefined
  same((await attacker.receive()).slice(0, 2), [3, "good"], "the answer to a good message after a bad one")
  return answer
}

/** A message, and type, id and code of its answer; `undefined` for no answer. */
type Row = readonly [message: string, answer: readonly [unknown, unknown, unknown] | undefined]

const answers = async (attacker: RawStation, table: ReadonlyArray<Row>): Promise<void> => {
  for (const [message, expected] of table) {
    const answer = await answerTo(attacker, message)
    same(answer?.slice(0, 3), expected, message.slice(0, 100))
    if (answer?.[0] === 4) isProper(answer, message)
  }
}

/** A CALLERROR has five elements, details that are an object, and repeats nothing. */
const isProper = (answer: ReadonlyArray<unknown>, message: string): void => {
  const [, , , description, details] = answer
  same(answer.length, 5, "elements of the CALLERROR")
  check(typeof description === "string" && [...description].length <= 255, `the description of ${message.slice(0, 80)}`)
  check(typeof details === "object" && details !== null && !Array.isArray(details), "details are an object")
  check(!`${description}`.includes(canary), "the description repeats the message")
}

const framework = (id = "-1") => [4, id, "RpcFrameworkError"] as const
const unsupported = (id = "-1") => [4, id, "MessageTypeNotSupported"] as const

const notAFrame: Case = {
  id: "B1",
  name: 'not JSON, no array, or `[]` is answered RpcFrameworkError with the id "-1"; an empty message is ignored',
  run: async (context) => {
    for (const face of faces) {
      for (const protocol of ["ocpp1.6", "ocpp2.1"]) {
        const { attacker, server } = await duel(context, face, {}, protocol)
        const broken = [canary, "{", '{"a":1}', '"text"', "1", "null", "true", "[]", "[null]", "\u0000", "[2,", "﻿[]"]
        await answers(attacker, [...broken.map((message) => [message, framework()] as const), ["", undefined]])
        same((await server.counts()).BadMessage, broken.length, "bad messages that were reported")
        await server.event(/^BadMessage RpcFrameworkError the message is not/, "ATTACKER")
      }
    }
  },
}

const unknownTypes: Case = {
  id: "B2",
  name: "an unknown message type is answered MessageTypeNotSupported with the readable id; 5 and 6 are known to 2.1 only",
  run: async (context) => {
    for (const face of faces) {
      const old = await duel(context, face)
      const types = [99, 2.5, -2, 0, 1, 5, 6, 1e300]
      await answers(old.attacker, [
        ...types.map((type) => [`[${type},"id","${canary}",{}]`, unsupported("id")] as const),
        [`[99,{"a":1}]`, unsupported()],
        [`[99]`, unsupported()],
        [`["2","id","Heartbeat",{}]`, framework()],
      ])
      await old.server.event(/^BadMessage MessageTypeNotSupported/, "ATTACKER")
      const { attacker, server } = await duel(context, face, {}, "ocpp2.1")
      await answers(attacker, [
        ['[5,"nobody","InternalError","",{}]', undefined],
        ['[6,"send","Unknown",{}]', undefined],
        ["[6,1]", undefined],
        ['[7,"id"]', unsupported("id")],
      ])
      await server.event(/^BadMessage RpcFrameworkError/, "ATTACKER")
    }
  },
}

const oddIds: Case = {
  id: "B3",
  // wire.md asks for the same id in the answer: so an answer may be longer than its question, but by a constant only.
  name: "odd message ids: any string is answered under itself (over 36 characters refused in strict mode), others under -1",
  run: async (context) => {
    for (const face of faces) {
      const strict = await duel(context, face, { strictMode: true })
      const loose = await duel(context, face)
      const long = "x".repeat(37)
      const huge = "x".repeat(1_000_000)
      const call = (id: unknown) => `[2,${JSON.stringify(id)},"Heartbeat",{}]`
      const odd = [1, null, {}, [], true].map((id) => [call(id), framework()] as const)
      await answers(strict.attacker, [...odd, [call(long), framework(long)], [call(huge), framework(huge)]])
      await answers(loose.attacker, odd)
      for (const { attacker } of [strict, loose])
        await accepts(attacker, ["", "x".repeat(36), "\ud800", "😀".repeat(36), "-1"])
      await accepts(loose.attacker, [long, huge])
      const { bytesIn, bytesOut } = strict.attacker
      check(bytesIn < bytesOut + 40 * 200, `${bytesIn} bytes for ${bytesOut}`)
      await strict.server.event(/^BadMessage RpcFrameworkError the message id is longer than 36/, "ATTACKER")
    }
  },
}

const accepts = async (attacker: RawStation, ids: ReadonlyArray<string>): Promise<void> => {
  for (const id of ids) same((await attacker.ask(id, "Heartbeat")).slice(0, 2), [3, id], `the id ${id.slice(0, 40)}`)
}

const duplicateIds: Case = {
  id: "B4",
  name: "an id that is being handled is refused with a CALLERROR; its handler runs once, and the first call is answered",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "gated" } })
      const attacker = await context.attack(server)
      const before = await server.handledCount()
      for (const n of [1, 2, 3]) attacker.send([2, "same", "DataTransfer", { n }])
      for (const _ of [2, 3]) same((await attacker.receive()).slice(0, 3), framework("same"), "the second call")
      await context.victim.ask("release", null)
      same(await attacker.receive(), [3, "same", { n: 1 }], "the first call")
      same((await server.handledCount()) - before, 1, "how often the handler ran")
      await server.event(/^BadMessage RpcFrameworkError a call with this message id/, "ATTACKER")
    }
  },
}

const repeatedIds: Case = {
  id: "B5",
  name: "an id comes again after its answer, or after a reconnect: a retry, handled; our own ids never repeat",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, handlers: echoing, options: { callConcurrency: 1_000 } })
      const seen = new Set<unknown>()
      for (const _ of [1, 2]) {
        const attacker = await context.attack(server)
        await accepts(attacker, ["again", "again", "again"])
        const calls = server.call({ action: "ClearCache", identity: "ATTACKER", times: 500 })
        for (let i = 0; i < 500; i++) {
          const [, id] = await attacker.receive()
          check(typeof id === "string" && id.length <= 36, `our id ${id}`)
          seen.add(id)
          attacker.send([3, id, {}])
        }
        check(
          (await calls).every(({ ok }) => ok),
          "all calls are answered",
        )
        attacker.socket.destroy()
        await server.event(/^Close 1006/, "ATTACKER")
        await until(
          "disconnected",
          async () => (await server.counts()).Close === (await server.counts()).Connected! - 1,
        )
      }
      same(seen.size, 1_000, "different ids")
    }
  },
}

const strayAnswers: Case = {
  id: "B6",
  name: "an answer to an unknown, timed-out or interrupted call resolves no other call, and is reported",
  run: async (context) => {
    for (const face of faces) {
      const { attacker, server } = await duel(context, face)
      const about = { action: "ClearCache", identity: "ATTACKER" }
      const late = server.call({ ...about, timeout: 50 })
      const [, lateId] = await attacker.receive()
      same(
        (await late).map((one) => !one.ok && one.tag),
        ["TimeoutError"],
        "the first call",
      )
      const aborted = server.call({ ...about, abortAfter: 50 })
      const [, abortedId] = await attacker.receive()
      same(
        (await aborted).map(({ ok }) => ok),
        [false],
        "the second call",
      )
      const call = server.call(about)
      const [, id] = await attacker.receive()
      const stray = [lateId, abortedId, "unknown", `${id}x`, ""]
      for (const wrong of stray) attacker.send([3, wrong, { wrong }])
      for (const wrong of stray) attacker.send([4, wrong, "InternalError", "wrong", {}])
      attacker.send([3, id, { right: true }])
      same(await call, [{ ok: true, value: { right: true } }], "the third call")
      same(await answerTo(attacker, `[3,"${lateId}",{}]`), undefined, "the answer to an answer")
      same((await server.counts()).BadMessage, 2 * stray.length + 1, "strays that were reported")
      await server.event(/^BadMessage RpcFrameworkError the message answers no call of ours/, "ATTACKER")
    }
  },
}

const floodOfAnswers: Case = {
  id: "B7",
  name: "a flood of unknown answers during a call harms nobody; past the limit it closes with 1002",
  run: async (context) => {
    const flood = (count: number, from = 0) =>
      Buffer.concat(Array.from({ length: count }, (_, i) => text([3, `${from + i}`, {}])))
    for (const face of faces) {
      const { attacker, server } = await duel(context, face)
      const call = server.call({ action: "ClearCache", identity: "ATTACKER" })
      const [, id] = await attacker.receive()
      const total = context.size(20_000, 100_000)
      for (let sent = 0; sent < total; sent += 1_000) attacker.write(flood(1_000, sent))
      attacker.send([3, id, { right: true }])
      same(await call, [{ ok: true, value: { right: true } }], "the call")
      same((await server.counts()).BadMessage, total, "strays that were reported")
      const limited = await context.serve({ face, options: { maxBadMessages: 100 } })
      const other = await context.attack(limited)
      const lost = limited.call({ action: "ClearCache", identity: "ATTACKER" })
      await other.receive()
      other.write(flood(1_000))
      same((await other.ended).code, 1002, "the close code")
      same(
        (await lost).map((one) => !one.ok && one.tag),
        ["DisconnectedError"],
        "its call",
      )
      await limited.event(/^Close 1002 too many bad messages|^Close 1002/, "ATTACKER")
    }
  },
}

const inheritedCodes: Case = {
  id: "B8",
  name: "a CALLERROR whose code is the name of an inherited property fails its call at once, the code being data",
  run: async (context) => {
    for (const face of faces) {
      const { attacker, server } = await duel(context, face)
      for (const code of ["toString", "__proto__", "constructor", "hasOwnProperty", "", "x".repeat(10_000)]) {
        const call = server.call({ action: "ClearCache", identity: "ATTACKER", timeout: 60_000 })
        const [, id] = await attacker.receive()
        attacker.send([4, id, code, "text", { a: 1 }])
        const [outcome] = await within(5_000, `the call that was answered ${code}`, call)
        same(outcome?.ok === false && [outcome.tag, outcome.receivedCode], ["RPCError", code], "how the call failed")
      }
      await server.event(/^CallError GenericError/, "ATTACKER")
    }
  },
}

const pollution: Case = {
  id: "B9",
  name: "__proto__ and constructor in payloads pollute nothing, are unknown properties, and stand in for no required one",
  run: async (context) => {
    const evil = '{"__proto__":{"polluted":true,"idTag":"x"},"constructor":{"prototype":{"polluted":true}}}'
    for (const face of faces) {
      const strict = await duel(context, face, { strictMode: true })
      await answers(strict.attacker, [
        [`[2,"1","Heartbeat",${evil}]`, [4, "1", "PropertyConstraintViolation"]],
        [`[2,"2","Authorize",${evil}]`, [4, "2", "OccurenceConstraintViolation"]],
        ['[2,"3","Authorize",{"idTag":{"__proto__":"x"}}]', [4, "3", "TypeConstraintViolation"]],
      ])
      const loose = await duel(context, face)
      await answers(loose.attacker, [[`[2,"1","DataTransfer",${evil}]`, [3, "1", JSON.parse(evil)]]])
      loose.attacker.send(`[4,"1","InternalError","",${evil}]`)
      await loose.server.event(/^BadMessage/, "ATTACKER")
      check(await context.victim.ask("isClean", null), "Object.prototype is polluted")
      await strict.server.event(/^ValidationFailure PropertyConstraintViolation/, "ATTACKER")
    }
  },
}

const inheritedActions: Case = {
  id: "B10",
  name: "an action that is the name of an inherited property, or 1 MB long, is NotImplemented, and shortened in what is told",
  run: async (context) => {
    for (const face of faces) {
      for (const strictMode of [false, true]) {
        const server = await context.serve({ face, options: { strictMode } })
        const attacker = await context.attack(server)
        const actions = [
          "__proto__",
          "toString",
          "constructor",
          "",
          "*",
          "x".repeat(1_000_000),
          `evil\r\n${"y".repeat(200)}`,
        ]
        for (const action of actions) {
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
        check(told.length >= actions.length, "each is reported")
      }
    }
  },
}

const nested = (depth: number, open = "[", close = "]") => `${open.repeat(depth)}${close.repeat(depth)}`

const depths: Case = {
  id: "B11",
  // Two million levels are longer than the longest message; how the decoder takes them is for test/Codec.test.ts.
  name: "a payload of more than 64 levels is a CALLERROR, however deep; 64 levels are handled",
  run: async (context) => {
    for (const face of faces) {
      const { attacker, server } = await duel(context, face)
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
      await server.event(/^BadMessage FormatViolation the payload nests deeper than 64/, "ATTACKER")
      attacker.send(deep(2_000_000))
      same((await attacker.ended).code, 1009, "2,000,000 levels")
    }
  },
}

const oddPayloads: Case = {
  id: "B12",
  name: "null is {}; in strict mode a payload that is no object or missing is a CALLERROR; further elements are ignored",
  run: async (context) => {
    for (const face of faces) {
      const strict = await duel(context, face, { strictMode: true })
      await answers(strict.attacker, [
        ['[2,"1","DataTransfer",[]]', [4, "1", "TypeConstraintViolation"]],
        ['[2,"2","DataTransfer","x"]', [4, "2", "TypeConstraintViolation"]],
        ['[2,"3","DataTransfer",7]', [4, "3", "TypeConstraintViolation"]],
        ['[2,"4","DataTransfer"]', [4, "4", "FormationViolation"]],
        ['[2,"5","DataTransfer",null]', [4, "5", "OccurenceConstraintViolation"]],
      ])
      same((await answerTo(strict.attacker, '[2,"6","Heartbeat",null]'))?.slice(0, 2), [3, "6"], "null for {}")
      same(
        (await answerTo(strict.attacker, '[2,"7","Heartbeat",{},1,[2],{}]'))?.slice(0, 2),
        [3, "7"],
        "further elements",
      )
      const loose = await duel(context, face)
      await answers(loose.attacker, [
        ['[2,"1","X",null]', [3, "1", {}]],
        ['[2,"2","X"]', [3, "2", {}]],
        ['[2,"3","X",[1]]', [3, "3", [1]]],
        ['[2,"4","X","x","y"]', [3, "4", "x"]],
      ])
      await strict.server.event(/^(ValidationFailure|CallError) TypeConstraintViolation/, "ATTACKER")
    }
  },
}

const oddNumbers: Case = {
  id: "B13",
  name: "1e400 is a CALLERROR; -0, 2^53 + 1 and duplicate keys are read as JSON.parse reads them",
  run: async (context) => {
    for (const face of faces) {
      const { attacker, server } = await duel(context, face)
      await answers(attacker, [
        ['[2,"1","X",{"a":1e400}]', [4, "1", "FormationViolation"]],
        ['[2,"2","X",{"a":[-1e400]}]', [4, "2", "FormationViolation"]],
        ['[2,"3","X",{"a":-0}]', [3, "3", { a: 0 }]],
        ['[2,"4","X",{"a":9007199254740993}]', [3, "4", { a: 9007199254740992 }]],
        ['[2,"5","X",{"a":1,"a":2}]', [3, "5", { a: 2 }]],
        ['[2,"6","X",{"a":1E-400}]', [3, "6", { a: 0 }]],
        ['[2,"7","X",{"a":NaN}]', framework()],
        ['[2,"8","X",{"a":01}]', framework()],
        ['[2e0,"9","X",{}]', [3, "9", {}]],
      ])
      await server.event(/^BadMessage FormatViolation .*number/, "ATTACKER")
    }
  },
}

const descriptions: Case = {
  id: "B14",
  name: "a description is cut to 255 characters between code points when sent; when received, anything is tolerated",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "refuse" } })
      const attacker = await context.attack(server)
      const answer = await attacker.ask("1", "X", { code: "GenericError" })
      same(answer, [4, "1", "GenericError", "😀".repeat(255), { why: "asked for" }], "the CALLERROR")
      const rests = [["x".repeat(10_000), {}], [7, {}], [null, null], [{}, []], ["text", "details"], ["text"], []]
      for (const rest of rests) {
        const call = server.call({ action: "ClearCache", identity: "ATTACKER" })
        const [, id] = await attacker.receive()
        attacker.send([4, id, "SecurityError", ...rest])
        const [outcome] = await within(5_000, "the call", call)
        same(
          outcome?.ok === false && [outcome.tag, outcome.code],
          ["RPCError", "SecurityError"],
          JSON.stringify(rest).slice(0, 40),
        )
      }
    }
  },
}

const spellings: Case = {
  id: "B15",
  name: "both spellings are taken on input; what leaves is spelt as the subprotocol has it",
  run: async (context) => {
    const pairs = [
      ["FormationViolation", "FormatViolation"],
      ["OccurenceConstraintViolation", "OccurrenceConstraintViolation"],
    ] as const
    for (const face of faces) {
      for (const [protocol, index] of [
        ["ocpp1.6", 0],
        ["ocpp2.0.1", 1],
        ["ocpp2.1", 1],
      ] as const) {
        const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "refuse" } })
        const attacker = await context.attack(server, { protocol })
        for (const pair of pairs) {
          for (const code of pair) {
            same(
              (await attacker.ask(code, "X", { code })).slice(0, 3),
              [4, code, pair[index]],
              `${protocol} sends ${code}`,
            )
            const call = server.call({ action: "ClearCache", identity: "ATTACKER" })
            const [, id] = await attacker.receive()
            attacker.send([4, id, code, "", {}])
            const [outcome] = await call
            same(outcome?.ok === false && outcome.code, pair[1], `${protocol} receives ${code}`)
          }
        }
      }
    }
  },
}

const floodOfBad: Case = {
  id: "B16",
  // wire.md wants each of them answered, also those shorter than any CALLERROR: so it is the limit that bounds the answers.
  name: "a flood of bad messages is closed with 1002 after the limit; what it is answered is bounded",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, options: { maxBadMessages: 100 } })
      const attacker = await context.attack(server)
      for (let i = 0; i < 50; i++) attacker.send("[")
      attacker.send([2, "good", "Heartbeat", {}])
      for (let i = 0; i < 100; i++) attacker.send("[")
      const good = await until("the good one", () =>
        attacker.unread.find((answer) => (answer as Array<unknown>)[1] === "good"),
      )
      same((good as Array<unknown>)[0], 3, "a good one in between")
      check(!attacker.isEnded, "a good message starts the count afresh")
      attacker.write(Buffer.concat(Array(10_000).fill(text(canary))))
      same((await attacker.ended).code, 1002, "the close code")
      check(attacker.unread.length <= 152, `${attacker.unread.length} answers`)
      same((await server.counts()).BadMessage, 151, "bad messages that were looked at")
      await server.event(/^Close 1002|^Close 1002 too many bad messages/, "ATTACKER")
    }
  },
}

const beforeBoot: Case = {
  id: "B17",
  name: "what comes before BootNotification was accepted can be refused by handlers in front of the others: SecurityError",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({
        face,
        handlers: { Heartbeat: "heartbeat", BootNotification: "boot", "*": "afterBoot" },
      })
      const attacker = await context.attack(server, { path: `/BOOTING-${face}` })
      same((await attacker.ask("1", "StatusNotification")).slice(0, 3), [4, "1", "SecurityError"], "before")
      const boot = await attacker.ask("2", "BootNotification", { chargePointVendor: "V", chargePointModel: "M" })
      same(boot.slice(0, 2), [3, "2"], "the boot")
      same(await attacker.ask("3", "StatusNotification"), [3, "3", {}], "after")
      await server.event(/^CallError SecurityError BootNotification comes first/)
    }
  },
}

/** A conversation with something of everything in it. */
const transcript = Buffer.concat([
  text([2, "1", "DataTransfer", { vendorId: "ä😀" }]),
  text("["),
  text(""),
  text([3, "nobody", {}]),
  text([2, "2", "X", { long: "y".repeat(130) }]),
  text([2, "end", "X", {}]),
])

const answersOf = async (attacker: RawStation): Promise<ReadonlyArray<unknown>> => {
  const all: Array<unknown> = []
  for (;;) {
    const answer = await attacker.receive()
    all.push(answer)
    if (answer[1] === "end") return all
  }
}

const segments: Case = {
  id: "B18",
  name: "a conversation that is cut into TCP segments at any byte has the same result",
  run: async (context) => {
    const { attacker, server } = await duel(context, "effect")
    attacker.write(transcript)
    const expected = await answersOf(attacker)
    same(expected.length, 4, "answers in one segment")
    const cuts = Array.from({ length: transcript.length - 1 }, (_, i) => i + 1)
    for (let at = 0; at < cuts.length; at += 32) {
      await Promise.all(cuts.slice(at, at + 32).map((cut) => cutAt(context, server, cut, expected)))
    }
    const proxy = await makeChaosProxy(server.port, { slice: 1 })
    context.finally(proxy.close)
    const sliced = await context.attack(proxy, { path: "/SLICED" })
    sliced.write(transcript)
    same(await answersOf(sliced), expected, "byte by byte")
    await server.event(/^BadMessage RpcFrameworkError the message is not JSON/, "ATTACKER")
  },
}

const cutAt = async (context: Context, server: ServerSubject, cut: number, expected: unknown): Promise<void> => {
  const attacker = await context.attack(server, { path: `/CUT${cut}` })
  const pong = new Promise<void>((resolve) => attacker.socket.write(transcript.subarray(0, cut), () => resolve()))
  await pong
  await new Promise((resolve) => setTimeout(resolve, 5))
  attacker.write(transcript.subarray(cut))
  same(await answersOf(attacker), expected, `cut at ${cut}`)
  attacker.socket.destroy()
}

export const cases: ReadonlyArray<Case> = [
  notAFrame,
  unknownTypes,
  oddIds,
  duplicateIds,
  repeatedIds,
  strayAnswers,
  floodOfAnswers,
  inheritedCodes,
  pollution,
  inheritedActions,
  depths,
  oddPayloads,
  oddNumbers,
  descriptions,
  spellings,
  floodOfBad,
  beforeBoot,
  segments,
]

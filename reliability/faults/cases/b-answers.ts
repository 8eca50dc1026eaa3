/** B. Message ids, answers and errors on both sides, and messages without end. */
import { Buffer } from "node:buffer"
import { text } from "../../../test/support/frames.ts"
import { pause, until, within } from "../../support/waiting.ts"
import { each, fault, type Scene } from "../Case.ts"
import { canary } from "../Context.ts"
import { check, same } from "../expect.ts"
import { allEnd } from "../outcomes.ts"
import type { RawStation } from "../RawStation.ts"
import { accepts, answerTo, echoing, framework, patient } from "./b-messages.ts"

/** A call of the server's to the attacker. */
const toAttacker = { action: "ClearCache", identity: "ATTACKER" }

export const duplicateIds = fault({
  id: "B4",
  promise:
    "an id that is being handled is refused with a CALLERROR; its handler runs once, and the first call is answered",
  server: { handlers: { Heartbeat: "heartbeat", "*": "gated" } },
  check: async ({ attack, context, server }) => {
    const attacker = await attack()
    for (const n of [1, 2, 3]) attacker.send([2, "same", "DataTransfer", { n }])
    for (const _ of [2, 3]) same((await attacker.receive()).slice(0, 3), framework("same"), "the second call")
    await context.release()
    same(await attacker.receive(), [3, "same", { n: 1 }], "the first call")
    same(await server.handledCount(), 1, "how often the handler ran")
  },
  tells: [/^BadMessage RpcFrameworkError a call with this message id/],
})

export const repeatedIds = fault({
  id: "B5",
  promise: "an id comes again after its answer, or after a reconnect: a retry, handled; our own ids never repeat",
  server: { handlers: echoing, options: { callConcurrency: 1_000 } },
  check: async ({ attack, server }) => {
    const seen = new Set<unknown>()
    for (const _ of [1, 2]) {
      const attacker = await attack()
      await accepts(attacker, ["again", "again", "again"])
      const calls = server.call({ ...toAttacker, times: 500 })
      for (let i = 0; i < 500; i++) {
        const [, id] = await attacker.receive()
        check(typeof id === "string" && id.length <= 36, `our id ${id}`)
        seen.add(id)
        attacker.send([3, id, {}])
      }
      allEnd(await calls, "ok", "the calls")
      attacker.socket.destroy()
      await server.event(/^Close 1006/, "ATTACKER")
      const isDisconnected = async () => {
        const { Close, Connected } = await server.counts()
        return Close === Connected! - 1
      }
      await until("disconnected", isDisconnected)
    }
    same(seen.size, 1_000, "different ids")
  },
})

export const strayAnswers = fault({
  id: "B6",
  promise: "an answer to an unknown, timed-out or interrupted call resolves no other call, and is reported",
  server: patient(),
  check: async ({ attack, server }) => {
    const attacker = await attack()
    const late = server.call({ ...toAttacker, timeout: 50 })
    const [, lateId] = await attacker.receive()
    allEnd(await late, "TimeoutError", "the first call")
    const aborted = server.call({ ...toAttacker, abortAfter: 50 })
    const [, abortedId] = await attacker.receive()
    check(
      (await aborted).every(({ ok }) => !ok),
      "the second call has failed",
    )
    const call = server.call(toAttacker)
    const [, id] = await attacker.receive()
    const stray = [lateId, abortedId, "unknown", `${id}x`, ""]
    for (const wrong of stray) attacker.send([3, wrong, { wrong }])
    for (const wrong of stray) attacker.send([4, wrong, "InternalError", "wrong", {}])
    attacker.send([3, id, { right: true }])
    same(await call, [{ ok: true, value: { right: true } }], "the third call")
    same(await answerTo(attacker, `[3,"${lateId}",{}]`), undefined, "the answer to an answer")
    same((await server.counts()).BadMessage, 2 * stray.length + 1, "strays that were reported")
  },
  tells: [/^BadMessage RpcFrameworkError the message answers no call of ours/],
})

const strays = (count: number, from = 0): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => text([3, `${from + i}`, {}])))

export const floodOfAnswers = fault({
  id: "B7",
  promise: "a flood of unknown answers during a call harms nobody; past the limit it closes with 1002",
  server: patient(),
  check: async ({ attack, context, face, server }) => {
    const attacker = await attack()
    const call = server.call(toAttacker)
    const [, id] = await attacker.receive()
    const total = context.size(20_000, 100_000)
    for (let sent = 0; sent < total; sent += 1_000) attacker.write(strays(1_000, sent))
    attacker.send([3, id, { right: true }])
    same(await call, [{ ok: true, value: { right: true } }], "the call")
    same((await server.counts()).BadMessage, total, "strays that were reported")

    const limited = await context.serve({ face, options: { maxBadMessages: 100 } })
    const other = await context.attack(limited)
    const lost = limited.call(toAttacker)
    await other.receive()
    other.write(strays(1_000))
    same((await other.ended).code, 1002, "the close code")
    allEnd(await lost, "DisconnectedError", "its call")
    await limited.event(/^Close 1002/, "ATTACKER")
  },
})

/** Lets the server call the attacker, who answers with a CALLERROR. */
const refusedWith = async ({ attack, server }: Scene<unknown>, code: string, ...rest: ReadonlyArray<unknown>) => {
  const attacker = await attack()
  const call = server.call({ ...toAttacker, timeout: 60_000 })
  const [, id] = await attacker.receive()
  attacker.send([4, id, code, ...rest])
  const [outcome] = await within(5_000, "the call", call)
  attacker.socket.destroy()
  check(outcome?.ok === false, "the call was answered")
  same(outcome.tag, "RPCError", "how the call failed")
  return outcome
}

export const inheritedCodes = fault<string>({
  id: "B8",
  promise: "a CALLERROR whose code is the name of an inherited property fails its call at once, the code being data",
  server: patient(),
  inputs: { ...each(["toString", "__proto__", "constructor", "hasOwnProperty"]), empty: "", long: "x".repeat(10_000) },
  check: async (scene) =>
    same((await refusedWith(scene, scene.input, "text", { a: 1 })).receivedCode, scene.input, "code"),
  tells: [/^CallError GenericError/],
})

export const descriptions = fault<ReadonlyArray<unknown>>({
  id: "B14",
  promise: "a description is cut to 255 characters between code points when sent; when received, anything is tolerated",
  server: { handlers: { Heartbeat: "heartbeat", "*": "refuse" } },
  inputs: {
    "of 10,000 characters": ["x".repeat(10_000), {}],
    "that is a number": [7, {}],
    "that is null, like the details": [null, null],
    "that is an object, and details that are a list": [{}, []],
    "with details that are a text": ["text", "details"],
    "without details": ["text"],
    "that is missing": [],
  },
  check: async (scene) => {
    const attacker = await scene.attack({ path: "/REFUSED" })
    const answer = await attacker.ask("1", "X", { code: "GenericError" })
    same(answer, [4, "1", "GenericError", "😀".repeat(255), { why: "asked for" }], "the CALLERROR")
    same((await refusedWith(scene, "SecurityError", ...scene.input)).code, "SecurityError", "the code")
  },
})

const twoSpellings = [
  ["FormationViolation", "FormatViolation"],
  ["OccurenceConstraintViolation", "OccurrenceConstraintViolation"],
] as const

export const spellings = fault<readonly [protocol: string, spelling: 0 | 1]>({
  id: "B15",
  promise: "both spellings are taken on input; codes leave as the subprotocol spells them",
  server: { handlers: { Heartbeat: "heartbeat", "*": "refuse" } },
  inputs: { "OCPP 1.6": ["ocpp1.6", 0], "OCPP 2.0.1": ["ocpp2.0.1", 1], "OCPP 2.1": ["ocpp2.1", 1] },
  check: async ({ attack, input: [protocol, spelling], server }) => {
    const attacker = await attack({ protocol })
    for (const pair of twoSpellings) {
      for (const code of pair) {
        same((await attacker.ask(code, "X", { code })).slice(0, 3), [4, code, pair[spelling]], `sends ${code}`)
        const call = server.call(toAttacker)
        const [, id] = await attacker.receive()
        attacker.send([4, id, code, "", {}])
        const [outcome] = await call
        same(outcome?.ok === false && outcome.code, pair[1], `receives ${code}`)
      }
    }
    attacker.socket.destroy()
  },
})

export const floodOfBad = fault({
  id: "B16",
  // wire.md wants each of them answered, also those shorter than any CALLERROR: so it is the limit that bounds the answers.
  promise: "a flood of bad messages is closed with 1002 after the limit; its answers are bounded",
  server: { options: { maxBadMessages: 100 } },
  check: async ({ attack, server }) => {
    const attacker = await attack()
    for (let i = 0; i < 50; i++) attacker.send("[")
    attacker.send([2, "good", "Heartbeat", {}])
    for (let i = 0; i < 100; i++) attacker.send("[")
    const good = await until("the good one", () => attacker.unread.find((answer) => Object(answer)[1] === "good"))
    same(Object(good)[0], 3, "a good one in between")
    check(!attacker.isEnded, "a good message starts the count afresh")
    attacker.write(Buffer.concat(Array(10_000).fill(text(canary))))
    same((await attacker.ended).code, 1002, "the close code")
    check(attacker.unread.length <= 152, `${attacker.unread.length} answers`)
    same((await server.counts()).BadMessage, 151, "bad messages that were looked at")
  },
  tells: [/^Close 1002/],
})

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

export const segments = fault({
  id: "B18",
  promise: "a conversation that is cut into TCP segments at any byte has the same result",
  faces: ["effect"],
  server: patient(),
  check: async ({ attack, context, server }) => {
    const attacker = await attack()
    attacker.write(transcript)
    const expected = await answersOf(attacker)
    same(expected.length, 4, "answers in one segment")
    const cutAt = async (cut: number) => {
      const station = await attack({ path: `/CUT${cut}` })
      await new Promise<void>((resolve) => station.socket.write(transcript.subarray(0, cut), () => resolve()))
      await pause(5)
      station.write(transcript.subarray(cut))
      same(await answersOf(station), expected, `cut at ${cut}`)
      station.socket.destroy()
    }
    const cuts = Array.from({ length: transcript.length - 1 }, (_, i) => i + 1)
    for (let at = 0; at < cuts.length; at += 32) await Promise.all(cuts.slice(at, at + 32).map(cutAt))
    const { port } = await context.proxy(server, { slice: 1 })
    const sliced = await context.attack({ port }, { path: "/SLICED" })
    sliced.write(transcript)
    same(await answersOf(sliced), expected, "byte by byte")
  },
  tells: [/^BadMessage RpcFrameworkError the message is not JSON/],
})

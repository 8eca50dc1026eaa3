/** C. Handlers: endless, throwing, returning nonsense, too many, too late, blocking. */
import { Buffer } from "node:buffer"
import { Opcode, text } from "../../../test/support/frames.ts"
import { until } from "../../support/waiting.ts"
import { each, fault } from "../Case.ts"
import { check, same } from "../expect.ts"
import { wordsOf } from "../faces.ts"
import type { RawStation } from "../RawStation.ts"
import type { ServerSubject } from "../subjects.ts"
import { secret } from "../victim/behaviours.ts"

/** All messages that came, parsed. */
export const messagesOf = ({ frames }: RawStation): ReadonlyArray<ReadonlyArray<unknown>> =>
  frames.flatMap(({ opcode, payload }) => (opcode === Opcode.Text ? [JSON.parse(payload.toString())] : []))

/** Fails unless a further call is answered. */
export const goesOn = async (attacker: RawStation, what: string): Promise<void> => {
  let answer = await attacker.ask("good", "Heartbeat")
  while (answer[0] === 2) answer = await attacker.receive()
  same(answer.slice(0, 2), [3, "good"], `a call after ${what}`)
}

export const endless = fault({
  id: "C1",
  promise:
    "a handler that never returns is interrupted after its deadline, which is the call timeout, and answered InternalError",
  server: (face) => ({
    handlers: { Heartbeat: "heartbeat", "*": "never" },
    options: wordsOf(face, { callTimeout: face === "effect" ? 400 : 100 }),
  }),
  check: async ({ attack, context, face, server }) => {
    const attacker = await attack()
    const start = Date.now()
    attacker.send([2, "endless", "Authorize", {}])
    await goesOn(attacker, "one that does not end")
    if (face === "promise") {
      // Here handlers have as long as they want, as documented; but no longer than their connection.
      same((await context.counters()).handlers, 1, "handlers that run")
      attacker.socket.destroy()
      return context.handlersRun(0)
    }
    same((await attacker.receive()).slice(0, 3), [4, "endless", "InternalError"], "its answer")
    const took = Date.now() - start
    check(took >= 350 && took < 4_000, `answered after ${took} ms`)
    await context.handlersRun(0)
    await server.event(/^CallError InternalError the handler did not finish within 400 ms/, "ATTACKER")
  },
})

export const throwing = fault<string>({
  id: "C2",
  promise:
    "whatever a handler throws is answered with a CALLERROR: InternalError on the Effect face, GenericError on the promise face",
  server: { handlers: { Heartbeat: "heartbeat", "*": "throws" } },
  inputs: each(["null", "undefined", "string", "symbol", "proxy", "getter", "cyclic"]),
  check: async ({ attack, face, input }) => {
    const attacker = await attack()
    const code = face === "effect" ? "InternalError" : "GenericError"
    for (const when of ["now", "later"]) {
      const answer = await attacker.ask(input, "DataTransfer", { what: input, when })
      same(answer.slice(0, 3), [4, input, code], `the answer when it is thrown ${when}`)
      same([answer.length, typeof answer[3], answer[4]], [5, "string", {}], "the form of the answer")
      await goesOn(attacker, input)
    }
  },
  tells: [/^CallError (Internal|Generic)Error/],
})

export const returning = fault({
  id: "C3",
  promise:
    "a response that is no JSON is an InternalError for that call only; undefined and null are {}; 10 MB are sent",
  server: { handlers: { Heartbeat: "heartbeat", "*": "returns" } },
  check: async ({ attack, face }) => {
    const attacker = await attack()
    for (const what of ["cyclic", "bigint", "toJSON", "getter", "proxy"]) {
      const answer = await attacker.ask(what, "DataTransfer", { what })
      // Whether a value is a promise is asked of it; an error from there counts as thrown by the handler.
      const code = what === "proxy" && face === "promise" ? "GenericError" : "InternalError"
      same(answer.slice(0, 3), [4, what, code], `the answer to ${what}`)
      await goesOn(attacker, what)
    }
    for (const what of ["undefined", "null"]) {
      same(await attacker.ask(what, "DataTransfer", { what }), [3, what, {}], what)
    }
    const [type, id, payload] = await attacker.ask("huge", "DataTransfer", { what: "huge" })
    same([type, id, (payload as { text: string }).text.length], [3, "huge", 10_000_000], "10 MB")
    await goesOn(attacker, "10 MB")
  },
  tells: [/^CallError InternalError the response cannot be written as JSON/],
})

export const secretive = fault<boolean>({
  id: "C4",
  promise:
    "an error's secrets stay here: of a defect nothing leaves (Effect), or its message only (promise); RPCErrors go as they are",
  inputs: { "by default": false, "with detailed errors": true },
  check: async ({ context, face, input: detailed }) => {
    const server = await context.serve({
      face,
      handlers: { Heartbeat: "heartbeat", Refuse: "refuse", "*": "throws" },
      options: { respondWithDetailedErrors: detailed },
    })
    const attacker = await context.attack(server)
    const answer = await attacker.ask("1", "DataTransfer", { what: "secretive" })
    const [, , , description, details] = answer
    const isDetailed = detailed && face === "promise"
    same(JSON.stringify(answer).includes(secret), isDetailed, "the fields of an error leave")
    same(`${description}`.includes("of an error"), detailed || face === "promise", "the message of an error leaves")
    same(Object.keys(Object(details)).includes("stack"), isDetailed, "the stack leaves")
    const refused = await attacker.ask("2", "Refuse", { code: "SecurityError" })
    same([refused[2], refused[4]], ["SecurityError", { why: "asked for" }], "an error that is meant")
    check(`${refused[3]}`.startsWith("😀😀😀"), "its text")
  },
})

const manyCalls = (count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, n) => text([2, `${n}`, "DataTransfer", { n }])))

export const crowd = fault({
  id: "C5",
  promise:
    "of 10,000 CALLs at once 64 are handled at a time, 1,024 wait, the others are refused; handlers that call back never deadlock",
  // The documentation of the promise face promises "no limit": only a flood reaches its bounds.
  server: (face) => ({ handlers: { Heartbeat: "heartbeat", "*": face === "effect" ? "gated" : "late" } }),
  check: async ({ attack, context, face, server }) => {
    const bounds =
      face === "effect" ? { sent: 10_000, run: 64, wait: 1_024 } : { sent: 20_050, run: 10_000, wait: 10_000 }
    const attacker = await attack()
    attacker.write(manyCalls(bounds.sent))
    const refused = bounds.sent - bounds.run - bounds.wait
    await until("the others are refused", () => attacker.frames.length >= refused)
    same((await context.counters()).handlers, bounds.run, "handlers that run")
    const others = messagesOf(attacker).filter(([type, , code]) => type !== 4 || code !== "GenericError")
    same(others, [], "answers that are no refusals")
    if (face === "promise") {
      attacker.socket.destroy()
      await until("the end is observed", async () => (await server.counts()).Close === 1)
      return context.release()
    }
    await until("those that wait are handled", async () => {
      await context.release()
      check((await context.counters()).handlers <= bounds.run, `more than ${bounds.run} handlers run`)
      return attacker.frames.length === bounds.sent
    })
    const answered = messagesOf(attacker).filter(([type]) => type === 3)
    same(answered.length, bounds.run + bounds.wait, "calls that were answered")
    check(
      answered.every(([, id, payload]) => (payload as { n: number }).n === Number(id)),
      "an answer of another's",
    )
    same(await server.repeated(), 0, "calls that were handled twice")
  },
  afterwards: async ({ context, face }) => {
    // All places are taken by handlers that wait for an answer of the peer that takes them.
    const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "callsBack" } })
    const attacker = await context.attack(server)
    const count = 500
    attacker.write(manyCalls(count))
    for (let answered = 0; answered < count; ) {
      const [type, id] = await attacker.receive()
      if (type === 2) attacker.send([3, id, {}])
      else answered++
    }
    await server.event(/^Connected/, "ATTACKER")
  },
  tells: [/^CallError GenericError .* calls are being handled/],
})

const closes = async (server: ServerSubject): Promise<number> =>
  (await server.events("ATTACKER")).filter(({ tag }) => tag === "Close").length

export const tooLate = fault({
  id: "C11",
  promise:
    "an answer that comes when the connection has gone is dropped, its handler told, the end observed; nothing throws",
  server: { handlers: { Heartbeat: "heartbeat", Late: "late", "*": "gated" } },
  check: async ({ attack, context, face, server }) => {
    for (const end of ["close", "reset"] as const) {
      const attacker = await attack()
      for (let n = 0; n < 10; n++) attacker.send([2, `${n}`, n % 2 === 0 ? "Late" : "DataTransfer", {}])
      await context.handlersRun(10)
      if (end === "reset") attacker.socket.resetAndDestroy()
      else attacker.socket.destroy()
      await until("the end is observed", async () => (await closes(server)) === (end === "close" ? 1 : 2))
      // A handler that does not listen to the interruption has no way to be told.
      await context.handlersRun(face === "effect" ? 0 : 5)
      await context.release()
      await context.handlersRun(0)
      same(attacker.unread, [], "messages that came after all")
    }
    const other = await attack()
    await goesOn(other, "late answers on another connection")
    same(other.frames.length, 1, "answers on another connection")
  },
})

export const blocking = fault({
  id: "C12",
  promise:
    "a handler that blocks the process for many ping intervals ends no connection of others: their pongs are there",
  server: (face) => ({
    handlers: { Heartbeat: "heartbeat", "*": "block" },
    options: wordsOf(face, { pingInterval: 300 }),
  }),
  check: async ({ attack, context, server }) => {
    const millis = context.size(2_000, 5_000)
    // Most of the time a ping has not been answered yet: then it is when the process is held up, too.
    const far = await context.proxy(server, { latency: 100 })
    const others = await Promise.all(Array.from({ length: 20 }, (_, n) => context.attack(far, { path: `/OTHER${n}` })))
    const attacker = await attack()
    same((await attacker.ask("1", "DataTransfer", { millis }))[0], 3, "the answer")
    await context.excuseSlowness()
    await Promise.all([attacker, ...others].map((other) => goesOn(other, "a held-up process")))
    same((await server.counts()).Close ?? 0, 0, "connections that have ended")
    // A peer that is dead is found still.
    const dead = await attack({ path: "/DEAD", pongs: false })
    await server.event(/^Close 1006 ping timeout/, "DEAD")
    await dead.ended
  },
})

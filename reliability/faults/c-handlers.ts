/** C. Handlers, and calls at the same time. */
import { Buffer } from "node:buffer"
import { makeChaosProxy } from "../chaosProxy.ts"
import { secret } from "./behaviours.ts"
import { type Case, type Context, check, type ServerSubject, same, until } from "./Case.ts"
import type { Face, Options, Outcome } from "./Program.ts"
import { Opcode, type RawStation, text } from "./raw.ts"

const faces: ReadonlyArray<Face> = ["effect", "promise"]

const timeoutOf = (face: Face, millis: number): Options =>
  face === "effect" ? { callTimeout: millis } : { callTimeoutMs: millis }

/** The calls that came. */
const callsOf = (station: RawStation) => messagesOf(station).filter(([type]) => type === 2)

const messagesOf = ({ frames }: RawStation): ReadonlyArray<ReadonlyArray<unknown>> =>
  frames.flatMap(({ opcode, payload }) => (opcode === Opcode.Text ? [JSON.parse(payload.toString())] : []))

const tagOf = (outcome: Outcome | undefined) => (outcome?.ok === true ? "ok" : outcome?.tag)

const tagsOf = (outcomes: ReadonlyArray<Outcome>): Readonly<Record<string, number>> => {
  const tags: Record<string, number> = {}
  for (const outcome of outcomes) tags[`${tagOf(outcome)}`] = (tags[`${tagOf(outcome)}`] ?? 0) + 1
  return tags
}

/** Calls of the server's that are all to end alike. */
const allEnd = (outcomes: ReadonlyArray<Outcome>, tag: string, what: string): void =>
  same(tagsOf(outcomes), { [tag]: outcomes.length }, what)

/** The other calls of a connection go on. */
const goesOn = async (attacker: RawStation, what: string): Promise<void> => {
  let answer = await attacker.ask("good", "Heartbeat")
  while (answer[0] === 2) answer = await attacker.receive()
  same(answer.slice(0, 2), [3, "good"], `a call after ${what}`)
}

const endless: Case = {
  id: "C1",
  name: "a handler that never returns is interrupted after its deadline, which is the call timeout, and answered InternalError",
  run: async (context) => {
    const server = await context.serve({
      handlers: { Heartbeat: "heartbeat", "*": "never" },
      options: { callTimeout: 400 },
    })
    const attacker = await context.attack(server)
    const start = Date.now()
    attacker.send([2, "endless", "Authorize", {}])
    await goesOn(attacker, "one that does not end")
    same((await attacker.receive()).slice(0, 3), [4, "endless", "InternalError"], "its answer")
    const took = Date.now() - start
    check(took >= 350 && took < 4_000, `answered after ${took} ms`)
    await until("the handler is interrupted", async () => (await context.counters()).handlers === 0)
    await server.event(/^CallError InternalError the handler did not finish within 400 ms/, "ATTACKER")
    await untilGone(context)
  },
}

/** Handlers of the promise face have as long as they want, as documented; but no longer than their connection. */
const untilGone = async (context: Context): Promise<void> => {
  const server = await context.serve({
    face: "promise",
    handlers: { Heartbeat: "heartbeat", "*": "never" },
    options: { callTimeoutMs: 100 },
  })
  const attacker = await context.attack(server)
  attacker.send([2, "endless", "Authorize", {}])
  await goesOn(attacker, "one that does not end")
  same((await context.counters()).handlers, 1, "handlers that run")
  attacker.socket.destroy()
  await until("the handler is told", async () => (await context.counters()).handlers === 0)
}

const throwing: Case = {
  id: "C2",
  name: "whatever a handler throws is answered with a CALLERROR: InternalError on the Effect face, GenericError on the promise face",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "throws" } })
      const attacker = await context.attack(server)
      const code = face === "effect" ? "InternalError" : "GenericError"
      for (const what of ["null", "undefined", "string", "symbol", "proxy", "getter", "cyclic"]) {
        for (const when of ["now", "later"]) {
          const answer = await attacker.ask(what, "DataTransfer", { what, when })
          same(answer.slice(0, 3), [4, what, code], `what is answered to ${what}, thrown ${when}`)
          same([answer.length, typeof answer[3], answer[4]], [5, "string", {}], `how ${what} is answered`)
          await goesOn(attacker, what)
        }
      }
      await server.event(/^CallError (Internal|Generic)Error/, "ATTACKER")
    }
  },
}

const returning: Case = {
  id: "C3",
  name: "a response that is no JSON is an InternalError for that call only; undefined and null are {}; 10 MB are sent",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "returns" } })
      const attacker = await context.attack(server)
      for (const what of ["cyclic", "bigint", "toJSON", "getter", "proxy"]) {
        const answer = await attacker.ask(what, "DataTransfer", { what })
        // Whether a value is a promise is asked of it, and what throws then is what the handler has thrown.
        const code = what === "proxy" && face === "promise" ? "GenericError" : "InternalError"
        same(answer.slice(0, 3), [4, what, code], `what is answered for ${what}`)
        await goesOn(attacker, what)
      }
      for (const what of ["undefined", "null"]) {
        same(await attacker.ask(what, "DataTransfer", { what }), [3, what, {}], what)
      }
      const [type, id, payload] = await attacker.ask("huge", "DataTransfer", { what: "huge" })
      same([type, id, (payload as { text: string }).text.length], [3, "huge", 10_000_000], "10 MB")
      await goesOn(attacker, "10 MB")
      await server.event(/^CallError InternalError the response cannot be written as JSON/, "ATTACKER")
    }
  },
}

const secretive: Case = {
  id: "C4",
  name: "an error's secrets stay here: of a defect nothing leaves (Effect), or its message only (promise); RPCErrors go as they are",
  run: async (context) => {
    for (const face of faces) {
      for (const detailed of [false, true]) {
        const server = await context.serve({
          face,
          handlers: { Heartbeat: "heartbeat", Refuse: "refuse", "*": "throws" },
          options: { respondWithDetailedErrors: detailed },
        })
        const attacker = await context.attack(server)
        const answer = await attacker.ask("1", "DataTransfer", { what: "secretive" })
        const [, , , description, details] = answer
        same(JSON.stringify(answer).includes(secret), detailed && face === "promise", `${face}: the fields of an error`)
        same(
          `${description}`.includes("of an error"),
          detailed || face === "promise",
          `${face}: the message of an error`,
        )
        same(Object.keys(Object(details)).includes("stack"), detailed && face === "promise", `${face}: the stack`)
        const refused = await attacker.ask("2", "Refuse", { code: "SecurityError" })
        same([refused[2], refused[4]], ["SecurityError", { why: "asked for" }], "an error that is meant")
        check(`${refused[3]}`.startsWith("😀😀😀"), "its text")
      }
    }
  },
}

const crowd: Case = {
  id: "C5",
  name: "of 10,000 CALLs at once 64 are handled at a time, 1,024 wait, the others are refused; handlers that call back never deadlock",
  run: async (context) => {
    const server = await context.serve({ handlers: { Heartbeat: "heartbeat", "*": "gated" } })
    const attacker = await context.attack(server)
    const count = 10_000
    attacker.write(Buffer.concat(Array.from({ length: count }, (_, n) => text([2, `${n}`, "DataTransfer", { n }]))))
    await until("the others are refused", () => attacker.frames.length >= count - 64 - 1_024)
    same((await context.counters()).handlers, 64, "handlers that run")
    same(
      messagesOf(attacker).filter(([type, , code]) => type !== 4 || code !== "GenericError"),
      [],
      "answers that are no refusals",
    )
    await until("those that wait are handled", async () => {
      await context.victim.ask("release", null)
      check((await context.counters()).handlers <= 64, "more than 64 handlers run")
      return attacker.frames.length === count
    })
    const answered = messagesOf(attacker).filter(([type]) => type === 3)
    same(answered.length, 64 + 1_024, "calls that were answered")
    check(
      answered.every(([, id, payload]) => (payload as { n: number }).n === Number(id)),
      "an answer of another's",
    )
    same(await server.repeated(), 0, "calls that were handled twice")
    await server.event(/^CallError GenericError .* calls are being handled/, "ATTACKER")
    for (const face of faces) await callBack(context, face)
    await noLimit(context)
  },
}

/** All places are taken by handlers that wait for an answer of the peer that takes them. */
const callBack = async (context: Context, face: Face): Promise<void> => {
  const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "callsBack" } })
  const attacker = await context.attack(server)
  const count = 500
  attacker.write(Buffer.concat(Array.from({ length: count }, (_, n) => text([2, `${n}`, "DataTransfer", {}]))))
  for (let answered = 0; answered < count; ) {
    const [type, id] = await attacker.receive()
    if (type === 2) attacker.send([3, id, {}])
    else answered++
  }
  await server.event(/^Connected/, "ATTACKER")
}

/** The documentation of the promise face promises "no limit": only a flood reaches its bounds. */
const noLimit = async (context: Context): Promise<void> => {
  const server = await context.serve({ face: "promise", handlers: { Heartbeat: "heartbeat", "*": "late" } })
  const attacker = await context.attack(server)
  const count = 20_050
  attacker.write(Buffer.concat(Array.from({ length: count }, (_, n) => text([2, `${n}`, "DataTransfer", {}]))))
  await until("what is over is refused", () => attacker.frames.length === 50)
  same((await context.counters()).handlers, 10_000, "handlers that run")
  attacker.socket.destroy()
  await until("the end is observed", async () => (await server.counts()).Close === 1)
  await context.victim.ask("release", null)
}

const crossing: Case = {
  id: "C6",
  name: "calls that cross are both answered, each with its own answer",
  run: async (context) => {
    const rounds = context.size(1_500, 10_000)
    for (const face of faces) {
      const server = await context.serve({
        face,
        handlers: { Heartbeat: "heartbeat", "*": "echo" },
        options: face === "effect" ? { maxQueuedCalls: rounds } : {},
      })
      const attacker = await context.attack(server)
      const calls = server.call({ action: "ClearCache", identity: "ATTACKER", times: rounds })
      let answered = 0
      for (let n = 0; n < rounds; ) {
        const [type, id, payload] = await attacker.receive()
        if (type === 2) {
          // Ours leaves before the answer to theirs, so that the two meet on the way.
          attacker.write(text([2, `cross-${n}`, "DataTransfer", { n }]), text([3, id, { n }]))
          n++
        } else {
          same([id, payload], [`cross-${(payload as { n: number }).n}`, payload], "an answer")
          answered++
        }
      }
      const outcomes = await calls
      const wrong = outcomes.findIndex((outcome, n) => !(outcome.ok && (outcome.value as { n: number }).n === n))
      same(wrong, -1, "the call of the server's that got another answer")
      while (answered < rounds) if ((await attacker.receive())[0] === 3) answered++
      same(await server.repeated(), 0, "calls that were handled twice")
    }
  },
}

const concurrency: Case = {
  id: "C7",
  name: "no more calls than the concurrency are on the wire; what waits is bounded, times out unsent, and moves up in order",
  run: async (context) => {
    for (const face of faces) {
      const bounds = face === "effect" ? { maxQueuedCalls: 20 } : {}
      const server = await context.serve({ face, options: { callConcurrency: 2, ...bounds } })
      const attacker = await context.attack(server)
      const times = 30
      const calls = server.call({ action: "ClearCache", identity: "ATTACKER", times, numbered: true })
      const expired = server.call({ action: "Reset", identity: "ATTACKER", timeout: 100 })
      const aborted = server.call({ action: "Reset", identity: "ATTACKER", abortAfter: 100 })
      // What finds the queue full fails as early; where there is no bound it is the timeout that ends it.
      same(tagOf((await expired)[0]), face === "effect" ? "CallQueueFullError" : "TimeoutError", "a call too many")
      check((await aborted)[0]?.ok === false, "a call that is taken back while it waits")
      const sent = face === "effect" ? 2 + 20 : times
      for (let answered = 0; answered < sent; answered++) {
        await until("the next is sent", () => callsOf(attacker).length > answered)
        check(callsOf(attacker).length <= answered + 2, `${callsOf(attacker).length} calls after ${answered} answers`)
        attacker.send([3, callsOf(attacker)[answered]?.[1], { answered }])
      }
      const tags = tagsOf(await calls)
      same(tags, face === "effect" ? { ok: sent, CallQueueFullError: times - sent } : { ok: times }, "the calls")
      await goesOn(attacker, "the calls")
      same(
        callsOf(attacker).map(([, , action, payload]) => [action, (payload as { n: number }).n]),
        Array.from({ length: sent }, (_, n) => ["ClearCache", n]),
        "what was on the wire",
      )
    }
  },
}

/** What cannot be written as JSON, or may not be sent. */
const unsendable = (): ReadonlyArray<unknown> => {
  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  return [cyclic, { n: 1n }]
}

type Called = Parameters<ServerSubject["call"]>[0]

const permits: Case = {
  id: "C8",
  name: "a call returns its place however it ends: not sendable, not valid, refused, timed out, taken back, or a throwing socket",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, protocols: ["ocpp1.6"], options: { strictMode: true } })
      const attacker = await context.attack(server)
      const identity = "ATTACKER"
      const fine = { action: "ClearCache", identity, payload: {} }
      for (const payload of [...unsendable(), { unknown: 1 }, [], "text"]) {
        allEnd(await server.call({ ...fine, payload, times: 3 }), "RPCError", "what cannot be sent")
      }
      allEnd(await server.call({ ...fine, timeout: 50, times: 3 }), "TimeoutError", "what is not answered")
      const takenBack = await server.call({ ...fine, abortAfter: 50, times: 3 })
      check(
        takenBack.every(({ ok }) => !ok),
        "what is taken back",
      )
      await movesUp(server, attacker, { ...fine, abortAfter: 100 }, fine)
      await movesUp(server, attacker, { ...fine, timeout: 100 }, fine)
      const before = callsOf(attacker).length
      const answers = [{ status: "Accepted" }, { unknown: 1 }, { status: "Rejected" }]
      const calls = server.call({ ...fine, times: answers.length + 1 })
      for (const [i, answer] of [...answers, undefined].entries()) {
        await until("the next is sent", () => callsOf(attacker).length > before + i)
        const id = callsOf(attacker)[before + i]?.[1]
        attacker.send(answer === undefined ? [4, id, "GenericError", "", {}] : [3, id, answer])
      }
      same((await calls).map(tagOf), ["ok", "RPCError", "ok", "RPCError"], "how the calls ended")
      await waitingForConnection(context, face)
      await jammed(context, face)
    }
  },
}

/** A call that waits behind one that comes to nothing is sent. */
const movesUp = async (server: ServerSubject, attacker: RawStation, vain: Called, fine: Called): Promise<void> => {
  const before = callsOf(attacker).length
  const failing = server.call(vain)
  const waiting = server.call({ ...fine, timeout: 10_000 })
  check((await failing)[0]?.ok === false, "a call that comes to nothing")
  await until("the next is sent", () => callsOf(attacker).length === before + 2)
  attacker.send([3, callsOf(attacker)[before + 1]?.[1], { status: "Accepted" }])
  allEnd(await waiting, "ok", "the call behind it")
}

/** What waits for a connection is written when that is there, and may turn out to be unsendable then. */
const waitingForConnection = async (context: Context, face: Face): Promise<void> => {
  const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "echo" } })
  const proxy = await makeChaosProxy(server.port)
  context.finally(proxy.close)
  const reconnect =
    face === "effect"
      ? { reconnect: { minimum: 500, range: 0 } }
      : { reconnect: true, backoff: { initialDelay: 500, maxDelay: 500, randomisationFactor: 0 } }
  const station = await context.dial({ face, endpoint: `ws://127.0.0.1:${proxy.port}`, options: reconnect })
  proxy.cut("reset")
  await station.event(/^Disconnect/)
  const bad = unsendable().map((payload) => station.call({ action: "DataTransfer", payload, times: 2 }))
  const good = station.call({ action: "DataTransfer", times: 2 })
  for (const outcomes of await Promise.all(bad)) allEnd(outcomes, "RPCError", "what cannot be sent, after a reconnect")
  allEnd(await good, "ok", "the calls behind them")
  await station.close()
}

const jammed = async (context: Context, face: Face): Promise<void> => {
  const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "echo" } })
  const reconnect =
    face === "effect"
      ? { reconnect: { minimum: 100, range: 0 } }
      : { reconnect: true, backoff: { initialDelay: 100, maxDelay: 100 } }
  const station = await context.dial({ face, endpoint: server.endpoint, jams: 1, options: reconnect })
  const [first, ...others] = await station.call({ action: "DataTransfer", times: 3 })
  same(tagOf(first), "DisconnectedError", "the call that the socket threw at")
  allEnd(others, "ok", "the calls behind it, which have a new connection")
  await station.event(/^(SocketError|Disconnect) .*no mask/)
  await station.close()
}

const manyTimeouts: Case = {
  id: "C9",
  name: "5,000 timeouts in one tick all settle, and harm no bystander",
  run: async (context) => {
    for (const face of faces) {
      const times = 5_000
      const bounds = face === "effect" ? { maxQueuedCalls: times } : {}
      const server = await context.serve({ face, options: { callConcurrency: times / 2, ...bounds } })
      const attacker = await context.attack(server)
      const setup = { action: "ClearCache", identity: "ATTACKER", times, timeout: 300 }
      const start = Date.now()
      allEnd(await server.call(setup), "TimeoutError", "the calls")
      check(Date.now() - start < 5_000, `the calls ended after ${Date.now() - start} ms`)
      await goesOn(attacker, "the timeouts")
    }
  },
}

const oneSignal: Case = {
  id: "C10",
  name: "one AbortSignal for 100,000 calls takes them back at once, at every stage, and is left without a listener",
  run: async (context) => {
    for (const face of faces) {
      // Effect's own runPromise takes a time for n runs by one signal that grows with the square of n, whatever they run.
      const times = context.size(5_000, face === "effect" ? 20_000 : 100_000)
      const bounds = face === "effect" ? { maxQueuedCalls: times } : {}
      const server = await context.serve({
        face,
        options: { callConcurrency: 3, ...bounds, ...timeoutOf(face, 600_000) },
      })
      const attacker = await context.attack(server)
      const setup = { action: "ClearCache", identity: "ATTACKER", times }
      // A fiber that was interrupted before it began calls nobody: that is Effect's promise.
      const abortions = face === "effect" ? (["meanwhile"] as const) : (["before", "meanwhile"] as const)
      for (const abortion of abortions) {
        const { listeners, tags, took } = await server.callAborted({ ...setup, abortion })
        same([tags, listeners], [{ "": times }, 0], `aborted ${abortion}: how they ended, and listeners`)
        check(took < 10_000, `aborted ${abortion}: took ${took} ms`)
        same(callsOf(attacker).length, abortion === "before" ? 0 : 3, `aborted ${abortion}: calls on the wire`)
        // It is the caller who has made so many calls in one turn.
        await context.excuseSlowness()
      }
      await goesOn(attacker, "the abortions")
      await answered(context, face)
    }
  },
}

/** Whoever is answered leaves nothing with the signal either. */
const answered = async (context: Context, face: Face): Promise<void> => {
  const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "empty" } })
  const station = await context.dial({ face, endpoint: server.endpoint })
  const times = context.size(1_000, 10_000)
  for (const _ of Array(times / 1_000)) {
    const calls = await station.callAborted({ action: "ClearCache", times: 1_000, abortion: "never" })
    same([calls.tags, calls.listeners], [{ ok: 1_000 }, 0], "calls that were answered, and listeners")
  }
  await station.close()
}

const tooLate: Case = {
  id: "C11",
  name: "an answer that comes when the connection has gone is dropped, its handler told, the end observed; nothing throws",
  run: async (context) => {
    for (const face of faces) {
      const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", Late: "late", "*": "gated" } })
      for (const end of ["close", "reset"] as const) {
        const attacker = await context.attack(server)
        for (let n = 0; n < 10; n++) attacker.send([2, `${n}`, n % 2 === 0 ? "Late" : "DataTransfer", {}])
        await until("they are being handled", async () => (await context.counters()).handlers === 10)
        if (end === "reset") attacker.socket.resetAndDestroy()
        else attacker.socket.destroy()
        await until("the end is observed", async () => (await closes(server)) === (end === "close" ? 1 : 2))
        // Who does not listen to the interruption has no way to be told.
        const deaf = face === "effect" ? 0 : 5
        await until("the handlers are told", async () => (await context.counters()).handlers === deaf)
        await context.victim.ask("release", null)
        await until("the last has answered", async () => (await context.counters()).handlers === 0)
        same(attacker.unread, [], "what came after all")
      }
      const other = await context.attack(server)
      await goesOn(other, "late answers on another connection")
      same(other.frames.length, 1, "answers on another connection")
    }
  },
}

const closes = async (server: ServerSubject): Promise<number> =>
  (await server.events("ATTACKER")).filter(({ tag }) => tag === "Close").length

const blocking: Case = {
  id: "C12",
  name: "a handler that blocks the process for many ping intervals ends no connection of others: their pongs are there",
  run: async (context) => {
    const millis = context.size(2_000, 5_000)
    for (const face of faces) {
      const ping = face === "effect" ? { pingInterval: 300 } : { pingIntervalMs: 300 }
      const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "block" }, options: ping })
      // Most of the time a ping has not been answered yet: then it is when the process is held up, too.
      const far = await makeChaosProxy(server.port, { latency: 100 })
      context.finally(far.close)
      const others = await Promise.all(
        Array.from({ length: 20 }, (_, n) => context.attack(far, { path: `/OTHER${n}` })),
      )
      const attacker = await context.attack(server)
      same((await attacker.ask("1", "DataTransfer", { millis }))[0], 3, "the answer")
      await context.excuseSlowness()
      await Promise.all([attacker, ...others].map((other) => goesOn(other, "a held-up process")))
      same((await server.counts()).Close ?? 0, 0, "connections that have ended")
      // A peer that is dead is found still.
      const dead = await context.attack(server, { path: "/DEAD", pongs: false })
      await server.event(/^Close 1006 ping timeout/, "DEAD")
      await dead.ended
    }
  },
}

export const cases: ReadonlyArray<Case> = [
  endless,
  throwing,
  returning,
  secretive,
  crowd,
  crossing,
  concurrency,
  permits,
  manyTimeouts,
  oneSignal,
  tooLate,
  blocking,
]

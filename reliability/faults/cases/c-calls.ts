/** C. Calls: crossing, waiting, failing, timing out, taken back. */
import { text } from "../../../test/support/frames.ts"
import { until } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { wordsOf } from "../faces.ts"
import { allEnd, tagOf, tagsOf } from "../outcomes.ts"
import type { RawStation } from "../RawStation.ts"
import type { ServerSubject } from "../subjects.ts"
import type { Face } from "../victim/commands.ts"
import { goesOn, messagesOf } from "./c-handlers.ts"

/** The calls that came. */
const callsOf = (station: RawStation) => messagesOf(station).filter(([type]) => type === 2)

/** Only the Effect face bounds the calls that wait. */
const queueOf = (face: Face, length: number) => (face === "effect" ? { maxQueuedCalls: length } : {})

const identity = "ATTACKER"
const echoing = { Heartbeat: "heartbeat", "*": "echo" }

export const crossing = fault({
  id: "C6",
  promise: "calls that cross are both answered, each with its own answer",
  server: (face) => ({ handlers: echoing, options: queueOf(face, 10_000) }),
  check: async ({ attack, context, server }) => {
    const rounds = context.size(1_500, 10_000)
    const attacker = await attack()
    const calls = server.call({ action: "ClearCache", identity, times: rounds })
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
  },
})

export const concurrency = fault({
  id: "C7",
  promise:
    "no more calls than the concurrency are on the wire; the queue behind them is bounded, times out unsent, and moves up in order",
  server: (face) => ({ options: { callConcurrency: 2, ...queueOf(face, 20) } }),
  check: async ({ attack, face, server }) => {
    const attacker = await attack()
    const times = 30
    const calls = server.call({ action: "ClearCache", identity, times, numbered: true })
    const expired = server.call({ action: "Reset", identity, timeout: 100 })
    const aborted = server.call({ action: "Reset", identity, abortAfter: 100 })
    // A call that finds the queue full fails at once; where there is no bound it is the timeout that ends it.
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
      "the calls on the wire",
    )
  },
})

/** Payloads that cannot be written as JSON. */
const unsendable = (): ReadonlyArray<unknown> => {
  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  return [cyclic, { n: 1n }]
}

type Called = Parameters<ServerSubject["call"]>[0]

export const permits = fault({
  id: "C8",
  promise:
    "a call returns its place however it ends: not sendable, not valid, refused, timed out, taken back, or a throwing socket",
  server: { protocols: ["ocpp1.6"], options: { strictMode: true } },
  check: async ({ attack, server }) => {
    const attacker = await attack()
    const fine = { action: "ClearCache", identity, payload: {} }
    for (const payload of [...unsendable(), { unknown: 1 }, [], "text"]) {
      allEnd(await server.call({ ...fine, payload, times: 3 }), "RPCError", "calls that cannot be sent")
    }
    allEnd(await server.call({ ...fine, timeout: 50, times: 3 }), "TimeoutError", "calls that are not answered")
    const takenBack = await server.call({ ...fine, abortAfter: 50, times: 3 })
    check(
      takenBack.every(({ ok }) => !ok),
      "calls that are taken back",
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
  },
  afterwards: async ({ context, face }) => {
    await waitingForConnection(context, face)
    await jammed(context, face)
  },
})

/** Fails unless a call is sent that waits behind one that comes to nothing. */
const movesUp = async (server: ServerSubject, attacker: RawStation, vain: Called, fine: Called): Promise<void> => {
  const before = callsOf(attacker).length
  const failing = server.call(vain)
  const waiting = server.call({ ...fine, timeout: 10_000 })
  check((await failing)[0]?.ok === false, "a call that comes to nothing")
  await until("the next is sent", () => callsOf(attacker).length === before + 2)
  attacker.send([3, callsOf(attacker)[before + 1]?.[1], { status: "Accepted" }])
  allEnd(await waiting, "ok", "the call behind it")
}

/** Calls that wait for a connection are written when that is there, and may turn out to be unsendable then. */
const waitingForConnection = async (context: Context, face: Face): Promise<void> => {
  const server = await context.serve({ face, handlers: echoing })
  const { endpoint, proxy } = await context.proxy(server)
  const station = await context.dial({ face, endpoint, options: wordsOf(face, { reconnect: 500 }) })
  proxy.cut("reset")
  await station.event(/^Disconnect/)
  const bad = unsendable().map((payload) => station.call({ action: "DataTransfer", payload, times: 2 }))
  const good = station.call({ action: "DataTransfer", times: 2 })
  for (const outcomes of await Promise.all(bad)) allEnd(outcomes, "RPCError", "unsendable calls, after a reconnect")
  allEnd(await good, "ok", "the calls behind them")
  await station.close()
}

/** A socket throws at the first frame. */
const jammed = async (context: Context, face: Face): Promise<void> => {
  const server = await context.serve({ face, handlers: echoing })
  const options = wordsOf(face, { reconnect: 100 })
  const station = await context.dial({ face, endpoint: server.endpoint, jams: 1, options })
  const [first, ...others] = await station.call({ action: "DataTransfer", times: 3 })
  same(tagOf(first), "DisconnectedError", "the call that the socket threw at")
  allEnd(others, "ok", "the calls behind it, which have a new connection")
  await station.event(/^(SocketError|Disconnect) .*no mask/)
  await station.close()
}

const manyTimes = 5_000

export const manyTimeouts = fault({
  id: "C9",
  promise: "5,000 timeouts in one tick all settle, and harm no bystander",
  server: (face) => ({ options: { callConcurrency: manyTimes / 2, ...queueOf(face, manyTimes) } }),
  check: async ({ attack, server }) => {
    const attacker = await attack()
    const start = Date.now()
    const calls = await server.call({ action: "ClearCache", identity, times: manyTimes, timeout: 300 })
    allEnd(calls, "TimeoutError", "the calls")
    same(calls.length, manyTimes, "calls that have ended")
    check(Date.now() - start < 5_000, `the calls ended after ${Date.now() - start} ms`)
    await goesOn(attacker, "the timeouts")
  },
})

export const oneSignal = fault({
  id: "C10",
  promise: "one AbortSignal for 100,000 calls takes them back at once, at every stage, and is left without a listener",
  server: (face) => ({
    options: { callConcurrency: 3, ...queueOf(face, 100_000), ...wordsOf(face, { callTimeout: 600_000 }) },
  }),
  check: async ({ attack, context, face, server }) => {
    // Effect's own runPromise takes a time for n runs by one signal that grows with the square of n, whatever they run.
    const times = context.size(5_000, face === "effect" ? 20_000 : 100_000)
    const attacker = await attack()
    // A fiber that was interrupted before it began calls nobody: that is Effect's promise.
    const abortions = face === "effect" ? (["meanwhile"] as const) : (["before", "meanwhile"] as const)
    for (const abortion of abortions) {
      const { listeners, tags, took } = await server.callAborted({ action: "ClearCache", identity, times, abortion })
      same([tags, listeners], [{ "": times }, 0], `aborted ${abortion}: how they ended, and listeners`)
      check(took < 10_000, `aborted ${abortion}: took ${took} ms`)
      same(callsOf(attacker).length, abortion === "before" ? 0 : 3, `aborted ${abortion}: calls on the wire`)
      // It is the caller who has made so many calls in one turn.
      await context.excuseSlowness()
    }
    await goesOn(attacker, "the abortions")
  },
  afterwards: async ({ context, face }) => {
    // A call that is answered leaves nothing with the signal either.
    const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "empty" } })
    const station = await context.dial({ face, endpoint: server.endpoint })
    const times = context.size(1_000, 10_000)
    for (const _ of Array(times / 1_000)) {
      const calls = await station.callAborted({ action: "ClearCache", times: 1_000, abortion: "never" })
      same([calls.tags, calls.listeners], [{ ok: 1_000 }, 0], "calls that were answered, and listeners")
    }
    await station.close()
  },
})

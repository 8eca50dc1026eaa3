/**
 * Random interleavings of calls, answers, duplicates, cancellations, time and disconnects, on a client that reconnects and
 * over a transport in memory. After each, every call has had exactly one outcome, which is its own, no handler runs on, and
 * every place is free again.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import * as Client from "../src/Client.ts"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import { dialling, Echo, type RawPeer, settled } from "./support/rawPeer.ts"

const seed = Number(process.env.OCPP_SEED ?? 20_261_121)

type Step =
  | { readonly do: "call"; readonly timeout: number }
  | { readonly do: "cancel" | "answer" | "refuse" | "answerTwice"; readonly which: number }
  | { readonly do: "askFast" | "askSlow" | "askTwice" | "answerUnknown" | "garbage" | "cut" | "closeByPeer" | "send" }
  | { readonly do: "wait"; readonly millis: number }

const which = fc.nat({ max: 7 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("call" as const), timeout: fc.constantFrom(500, 5_000, 60_000) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("cancel", "answer", "refuse", "answerTwice"),
      which,
    }) as fc.Arbitrary<Step>,
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("askFast", "askSlow", "askTwice", "answerUnknown", "garbage", "cut", "closeByPeer", "send"),
    }) as fc.Arbitrary<Step>,
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("wait" as const), millis: fc.constantFrom(1, 400, 1_000, 7_000) }),
  },
)

const scenario = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>, concurrency: number) {
  const { dial, peers } = dialling()
  let running = 0
  const counted = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => running++),
      () => effect,
      () => Effect.sync(() => running--),
    )
  const client = yield* Client.makeWith(dial, {
    identity: "CP001",
    protocols: [Echo],
    handlers: [
      Handlers.make(Echo, {
        Echo: (request) => counted(Effect.succeed(request)),
        Slow: () => counted(Effect.never),
      }),
    ],
    reconnect: Schedule.spaced("1 second"),
    callConcurrency: concurrency,
    handlerTimeout: "10 seconds",
    pingInterval: "Infinity",
    maxBadMessages: Number.POSITIVE_INFINITY,
  })

  const calls: Array<{
    readonly text: string
    readonly fiber: Fiber.Fiber<{ readonly text: string }, Connection.CallFailure>
  }> = []
  const cancelled = new Set<string>()
  let asked = 0
  const duplicated = new Set<string>()
  const answers = new Map<string, number>()

  /** CALLs that have reached the peer of the connection that is open now, in order. */
  const seen: Array<{ readonly id: string; readonly text: string; readonly peer: RawPeer }> = []
  const read = () => {
    for (const peer of peers) {
      for (const [type, id, action, payload] of peer.take()) {
        if (type === 2 && action === "Echo") seen.push({ id, text: payload.text, peer })
        if (type === 3 || type === 4) answers.set(id, (answers.get(id) ?? 0) + 1)
      }
    }
  }

  for (const step of steps) {
    read()
    const peer = peers.at(-1)!
    const chosen = "which" in step ? seen[step.which % Math.max(1, seen.length)] : undefined
    switch (step.do) {
      case "call": {
        const text = `call ${calls.length}`
        const effect = client.call(Echo.Echo, { text }, { timeout: step.timeout })
        calls.push({ text, fiber: yield* Effect.forkDetach(effect, { startImmediately: true }) })
        break
      }
      case "send":
        yield* Effect.forkDetach(Effect.exit(client.send(Echo.Note, { text: "" })), { startImmediately: true })
        break
      case "cancel": {
        const call = calls[step.which % Math.max(1, calls.length)]
        if (call === undefined) break
        if (call.fiber.pollUnsafe() === undefined) cancelled.add(call.text)
        yield* Fiber.interrupt(call.fiber)
        break
      }
      case "answer":
      case "answerTwice":
        if (chosen === undefined) break
        yield* chosen.peer.send([3, chosen.id, { text: chosen.text }])
        if (step.do === "answerTwice") yield* chosen.peer.send([3, chosen.id, { text: "a second answer" }])
        break
      case "refuse":
        if (chosen !== undefined) yield* chosen.peer.send([4, chosen.id, "GenericError", chosen.text, {}])
        break
      case "askFast":
        yield* peer.send([2, `ask ${asked++}`, "Echo", { text: "" }])
        break
      case "askSlow":
        yield* peer.send([2, `ask ${asked++}`, "Slow", { text: "" }])
        break
      case "askTwice":
        duplicated.add(`ask ${asked}`)
        yield* peer.send([2, `ask ${asked}`, "Slow", { text: "" }])
        yield* peer.send([2, `ask ${asked++}`, "Slow", { text: "" }])
        break
      case "answerUnknown":
        yield* peer.send([3, "unknown", { text: "" }])
        break
      case "garbage":
        yield* peer.send('[2,"broken')
        break
      case "cut":
        peer.transport.terminate()
        break
      case "closeByPeer":
        peer.transport.close(1001, "restart")
        break
      case "wait":
        yield* TestClock.adjust(step.millis)
        break
    }
    yield* settled
    read()
    if (client.state === Connection.State.OPEN) {
      const unfinished = new Set(calls.filter(({ fiber }) => fiber.pollUnsafe() === undefined).map(({ text }) => text))
      const inFlight = seen.filter(({ peer, text }) => peer === peers.at(-1) && unfinished.has(text))
      expect(inFlight.length, "calls in flight").toBe(Math.min(concurrency, unfinished.size))
    }
  }

  // No time is left for anybody.
  yield* TestClock.adjust("2 minutes")
  yield* settled
  read()

  for (const { fiber, text } of calls) {
    const exit = fiber.pollUnsafe()
    expect(exit, `${text} has an outcome`).toBeDefined()
    if (cancelled.has(text)) {
      expect(Exit.isFailure(exit!) && Cause.hasInterrupts(exit!.cause), `${text} was cancelled`).toBe(true)
    } else if (Exit.isSuccess(exit!)) {
      expect(exit.value, `${text} got its own answer`).toEqual({ text })
    } else {
      const reason = exit!.cause.reasons.find(Cause.isFailReason)
      const error = reason?.error as Connection.CallFailure
      expect(["RPCError", "TimeoutError", "DisconnectedError"]).toContain(error._tag)
      if (error._tag === "RPCError") expect(error.message, `${text} got its own error`).toBe(text)
    }
  }
  expect(new Set(seen.map(({ text }) => text)).size, "no call was transmitted twice").toBe(seen.length)
  for (const [id, count] of answers) {
    // Garbage has no id, and a duplicate is refused beside the answer to the first.
    const most = id === "-1" ? count : duplicated.has(id) ? 2 : 1
    expect(count, `answers to ${id}`).toBeLessThanOrEqual(most)
  }
  expect(running, "handlers that still run").toBe(0)

  // Every place is free: as many calls as may be in flight leave at once.
  expect(client.state).toBe(Connection.State.OPEN)
  const last = yield* Effect.forEach(Array.from({ length: concurrency }), (_, i) =>
    Effect.forkChild(client.call(Echo.Echo, { text: `last ${i}` }), { startImmediately: true }),
  )
  yield* settled
  const frames = peers.at(-1)!.take()
  expect(frames).toHaveLength(concurrency)
  for (const [, id, , payload] of frames) yield* peers.at(-1)!.send([3, id, payload])
  yield* Fiber.joinAll(last)
})

describe("whatever happens on a connection", () => {
  it(`every call has exactly one outcome, its own (OCPP_SEED=${seed})`, { timeout: 60_000 }, async () => {
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 40 }),
      fc.constantFrom(1, 3),
      (steps, concurrency) =>
        Effect.runPromise(Effect.provide(Effect.scoped(scenario(steps, concurrency)), TestClock.layer())),
    )
    await fc.assert(property, { seed, numRuns: 300 })
  })
})

/**
 * Random schedules against {@link Model}: calls, answers (late, double, wrong), aborts, closes, cuts, reconnects, changed
 * options, on a client that reconnects and on a single connection, over transports in memory and with a clock of their own.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import * as Client from "../../src/Client.ts"
import * as Connection from "../../src/Connection.ts"
import { countingClock } from "../support/countingClock.ts"
import { Echo, settled } from "../support/rawPeer.ts"
import { Model } from "./Model.ts"
import { type Step, schedule } from "./steps.ts"
import { World } from "./World.ts"

const seed = Number(process.env.OCPP_SEED ?? 20_261_121)

const options = {
  callTimeout: "30 seconds",
  handlerTimeout: "10 seconds",
  pingInterval: "Infinity",
  maxBadMessages: Number.POSITIVE_INFINITY,
} as const

const makeFace = Effect.fnUntraced(function* (world: World, face: "client" | "connection") {
  const settings = { ...options, callConcurrency: world.model.concurrency, handlers: world.handlers }
  if (face === "client") {
    const reconnect = Schedule.spaced("1 second")
    return yield* Client.makeUnconnected(world.dial, { ...settings, identity: "CP001", protocols: [Echo], reconnect })
  }
  return yield* Connection.make(world.open(), { ...settings, side: "station", protocol: Echo })
})

const scenario = Effect.fnUntraced(function* (
  face: "client" | "connection",
  groups: ReadonlyArray<ReadonlyArray<Step>>,
  concurrency: number,
) {
  const { clock, sleepers } = countingClock(yield* Clock.Clock)
  const body = Effect.gen(function* () {
    const world = new World(new Model(face, concurrency), clock, yield* Effect.context<never>())
    const rest = Effect.gen(function* () {
      yield* settled
      world.atRest()
    })
    world.observe(yield* makeFace(world, face))
    yield* rest
    world.connect()
    for (const group of groups) {
      for (const step of group) {
        if (step.do === "wait") yield* TestClock.adjust(step.millis)
        else world.take(step)
      }
      yield* rest
    }
    world.disarm()
    // An observer that waited for the end may connect again, once.
    for (let left = 2; left > 0; left--) {
      world.close({})
      yield* rest
      // Only a peer that does not answer, or calls that may end first, take time.
      if (world.face.state !== Connection.State.CLOSED) yield* TestClock.adjust("10 minutes")
      yield* rest
    }
    expect(world.face.state, "the state in the end").toBe(Connection.State.CLOSED)
    expect(world.busy, "attempts, handlers and waits that have not ended").toBe(0)
    expect(sleepers(), "deadlines that are still set").toBe(0)
  })
  // A violation leaves the Scope open: closing it may take time, of which there is none any more.
  const scope = Scope.makeUnsafe()
  yield* Effect.provideService(Scope.provide(body, scope), Clock.Clock, clock)
  yield* Scope.close(scope, Exit.void)
  expect(sleepers(), "deadlines that outlive the Scope").toBe(0)
})

describe.each([
  ["client", 2_000],
  ["connection", 2_000],
] as const)("a %s, whatever happens to it,", (face, numRuns) => {
  it(`does what the model of its states and calls allows (OCPP_SEED=${seed})`, { timeout: 60_000 }, async () => {
    const property = fc.asyncProperty(schedule, fc.constantFrom(1, 3), (groups, concurrency) =>
      Effect.runPromise(Effect.provide(scenario(face, groups, concurrency), TestClock.layer())),
    )
    await fc.assert(property, { seed, numRuns })
  })
})

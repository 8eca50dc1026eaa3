/** One node of a trial: a server for stations, its place in the fleet, and callers who call whomever they like. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Fleet from "../../src/Fleet.ts"
import * as Nats from "../../src/fleet/nats.ts"
import * as Redis from "../../src/fleet/redis.ts"
import * as Server from "../../src/Server.ts"
import { randomFrom } from "../../test/schemas/official.ts"
import { perform } from "../processes/parent.ts"
import {
  type CallRecord,
  type EngineAddress,
  identities,
  type Manner,
  now,
  stationCount,
  type Told,
  Trial,
  type WrittenRecord,
} from "./plan.ts"

interface Plan {
  readonly name: string
  /** 0 for a free one. */
  readonly port: number
  readonly engine: EngineAddress
  readonly seed: number
}

const scope = Scope.makeUnsafe()
let name = ""
let fleet: Fleet.Fleet
let random: () => number
let timer: NodeJS.Timeout | undefined
let calls: Array<CallRecord> = []
let written: Array<WrittenRecord> = []
let made = 0
let run: (effect: Effect.Effect<unknown, unknown>) => { readonly interruptUnsafe: () => void }

const engineAt = ({ kind, port }: EngineAddress) =>
  kind === "redis"
    ? Redis.make({ connection: `redis://127.0.0.1:${port}`, prefix: "trial" })
    : Nats.make({ connection: { servers: `nats://127.0.0.1:${port}` }, prefix: "trial" })

const idOf = (request: unknown): string | undefined =>
  typeof request === "object" && request !== null && "id" in request ? String(request.id) : undefined

const toldBy = (failure: { readonly _tag: string; readonly sent?: boolean } | undefined): Told => {
  if (failure === undefined) return "none"
  if (failure._tag === "RPCError") return "refused"
  return failure.sent === true ? "sent" : "unsent"
}

const call = () => {
  const id = `${name}/${++made}`
  const identity = identities[Math.floor(random() * stationCount)] as string
  const drawn = random()
  const manner: Manner = drawn < 0.02 ? "ignore" : drawn < 0.05 ? "refuse" : "answer"
  const delay = random() < 0.2 ? Math.floor(random() * 300) : 0
  const timeout = 200 + Math.floor(random() * 2_500)
  const startedAt = now()
  const note = (exit: Exit.Exit<unknown, Fleet.FleetFailure>) =>
    Effect.sync(() => {
      const failure = Exit.isSuccess(exit) ? undefined : exit.cause.reasons.find(Cause.isFailReason)?.error
      const told = Exit.isSuccess(exit) ? "ok" : toldBy(failure)
      calls.push({ id, identity, told, failure: failure?._tag, startedAt, toldAt: now() })
    })
  const fiber = run(Effect.onExit(fleet.call(identity, Trial.Count, { id, manner, delay }, { timeout }), note))
  if (random() < 0.02) setTimeout(() => fiber.interruptUnsafe(), random() * 200).unref()
}

export const commands = {
  prepare: async ({ engine, name: given, port, seed }: Plan): Promise<number> => {
    name = `${given}-${process.pid}`
    random = randomFrom(seed)
    const made = Effect.gen(function* () {
      run = yield* FiberSet.makeRuntime()
      const server = yield* Server.make({ protocols: [Trial], pingInterval: 2_000, shutdownGrace: 500 })
      server.subscribe((event) => {
        if (event._tag !== "Connected") return
        event.station.subscribe((one) => {
          const id = one._tag === "Call" && one.outbound ? idOf(one.request) : undefined
          if (id !== undefined) written.push({ id, at: now() })
        })
      })
      fleet = yield* Fleet.make({ node: given }).pipe(
        Effect.provideService(Server.Server, server),
        Effect.provideService(Fleet.Engine.Engine, engineAt(engine)),
      )
      yield* server.listen({ port, host: "127.0.0.1" })
      return server.port as number
    })
    return await Effect.runPromise(made.pipe(Scope.provide(scope), Effect.provide(Logger.layer([]))))
  },
  /** Makes so many calls a second from now on. */
  start: (rate: number): void => {
    clearInterval(timer)
    let due = now()
    timer = setInterval(() => {
      // What could not be called while the process was stopped is not made up for.
      due = Math.max(due, now() - 200)
      for (; due <= now(); due += 1_000 / rate) call()
    }, 10)
  },
  pause: (): void => clearInterval(timer),
  /** What has happened since the last time. */
  take: () => {
    const taken = { calls, written }
    calls = []
    written = []
    return taken
  },
  /** Calls every station; who did not answer, and why. */
  reach: async (): Promise<ReadonlyArray<string>> => {
    const one = (identity: string) =>
      Effect.map(
        Effect.exit(fleet.call(identity, Trial.Count, { id: "", manner: "answer", delay: 0 }, { timeout: 5_000 })),
        (exit) => (Exit.isSuccess(exit) ? [] : [`${identity}: ${Cause.pretty(exit.cause).split("\n", 1)[0]}`]),
      )
    return (await Effect.runPromise(Effect.forEach(identities, one, { concurrency: 16 }))).flat()
  },
  stations: async (): Promise<number> => (await Effect.runPromise(fleet.stations)).length,
  finish: () => Effect.runPromise(Scope.close(scope, Exit.void)),
}

perform(commands)

/**
 * Random schedules on a memory engine: stations move and leave zombies behind, links are cut and stall, processes stop and crash, the engine
 * goes away and forgets, messages are late, doubled and lost, and every node's clock is wrong. Whatever happens, no promise is broken; and when
 * everything has healed, every station can be called from everywhere.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as EffectRandom from "effect/Random"
import * as Scope from "effect/Scope"
import { make as makeRandom, type Random } from "../../reliability/support/Random.ts"
import type * as Client from "../../src/Client.ts"
import * as Fleet from "../../src/Fleet.ts"
import * as Handlers from "../../src/Handlers.ts"
import { RPCGenericError } from "../../src/RPCError.ts"
import { Ledger, none, toldBy } from "./support/Ledger.ts"
import { NodeClock } from "./support/NodeClock.ts"
import { Echo, makeNode, type Node, pass } from "./support/nodes.ts"

const hour = 3_600_000

/** How many schedules are tried: `SCHEDULES=300 npx vitest run test/fleet/model.test.ts` tries more. */
const schedules = Number(process.env.SCHEDULES ?? 12)

/** A station does not connect twice at the same time: in milliseconds. */
const betweenConnections = 100

const identities = Array.from({ length: 6 }, (_, i) => `CP${i}`)

interface Member extends Node {
  readonly name: string
  readonly clock: NodeClock
  state: "up" | "cut" | "stalled" | "paused" | "crashed"
}

class World {
  readonly hub: Fleet.MemoryHub
  readonly ledger = new Ledger()
  readonly members: Array<Member> = []
  /** Where each station has its newest connection. */
  readonly at = new Map<string, { readonly member: Member; readonly client: Client.Client }>()
  readonly calls: Array<{
    readonly member: Member
    readonly text: string
    readonly fiber: Fiber.Fiber<unknown, unknown>
  }> = []
  /** When each station has connected last; `Infinity` while it does. */
  readonly #connectedAt = new Map<string, number>()
  readonly #random: Random
  readonly #clock: Clock.Clock
  #made = 0

  constructor(hub: Fleet.MemoryHub, random: Random, clock: Clock.Clock) {
    this.hub = hub
    this.#random = random
    this.#clock = clock
  }

  get now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  get living(): ReadonlyArray<Member> {
    return this.members.filter(({ state }) => state !== "crashed")
  }

  readonly enter = Effect.gen({ self: this }, function* () {
    const name = `n${this.#made++}`
    const skew = this.#random.pick([-hour, 0, hour])
    const clock = new NodeClock(this.#clock, skew, this.#random.below(1_000_000))
    const node = yield* makeNode(this.hub, name).pipe(Effect.provideService(Clock.Clock, clock))
    this.members.push({ ...node, name, clock, state: "up" })
  })

  /** What a station does with a call. */
  handlers(identity: string) {
    return [
      Handlers.make(Echo, {
        Echo: (request) =>
          Effect.suspend(() => {
            this.ledger.handled(request.text, identity, this.now)
            const kind = this.#random.below(10)
            if (kind === 0) return Effect.never
            if (kind === 1) return new RPCGenericError("no")
            return kind < 5 ? Effect.succeed(request) : Effect.delay(Effect.succeed(request), this.#random.below(400))
          }),
      }),
    ]
  }

  /** A station connects to a node; its old connection is closed, or becomes a zombie. */
  connect(identity: string, member: Member) {
    return Effect.gen({ self: this }, function* () {
      if (this.now - (this.#connectedAt.get(identity) ?? Number.NEGATIVE_INFINITY) < betweenConnections) return
      this.#connectedAt.set(identity, Number.POSITIVE_INFINITY)
      yield* Effect.ensuring(
        this.#connect(identity, member),
        Effect.sync(() => this.#connectedAt.set(identity, this.now)),
      )
    })
  }

  #connect(identity: string, member: Member) {
    return Effect.gen({ self: this }, function* () {
      const old = this.at.get(identity)
      if (old !== undefined && old.member !== member && this.#random.below(2) === 0) {
        yield* old.member.network.link(identity).halfOpen
      } else if (old !== undefined) {
        yield* Effect.forkScoped(old.client.close())
      }
      const link = member.network.link(identity)
      if (link.state !== "up") {
        yield* link.cut
        yield* link.heal
      }
      const station = member.network.station({
        identity,
        protocols: [Echo],
        reconnect: false,
        handlers: this.handlers(identity),
      })
      const client = yield* Effect.option(Effect.timeout(station, 1_000))
      if (client._tag === "Some") this.at.set(identity, { member, client: client.value })
    })
  }

  call(member: Member, identity: string) {
    const { ledger } = this
    const text = ledger.begin(identity)
    const timeout = 100 + this.#random.below(3_000)
    const call = Effect.onExit(member.fleet.call(identity, Echo.Echo, { text }, { timeout }), (exit) =>
      Effect.sync(() => {
        if (member.state === "crashed") return ledger.told(text, "none", this.now)
        if (Exit.isSuccess(exit)) return ledger.told(text, "ok", this.now)
        const failure = exit.cause.reasons.find(Cause.isFailReason)?.error
        ledger.told(text, failure === undefined ? "none" : toldBy(failure), this.now)
      }),
    )
    return Effect.map(Effect.forkScoped(Effect.exit(call), { startImmediately: true }), (fiber) => {
      this.calls.push({ member, text, fiber })
    })
  }

  heal(member: Member): void {
    if (member.state === "crashed") return
    member.state = "up"
    member.clock.paused = false
    this.hub.heal(member.id)
  }

  crash(member: Member) {
    member.state = "crashed"
    member.clock.paused = true
    this.hub.crash(member.id)
    return Effect.forEach(identities, (identity) => member.network.link(identity).cut, { discard: true })
  }

  /** Calls whose caller's process has ended before they did. */
  get orphans(): number {
    return this.calls.filter(({ fiber, member }) => member.state === "crashed" && fiber.pollUnsafe() === undefined)
      .length
  }

  /** Something happens. */
  readonly step = Effect.gen({ self: this }, function* () {
    const random = this.#random
    const member = random.pick(this.living)
    const identity = random.pick(identities)
    const kind = random.below(100)
    if (kind < 62) return yield* this.call(random.pick(this.living), identity)
    if (kind < 74) return yield* Effect.forkScoped(this.connect(identity, member))
    if (kind < 77) {
      const call = random.pick(this.calls)
      return yield* Fiber.interrupt(call.fiber)
    }
    if (kind < 84) {
      for (const one of this.living) if (random.below(2) === 0) this.heal(one)
      return
    }
    if (kind < 87) {
      member.state = "cut"
      return this.hub.cut(member.id)
    }
    if (kind < 90) {
      if (member.state !== "up") return
      member.state = "stalled"
      return this.hub.stall(member.id)
    }
    if (kind < 93) {
      if (member.state !== "up") return
      member.state = "paused"
      member.clock.paused = true
      return this.hub.stall(member.id)
    }
    if (kind < 95) {
      this.hub.stop()
      return
    }
    if (kind < 97) return this.hub.start({ empty: random.below(2) === 0 })
    if (kind < 98) {
      member.clock.skew += random.pick([-hour, 60_000, hour])
      return
    }
    if (kind < 99) {
      const latency = random.below(30)
      this.hub.faults = {
        ...(random.below(2) === 0 ? undefined : { latency: () => random.below(latency + 1) }),
        verdict: () => {
          const drawn = random.below(100)
          if (drawn < 2) return "drop"
          return drawn < 25 ? { duplicateAfter: random.below(4_000) } : "deliver"
        },
      }
      return
    }
    if (this.living.length > 2 && this.hub.running) {
      yield* this.crash(member)
      yield* Effect.forkScoped(Effect.ignore(this.enter))
    }
  })
}

const steps = 250

const play = Effect.fnUntraced(function* (seed: number) {
  const random = makeRandom(seed)
  const hub = yield* Fleet.MemoryHub.make
  const world = new World(hub, random, yield* Clock.Clock)
  for (let i = 0; i < 3; i++) yield* world.enter
  for (const identity of identities) yield* Effect.forkScoped(world.connect(identity, random.pick(world.living)))
  yield* pass(100)
  yield* world.call(random.pick(world.living), "CP0")
  for (let i = 0; i < steps; i++) {
    yield* world.step
    yield* pass(random.pick([0, 5, 20, 50, 200]), 10)
  }
  yield* pass(2_000)
  hub.faults = {}
  hub.start()
  for (const member of world.living) world.heal(member)
  for (const identity of identities) yield* Effect.forkScoped(world.connect(identity, random.pick(world.living)))
  yield* pass(25_000, 50)
  return world
})

describe("whatever happens to a fleet", () => {
  for (let seed = 1; seed <= schedules; seed++) {
    it.effect(
      `no promise is broken, and afterwards every station can be called from everywhere (schedule ${seed})`,
      () =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const world = yield* Scope.provide(play(seed), scope)
          const { ledger } = world
          expect({ ...ledger.broken, suspects: ledger.suspects }).toEqual({ ...none, suspects: [] })
          const { ok = 0, pending = 0, sent = 0, unsent = 0 } = ledger.tally
          expect(pending).toBe(world.orphans)
          // A schedule in which nothing goes well, or nothing wrong, would show nothing.
          expect(Math.min(ok, sent + unsent)).toBeGreaterThan(5)
          for (const { fleet } of world.living) {
            for (const identity of identities) {
              const text = ledger.begin(identity)
              const call = yield* Effect.forkChild(
                Effect.exit(fleet.call(identity, "Echo", { text }, { timeout: 2_000 })),
                { startImmediately: true },
              )
              yield* pass(2_500, 50)
              const exit = yield* Fiber.join(call)
              const failure = Exit.isSuccess(exit) ? undefined : exit.cause.reasons.find(Cause.isFailReason)?.error
              // The station may refuse, or be silent; it was asked all the same.
              const isReached =
                failure === undefined || failure._tag === "RPCError" || ("sent" in failure && failure.sent)
              expect(isReached ? "reached" : `${fleet.node} ${identity}: ${failure?.message}`).toBe("reached")
            }
          }
          expect(ledger.broken).toEqual(none)
          yield* Effect.forkDetach(Scope.close(scope, Exit.void))
          yield* pass(20_000, 500)
        }).pipe(EffectRandom.withSeed(seed)),
      60_000,
    )
  }
})

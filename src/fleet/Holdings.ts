/**
 * What this node holds: its stations, and whether the directory knows. Claims and releases leave in batches, by one fiber. Whoever
 * lost a station to a newer connection elsewhere closes its own with 1008.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import { State } from "./core.ts"
import type { Claim, Claimed, Member, Release } from "./Engine.ts"
import type { EngineClock } from "./EngineClock.ts"
import type { EngineError } from "./EngineError.ts"
import type { HostStation } from "./Host.ts"
import type { Superseded } from "./Message.ts"
import type { Meters } from "./Meters.ts"

/** How many claims or releases leave at a time. */
const batchSize = 500
/** For how long changes are gathered before they leave, at most, in milliseconds. */
const gathering = 10
/** How much later, at most, a node claims everything again: not all of them at once. In milliseconds. */
const spread = 250
/** How long to wait after the engine has failed, in milliseconds. */
const backOff = 500
/** How many stations are looked up at each beat, to see whether the directory still knows. */
const audited = 100

/** One station of this node. */
class Held<S> {
  readonly station: S
  /** On this node's monotonic clock. */
  readonly connectedAt: number
  /** With which this node owns it; `undefined` until its claim has been answered. */
  epoch: number | undefined
  /** When it has connected, on the engine's clock, once that is known. */
  since: number | undefined
  /** The highest epoch with which another node is known to own it. */
  othersEpoch = Number.NEGATIVE_INFINITY

  constructor(station: S, connectedAt: number) {
    this.station = station
    this.connectedAt = connectedAt
  }
}

/** What holdings ask of their node. */
export interface Keeper {
  readonly clock: EngineClock
  readonly meters: Meters
  readonly isUp: boolean
  readonly member: Member
  readonly run: (effect: Effect.Effect<unknown>) => unknown
  /** Another node has lost stations to this one. */
  readonly tellReplaced: (node: string, stations: ReadonlyArray<Superseded>) => Effect.Effect<void>
}

const replaced = { code: 1008, reason: "replaced by a newer connection" }

export class Holdings<S extends HostStation> {
  readonly #keeper: Keeper
  readonly #held = new Map<string, Held<S>>()
  /** What is to be claimed, by identity. */
  readonly #unclaimed = new Map<string, Held<S>>()
  /** What is to be released, by identity. */
  readonly #unreleased = new Map<string, Release>()
  readonly #work = Latch.makeUnsafe(false)
  /** Where the audit goes on. */
  #audit: IterableIterator<[string, Held<S>]> | undefined
  #hurry = true

  constructor(keeper: Keeper) {
    this.#keeper = keeper
  }

  get size(): number {
    return this.#held.size
  }

  /** The station of an identity that is open here. */
  station(identity: string): S | undefined {
    const station = this.#held.get(identity)?.station
    return station?.state === State.OPEN ? station : undefined
  }

  get stations(): ReadonlyArray<S> {
    return Array.from(this.#held.values(), ({ station }) => station)
  }

  /** A station has connected: it can be called from this node at once, and from the others when its claim is through. */
  add(station: S): void {
    const held = new Held(station, this.#keeper.clock.monotonic())
    this.#held.set(station.identity, held)
    this.#claim(held)
  }

  /** A station has gone. Its successor, if there is one, is not touched. */
  remove(station: S): void {
    const held = this.#held.get(station.identity)
    if (held?.station !== station) return
    this.#held.delete(station.identity)
    this.#unclaimed.delete(station.identity)
    this.disown(station.identity, held.epoch)
  }

  /** The directory is not to name this node for a station any more. */
  disown(identity: string, epoch: number | undefined): void {
    const queued = this.#unreleased.get(identity)
    // Of two epochs nobody knows which the directory has; without one, whatever is this node's is released.
    this.#unreleased.set(identity, {
      identity,
      epoch: queued === undefined || queued.epoch === epoch ? epoch : undefined,
    })
    this.#work.openUnsafe()
  }

  #claim(held: Held<S>): void {
    this.#unclaimed.set(held.station.identity, held)
    this.#work.openUnsafe()
  }

  /** The directory may have forgotten everything. */
  claimAll(): void {
    this.#hurry = false
    for (const held of this.#held.values()) this.#claim(held)
  }

  /**
   * Another node says that it has won a station of this one. That it has the newer connection is not certain: it also wins while this
   * node's lease has lapsed. So the engine is asked, and a claim that it refuses closes the connection.
   */
  replaced(identity: string, epoch: number): void {
    const held = this.#held.get(identity)
    if (held === undefined) return
    held.othersEpoch = Math.max(held.othersEpoch, epoch)
    if (held.epoch !== undefined && held.epoch < epoch) this.#claim(held)
  }

  #fence(held: Held<S>): void {
    const { station } = held
    if (this.#held.get(station.identity) === held) this.#held.delete(station.identity)
    if (this.#unclaimed.get(station.identity) === held) this.#unclaimed.delete(station.identity)
    this.#keeper.meters.fenced()
    const log = Effect.logInfo("closed: another node has a newer connection")
    this.#keeper.run(Effect.andThen(Effect.annotateLogs(log, { identity: station.identity }), station.close(replaced)))
  }

  get #isBusy(): boolean {
    return this.#unreleased.size + this.#unclaimed.size > 0
  }

  /** Claims and releases, as long as it runs. */
  get worker(): Effect.Effect<never> {
    const round = Effect.gen({ self: this }, function* () {
      yield* this.#work.await
      yield* Effect.sleep((yield* Random.next) * (this.#hurry ? gathering : spread))
      this.#hurry = true
      while (this.#isBusy) {
        if (!this.#keeper.isUp) break
        // First all releases: one without an epoch must not meet a claim that was made after it.
        if (this.#unreleased.size > 0) yield* this.#releaseSome
        else yield* this.#claimSome
      }
      // What is left waits until the engine can be reached: then everything is claimed again.
      this.#work.closeUnsafe()
    })
    return Effect.forever(Effect.catch(round, () => Effect.sleep(backOff)))
  }

  /** Goes on with what had to wait for the engine. */
  resume(): void {
    if (this.#isBusy) this.#work.openUnsafe()
  }

  get #releaseSome(): Effect.Effect<void, EngineError> {
    return Effect.suspend(() => {
      const some = take(this.#unreleased, batchSize)
      const giveBack = Effect.sync(() => {
        for (const { epoch, identity } of some) this.disown(identity, epoch)
      })
      return Effect.tapError(this.#keeper.member.release(some), () => giveBack)
    })
  }

  get #claimSome(): Effect.Effect<void, EngineError> {
    return Effect.suspend(() => {
      const some = take(this.#unclaimed, batchSize)
      return this.#keeper.member.claim(some.map((held) => this.#claimOf(held))).pipe(
        Effect.tapError(() => Effect.sync(() => this.#giveBack(some))),
        Effect.map((claimed) => this.#settle(some, claimed)),
      )
    })
  }

  /** What had been claimed may own the station now: if that has gone meanwhile, it must be released. */
  #giveBack(some: ReadonlyArray<Held<S>>): void {
    for (const held of some) {
      const { identity } = held.station
      const current = this.#held.get(identity)
      if (current === held && !this.#unclaimed.has(identity)) this.#unclaimed.set(identity, held)
      else if (current === undefined) this.disown(identity, undefined)
    }
  }

  #claimOf({ connectedAt, epoch, since, station }: Held<S>): Claim {
    const age = this.#keeper.clock.monotonic() - connectedAt
    return { identity: station.identity, protocol: station.protocol, age, since, epoch }
  }

  #settle(some: ReadonlyArray<Held<S>>, claimed: ReadonlyArray<Claimed>): void {
    const superseded = new Map<string, Array<Superseded>>()
    for (const [i, each] of claimed.entries()) {
      const held = some[i] as Held<S>
      if (each._tag === "Newer") this.#lost(held)
      else this.#owned(held, each)
      if (each._tag === "Newer" || each.previous === undefined) continue
      const { node } = each.previous
      superseded.set(node, [...(superseded.get(node) ?? []), { identity: each.identity, epoch: each.epoch }])
    }
    for (const [node, stations] of superseded) this.#keeper.run(this.#keeper.tellReplaced(node, stations))
  }

  #lost(held: Held<S>): void {
    this.#keeper.meters.claimed("newer")
    if (this.#held.get(held.station.identity) === held) this.#fence(held)
  }

  #owned(held: Held<S>, { epoch, identity, since }: Extract<Claimed, { readonly _tag: "Owned" }>): void {
    this.#keeper.meters.claimed("owned")
    held.epoch = epoch
    held.since = since
    const current = this.#held.get(identity)
    if (current === undefined) this.disown(identity, epoch)
    else if (current === held && held.othersEpoch > epoch) this.#claim(held)
  }

  /** Looks some stations up, and claims those again which the directory has forgotten. */
  get audit(): Effect.Effect<void, EngineError> {
    return Effect.suspend(() => {
      const some = this.#nextToAudit()
      if (some.length === 0) return Effect.void
      const identities = some.map(({ station }) => station.identity)
      return Effect.map(this.#keeper.member.lookup(identities), (owners) => {
        for (const [i, held] of some.entries()) {
          const isKnown = owners[i]?.epoch === held.epoch
          if (!isKnown && this.#held.get(held.station.identity) === held && held.epoch !== undefined) this.#claim(held)
        }
      })
    })
  }

  #nextToAudit(): ReadonlyArray<Held<S>> {
    const some: Array<Held<S>> = []
    this.#audit ??= this.#held.entries()
    while (some.length < audited) {
      const next = this.#audit.next()
      if (next.done === true) {
        this.#audit = undefined
        break
      }
      const [, held] = next.value
      if (held.epoch !== undefined && !this.#unclaimed.has(held.station.identity)) some.push(held)
    }
    return some
  }

  /** Releases everything: this node leaves. */
  get releaseAll(): Effect.Effect<void, EngineError> {
    return Effect.gen({ self: this }, function* () {
      for (const [identity, { epoch }] of this.#held) this.disown(identity, epoch)
      this.#held.clear()
      this.#unclaimed.clear()
      while (this.#unreleased.size > 0) yield* this.#releaseSome
    })
  }
}

/** Takes some values out of a Map, the oldest first. */
const take = <A>(map: Map<string, A>, most: number): ReadonlyArray<A> => {
  const taken: Array<A> = []
  for (const [key, value] of map) {
    if (taken.length === most) break
    map.delete(key)
    taken.push(value)
  }
  return taken
}

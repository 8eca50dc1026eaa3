/**
 * Which nodes are alive. A node is taken for dead when nobody has listened to its inbox for a while, and the engine has been
 * reachable all that time: after a restart of the engine the others connect again too. Then its lease is ended.
 */
import * as Effect from "effect/Effect"
import type { Member } from "./Engine.ts"
import type { EngineClock } from "./EngineClock.ts"

/** How long nobody must have listened to a node's inbox, in milliseconds. */
export const silence = 1_500
/** How long a call is in flight before its node is looked at, in milliseconds. */
const patience = 250
/** How often suspects are looked at, in milliseconds. */
const interval = 250

/** How often the directory is swept though nobody has been seen to die, in milliseconds. */
const sweepInterval = 300_000

/** What this asks of its node. */
export interface Observer {
  readonly id: string
  readonly clock: EngineClock
  readonly isUp: boolean
  readonly member: Member
  readonly run: (effect: Effect.Effect<unknown>) => unknown
  /** The nodes that have not answered for some time, in milliseconds. */
  readonly silentFor: (millis: number) => ReadonlySet<string>
  /** A node's process is gone, and its lease has been ended. */
  readonly onGone: (node: string) => void
}

export class Liveness {
  readonly #observer: Observer
  /** Since when nobody listens to a suspect's inbox. */
  readonly #suspects = new Map<string, number | undefined>()
  #nodes: ReadonlySet<string> = new Set()
  #sweepAt = Number.NEGATIVE_INFINITY
  #isLooking = false
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(observer: Observer) {
    this.#observer = observer
  }

  /** The nodes whose lease was valid at the last beat. */
  get nodes(): ReadonlySet<string> {
    return this.#nodes
  }

  /** The node that does what one node has to do. */
  get leader(): string {
    let first = this.#observer.id
    for (const node of this.#nodes) if (node < first) first = node
    return first
  }

  get isLeader(): boolean {
    return this.leader === this.#observer.id
  }

  /** Takes the nodes of a beat. Returns whether one is missing that was there before. */
  beat(nodes: ReadonlyArray<string>): boolean {
    const before = this.#nodes
    this.#nodes = new Set(nodes)
    const isMissing = [...before].some((node) => !this.#nodes.has(node))
    if (isMissing) this.#sweepAt = Number.NEGATIVE_INFINITY
    return isMissing
  }

  /** Whether the directory may hold what dead nodes have left. */
  get isSweepDue(): boolean {
    return this.#observer.clock.monotonic() >= this.#sweepAt
  }

  swept(): void {
    this.#sweepAt = this.#observer.clock.monotonic() + sweepInterval
  }

  /** Somebody should look whether a node is alive. */
  suspect(node: string): void {
    if (!this.#suspects.has(node)) this.#suspects.set(node, undefined)
  }

  /** The engine was lost: what was seen before proves nothing. */
  reset(): void {
    for (const node of this.#suspects.keys()) this.#suspects.set(node, undefined)
  }

  /** Time has passed. */
  tick(): void {
    const { clock, isUp, run, silentFor } = this.#observer
    if (!isUp || this.#isLooking || clock.monotonic() - this.#lookedAt < interval) return
    for (const node of silentFor(patience)) this.suspect(node)
    if (this.#suspects.size === 0) return
    this.#lookedAt = clock.monotonic()
    this.#isLooking = true
    run(
      Effect.ensuring(
        Effect.forEach([...this.#suspects.keys()], (node) => this.#look(node), { concurrency: 8, discard: true }),
        Effect.sync(() => {
          this.#isLooking = false
        }),
      ),
    )
  }

  /** What cannot be asked now will be asked again. */
  #look(node: string): Effect.Effect<void> {
    const { clock, member, onGone } = this.#observer
    return Effect.gen({ self: this }, function* () {
      const { leased, listening } = yield* member.presence(node)
      if (listening) return void this.#suspects.delete(node)
      if (!this.#suspects.has(node)) return
      const since = this.#suspects.get(node) ?? clock.monotonic()
      this.#suspects.set(node, since)
      if (clock.monotonic() - since < silence) return
      if (leased && !(yield* member.bury(node))) return void this.#suspects.delete(node)
      this.#suspects.delete(node)
      this.#nodes = new Set([...this.#nodes].filter((each) => each !== node))
      this.#sweepAt = Number.NEGATIVE_INFINITY
      onGone(node)
    }).pipe(Effect.ignore)
  }
}

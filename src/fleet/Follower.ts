/**
 * Who is connected in the whole fleet, followed: the directory is read once, then its changes are told. While nobody follows, nothing
 * is read.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Change, Entry, Member } from "./Engine.ts"
import type { EngineError } from "./EngineError.ts"

/** A station has come, has moved to another node, or has gone. */
export interface Step {
  readonly _tag: "Connected" | "Disconnected"
  readonly entry: Entry
}

/** What a follower asks of its node. */
export interface Followed {
  readonly member: Member
  readonly entries: Effect.Effect<ReadonlyArray<Entry>, EngineError>
  readonly whenUp: (observer: () => void) => () => void
  readonly run: (effect: Effect.Effect<unknown>) => unknown
}

export class Follower {
  readonly #followed: Followed
  readonly #known = new Map<string, Entry>()
  /** What has not been taken, the latest of each station only: so a slow reader costs no more than the fleet is large. */
  readonly #untaken = new Map<string, Step>()
  readonly #news = Latch.makeUnsafe(false)
  /** The changes that come while the directory is being read. */
  #meanwhile: Array<Change> | undefined

  constructor(followed: Followed) {
    this.#followed = followed
  }

  /** Follows until the Scope closes. While the engine is away nothing is told; then the differences are. */
  get start(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      const scope = yield* Effect.scope
      const watch = Scope.provide(
        this.#followed.member.watch((changes) => this.#told(changes)),
        scope,
      )
      const again = Effect.retry(Effect.andThen(watch, this.#read), Schedule.spaced("1 second"))
      yield* Effect.acquireRelease(
        Effect.sync(() => this.#followed.whenUp(() => this.#followed.run(Effect.ignore(this.#read)))),
        (unsubscribe) => Effect.sync(unsubscribe),
      )
      yield* Effect.forkScoped(again)
    })
  }

  /** Reads the whole directory, and tells what is different. */
  get #read(): Effect.Effect<void, EngineError> {
    return Effect.suspend(() => {
      this.#meanwhile = []
      return Effect.map(this.#followed.entries, (entries) => {
        const identities = new Set<string>()
        for (const entry of entries) {
          identities.add(entry.identity)
          this.#connected(entry)
        }
        for (const entry of [...this.#known.values()]) {
          if (!identities.has(entry.identity)) this.#disconnected(entry)
        }
        const meanwhile = this.#meanwhile ?? []
        this.#meanwhile = undefined
        this.#told(meanwhile)
      })
    })
  }

  #told(changes: ReadonlyArray<Change>): void {
    if (this.#meanwhile !== undefined) return void this.#meanwhile.push(...changes)
    for (const change of changes) {
      const known = this.#known.get(change.identity)
      if (change._tag === "Claimed") {
        const { _tag, ...entry } = change
        if (known === undefined || known.epoch < entry.epoch) this.#connected(entry)
      } else if (known !== undefined && known.epoch <= change.epoch) {
        this.#disconnected(known)
      }
    }
  }

  #connected(entry: Entry): void {
    const known = this.#known.get(entry.identity)
    this.#known.set(entry.identity, entry)
    // A claim that was only repeated is no news.
    if (known?.node !== entry.node || known.protocol !== entry.protocol) this.#step({ _tag: "Connected", entry })
  }

  #disconnected(entry: Entry): void {
    this.#known.delete(entry.identity)
    this.#step({ _tag: "Disconnected", entry })
  }

  #step(step: Step): void {
    this.#untaken.delete(step.entry.identity)
    this.#untaken.set(step.entry.identity, step)
    this.#news.openUnsafe()
  }

  /** What has happened since the last time, at least one thing. */
  get take(): Effect.Effect<ReadonlyArray<Step>> {
    return Effect.map(this.#news.await, () => {
      const steps = [...this.#untaken.values()]
      this.#untaken.clear()
      this.#news.closeUnsafe()
      return steps
    })
  }
}

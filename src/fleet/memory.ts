/**
 * The engine inside one process, and what can be done to it: links that are cut or stall, messages that are late or come twice,
 * nodes that crash, an engine that restarts and has forgotten everything. All time is the Effect `Clock`.
 *
 * ```ts
 * const hub = yield* MemoryHub.make
 * hub.cut("a~1") // the node whose id that is
 * ```
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { Directory } from "./Directory.ts"
import { EngineError } from "./EngineError.ts"
import type { Change, Engine, JoinOptions, Listener, Member } from "./EnginePort.ts"
import { Lane } from "./Lane.ts"

/** What becomes of a message: it arrives, never, or twice, the second time so many milliseconds later, past all order. */
export type Verdict = "deliver" | "drop" | { readonly duplicateAfter: number }

/** What may happen between the nodes and the engine. */
export interface Faults {
  /** How many milliseconds a request, an answer or a message takes, each time it is asked. Default 0. */
  readonly latency?: () => number
  /** Default: everything is delivered. */
  readonly verdict?: (to: string, message: string) => Verdict
}

/** How long a verb waits for an answer, in milliseconds. */
const patience = 2_000

type LinkState = "up" | "cut" | "stalled" | "crashed"

/** The connection of one node. */
class Link {
  readonly node: string
  readonly lease: number
  readonly listener: Listener
  readonly #hub: MemoryHub
  readonly #requests: Lane
  readonly #deliveries: Lane
  /** Verbs that wait for their answer. */
  readonly #waiting = new Set<() => void>()
  readonly watchers = new Set<(changes: ReadonlyArray<Change>) => void>()
  state: LinkState = "up"
  /** Whether there is a connection, stalled or not. */
  connected = true

  constructor(hub: MemoryHub, { lease, node }: JoinOptions, listener: Listener) {
    this.#hub = hub
    this.node = node
    this.lease = lease
    this.listener = listener
    this.#requests = new Lane(hub)
    this.#deliveries = new Lane(hub)
  }

  ask<A>(verb: string, work: (directory: Directory) => A): Effect.Effect<A, EngineError> {
    return Effect.suspend(() => {
      if (!this.connected) return Effect.fail(EngineError.of(verb, "not connected", false))
      if (this.state === "up" && this.#hub.faults.latency === undefined)
        return Effect.sync(() => work(this.#hub.directory))
      return this.#askSlowly(verb, work)
    })
  }

  #askSlowly<A>(verb: string, work: (directory: Directory) => A): Effect.Effect<A, EngineError> {
    const asked = Effect.callback<A, EngineError>((resume) => {
      const lost = () => resume(Effect.fail(EngineError.of(verb, "the connection is lost", true)))
      this.#waiting.add(lost)
      this.#requests.push(this.#hub.latency(), () => {
        const answer = work(this.#hub.directory)
        this.#deliveries.push(this.#hub.latency(), () => resume(Effect.succeed(answer)))
      })
      return Effect.sync(() => this.#waiting.delete(lost))
    })
    const orElse = () => Effect.fail(EngineError.of(verb, "no answer", true))
    return Effect.timeoutOrElse(asked, { duration: patience, orElse })
  }

  /** A message for the node: it comes in its turn. */
  deliver(message: string): void {
    this.#deliveries.push(this.#hub.latency(), () => this.listener.onMessage(message))
  }

  /** The same past all others. */
  deliverLate(message: string, millis: number): void {
    this.#hub.after(millis, () => this.connected && this.state === "up" && this.listener.onMessage(message))
  }

  tell(changes: ReadonlyArray<Change>): void {
    this.#deliveries.push(this.#hub.latency(), () => {
      for (const watcher of this.watchers) watcher(changes)
    })
  }

  /** The connection is gone, and what was on it. */
  drop(): void {
    if (!this.connected) return
    this.connected = false
    this.#requests.clear()
    this.#deliveries.clear()
    for (const lost of this.#waiting) lost()
    this.#waiting.clear()
    if (this.state !== "crashed") this.listener.onStatus("down")
  }

  /** Connects, where that is possible. */
  raise(): void {
    if (this.connected || this.state !== "up" || !this.#hub.running) return
    this.connected = true
    this.listener.onStatus("up")
  }

  stall(): void {
    this.state = "stalled"
    this.#requests.flowing = false
    this.#deliveries.flowing = false
  }

  heal(): void {
    this.state = "up"
    this.#requests.flowing = true
    this.#deliveries.flowing = true
    this.raise()
  }
}

/** The engine inside one process. */
export class MemoryHub implements Engine {
  readonly name = "memory"
  readonly directory: Directory
  readonly #clock: Clock.Clock
  readonly #run: (effect: Effect.Effect<unknown>) => unknown
  readonly #links = new Map<string, Link>()
  faults: Faults = {}
  running = true

  /** An engine whose late messages end with the Scope. */
  static readonly make: Effect.Effect<MemoryHub, never, Scope.Scope> = Effect.gen(function* () {
    return new MemoryHub(yield* Clock.Clock, yield* FiberSet.makeRuntime())
  })

  private constructor(clock: Clock.Clock, run: (effect: Effect.Effect<unknown>) => unknown) {
    this.#clock = clock
    this.#run = run
    this.directory = new Directory(
      () => this.now(),
      (changes) => this.#tell(changes),
    )
  }

  /** Milliseconds on the engine's clock, which is monotonic. */
  now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  after(millis: number, work: () => void): void {
    this.#run(Effect.andThen(this.#clock.sleep(Duration.millis(millis)), Effect.sync(work)))
  }

  latency(): number {
    return this.faults.latency?.() ?? 0
  }

  join(options: JoinOptions, listener: Listener): Effect.Effect<Member, EngineError, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      if (!this.running) return yield* EngineError.of("join", "the engine is stopped", false)
      const link = new Link(this, options, listener)
      this.#links.set(options.node, link)
      this.directory.beat(options.node, options.lease)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.#links.delete(options.node)
          if (link.state !== "crashed") this.directory.endLease(options.node)
        }),
      )
      return this.#memberOf(link)
    })
  }

  #memberOf(link: Link): Member {
    const { node } = link
    return {
      maxMessageBytes: Number.POSITIVE_INFINITY,
      claim: (claims) => link.ask("claim", (directory) => directory.claim(node, claims)),
      release: (releases) => link.ask("release", (directory) => directory.release(node, releases)),
      lookup: (identities) => link.ask("lookup", (directory) => identities.map((identity) => directory.find(identity))),
      entries: link.ask("entries", (directory) => directory.entries()),
      watch: (onChanges) =>
        Effect.acquireRelease(
          link.ask("watch", () => void link.watchers.add(onChanges)),
          () => Effect.sync(() => link.watchers.delete(onChanges)),
        ),
      send: (to, message) => link.ask("send", () => this.#carry(to, message)),
      beat: link.ask("beat", (directory) => directory.beat(node, link.lease)),
      presence: (other) =>
        link.ask("presence", (directory) => ({ leased: directory.isLeased(other), listening: this.#listens(other) })),
      bury: (other) =>
        link.ask("bury", (directory) => {
          if (this.#listens(other)) return false
          directory.endLease(other)
          return true
        }),
      sweep: link.ask("sweep", (directory) => directory.sweep()),
      reconnect: Effect.sync(() => {
        link.drop()
        link.raise()
      }),
    }
  }

  #listens(node: string): boolean {
    return this.#links.get(node)?.connected === true
  }

  #carry(to: string, message: string): "handed" | "nobody" {
    const link = this.#links.get(to)
    if (link?.connected !== true) return "nobody"
    const verdict = this.faults.verdict?.(to, message) ?? "deliver"
    if (verdict !== "drop") link.deliver(message)
    if (typeof verdict === "object") link.deliverLate(message, verdict.duplicateAfter)
    return "handed"
  }

  #tell(changes: ReadonlyArray<Change>): void {
    for (const link of this.#links.values()) if (link.connected && link.watchers.size > 0) link.tell(changes)
  }

  #linkOf(node: string): Link {
    const link = this.#links.get(node)
    if (link === undefined) throw new RangeError(`no node ${JSON.stringify(node)} has joined`)
    return link
  }

  /** The ids of the nodes that have joined, crashed ones included. */
  get nodes(): ReadonlyArray<string> {
    return [...this.#links.keys()]
  }

  /** A node loses its connection, and cannot connect until it heals; both sides notice. */
  cut(node: string): void {
    const link = this.#linkOf(node)
    link.state = "cut"
    link.drop()
  }

  /** Nothing gets through to a node or from it, and nobody notices: what is sent waits. */
  stall(node: string): void {
    this.#linkOf(node).stall()
  }

  /** A node is connected again; what had waited comes now. */
  heal(node: string): void {
    this.#linkOf(node).heal()
  }

  /** A node's process is gone: its connection is closed, its lease goes on until it lapses. What is left of it hears nothing. */
  crash(node: string): void {
    const link = this.#linkOf(node)
    link.state = "crashed"
    link.drop()
  }

  /** The engine stops: every node loses its connection. */
  stop(): void {
    this.running = false
    for (const link of this.#links.values()) link.drop()
  }

  /** The engine starts again, with what it had or, when `empty`, without. */
  start({ empty = false }: { readonly empty?: boolean } = {}): void {
    if (empty) this.directory.forget()
    this.running = true
    for (const link of this.#links.values()) link.raise()
  }
}

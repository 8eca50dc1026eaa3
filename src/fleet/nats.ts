/**
 * The engine over NATS 2.9 or newer with JetStream. It needs the packages `@nats-io/transport-node`, `@nats-io/jetstream` and
 * `@nats-io/kv`.
 *
 * ```ts
 * const Engine = Nats.layer({ connection: { servers: "nats://localhost" } })
 * ```
 *
 * A node has one connection. The directory and the leases are buckets in the server's memory; messages are core NATS, with a reply subject,
 * so that the server says when nobody listens.
 */
import {
  connect,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
  type Subscription,
} from "@nats-io/transport-node"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Configurable, resolve } from "../Configurable.ts"
import { type Checks, checkOptions, count, whenRead } from "./core.ts"
import type { Entry, JoinOptions, Listener, Member, Owner, Presence, Release } from "./Engine.ts"
import { type Beat, type Change, type Claim, type Claimed, Engine } from "./Engine.ts"
import { EngineError } from "./EngineError.ts"
import { keyOf, NatsDirectory } from "./natsDirectory.ts"

/** Where NATS is, and under which names the fleet lives there. */
export interface Options {
  /** What `@nats-io/transport-node` takes: servers, TLS, credentials. Default: this host. */
  readonly connection?: NodeConnectionOptions
  /** What all subjects and buckets begin with: one for each fleet, of `A-Z a-z 0-9 _ -`. Default `"ocpp-fleet"`. */
  readonly prefix?: string
  /** How many servers of a cluster keep the buckets: 1, 3 or 5. Default 1. */
  readonly replicas?: number
}

/** How long an operation may take, in milliseconds. */
const patience = 2_000
/** How long joining may take, in milliseconds. */
const joinPatience = 5_000
/** How long to wait for JetStream after a server has started, in milliseconds. */
const retryInterval = 200

/** A connection comes back for as long as the node lives, and one through which nothing comes is given up. */
const ours = {
  reconnect: true,
  maxReconnectAttempts: -1,
  ignoreAuthErrorAbort: true,
  waitOnFirstConnect: false,
  noAsyncTraces: true,
} as const satisfies NodeConnectionOptions

/** What a program may choose otherwise. */
const chosen = {
  timeout: patience,
  pingInterval: 2_000,
  maxPingOut: 2,
  reconnectTimeWait: 200,
  reconnectJitter: 200,
} satisfies NodeConnectionOptions

/** An engine over NATS. Nothing is connected before a node joins. */
export const make = (options: Options = {}): Engine => {
  checkOptions(options, checks)
  const { connection = {}, prefix = "ocpp-fleet" } = options
  const replicas = count("replicas", options.replicas ?? 1, 1)
  if (!/^[A-Za-z0-9_-]{1,100}$/.test(prefix)) {
    throw new RangeError(`prefix must have 1 to 100 characters of A-Z a-z 0-9 _ -; got ${JSON.stringify(prefix)}`)
  }
  const dial = () => connect({ ...chosen, ...connection, ...ours })
  return {
    name: "nats",
    join: (joinOptions, listener) =>
      Effect.gen(function* () {
        const connection = yield* Effect.acquireRelease(
          Effect.tryPromise({ try: dial, catch: (error) => EngineError.of("join", error, false) }),
          (opened) => Effect.ignore(Effect.tryPromise(() => opened.close())),
        )
        const member = new NatsMember(connection, { prefix, replicas }, joinOptions, listener)
        yield* Effect.addFinalizer(() => member.leave)
        yield* member.enter
        return member
      }),
  }
}

const checks: Checks<Options> = { connection: whenRead, prefix: whenRead, replicas: whenRead }

/** The engine over NATS. */
export const layer = (options: Options = {}): Layer.Layer<Engine> => Layer.sync(Engine, () => make(options))

/** {@link layer}, where any option may be a `Config`. */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<Engine, Config.ConfigError> =>
  Layer.unwrap(Effect.map(resolve<Options>(options), layer))

/** A message that leaves at the end of this turn of the event loop. */
interface Unsent {
  readonly subject: string
  readonly message: string
  readonly reply: string
  readonly resume: (effect: Effect.Effect<"handed" | "nobody", EngineError>) => void
}

class NatsMember implements Member {
  readonly maxMessageBytes: number
  readonly #connection: NatsConnection
  readonly #names: { readonly prefix: string; readonly replicas: number }
  readonly #options: JoinOptions
  readonly #listener: Listener
  readonly #replies: string
  readonly #watchers = new Map<(changes: ReadonlyArray<Change>) => void, () => void>()
  #directory: NatsDirectory | undefined
  #isUp = false
  readonly #inbox: Subscription
  /** Counts the times that the connection was lost. */
  #losses = 0
  #lastSent = 0
  /** The messages of which the server has said that nobody listens. */
  readonly #undelivered = new Set<string>()
  #unsent: Array<Unsent> = []

  constructor(
    connection: NatsConnection,
    names: { readonly prefix: string; readonly replicas: number },
    options: JoinOptions,
    listener: Listener,
  ) {
    this.#connection = connection
    this.#names = names
    this.#options = options
    this.#listener = listener
    this.#replies = `${names.prefix}.reply.${keyOf(options.node)}`
    this.maxMessageBytes = connection.info?.max_payload ?? 1024 * 1024
    this.#inbox = connection.subscribe(this.#inboxOf(options.node), {
      callback: (error, message) => this.#received(error, message),
    })
    connection.subscribe(`${this.#replies}.*`, { callback: (error, message) => this.#replied(error, message) })
  }

  /** Opens the directory, and enters the node. */
  get enter(): Effect.Effect<void, EngineError> {
    const opened = Effect.tryPromise({
      try: async () => {
        this.#directory = await this.#open()
        await this.#connection.flush()
      },
      catch: (error) => EngineError.of("join", error, false),
    })
    return Effect.gen({ self: this }, function* () {
      yield* Effect.timeoutOrElse(opened, {
        duration: joinPatience,
        orElse: () => EngineError.of("join", "JetStream does not answer; is it switched on?", false),
      })
      this.#isUp = true
      yield* this.beat
      this.#followStatus().catch(() => {})
    })
  }

  #open(): Promise<NatsDirectory> {
    const { lease, node } = this.#options
    return NatsDirectory.open(this.#connection, node, { ...this.#names, lease, patience })
  }

  async #followStatus(): Promise<void> {
    for await (const { type } of this.#connection.status()) {
      if (type === "disconnect" || type === "close") this.#lost()
      else if (type === "reconnect") void this.#raise(this.#losses)
    }
  }

  #lost(): void {
    this.#losses++
    this.#undelivered.clear()
    if (!this.#isUp) return
    this.#isUp = false
    this.#listener.onStatus("down")
  }

  /** Connected again, maybe to a server that has forgotten the buckets, or does not keep any yet. */
  async #raise(losses: number): Promise<void> {
    while (losses === this.#losses) {
      try {
        this.#directory = await this.#open()
        for (const watcher of [...this.#watchers.keys()]) await this.#follow(watcher)
        if (losses !== this.#losses) return
        this.#isUp = true
        return this.#listener.onStatus("up")
      } catch {
        await new Promise((resolve) => setTimeout(resolve, retryInterval).unref())
      }
    }
  }

  #received(error: Error | null, message: Msg): void {
    // An empty one only asks whether anybody listens.
    if (error === null && message.data.length > 0) this.#listener.onMessage(message.string())
  }

  #replied(error: Error | null, message: Msg): void {
    if (error === null && message.headers?.code === 503) this.#undelivered.add(message.subject)
  }

  #inboxOf(node: string): string {
    return `${this.#names.prefix}.inbox.${keyOf(node)}`
  }

  #ask<A>(verb: string, work: (directory: NatsDirectory) => Promise<A>): Effect.Effect<A, EngineError> {
    return Effect.suspend(() => {
      const directory = this.#directory
      if (!this.#isUp || directory === undefined) return EngineError.of(verb, "NATS cannot be reached", false)
      return Effect.tryPromise({
        try: () => work(directory),
        catch: (error) => EngineError.of(verb, error, true),
      })
    })
  }

  claim(claims: ReadonlyArray<Claim>): Effect.Effect<ReadonlyArray<Claimed>, EngineError> {
    return this.#ask("claim", (directory) => directory.claim(claims))
  }

  release(releases: ReadonlyArray<Release>): Effect.Effect<void, EngineError> {
    return this.#ask("release", (directory) => directory.release(releases))
  }

  lookup(identities: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Owner | undefined>, EngineError> {
    return this.#ask("lookup", (directory) => directory.lookup(identities))
  }

  get entries(): Effect.Effect<ReadonlyArray<Entry>, EngineError> {
    return this.#ask("entries", (directory) => directory.entries())
  }

  watch(onChanges: (changes: ReadonlyArray<Change>) => void): Effect.Effect<void, EngineError, Scope.Scope> {
    const stop = Effect.sync(() => {
      this.#watchers.get(onChanges)?.()
      this.#watchers.delete(onChanges)
    })
    const start = this.#ask("watch", () => this.#follow(onChanges))
    return Effect.acquireRelease(
      Effect.tapError(start, () => stop),
      () => stop,
    )
  }

  async #follow(onChanges: (changes: ReadonlyArray<Change>) => void): Promise<void> {
    this.#watchers.get(onChanges)?.()
    const stop = await this.#directory?.watch((change) => onChanges([change]))
    this.#watchers.set(onChanges, () => stop?.())
  }

  send(node: string, message: string): Effect.Effect<"handed" | "nobody", EngineError> {
    const sent = Effect.callback<"handed" | "nobody", EngineError>((resume) => {
      if (!this.#isUp) return resume(EngineError.of("send", "NATS cannot be reached", false))
      const reply = `${this.#replies}.${++this.#lastSent}`
      // What is sent in one turn of the event loop leaves in one write, and shares one question to the server.
      if (this.#unsent.push({ subject: this.#inboxOf(node), message, reply, resume }) === 1) {
        setImmediate(() => this.#sendAll())
      }
    })
    return Effect.timeoutOrElse(sent, {
      duration: patience,
      orElse: () => EngineError.of("send", "NATS does not answer", true),
    })
  }

  /** When the server answers it has read what was published, and what it had to say about that has come before. */
  #sendAll(): void {
    const unsent = this.#unsent
    this.#unsent = []
    if (!this.#isUp) {
      const lost = EngineError.of("send", "NATS cannot be reached", false)
      for (const { resume } of unsent) resume(lost)
      return
    }
    const failed = (error: unknown) => {
      const maybe = EngineError.of("send", error, true)
      for (const { resume } of unsent) resume(maybe)
    }
    try {
      for (const { message, reply, subject } of unsent) this.#connection.publish(subject, message, { reply })
      this.#connection.flush().then(() => {
        for (const { reply, resume } of unsent) {
          resume(Effect.succeed(this.#undelivered.delete(reply) ? "nobody" : "handed"))
        }
      }, failed)
    } catch (error) {
      failed(error)
    }
  }

  get beat(): Effect.Effect<Beat, EngineError> {
    return this.#ask("beat", (directory) => directory.beat())
  }

  presence(node: string): Effect.Effect<Presence, EngineError> {
    return Effect.all(
      {
        leased: this.#ask("presence", (directory) => directory.isLeased(node)),
        listening: Effect.map(this.send(node, ""), (handed) => handed === "handed"),
      },
      { concurrency: 2 },
    )
  }

  bury(node: string): Effect.Effect<boolean, EngineError> {
    return Effect.gen({ self: this }, function* () {
      if ((yield* this.send(node, "")) === "handed") return false
      yield* this.#ask("bury", (directory) => directory.endLease(node))
      return true
    })
  }

  get sweep(): Effect.Effect<number, EngineError> {
    return this.#ask("sweep", (directory) => directory.sweep())
  }

  get reconnect(): Effect.Effect<void> {
    return Effect.ignore(Effect.tryPromise(() => this.#connection.reconnect()))
  }

  get leave(): Effect.Effect<void> {
    const end = this.#ask("leave", async (directory) => {
      this.#inbox.unsubscribe()
      await directory.endLease(this.#options.node)
    })
    return Effect.andThen(
      Effect.ignore(end),
      Effect.sync(() => {
        this.#isUp = false
        this.#losses++
      }),
    )
  }
}

/**
 * The engine over Redis 6 or newer, or Valkey: one server, with replicas and Sentinel if you like. It needs the package `ioredis`.
 *
 * ```ts
 * const Engine = Redis.layer({ connection: "redis://localhost" })
 * ```
 *
 * A node has two connections: one for commands, one for its inbox. Redis Cluster is refused: there the count that `PUBLISH` returns does
 * not say whether somebody got the message.
 */

import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Redis, type RedisOptions } from "ioredis"
import { type Configurable, resolve } from "../Configurable.ts"
import { type Checks, checkOptions, whenRead } from "./core.ts"
import type { Beat, Listener, Member, Owner, Presence } from "./Engine.ts"
import { type Change, type Claim, type Claimed, Engine, type Entry, type JoinOptions } from "./Engine.ts"
import { EngineError } from "./EngineError.ts"
import * as scripts from "./redisScripts.ts"

/** Where Redis is, and under which names the fleet lives there. */
export interface Options {
  /** A URL (`redis://`, `rediss://`, `unix://`), or what `ioredis` takes: TLS, Sentinels, a user and a password. Default: this host. */
  readonly connection?: string | Omit<RedisOptions, "replyMapping">
  /** What all keys and channels begin with: one for each fleet. Default `"ocpp-fleet"`. */
  readonly prefix?: string
}

/** How long a command may take, and a connection, in milliseconds. */
const patience = 2_000
/** How long joining may take, in milliseconds. */
const joinPatience = 5_000
/** How many entries are read or deleted at a time. */
const pageSize = 1_000

/**
 * Nothing may be written later than it was asked for: no queue while there is no connection, nothing repeated on the next one. The inbox
 * is subscribed to by us, because only then is a connection of use.
 */
const ours = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableReadyCheck: true,
  lazyConnect: true,
  maxRetriesPerRequest: 0,
  commandTimeout: patience,
  keyPrefix: "",
  replyMapping: "legacy",
} as const satisfies RedisOptions

/** What a program may choose otherwise. */
const chosen = {
  connectTimeout: patience,
  retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 5), 1_000) * (0.5 + Math.random() / 2),
} satisfies RedisOptions

/** An engine over Redis. Nothing is connected before a node joins. */
export const make = (options: Options = {}): Engine => {
  checkOptions(options, checks)
  const { connection = {}, prefix = "ocpp-fleet" } = options
  if (!/^[\x21-\x7e]{1,100}$/.test(prefix)) {
    throw new RangeError(`prefix must have 1 to 100 characters without blanks; got ${JSON.stringify(prefix)}`)
  }
  const client = () => {
    if (typeof connection === "string") return new Redis(connection, { ...chosen, ...ours })
    return new Redis({ ...chosen, ...connection, ...ours })
  }
  return {
    name: "redis",
    join: (joinOptions, listener) =>
      Effect.gen(function* () {
        const member = yield* Effect.acquireRelease(
          Effect.sync(() => new RedisMember(client(), client(), prefix, joinOptions, listener)),
          (made) => made.leave,
        )
        yield* member.enter
        return member
      }),
  }
}

const checks: Checks<Options> = { connection: whenRead, prefix: whenRead }

/** The engine over Redis. */
export const layer = (options: Options = {}): Layer.Layer<Engine> => Layer.sync(Engine, () => make(options))

/** {@link layer}, where any option may be a `Config`. */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<Engine, Config.ConfigError> =>
  Layer.unwrap(Effect.map(resolve<Options>(options), layer))

class RedisMember implements Member {
  readonly maxMessageBytes = 64 * 1024 * 1024
  readonly #commands: Redis
  readonly #inbox: Redis
  readonly #prefix: string
  readonly #node: string
  readonly #lease: number
  readonly #listener: Listener
  readonly #watchers = new Set<(changes: ReadonlyArray<Change>) => void>()
  #corked: Redis["stream"] | undefined
  #isUp = false
  #isEntered = false
  #lastError: Error | undefined
  #onFirstUp: (() => void) | undefined

  constructor(commands: Redis, inbox: Redis, prefix: string, { lease, node }: JoinOptions, listener: Listener) {
    this.#commands = commands
    this.#inbox = inbox
    this.#prefix = prefix
    this.#node = node
    this.#lease = lease
    this.#listener = listener
    for (const client of [commands, inbox]) {
      client.on("ready", () => this.#connected())
      client.on("close", () => this.#lost())
      client.on("error", (error: Error) => {
        this.#lastError = error
      })
    }
    inbox.on("message", (channel: string, text: string) => {
      if (channel === this.#inboxOf(node)) listener.onMessage(text)
      else this.#told(text)
    })
  }

  /** Connects, and enters the node. */
  get enter(): Effect.Effect<void, EngineError> {
    const connected = Effect.callback<void>((resume) => {
      this.#onFirstUp = () => resume(Effect.void)
      for (const client of [this.#commands, this.#inbox]) client.connect().catch(() => {})
    })
    return Effect.gen({ self: this }, function* () {
      yield* Effect.timeoutOrElse(connected, {
        duration: joinPatience,
        orElse: () => EngineError.of("join", this.#lastError ?? "Redis does not answer", false),
      })
      yield* this.#refuseCluster
      yield* this.beat
      this.#isEntered = true
    })
  }

  get #refuseCluster(): Effect.Effect<void, EngineError> {
    return Effect.flatMap(
      this.#ask("join", () => this.#commands.info("server")),
      (info) =>
        /redis_mode:cluster/.test(info)
          ? EngineError.of(
              "join",
              "this is a Redis Cluster, which this engine does not serve; see docs/many-nodes.md",
              false,
            )
          : Effect.void,
    )
  }

  #connected(): void {
    if (this.#commands.status !== "ready" || this.#inbox.status !== "ready") return
    const channels = [this.#inboxOf(this.#node), ...(this.#watchers.size > 0 ? [this.#changes] : [])]
    this.#inbox.subscribe(...channels).then(
      () => this.#raised(),
      // Without an inbox a connection is of no use.
      () => this.#inbox.stream?.destroy(),
    )
  }

  #raised(): void {
    if (this.#isUp || this.#commands.status !== "ready" || this.#inbox.status !== "ready") return
    this.#isUp = true
    if (this.#isEntered) this.#listener.onStatus("up")
    this.#onFirstUp?.()
  }

  #lost(): void {
    if (!this.#isUp) return
    this.#isUp = false
    if (this.#isEntered) this.#listener.onStatus("down")
  }

  #ask<A>(verb: string, work: () => Promise<A>): Effect.Effect<A, EngineError> {
    return Effect.suspend(() => {
      if (!this.#isUp) return Effect.fail(EngineError.of(verb, "Redis cannot be reached", false))
      this.#cork()
      return Effect.tryPromise({ try: work, catch: (error) => EngineError.of(verb, error, !isReply(error)) })
    })
  }

  /** What is sent in one turn of the event loop leaves in one write. */
  #cork(): void {
    const { stream } = this.#commands
    if (this.#corked === stream) return
    this.#corked = stream
    stream.cork()
    setImmediate(() => {
      stream.uncork()
      if (this.#corked === stream) this.#corked = undefined
    })
  }

  #eval(verb: string, script: string, ...args: ReadonlyArray<string | number>): Effect.Effect<unknown, EngineError> {
    return this.#ask(verb, () => this.#commands.eval(script, 0, this.#prefix, this.#node, ...args))
  }

  get #changes(): string {
    return `${this.#prefix}:changes`
  }

  #inboxOf(node: string): string {
    return `${this.#prefix}:inbox:${node}`
  }

  claim(claims: ReadonlyArray<Claim>): Effect.Effect<ReadonlyArray<Claimed>, EngineError> {
    const args = claims.flatMap(({ age, identity, protocol, since }) => [
      identity,
      Math.round(age * 1_000),
      since === undefined ? "" : Math.round(since * 1_000),
      protocol,
    ])
    return Effect.map(this.#eval("claim", scripts.claim, ...args), (answer) => {
      const texts = textsOf(answer)
      return claims.map(({ identity }, i) => claimedOf(identity, texts.slice(6 * i, 6 * i + 6)))
    })
  }

  release(releases: Parameters<Member["release"]>[0]): Effect.Effect<void, EngineError> {
    const args = releases.flatMap(({ epoch, identity }) => [identity, epoch === undefined ? "" : String(epoch)])
    return Effect.asVoid(this.#eval("release", scripts.release, ...args))
  }

  lookup(identities: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Owner | undefined>, EngineError> {
    const key = `${this.#prefix}:stations`
    return Effect.map(
      this.#ask("lookup", () => this.#commands.hmget(key, ...identities)),
      (values) => values.map((value) => (value === null ? undefined : ownerOf(value))),
    )
  }

  get entries(): Effect.Effect<ReadonlyArray<Entry>, EngineError> {
    return this.#ask("entries", async () => {
      const entries = new Map<string, Entry>()
      let cursor = "0"
      do {
        const [next, values] = await this.#commands.hscan(`${this.#prefix}:stations`, cursor, "COUNT", pageSize)
        for (let i = 0; i + 1 < values.length; i += 2) {
          const identity = values[i] as string
          const owner = ownerOf(values[i + 1] as string)
          // While the hash grows, a page may repeat what another has had.
          if (owner !== undefined) entries.set(identity, { identity, ...owner })
        }
        cursor = next
      } while (cursor !== "0")
      return [...entries.values()]
    })
  }

  watch(onChanges: (changes: ReadonlyArray<Change>) => void): Effect.Effect<void, EngineError, Scope.Scope> {
    const subscribe = Effect.suspend(() => {
      this.#watchers.add(onChanges)
      return this.#ask("watch", () => this.#inbox.subscribe(this.#changes))
    })
    const unsubscribe = Effect.sync(() => {
      this.#watchers.delete(onChanges)
      if (this.#watchers.size === 0 && this.#isUp) this.#inbox.unsubscribe(this.#changes).catch(() => {})
    })
    return Effect.acquireRelease(
      Effect.tapError(Effect.asVoid(subscribe), () => unsubscribe),
      () => unsubscribe,
    )
  }

  #told(text: string): void {
    const changes = changesOf(text)
    if (changes.length > 0) for (const watcher of this.#watchers) watcher(changes)
  }

  send(node: string, message: string): Effect.Effect<"handed" | "nobody", EngineError> {
    return Effect.map(
      this.#ask("send", () => this.#commands.publish(this.#inboxOf(node), message)),
      (receivers) => (receivers > 0 ? "handed" : "nobody"),
    )
  }

  get beat(): Effect.Effect<Beat, EngineError> {
    return Effect.map(this.#eval("beat", scripts.beat, this.#lease * 1_000), (answer) => {
      const [now = "0", lapsed, ...nodes] = textsOf(answer)
      return { now: Number(now) / 1_000, lapsed: lapsed === "1", nodes }
    })
  }

  presence(node: string): Effect.Effect<Presence, EngineError> {
    return Effect.map(this.#eval("presence", scripts.presence, node), (answer) => {
      const [leased, listening] = textsOf(answer)
      return { leased: leased === "1", listening: listening === "1" }
    })
  }

  bury(node: string): Effect.Effect<boolean, EngineError> {
    return Effect.map(this.#eval("bury", scripts.bury, node), (answer) => answer === 1)
  }

  get sweep(): Effect.Effect<number, EngineError> {
    const some = Effect.map(this.#eval("sweep", scripts.sweep, pageSize), (answer) => textsOf(answer).map(Number))
    return Effect.gen(function* () {
      let swept = 0
      for (;;) {
        const [deleted = 0, more = 0] = yield* some
        swept += deleted
        if (more === 0) return swept
      }
    })
  }

  get reconnect(): Effect.Effect<void> {
    return Effect.sync(() => {
      // A closing handshake may wait for ever where nothing gets through.
      for (const client of [this.#commands, this.#inbox]) client.stream?.destroy()
    })
  }

  get leave(): Effect.Effect<void> {
    const disconnect = Effect.sync(() => {
      this.#isEntered = false
      for (const client of [this.#commands, this.#inbox]) {
        client.disconnect()
        client.stream?.destroy()
      }
    })
    return Effect.andThen(Effect.ignore(this.#eval("leave", scripts.leave)), disconnect)
  }
}

/** Whether the server has answered, with an error: then it has not done what it was asked to. */
const isReply = (error: unknown): boolean => error instanceof Error && error.name === "ReplyError"

const textsOf = (answer: unknown): ReadonlyArray<string> => (Array.isArray(answer) ? answer.map(String) : [])

const claimedOf = (identity: string, texts: ReadonlyArray<string>): Claimed => {
  const [verdict, epoch = "0", since = "0", itsEpoch = "", node = "", protocol = ""] = texts
  const other = itsEpoch === "" ? undefined : { node, epoch: Number(itsEpoch), protocol }
  if (verdict === "newer" && other !== undefined) return { _tag: "Newer", identity, owner: other }
  return { _tag: "Owned", identity, epoch: Number(epoch), since: Number(since) / 1_000, previous: other }
}

const ownerOf = (value: string): Owner | undefined => {
  const [, epoch, node, protocol] = /^(\S+) \S+ (\S+) (.*)$/s.exec(value) ?? []
  return epoch === undefined || node === undefined
    ? undefined
    : { node, epoch: Number(epoch), protocol: protocol ?? "" }
}

/** The changes that a script tells; what is something else is none. */
const changesOf = (text: string): ReadonlyArray<Change> => {
  let told: unknown
  try {
    told = JSON.parse(text)
  } catch {
    return []
  }
  return (Array.isArray(told) ? told : []).flatMap((one): ReadonlyArray<Change> => {
    const [kind, identity, epoch, node, protocol] = textsOf(one)
    if (identity === undefined || epoch === undefined) return []
    if (kind === "-") return [{ _tag: "Released", identity, epoch: Number(epoch) }]
    if (node === undefined || protocol === undefined) return []
    return [{ _tag: "Claimed", identity, node, epoch: Number(epoch), protocol }]
  })
}

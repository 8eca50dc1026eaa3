/** One node of the benchmark of fleets: stations connect to it, and it calls them, or those of the other node, or the other node through the bare engine. */
import { connect, type NatsConnection } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { Redis as Client } from "ioredis"
import { type EngineAddress, Trial } from "../../reliability/fleet/plan.ts"
import { perform } from "../../reliability/processes/parent.ts"
import * as Fleet from "../../src/Fleet.ts"
import * as Nats from "../../src/fleet/nats.ts"
import * as Redis from "../../src/fleet/redis.ts"
import * as Server from "../../src/Server.ts"

/** What a number of callers have managed. */
export interface Managed {
  readonly calls: number
  readonly seconds: number
  /** In milliseconds. */
  readonly p50: number
  /** CPU time of this process, in µs. */
  readonly cpu: number
}

interface Plan {
  readonly name: string
  readonly engine: EngineAddress
}

type Ask = (caller: number) => Promise<unknown>

const scope = Scope.makeUnsafe()
let fleet: Fleet.Fleet
let engine: Fleet.Engine.Engine
let bare: Ask | undefined

const engineAt = ({ kind, port }: EngineAddress): Fleet.Engine.Engine =>
  kind === "redis"
    ? Redis.make({ connection: `redis://127.0.0.1:${port}`, prefix: "bench" })
    : Nats.make({ connection: { servers: `nats://127.0.0.1:${port}` }, prefix: "bench" })

/** The call that the benchmark makes, and what is sent in its place through the bare engine. */
const request = { id: "", manner: "answer", delay: 0 }
const text = JSON.stringify([2, "messageId", "Count", request])

const call: Ask = (caller) => Effect.runPromise(fleet.call(`CP${caller}`, Trial.Count, request))

/** A request and its reply as one would write them by hand: `publish` and one subscription on either side. */
const bareRedis = async (port: number, name: string): Promise<Ask> => {
  const [commands, inbox] = [new Client(port), new Client(port)]
  const waiting = new Map<string, (reply: unknown) => void>()
  let last = 0
  await inbox.subscribe(`bare:${name}`)
  inbox.on("message", (_, message: string) => {
    const { id, from, payload } = JSON.parse(message) as { id: string; from?: string; payload: unknown }
    if (from !== undefined) return void commands.publish(`bare:${from}`, JSON.stringify({ id, payload }))
    waiting.get(id)?.(payload)
    waiting.delete(id)
  })
  return () =>
    new Promise((resolve) => {
      const id = `${++last}`
      waiting.set(id, resolve)
      commands.publish("bare:a", JSON.stringify({ id, from: name, payload: text }))
    })
}

const bareNats = async (port: number, name: string): Promise<Ask> => {
  const connection: NatsConnection = await connect({ servers: `nats://127.0.0.1:${port}` })
  connection.subscribe(`bare.${name}`, { callback: (_, message) => void message.respond(message.data) })
  return () => connection.request("bare.a", text)
}

const asks: Readonly<Record<"call" | "bare", Ask>> = { call, bare: (caller) => (bare as Ask)(caller) }

export const commands = {
  prepare: async ({ engine: address, name }: Plan): Promise<number> => {
    engine = engineAt(address)
    bare = await (address.kind === "redis" ? bareRedis : bareNats)(address.port, name)
    const made = Effect.gen(function* () {
      const server = yield* Server.make({ protocols: [Trial], pingInterval: 60_000 })
      fleet = yield* Fleet.make({ node: name }).pipe(
        Effect.provideService(Server.Server, server),
        Effect.provideService(Fleet.Engine.Engine, engine),
      )
      yield* server.listen({ port: 0, host: "127.0.0.1" })
      return server.port as number
    })
    return await Effect.runPromise(Scope.provide(made, scope))
  },
  /** So many callers ask again and again, each its own station, for so many milliseconds. */
  ask: async (work: {
    readonly what: "call" | "bare"
    readonly callers: number
    readonly millis: number
  }): Promise<Managed> => {
    const ask = asks[work.what]
    const latencies: Array<number> = []
    const before = process.cpuUsage()
    const start = performance.now()
    const caller = async (index: number) => {
      for (let now = performance.now(); now < start + work.millis; ) {
        await ask(index)
        const then = now
        now = performance.now()
        latencies.push(now - then)
      }
    }
    await Promise.all(Array.from({ length: work.callers }, (_, index) => caller(index)))
    const seconds = (performance.now() - start) / 1_000
    const { system, user } = process.cpuUsage(before)
    const sorted = latencies.toSorted((a, b) => a - b)
    return { calls: sorted.length, seconds, p50: sorted[sorted.length >> 1] ?? 0, cpu: system + user }
  },
  stations: async (): Promise<number> => (await Effect.runPromise(fleet.stations)).length,
  /** Claims stations as a node does that gets them all at once; how long that takes, in seconds. */
  claim: async ({ age, count }: { readonly count: number; readonly age: number }): Promise<number> => {
    const claims = Array.from({ length: count }, (_, i) => ({ identity: `claimed-${i}`, protocol: "ocpp1.6", age }))
    const work = Effect.gen(function* () {
      const node = `claimer-${process.pid}-${age}`
      const member = yield* engine.join({ node, lease: 60_000 }, { onMessage: () => {}, onStatus: () => {} })
      const start = performance.now()
      for (let i = 0; i < count; i += 500) yield* member.claim(claims.slice(i, i + 500))
      return (performance.now() - start) / 1_000
    })
    const claimScope = Scope.makeUnsafe()
    const seconds = await Effect.runPromise(Scope.provide(work, claimScope))
    // It leaves without releasing anything: the next one takes over from it.
    claimScopes.push(claimScope)
    return seconds
  },
  /** How long reading the directory takes, in seconds. */
  list: async (): Promise<number> => {
    const start = performance.now()
    await Effect.runPromise(fleet.stations)
    return (performance.now() - start) / 1_000
  },
  /** Calls a station until it is told that nobody has it; how long that takes, in seconds, and what is said first. */
  untilNotConnected: async (identity: string): Promise<{ readonly seconds: number; readonly first: string }> => {
    const start = performance.now()
    let first: string | undefined
    for (;;) {
      const exit = await Effect.runPromise(Effect.flip(fleet.call(identity, Trial.Count, request, { timeout: 10_000 })))
      first ??= `${exit._tag} after ${((performance.now() - start) / 1_000).toFixed(2)} s`
      if (exit._tag === "NotConnectedError") return { seconds: (performance.now() - start) / 1_000, first }
    }
  },
  /** A call to which no answer comes: how long it takes until it ends, in seconds. */
  callInFlight: async (identity: string): Promise<number> => {
    const start = performance.now()
    const ignored = { ...request, manner: "ignore" }
    await Effect.runPromise(Effect.exit(fleet.call(identity, Trial.Count, ignored, { timeout: 20_000 })))
    return (performance.now() - start) / 1_000
  },
  finish: async () => {
    for (const one of claimScopes) await Effect.runPromise(Scope.close(one, Exit.void))
    await Effect.runPromise(Scope.close(scope, Exit.void))
    process.exit(0)
  },
}

const claimScopes: Array<Scope.Closeable> = []

perform(commands)

/**
 * Stations and a CSMS over real sockets, through proxies that are late, cut, slice and stall, while the CSMS restarts.
 * Both sides call all the time, every call with a number of its own. Afterwards every call has had exactly one outcome,
 * in time; an answer is the call's own; what was handled was handled once; what was said to be unsent was never handled;
 * and every station is back. Ends with 1 when it is not so.
 *
 *     npm run chaos                                       10 seconds, 50 stations
 *     npm run chaos -- --seconds 300 --stations 200 --seed 7
 *
 * The seed decides what is done, but not what the network makes of it.
 */
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Action from "../src/Action.ts"
import * as Backoff from "../src/Backoff.ts"
import * as Client from "../src/Client.ts"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import * as Protocol from "../src/Protocol.ts"
import * as Server from "../src/Server.ts"
import { type ChaosProxy, makeChaosProxy } from "./support/chaosProxy.ts"
import * as Random from "./support/Random.ts"

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    stations: { type: "string", default: "50" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
})

const count = (name: "seconds" | "stations" | "seed"): number => {
  const value = Number(values[name])
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new RangeError(`--${name} must be a count; got ${values[name]}`)
}
const [seconds, stationCount, seed] = [count("seconds"), count("stations"), count("seed")]

const perProxy = 10
const callTimeout = 3_000
/** How late an outcome may be, on a machine that does other things too. */
const patience = 2_000
/** How long the stations may take to be back, once the network is calm. */
const recovery = 20_000

const numbered = Schema.Struct({ number: Schema.Number })
const Numbers = Protocol.make("numbers1.0", [Action.make("Count", { request: numbered, response: numbered })])

interface Entry {
  readonly from: number
  readonly by: string
  handled: number
  readonly outcomes: Array<Exit.Exit<{ readonly number: number }, Connection.CallFailure>>
  endedAt: number
}

/** Every call that was made, by its number. */
class Ledger {
  readonly #entries: Array<Entry> = []
  readonly faults: Array<string> = []

  /** Makes a call, and writes down its end. */
  call(by: string, peer: Pick<Server.Station | Client.Client, "call">): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      const entry: Entry = { by, from: performance.now(), handled: 0, outcomes: [], endedAt: Number.NaN }
      const number = this.#entries.push(entry) - 1
      const call = (peer as Client.Client).call(Numbers.Count, { number })
      const written = Effect.onExit(call, (exit) =>
        Effect.sync(() => {
          entry.outcomes.push(exit)
          entry.endedAt = performance.now()
        }),
      )
      return Effect.exit(written)
    })
  }

  handled(number: number): void {
    const entry = this.#entries[number]
    if (entry === undefined) this.faults.push(`${number} was handled, and never called`)
    else entry.handled++
  }

  /** What happened, and what should not have. */
  judge(): Readonly<Record<string, number>> {
    const tally: Record<string, number> = {}
    for (const [number, entry] of this.#entries.entries()) {
      const [exit] = entry.outcomes
      const outcome = exit === undefined ? "none" : outcomeOf(exit)
      tally[outcome] = (tally[outcome] ?? 0) + 1
      const fault = faultOf(number, entry)
      if (fault !== undefined) this.faults.push(`call ${number} of ${entry.by}: ${fault}`)
    }
    return tally
  }
}

const outcomeOf = (exit: Entry["outcomes"][number]): string => {
  if (Exit.isSuccess(exit)) return "answered"
  const error = Exit.findErrorOption(exit)
  if (error._tag === "None") return "interrupted"
  return "sent" in error.value ? `${error.value._tag} sent: ${error.value.sent}` : error.value._tag
}

const faultOf = (number: number, { endedAt, from, handled, outcomes }: Entry): string | undefined => {
  const [exit] = outcomes
  if (exit === undefined || outcomes.length !== 1) return `${outcomes.length} outcomes`
  if (handled > 1) return `handled ${handled} times`
  if (endedAt - from > callTimeout + patience) return `ended after ${(endedAt - from).toFixed(0)} ms`
  if (Exit.isSuccess(exit)) {
    if (exit.value.number !== number) return `got the answer to ${exit.value.number}`
    return handled === 1 ? undefined : "answered, and not handled"
  }
  const outcome = outcomeOf(exit)
  if (outcome.endsWith("sent: false") && handled > 0) return `${outcome}, and handled`
  const isExpected = /^(interrupted|(TimeoutError|DisconnectedError) sent: (true|false))$/.test(outcome)
  // A CSMS that drains refuses calls with GenericError.
  return isExpected || outcome === "RPCError" ? undefined : `ended with ${outcome}`
}

const ledger = new Ledger()
const random = Random.make(seed)
const pause = (most: number) => Effect.suspend(() => Effect.sleep(random.below(most)))

/** Answers with the number that came, now or a little later. */
const answer = ({ number }: { readonly number: number }) =>
  Effect.suspend(() => {
    ledger.handled(number)
    return random.chance(0.2) ? Effect.delay(Effect.succeed({ number }), random.below(30)) : Effect.succeed({ number })
  })

const options = { callTimeout, pingInterval: 1_500, closeTimeout: 1_000, strictMode: true } as const

/** The CSMS, which can be started again on the same port. */
class Csms {
  #scope = Scope.makeUnsafe()
  #server: Server.Server | undefined
  port = 0
  restarts = 0

  readonly start = Effect.gen({ self: this }, function* () {
    this.#scope = Scope.makeUnsafe()
    const handlers = [Handlers.make(Numbers, { Count: answer })]
    const made = Server.make({ ...options, protocols: [Numbers], handlers, shutdownGrace: 300 })
    const server = yield* Scope.provide(made, this.#scope)
    yield* server.listen({ port: this.port, host: "127.0.0.1" })
    this.port = server.port as number
    this.#server = server
  })

  readonly stop = Effect.suspend(() => Scope.close(this.#scope, Exit.void))

  /** With or without a word to the stations. */
  readonly restart = Effect.gen({ self: this }, function* () {
    if (random.chance(0.5)) yield* (this.#server as Server.Server).close({ force: true })
    yield* this.stop
    yield* pause(500)
    yield* this.start
    this.restarts++
  })

  readonly stations = Effect.suspend(() => (this.#server as Server.Server).stations)
  readonly station = (identity: string) => Effect.suspend(() => (this.#server as Server.Server).station(identity))
}

const identityOf = (index: number) => `CP${index}`

/** Now and then the caller loses patience. */
const callSometimes = (by: string, peer: Pick<Server.Station | Client.Client, "call">) =>
  Effect.suspend(() => {
    const call = ledger.call(by, peer)
    return random.chance(0.05) ? Effect.timeoutOption(call, random.below(20)) : call
  })

const stationLoop = (client: Client.Client) =>
  Effect.forever(Effect.andThen(callSometimes(client.identity, client), pause(60)))

const csmsLoop = (csms: Csms, identity: string) =>
  Effect.forever(
    csms.station(identity).pipe(
      Effect.flatMap((station) => callSometimes("the CSMS", station)),
      Effect.ignore,
      Effect.andThen(pause(80)),
    ),
  )

const calm = { latency: 0, slice: Number.POSITIVE_INFINITY, bandwidth: Number.POSITIVE_INFINITY, swallow: false }

const weathers: ReadonlyArray<readonly [weight: number, change: (proxy: ChaosProxy) => Effect.Effect<void>]> = [
  [3, ({ cut }) => Effect.sync(() => cut("reset"))],
  [2, ({ cut }) => Effect.sync(() => cut("end"))],
  [4, ({ weather }) => Effect.sync(() => void Object.assign(weather, { latency: random.below(80) }))],
  [3, ({ weather }) => Effect.sync(() => void Object.assign(weather, { slice: 1 + random.below(50) }))],
  [2, ({ weather }) => Effect.sync(() => void Object.assign(weather, { bandwidth: 20_000 + random.below(100_000) }))],
  [4, ({ weather }) => Effect.sync(() => void Object.assign(weather, calm))],
  [2, (proxy) => stall(proxy)],
]

/** TCP loses no byte of a stream that goes on, so a stalled one must be cut. */
const stall = (proxy: ChaosProxy) =>
  Effect.gen(function* () {
    proxy.weather.swallow = true
    yield* pause(3_000)
    proxy.cut("reset")
    proxy.weather.swallow = false
  })

const storm = (proxy: ChaosProxy) =>
  Effect.forever(
    Effect.andThen(
      pause(700),
      Effect.suspend(() => random.weighted(weathers)(proxy)),
    ),
  )

/** A restart that has begun is brought to its end. */
const restarts = (csms: Csms) => {
  const wait = Effect.suspend(() => Effect.sleep(1_500 + random.below(4_000)))
  return Effect.forever(Effect.andThen(wait, Effect.uninterruptible(csms.restart)))
}

/** Whether something becomes true in time. */
const eventually = Effect.fnUntraced(function* (isTrue: Effect.Effect<boolean>, millis: number) {
  const deadline = performance.now() + millis
  while (!(yield* isTrue)) {
    if (performance.now() > deadline) return false
    yield* Effect.sleep(20)
  }
  return true
})

const makeStation = (proxies: ReadonlyArray<ChaosProxy>) => (index: number) =>
  Client.make({
    ...options,
    endpoint: `ws://127.0.0.1:${proxies[Math.floor(index / perProxy)]?.port}`,
    identity: identityOf(index),
    protocols: [Numbers],
    handlers: [Handlers.make(Numbers, { Count: answer })],
    reconnect: Backoff.exponential({ initialDelay: 100, maxDelay: 1_000 }),
    handshakeTimeout: 2_000,
  })

const indices = Array.from({ length: stationCount }, (_, index) => index)

/** Two callers each, so that one waits for the other. */
const twice = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> => [...all, ...all]

/** Both sides call through the storm, for as long as was asked. */
const endure = (csms: Csms, stations: ReadonlyArray<Client.Client>, proxies: ReadonlyArray<ChaosProxy>) => {
  const all = { concurrency: "unbounded", discard: true } as const
  const callers = Effect.all(
    [
      Effect.forEach(twice(stations), stationLoop, all),
      Effect.forEach(twice(indices), (index) => csmsLoop(csms, identityOf(index)), all),
    ],
    all,
  )
  const weather = Effect.forEach(proxies, storm, all)
  return Effect.timeoutOption(Effect.all([callers, weather, restarts(csms)], all), seconds * 1_000)
}

const areBack = (csms: Csms, stations: ReadonlyArray<Client.Client>) =>
  Effect.map(
    csms.stations,
    (connected) =>
      connected.length === stations.length && stations.every(({ state }) => state === Connection.State.OPEN),
  )

/** Every station calls twice at once, and is called so: no place in any queue has been lost. */
const callOnce = (csms: Csms, stations: ReadonlyArray<Client.Client>) =>
  Effect.forEach(
    stations,
    (client) =>
      Effect.gen(function* () {
        const station = yield* csms.station(client.identity)
        const exits = yield* Effect.all(twice([ledger.call("the end", client), ledger.call("the end", station)]), {
          concurrency: 4,
        })
        if (!exits.every((exit) => Exit.isExit(exit) && Exit.isSuccess(exit)))
          ledger.faults.push(`${client.identity} does not answer`)
      }),
    { concurrency: 20, discard: true },
  )

const program = Effect.gen(function* () {
  const csms = new Csms()
  yield* csms.start
  const makeProxy = Effect.promise(() => makeChaosProxy(csms.port))
  const proxies = yield* Effect.all(Array.from({ length: Math.ceil(stationCount / perProxy) }, () => makeProxy))
  const stations = yield* Effect.forEach(indices, makeStation(proxies), { concurrency: 20 })
  yield* endure(csms, stations, proxies)
  for (const { weather } of proxies) Object.assign(weather, calm)
  // What is half open now is found by its pings.
  const isBack = yield* eventually(areBack(csms, stations), recovery)
  if (isBack) yield* callOnce(csms, stations)
  else ledger.faults.push(`after ${recovery} ms ${(yield* csms.stations).length} of ${stationCount} stations are back`)
  yield* Effect.forEach(stations, (client) => client.close(), { concurrency: "unbounded", discard: true })
  yield* csms.stop
  yield* Effect.promise(() => Promise.all(proxies.map(({ close }) => close())))
  return csms.restarts
})

for (const event of ["uncaughtException", "unhandledRejection", "warning"]) {
  process.on(event, (reason: unknown) =>
    ledger.faults.push(`${event}: ${reason instanceof Error ? reason.stack : reason}`),
  )
}

console.log(`seed ${seed}: ${stationCount} stations, ${seconds} seconds`)
const restarted = await Effect.runPromise(Effect.scoped(program))
const tally = ledger.judge()
const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length
const isQuiet = await Effect.runPromise(
  Effect.map(
    eventually(
      Effect.sync(() => timers() <= 1),
      3_000,
    ),
    (quiet) => quiet,
  ),
)
if (!isQuiet) ledger.faults.push(`${timers()} timers are still set`)
console.log(`the CSMS restarted ${restarted} times; calls: ${JSON.stringify(tally)}`)
for (const fault of ledger.faults.slice(0, 20)) console.error(`FOUND ${fault}`)
console.log(ledger.faults.length === 0 ? "nothing found" : `${ledger.faults.length} findings, --seed ${seed}`)
process.exitCode = ledger.faults.length === 0 ? 0 : 1

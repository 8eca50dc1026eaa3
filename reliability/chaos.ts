/**
 * Stations and a CSMS over real sockets, through proxies that are late, cut, slice and stall, while the CSMS restarts.
 * Both sides call all the time, two callers for each station on either side. Afterwards the ledgers of both sides agree:
 * every call has had one outcome, in time; an answer is the call's own; nothing was handled twice; no unsent call was
 * handled; and every station is back.
 */
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
import { commandLine, countOf } from "./support/commandLine.ts"
import { contradictions, Ledger, type Response } from "./support/Ledger.ts"
import * as Random from "./support/Random.ts"

const values = commandLine(
  `
npm run chaos                                       50 stations, 10 seconds
npm run chaos -- --seconds 300 --stations 200 --seed 7

Exit code 1 when something was found. The seed decides what is done, but not what the network makes of it.`,
  {
    seconds: { type: "string", default: "10" },
    stations: { type: "string", default: "50" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
)

const seconds = countOf("seconds", values.seconds)
const stationCount = countOf("stations", values.stations)
const seed = countOf("seed", values.seed)

const perProxy = 10
const callTimeout = 3_000
/** Milliseconds by which an outcome may be late, on a machine that does other things too. */
const patience = 2_000
/** Milliseconds after which all stations are back, once the network is calm. */
const recovery = 20_000

const numbered = Schema.Struct({ data: Schema.String })
const Numbers = Protocol.make("numbers1.0", [Action.make("Count", { request: numbered, response: numbered })])

/** The calls of either side, and those of the other that it has handled. */
const ledgers = { stations: new Ledger(callTimeout + patience), csms: new Ledger(callTimeout + patience) }
const faults: Array<string> = []
const random = Random.make(seed)
const pause = (most: number) => Effect.suspend(() => Effect.sleep(random.below(most)))

/** Answers with the number of the call that came, now or a little later. */
const answer = (ledger: Ledger, peer: string, { data }: { readonly data: string }) =>
  Effect.suspend(() => {
    const response = Effect.succeed({ data: `${ledger.handle(peer, data)}` })
    return random.chance(0.2) ? Effect.delay(response, random.below(30)) : response
  })

const atCsms = Handlers.make(Numbers, {
  Count: Effect.fnUntraced(function* (request) {
    return yield* answer(ledgers.csms, (yield* Server.Station).identity, request)
  }),
})

const atStation = Handlers.make(Numbers, {
  Count: Effect.fnUntraced(function* (request) {
    return yield* answer(ledgers.stations, (yield* Client.Client).identity, request)
  }),
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
    const made = Server.make({ ...options, protocols: [Numbers], handlers: [atCsms], shutdownGrace: 300 })
    const server = yield* Scope.provide(made, this.#scope)
    yield* server.listen({ port: this.port, host: "127.0.0.1" })
    this.port = server.port as number
    this.#server = server
  })

  readonly stop = Effect.suspend(() => Scope.close(this.#scope, Exit.void))

  /** Restarts it, with or without a word to the stations. */
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

type Send = (data: string) => Effect.Effect<Response, unknown>

const sendTo =
  (peer: Pick<Client.Client, "call">): Send =>
  (data) =>
    peer.call(Numbers.Count, { data })

/** One after another, a caller makes the calls of its lane. */
interface Caller {
  readonly ledger: Ledger
  readonly lane: string
  /** Fails while there is nobody to call. */
  readonly peer: Effect.Effect<Send, unknown>
  /** The longest rest between two calls, in milliseconds. */
  readonly rest: number
}

/** Two callers for each station, on either side, so that one waits for the other. */
const callersOf = (csms: Csms, stations: ReadonlyArray<Client.Client>): ReadonlyArray<Caller> =>
  stations.flatMap((client) =>
    [0, 1].flatMap((caller) => {
      const lane = `${client.identity}/${caller}`
      return [
        { ledger: ledgers.stations, lane, peer: Effect.succeed(sendTo(client)), rest: 60 },
        { ledger: ledgers.csms, lane, peer: Effect.map(csms.station(client.identity), sendTo), rest: 80 },
      ]
    }),
  )

/** Calls again and again; now and then the caller loses patience. */
const callAlways = ({ lane, ledger, peer, rest }: Caller) => {
  const once = Effect.flatMap(peer, (send) => {
    const call = ledger.call(lane, send)
    return random.chance(0.05) ? Effect.asVoid(Effect.timeoutOption(call, random.below(20))) : Effect.asVoid(call)
  })
  return Effect.forever(Effect.andThen(Effect.ignore(once), pause(rest)))
}

/** Calls once more. */
const callOnceMore = ({ lane, ledger, peer }: Caller) =>
  Effect.map(Effect.exit(Effect.flatMap(peer, (send) => ledger.call(lane, send))), (exit) => {
    const outcome = Exit.isSuccess(exit) ? exit.value : "nobody is there"
    if (outcome !== "A") faults.push(`${lane} is not answered in the end: ${outcome}`)
  })

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
    handlers: [atStation],
    reconnect: Backoff.exponential({ initialDelay: 100, maxDelay: 1_000 }),
    handshakeTimeout: 2_000,
  })

const all = { concurrency: "unbounded", discard: true } as const

/** Lets both sides call through the storm, for as long as was asked. */
const endure = (csms: Csms, callers: ReadonlyArray<Caller>, proxies: ReadonlyArray<ChaosProxy>) => {
  const calls = Effect.forEach(callers, callAlways, all)
  const weather = Effect.forEach(proxies, storm, all)
  return Effect.timeoutOption(Effect.all([calls, weather, restarts(csms)], all), seconds * 1_000)
}

const areBack = (csms: Csms, stations: ReadonlyArray<Client.Client>) =>
  Effect.map(
    csms.stations,
    (connected) =>
      connected.length === stations.length && stations.every(({ state }) => state === Connection.State.OPEN),
  )

const program = Effect.gen(function* () {
  const csms = new Csms()
  yield* csms.start
  const makeProxy = Effect.promise(() => makeChaosProxy(csms.port))
  const proxies = yield* Effect.all(Array.from({ length: Math.ceil(stationCount / perProxy) }, () => makeProxy))
  const indices = Array.from({ length: stationCount }, (_, index) => index)
  const stations = yield* Effect.forEach(indices, makeStation(proxies), { concurrency: 20 })
  const callers = callersOf(csms, stations)
  yield* endure(csms, callers, proxies)
  for (const { weather } of proxies) Object.assign(weather, calm)
  // A connection that is half open now is found by its pings.
  const isBack = yield* eventually(areBack(csms, stations), recovery)
  // No place in any queue has been lost, and the last outcomes are held against the other ledger.
  if (isBack) yield* Effect.forEach(callers, callOnceMore, { concurrency: 80, discard: true })
  else faults.push(`after ${recovery} ms ${(yield* csms.stations).length} of ${stationCount} stations are back`)
  yield* Effect.forEach(stations, (client) => client.close(), all)
  yield* csms.stop
  yield* Effect.promise(() => Promise.all(proxies.map(({ close }) => close())))
  return csms.restarts
})

for (const event of ["uncaughtException", "unhandledRejection", "warning"]) {
  process.on(event, (reason: unknown) => faults.push(`${event}: ${reason instanceof Error ? reason.stack : reason}`))
}

const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length

console.log(`seed ${seed}: ${stationCount} stations, ${seconds} seconds`)
const restarted = await Effect.runPromise(Effect.scoped(program))
const hasFewTimers = Effect.sync(() => timers() <= 1)
if (!(await Effect.runPromise(eventually(hasFewTimers, 3_000)))) faults.push(`${timers()} timers are still set`)
const accounts = { stations: ledgers.stations.account(), csms: ledgers.csms.account() }
faults.push(
  ...[...accounts.stations.losses, ...accounts.csms.losses],
  ...contradictions("calls of the stations", accounts.stations, accounts.csms.handled),
  ...contradictions("calls of the CSMS", accounts.csms, accounts.stations.handled),
)
console.log(`the CSMS restarted ${restarted} times`)
for (const [side, { losses: _, ...counts }] of Object.entries(accounts)) {
  console.log(`calls of ${side}: ${JSON.stringify(counts)}`)
}
for (const fault of faults.slice(0, 20)) console.error(`FOUND ${fault}`)
console.log(faults.length === 0 ? "nothing found" : `${faults.length} findings, --seed ${seed}`)
process.exitCode = faults.length === 0 ? 0 : 1

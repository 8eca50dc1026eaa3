/**
 * Random schedules against {@link Model}: calls, answers (late, double, wrong), aborts, closes, cuts, reconnects, changed
 * options, on a client that reconnects and on a single connection, over transports in memory and with a clock of their own.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import * as Client from "../../src/Client.ts"
import * as Connection from "../../src/Connection.ts"
import * as Handlers from "../../src/Handlers.ts"
import * as Transport from "../../src/Transport.ts"
import { Echo, settled } from "../support/rawPeer.ts"
import { type Kind, type Life, Model, type Outcome } from "./Model.ts"

const seed = Number(process.env.OCPP_SEED ?? 20_261_121)

type Dialled = "opens" | "opensLate" | "fails" | "failsForGood" | "never"

type Reaction = "call" | "close" | "connect"

type Step =
  | { readonly do: "call"; readonly kind: Kind; readonly timeout: number }
  | { readonly do: "abort" | "answer" | "answerTwice" | "refuse" | "answerOld"; readonly which: number }
  | { readonly do: "ask"; readonly action: "Echo" | "Slow"; readonly twice: boolean }
  | { readonly do: "garbage" | "cut" | "peerCloses" | "stall" | "connect" | "abandon" }
  | { readonly do: "close"; readonly options: Connection.CloseOptions }
  | { readonly do: "reconfigure"; readonly concurrency: number; readonly queue: number; readonly handlers: number }
  | { readonly do: "reconnect"; readonly again: boolean }
  | { readonly do: "dialling"; readonly will: Dialled }
  /** When such an event is told, from within its observer. */
  | { readonly do: "onEvent"; readonly at: Life; readonly reaction: Reaction }
  | { readonly do: "wait"; readonly millis: number }

const some = <const S>(arbitrary: fc.Arbitrary<S>, weight: number) => ({ arbitrary, weight })
const which = fc.nat({ max: 9 })
const just = fc.constant

const step: fc.Arbitrary<Step> = fc.oneof(
  some(
    fc.record({
      do: just("call" as const),
      kind: fc.constantFrom<Kind>("call", "call", "call", "forgotten", "send"),
      timeout: fc.constantFrom(300, 5_000, 30_000),
    }),
    14,
  ),
  some(fc.record({ do: fc.constantFrom("abort", "answerTwice", "refuse", "answerOld"), which }), 8),
  some(fc.record({ do: just("answer" as const), which }), 8),
  some(fc.record({ do: just("ask" as const), action: fc.constantFrom("Echo", "Slow"), twice: fc.boolean() }), 4),
  some(fc.record({ do: fc.constantFrom("garbage", "cut", "peerCloses", "stall", "abandon") }), 4),
  some(fc.record({ do: just("connect" as const) }), 2),
  some(
    fc.record({
      do: just("close" as const),
      options: fc.record(
        { code: fc.constantFrom(1000, 1001, 1006, 4000), awaitPending: fc.boolean(), force: fc.boolean() },
        { requiredKeys: [] },
      ),
    }),
    2,
  ),
  some(
    fc.record({
      do: just("reconfigure" as const),
      concurrency: fc.constantFrom(1, 2, 5),
      queue: fc.constantFrom(0, 2, 50),
      handlers: fc.constantFrom(1, 64),
    }),
    2,
  ),
  some(fc.record({ do: just("reconnect" as const), again: fc.boolean() }), 1),
  some(
    fc.record({
      do: just("dialling" as const),
      will: fc.constantFrom("opens", "opensLate", "fails", "failsForGood", "never"),
    }),
    2,
  ),
  some(
    fc.record({
      do: just("onEvent" as const),
      at: fc.constantFrom<Life>("Connecting", "ConnectFailure", "Open", "Disconnect", "Closing", "Close"),
      reaction: fc.constantFrom<Reaction>("call", "close", "connect"),
    }),
    2,
  ),
  some(fc.record({ do: just("wait" as const), millis: fc.constantFrom(1, 300, 1_000, 7_000) }), 6),
) as fc.Arbitrary<Step>

/** Steps between which nothing comes to rest. */
const schedule = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 25 })

const lives: ReadonlySet<string> = new Set(["Connecting", "ConnectFailure", "Open", "Disconnect", "Closing", "Close"])

const refusedForNow = new Client.ConnectError({ message: "refused", retryable: true })
const refusedForGood = new Client.ConnectError({ message: "no such thing", retryable: false })

/** Our transport of one connection, which tells the model what leaves, and can be made to ignore a close frame. */
class Watched implements Transport.Transport {
  readonly protocol: string
  readonly bufferedAmount = 0
  readonly peer: Transport.Transport
  stalled = false
  #closing = false
  readonly #own: Transport.Transport
  readonly #onSend: (text: string) => void

  constructor(onSend: (text: string) => void) {
    const [own, peer] = Transport.makePair(Echo.name)
    this.protocol = own.protocol
    this.peer = peer
    this.#own = own
    this.#onSend = onSend
    const ignore = () => {}
    peer.listen({ onMessage: ignore, onPing: ignore, onPong: ignore, onError: ignore, onClose: ignore })
  }

  get writable(): boolean {
    return this.#own.writable && !this.#closing
  }
  listen(listener: Transport.Listener): void {
    this.#own.listen(listener)
  }
  send(message: string | Uint8Array): void {
    if (this.writable) this.#onSend(String(message))
    this.#own.send(message)
  }
  ping(): void {
    this.#own.ping()
  }
  close(code: number, reason: string): void {
    this.#closing = true
    if (!this.stalled) this.#own.close(code, reason)
  }
  terminate(): void {
    this.#own.terminate()
  }
}

/** What both faces have in common. */
type Face = Pick<Client.Client, "state" | "call" | "send" | "close" | "subscribe" | "reconfigure"> & {
  readonly connect?: Client.Client["connect"]
}

class World {
  readonly model: Model
  readonly #clock: Clock.Clock
  readonly #runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly #transports: Array<Watched> = []
  readonly #calls: Array<Fiber.Fiber<unknown, Connection.CallFailure>> = []
  /** The message ids of the calls that were transmitted. */
  readonly #ids = new Map<number, string>()
  readonly #armed = new Map<string, Reaction>()
  readonly #connecting: Array<Fiber.Fiber<unknown, unknown>> = []
  /** One reaction until everything is at rest: what it causes is told later than it happens. */
  #hasReacted = false
  #asked = 0
  #face: Face | undefined
  #dialling: Dialled = "opens"
  /** The first violation: it may be seen where throwing helps nobody. */
  violation: unknown
  /** What runs and must end: attempts to dial, handlers, waits for a connection. */
  busy = 0

  constructor(model: Model, clock: Clock.Clock, context: Context.Context<never>) {
    this.model = model
    this.#clock = clock
    this.#runFork = Effect.runForkWith(context)
  }

  get #current(): Watched | undefined {
    return this.#transports.at(-1)
  }

  get face(): Face {
    if (this.#face === undefined) throw new Error("there is no face yet")
    return this.#face
  }

  observe(face: Face): void {
    this.#face = face
    face.subscribe((event) => {
      if (!lives.has(event._tag)) return
      this.check(() => this.model.event(event._tag as Life))
      if (this.#hasReacted) return
      const then = this.#armed.get(event._tag)
      this.#armed.delete(event._tag)
      this.#hasReacted = then !== undefined
      if (then === "call") this.#call("call", 5_000)
      if (then === "close") this.close({ code: 4001 })
      if (then === "connect") this.connect()
    })
  }

  atRest(): void {
    this.#hasReacted = false
    this.check(() => this.model.atRest(this.face.state))
    if (this.violation !== undefined) throw this.violation
  }

  check(look: () => void): void {
    this.model.now = Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
    try {
      look()
    } catch (error) {
      this.violation ??= error
    }
  }

  counted<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.acquireUseRelease(
      Effect.sync(() => this.busy++),
      () => effect,
      () => Effect.sync(() => this.busy--),
    )
  }

  open(): Watched {
    const connection = this.#transports.length + 1
    const transport = new Watched((text) => this.check(() => this.#transmitted(JSON.parse(text), connection)))
    this.#transports.push(transport)
    return transport
  }

  #transmitted([type, id, , payload]: readonly [number, string, unknown, { text: string }], connection: number): void {
    if (id === "-1") return
    if (type === 3 || type === 4) return this.model.replied(id, connection)
    const index = Number(payload.text)
    this.#ids.set(index, id)
    this.model.transmitted(index, connection)
  }

  readonly dial: Client.Dial = () =>
    this.counted(
      Effect.suspend(() => {
        const will = this.#dialling
        this.#dialling = "opens"
        if (will === "failsForGood") this.model.mayEnd = true
        return this.#attempts[will]
      }),
    )

  readonly #attempts: Readonly<Record<Dialled, Effect.Effect<Watched, Client.ConnectError>>> = {
    opens: Effect.sync(() => this.open()),
    opensLate: Effect.delay(
      Effect.sync(() => this.open()),
      "700 millis",
    ),
    fails: Effect.fail(refusedForNow),
    failsForGood: Effect.fail(refusedForGood),
    never: Effect.never,
  }

  readonly handlers = [
    Handlers.make(Echo, {
      Echo: (request) => this.counted(Effect.succeed(request)),
      Slow: () => this.counted(Effect.never),
    }),
  ]

  take(step: Step): void {
    switch (step.do) {
      case "call":
        return this.#call(step.kind, step.timeout)
      case "abort":
        return this.#abort(step.which)
      case "answer":
      case "answerTwice":
      case "refuse":
      case "answerOld":
        return this.#answer(step.do, step.which)
      case "ask":
        return this.#ask(step.action, step.twice)
      case "garbage":
        return this.#current?.peer.send('[2,"broken')
      case "cut":
        return this.#current?.peer.terminate()
      case "peerCloses":
        return this.#current?.peer.close(1001, "restart")
      case "stall":
        if (this.#current !== undefined) this.#current.stalled = true
        return
      case "connect":
        return this.connect()
      case "abandon":
        return this.#abandon()
      case "close":
        return this.close(step.options)
      case "reconfigure":
        return this.#reconfigure(step)
      case "reconnect":
        return this.#setReconnect(step.again)
      case "dialling":
        this.#dialling = step.will
        return
      case "onEvent":
        this.#armed.set(step.at, step.reaction)
        return
    }
  }

  #call(kind: Kind, timeout: number): void {
    let index = -1
    this.check(() => {
      index = this.model.called(kind, kind === "send" ? 30_000 : timeout)
    })
    const payload = { text: String(index) }
    const fiber = this.#runFork<unknown, Connection.CallFailure>(
      kind === "send"
        ? this.face.send(Echo.Note, payload)
        : this.face.call(Echo.Echo, payload, { timeout, noReply: kind === "forgotten" }),
    )
    this.#calls.push(fiber)
    fiber.addObserver((exit) => this.check(() => this.model.ended(index, outcomeOf(exit))))
  }

  #abort(which: number): void {
    const index = this.#calls.length - 1 - which
    if (index < 0) return
    this.check(() => this.model.aborted(index))
    this.#calls[index]?.interruptUnsafe()
  }

  /** Answers a call that is in flight, or, with `answerOld`, any that was ever transmitted. */
  #answer(how: "answer" | "answerTwice" | "refuse" | "answerOld", which: number): void {
    const connection = this.#transports.length
    const all = [...this.#ids.keys()]
    const open = all.filter((index) => this.model.isPending(index))
    const candidates = how === "answerOld" ? all : open
    const index = candidates[which % Math.max(1, candidates.length)]
    const id = index === undefined ? undefined : this.#ids.get(index)
    if (index === undefined || id === undefined) return
    const value = { text: `${how} ${index}` }
    const send = (frame: ReadonlyArray<unknown>) => this.#current?.peer.send(JSON.stringify(frame))
    const answer: Outcome = how === "refuse" ? { _tag: "RPCError", message: value.text } : { _tag: "Success", value }
    this.check(() => this.model.answered(index, answer, connection))
    send(how === "refuse" ? [4, id, "GenericError", value.text, {}] : [3, id, value])
    if (how === "answerTwice") send([3, id, { text: "a second answer" }])
  }

  #ask(action: string, twice: boolean): void {
    const id = `ask ${this.#asked++}`
    for (let left = twice ? 2 : 1; left > 0; left--) {
      this.check(() => this.model.asked(id, this.#transports.length))
      this.#current?.peer.send(JSON.stringify([2, id, action, { text: "" }]))
    }
  }

  close(options: Connection.CloseOptions): void {
    const { awaitPending = false, force = false } = options
    this.check(() => this.model.close({ awaitPending, force }))
    this.#runFork(this.counted(this.face.close(options)))
  }

  connect(): void {
    const { connect } = this.face
    if (connect !== undefined) this.#connecting.push(this.#runFork(this.counted(connect)))
  }

  disarm(): void {
    this.#armed.clear()
  }

  #abandon(): void {
    this.model.mayEnd = true
    this.#connecting.pop()?.interruptUnsafe()
  }

  #reconfigure({ concurrency, handlers, queue }: Extract<Step, { do: "reconfigure" }>): void {
    this.model.concurrency = concurrency
    this.model.queueLimit = queue
    this.face.reconfigure({ callConcurrency: concurrency, maxQueuedCalls: queue, handlerConcurrency: handlers })
  }

  #setReconnect(again: boolean): void {
    if (this.face.connect === undefined) return
    this.model.reconnects = false
    this.face.reconfigure({ reconnect: again ? Schedule.spaced("1 second") : false })
  }
}

const outcomeOf = (exit: Exit.Exit<unknown, Connection.CallFailure>): Outcome => {
  if (Exit.isSuccess(exit)) return { _tag: "Success", value: exit.value }
  const error = exit.cause.reasons.find(Cause.isFailReason)?.error
  if (error === undefined) return { _tag: "Interrupted" }
  if (error._tag === "RPCError") return { _tag: "RPCError", message: error.message }
  if (error._tag === "CallQueueFullError") return { _tag: "CallQueueFullError" }
  return { _tag: error._tag, sent: error.sent }
}

/** A clock that counts who sleeps on it. */
const counting = (clock: Clock.Clock) => {
  const sleepers = { now: 0 }
  const sleep = (duration: Duration.Duration) =>
    Effect.acquireUseRelease(
      Effect.sync(() => sleepers.now++),
      () => clock.sleep(duration),
      () => Effect.sync(() => sleepers.now--),
    )
  return { sleepers, clock: { ...clock, sleep } satisfies Clock.Clock }
}

const options = {
  callTimeout: "30 seconds",
  handlerTimeout: "10 seconds",
  pingInterval: "Infinity",
  maxBadMessages: Number.POSITIVE_INFINITY,
} as const

const makeFace = Effect.fnUntraced(function* (world: World, face: "client" | "connection") {
  const settings = { ...options, callConcurrency: world.model.concurrency, handlers: world.handlers }
  if (face === "client") {
    const reconnect = Schedule.spaced("1 second")
    return yield* Client.makeUnconnected(world.dial, { ...settings, identity: "CP001", protocols: [Echo], reconnect })
  }
  return yield* Connection.make(world.open(), { ...settings, side: "station", protocol: Echo })
})

const scenario = Effect.fnUntraced(function* (
  face: "client" | "connection",
  groups: ReadonlyArray<ReadonlyArray<Step>>,
  concurrency: number,
) {
  const watched = counting(yield* Clock.Clock)
  const body = Effect.gen(function* () {
    const world = new World(new Model(face, concurrency), watched.clock, yield* Effect.context<never>())
    const rest = Effect.gen(function* () {
      yield* settled
      world.atRest()
    })
    world.observe(yield* makeFace(world, face))
    yield* rest
    world.connect()
    for (const group of groups) {
      for (const step of group) {
        if (step.do === "wait") yield* TestClock.adjust(step.millis)
        else world.take(step)
      }
      yield* rest
    }
    world.disarm()
    // Whoever waited for the end to connect again does so once.
    for (let left = 2; left > 0; left--) {
      world.close({})
      yield* rest
      // Only a peer that does not answer, or calls that may end first, take time.
      if (world.face.state !== Connection.State.CLOSED) yield* TestClock.adjust("10 minutes")
      yield* rest
    }
    expect(world.face.state, "the state in the end").toBe(Connection.State.CLOSED)
    expect(world.busy, "attempts, handlers and waits that have not ended").toBe(0)
    expect(watched.sleepers.now, "deadlines that are still set").toBe(0)
  })
  // A violation leaves the Scope open: closing it may take time, of which there is none any more.
  const scope = Scope.makeUnsafe()
  yield* Effect.provideService(Scope.provide(body, scope), Clock.Clock, watched.clock)
  yield* Scope.close(scope, Exit.void)
  expect(watched.sleepers.now, "deadlines that outlive the Scope").toBe(0)
})

describe.each([
  ["client", 2_000],
  ["connection", 2_000],
] as const)("a %s, whatever happens to it,", (face, numRuns) => {
  it(`does what the model of its states and calls allows (OCPP_SEED=${seed})`, { timeout: 60_000 }, async () => {
    const property = fc.asyncProperty(schedule, fc.constantFrom(1, 3), (groups, concurrency) =>
      Effect.runPromise(Effect.provide(scenario(face, groups, concurrency), TestClock.layer())),
    )
    await fc.assert(property, { seed, numRuns })
  })
})

/** A client or a single connection, its peers and its network, as a schedule drives them. It tells the model everything. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Client from "../../src/Client.ts"
import type * as Connection from "../../src/Connection.ts"
import * as Handlers from "../../src/Handlers.ts"
import * as Transport from "../../src/Transport.ts"
import { Echo } from "../support/rawPeer.ts"
import type { Kind, Life, Model, Outcome } from "./Model.ts"
import type { Dialled, Reaction, Step } from "./steps.ts"

const lives: ReadonlySet<string> = new Set(["Connecting", "ConnectFailure", "Open", "Disconnect", "Closing", "Close"])

const refusedForNow = new Client.ConnectError({ message: "refused", retryable: true })
const refusedForGood = new Client.ConnectError({ message: "no such thing", retryable: false })

/** Our end of a connection. It reports every message that it sends, and can be made to swallow our close frame. */
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

/** The operations of clients and connections. */
type Face = Pick<Client.Client, "state" | "call" | "send" | "close" | "subscribe" | "reconfigure"> & {
  readonly connect?: Client.Client["connect"]
}

export class World {
  readonly model: Model
  readonly #clock: Clock.Clock
  readonly #runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly #transports: Array<Watched> = []
  readonly #calls: Array<Fiber.Fiber<unknown, Connection.CallFailure>> = []
  /** The message ids of the calls that were transmitted. */
  readonly #ids = new Map<number, string>()
  readonly #armed = new Map<string, Reaction>()
  readonly #connecting: Array<Fiber.Fiber<unknown, unknown>> = []
  /** At most one reaction until everything is at rest: its consequences are told later than they happen. */
  #hasReacted = false
  #asked = 0
  #face: Face | undefined
  #dialling: Dialled = "opens"
  /** The first violation. It is kept, because most are seen where an exception would be lost. */
  violation: unknown
  /** The number of attempts to dial, handlers and waits for a connection that have not ended. */
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
      case "answerUnknown":
        return this.#current?.peer.send(JSON.stringify([step.type, "unknown", step.type === 3 ? {} : "GenericError"]))
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

  /** Answers a call that is in flight, or with `answerOld` any that was ever transmitted. */
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

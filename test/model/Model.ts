/**
 * The rules of docs/architecture.md for states, events and calls, as a machine: it is told everything that happens, and
 * throws when a rule is broken.
 *
 * It knows nothing of the implementation and keeps no time of its own.
 */

/** The events of a connection's life, and of failed attempts. */
export type Life = "Connecting" | "ConnectFailure" | "Open" | "Disconnect" | "Closing" | "Close"

/** The phases of a connection: its states, and the moments between two events that come together. */
export type Phase = "idle" | "dialling" | "failed" | "open" | "lost" | "closing" | "ending"

const transitions: Readonly<Record<Phase, Partial<Readonly<Record<Life, Phase>>>>> = {
  idle: { Connecting: "dialling" },
  dialling: { Open: "open", ConnectFailure: "failed", Closing: "ending" },
  failed: { Connecting: "dialling", Closing: "ending" },
  open: { Disconnect: "lost", Closing: "closing" },
  lost: { Connecting: "dialling", Closing: "ending" },
  closing: { Disconnect: "ending" },
  ending: { Close: "idle" },
}

/** The number of the state in each phase when nothing is under way. Nothing rests at `ending`. */
const stateAtRest: Readonly<Record<Phase, number>> = {
  idle: 3,
  dialling: 0,
  failed: 0,
  lost: 0,
  open: 1,
  closing: 2,
  ending: Number.NaN,
}

/** The end of a call. */
export type Outcome =
  | { readonly _tag: "Success"; readonly value: unknown }
  | { readonly _tag: "RPCError"; readonly message: string }
  | { readonly _tag: "TimeoutError" | "DisconnectedError"; readonly sent: boolean }
  | { readonly _tag: "CallQueueFullError" }
  | { readonly _tag: "Interrupted" }

/** A call is answered, a forgotten one is not waited for, a SEND has no answer. */
export type Kind = "call" | "forgotten" | "send"

interface Call {
  readonly kind: Kind
  readonly deadline: number
  /** The phase, and the number of closings, when it was made. */
  readonly phase: Phase
  readonly closings: number
  /** The connection that carried it. */
  sentOn?: number
  /** The first answer that the peer gave to it. */
  answer?: Outcome
  aborted?: boolean
  outcome?: Outcome
}

export class Violation extends Error {}

const must = (holds: boolean, what: string): void => {
  if (!holds) throw new Violation(what)
}

export class Model {
  phase: Phase
  now = 0
  concurrency: number
  queueLimit = Number.POSITIVE_INFINITY
  /** Whether something but the loss of its connection allows it to end: a close, a failure that is final. */
  mayEnd = false
  /** Whether a lost connection is followed by another. */
  reconnects: boolean
  /** Whether calls that wait may still leave though it is closing. */
  draining = false
  readonly calls: Array<Call> = []
  /** The connection that is open, or was the last. */
  connection: number
  #closings = 0
  /** Whether it has been open since it was last closed. */
  #hasBeenOpen = false
  /** Connections that have ended or are about to. */
  #ended = -1
  readonly #asked = new Map<string, number>()

  /** A client that has not connected yet, or one connection that is open. */
  constructor(face: "client" | "connection", concurrency: number) {
    this.phase = face === "client" ? "idle" : "open"
    this.connection = face === "client" ? 0 : 1
    this.reconnects = face === "client"
    this.concurrency = concurrency
  }

  event(life: Life): void {
    const next = transitions[this.phase][life]
    must(next !== undefined, `${life} comes while it is ${this.phase}`)
    if (life === "Open") this.#opens()
    if (life === "Closing") this.#closes()
    if (life === "Closing" || life === "Disconnect") this.#ended = this.connection
    if (life === "Disconnect") this.draining = false
    if (life === "Close") this.mayEnd = false
    if (life === "Close") this.#hasBeenOpen = false
    this.phase = next as Phase
  }

  #opens(): void {
    this.connection++
    this.#hasBeenOpen = true
  }

  #closes(): void {
    const isFirstAttempt = this.phase === "failed" && !this.#hasBeenOpen
    must(this.mayEnd || isFirstAttempt || !this.reconnects, "it closes, and nobody has asked it to")
    this.#closings++
  }

  /** Notes that the program closes it. */
  close({ awaitPending, force }: { readonly awaitPending: boolean; readonly force: boolean }): void {
    if (this.phase === "idle") return
    this.mayEnd = true
    if (!awaitPending || force) this.draining = false
    else if (this.phase === "open") this.draining = true
  }

  called(kind: Kind, timeout: number): number {
    const deadline = this.now + timeout
    return this.calls.push({ kind, deadline, phase: this.phase, closings: this.#closings }) - 1
  }

  aborted(index: number): void {
    const call = this.#call(index)
    if (call.outcome === undefined) call.aborted = true
  }

  /** Notes an answer of the peer's on a connection. */
  answered(index: number, answer: Outcome, connection: number): void {
    const call = this.#call(index)
    if (call.sentOn === connection && !this.isOver(connection)) call.answer ??= answer
  }

  isOver(connection: number): boolean {
    return connection < this.connection || (this.#ended >= connection && !this.draining)
  }

  /** Notes that the request of a call is on the wire. */
  transmitted(index: number, connection: number): void {
    const call = this.#call(index)
    const name = `${call.kind} ${index}`
    must(call.sentOn === undefined, `${name} is transmitted twice`)
    must(call.outcome === undefined && call.aborted !== true, `${name} is transmitted after its caller was told`)
    must(call.deadline > this.now, `${name} is transmitted after its deadline`)
    must(connection === this.connection, `${name} is transmitted on a connection that is gone`)
    must(this.phase === "open" || (this.phase === "closing" && this.draining), `${name} leaves while ${this.phase}`)
    if (call.kind !== "send") this.#takesItsTurn(index, name)
    call.sentOn = connection
  }

  #takesItsTurn(index: number, name: string): void {
    must(this.#inFlight < this.concurrency, `${name} leaves although ${this.#inFlight} calls are in flight`)
    const overtaken = this.calls.findIndex((other, at) => at < index && other.kind !== "send" && this.#waits(other))
    must(overtaken === -1, `${name} overtakes ${overtaken}`)
  }

  get #inFlight(): number {
    return this.calls.filter((call) => this.#isInFlight(call)).length
  }

  #isInFlight({ aborted, answer, deadline, kind, outcome, sentOn }: Call): boolean {
    const isSettled = aborted === true || answer !== undefined || outcome !== undefined || deadline <= this.now
    return kind === "call" && sentOn === this.connection && !isSettled
  }

  /** Whether the peer owes an answer. */
  isPending(index: number): boolean {
    return this.#isInFlight(this.#call(index))
  }

  #waits({ aborted, deadline, outcome, sentOn }: Call): boolean {
    return sentOn === undefined && outcome === undefined && aborted !== true && deadline > this.now
  }

  /** Notes the end of a call. At rest, when the events have been told too, it is held against the connection's. */
  ended(index: number, outcome: Outcome): void {
    const call = this.#call(index)
    must(call.outcome === undefined, `${index} ends twice`)
    call.outcome = outcome
    const isSent = call.sentOn !== undefined
    if ("sent" in outcome) must(outcome.sent === isSent, `${index} ends with sent: ${outcome.sent}`)
    if (outcome._tag === "TimeoutError") must(this.now >= call.deadline, `${index} times out too early`)
    if (outcome._tag === "Interrupted") must(call.aborted === true, `${index} is interrupted by nobody`)
    if (outcome._tag === "CallQueueFullError") must(this.#waiting >= this.queueLimit, `${index} finds no full queue`)
    if (outcome._tag === "RPCError" || outcome._tag === "Success") this.#endedByAnswer(index, call, outcome)
  }

  #endedByAnswer(index: number, call: Call, outcome: Outcome): void {
    if (call.kind !== "call")
      return must(outcome._tag === "Success" && call.sentOn !== undefined, `${index} is answered`)
    must(JSON.stringify(outcome) === JSON.stringify(call.answer), `${index} ends with an answer that is not its own`)
  }

  get #waiting(): number {
    return this.calls.filter((call) => this.#waits(call)).length
  }

  /** Notes a call of the peer's. */
  asked(messageId: string, connection: number): void {
    const key = `${connection} ${messageId}`
    this.#asked.set(key, (this.#asked.get(key) ?? 0) + 1)
  }

  /** Notes an answer to a call of the peer's. */
  replied(messageId: string, connection: number): void {
    const key = `${connection} ${messageId}`
    const left = (this.#asked.get(key) ?? 0) - 1
    must(left >= 0, `${messageId} is answered more often than it was asked`)
    must(!this.isOver(connection), `${messageId} is answered on a connection that is over`)
    this.#asked.set(key, left)
  }

  /** Checks the rules for moments at which nothing more can happen without time passing. */
  atRest(state: number): void {
    must(stateAtRest[this.phase] === state, `the state is ${state} while it is ${this.phase}`)
    for (const [index, call] of this.calls.entries()) this.#checkAtRest(index, call)
    if (this.phase !== "open") return
    const free = this.concurrency - this.#inFlight
    const waiting = this.calls.findIndex((call) => this.#waits(call))
    must(
      waiting === -1 || (free <= 0 && this.#call(waiting).kind !== "send"),
      `${waiting} waits though ${free} places are free`,
    )
  }

  #checkAtRest(index: number, call: Call): void {
    const { aborted, answer, deadline, outcome, sentOn } = call
    if (outcome === undefined) {
      must(aborted !== true && deadline > this.now, `${index} should have ended`)
      must(answer === undefined, `${index} was answered, and goes on`)
      must(sentOn === undefined || !this.isOver(sentOn), `${index} waits for an answer that cannot come`)
      must(this.phase !== "idle", `${index} goes on though it is closed`)
      must(this.phase !== "closing" || this.draining, `${index} goes on though it is closing`)
    } else if (outcome._tag === "DisconnectedError") {
      must(
        outcome.sent ? this.isOver(sentOn as number) : this.#hasClosedSince(call),
        `${index} fails, but nothing is lost`,
      )
    }
  }

  #hasClosedSince({ closings, phase }: Call): boolean {
    return this.#closings > closings || ["idle", "closing", "ending"].includes(phase)
  }

  #call(index: number): Call {
    return this.calls[index] as Call
  }
}

/**
 * An account of calls on both sides of connections, in constant memory: each side has a ledger.
 *
 * Calls go in lanes, one at a time in each, and are numbered there. Each carries how those before it have ended, so that
 * the other side can say at once whether that is true: answered calls have been handled, unsent ones have not, and nothing
 * is handled twice.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/**
 * The end of a call: answered; refused by a CALLERROR; without an answer after it was sent; without being sent; interrupted
 * by its caller.
 */
export type Outcome = "A" | "R" | "S" | "U" | "I"

/** Texts of up to 12 characters are copied, not cut out of longer ones that would then be kept. */
const remembered = 12

/** Calls of this side. */
class Lane {
  #number = 0
  #history = ""
  isBusy = false

  begin(): { readonly number: number; readonly history: string } {
    this.isBusy = true
    return { number: ++this.#number, history: this.#history }
  }

  end(outcome: Outcome): void {
    this.isBusy = false
    this.#history = (outcome + this.#history).slice(0, remembered)
  }
}

/** Older numbers are forgotten. */
const window = 32

/** Calls of the other side in one lane, as far as they got here. */
class Seen {
  #highest = 0
  /** Bit `i` stands for the number `highest - i`: whether it has been handled here. */
  #handled = 0
  /** Likewise: whether its caller was told that it had not been sent. */
  #unsent = 0

  /** Notes a call. Gives what is wrong with it, or with what its caller says of those before it. */
  note(number: number, history: string): string | undefined {
    return this.#add(number) ?? this.#contradiction(number, history)
  }

  #add(number: number): string | undefined {
    const ahead = number - this.#highest
    if (ahead > 0) {
      this.#handled = ahead >= window ? 1 : (this.#handled << ahead) | 1
      this.#unsent = ahead >= window ? 0 : this.#unsent << ahead
      this.#highest = number
      return undefined
    }
    if (-ahead >= window || this.#has(this.#handled, number)) return `was handled twice, or ${window} calls late`
    this.#handled |= 1 << -ahead
    return this.#has(this.#unsent, number) ? "was said not to be sent, and was handled later" : undefined
  }

  #has(bits: number, number: number): boolean {
    return ((bits >>> (this.#highest - number)) & 1) === 1
  }

  #contradiction(number: number, history: string): string | undefined {
    for (const [i, outcome] of [...history].entries()) {
      const earlier = number - 1 - i
      if (this.#highest - earlier >= window) return undefined
      const isHandled = this.#has(this.#handled, earlier)
      if (outcome === "A" && !isHandled) return `says that ${earlier} was answered, and that was never handled`
      if (outcome === "U" && isHandled) return `says that ${earlier} was not sent, and that was handled`
      if (outcome === "R" && isHandled) return `says that ${earlier} was refused, and that was handled`
      if (outcome === "U") this.#unsent |= 1 << (this.#highest - earlier)
    }
    return undefined
  }
}

/** Counts of calls, and everything that was wrong with them. */
export interface Account {
  readonly made: number
  readonly answered: number
  readonly refused: number
  /** Ended without an answer after they were sent. */
  readonly sent: number
  readonly unsent: number
  readonly interrupted: number
  /** Calls of the other side that were handled here. */
  readonly handled: number
  readonly losses: ReadonlyArray<string>
}

/** The response of whoever handles a call: its number. */
export interface Response {
  readonly data?: string | undefined
}

/** The first losses say what is wrong. */
const maxLosses = 20

export class Ledger {
  readonly #patience: number
  readonly #lanes = new Map<string, Lane>()
  readonly #seen = new Map<string, Seen>()
  readonly #counts = { made: 0, A: 0, R: 0, S: 0, U: 0, I: 0, handled: 0 }
  readonly #losses: Array<string> = []

  /** @param patience milliseconds after which a call must have ended, whatever happens to it */
  constructor(patience: number) {
    this.#patience = patience
  }

  /** Whether a call of this lane is under way. */
  isBusy(lane: string): boolean {
    return this.#lanes.get(lane)?.isBusy ?? false
  }

  /** The number of calls that are under way. */
  get underWay(): number {
    const { A, I, R, S, U, made } = this.#counts
    return made - A - I - R - S - U
  }

  /**
   * Makes the next call of a lane: `send` sends the data that the other ledger is to note. Gives its end. The name of a lane
   * is that of the station, with a slash and a number where there are several.
   */
  call(lane: string, send: (data: string) => Effect.Effect<Response, unknown>): Effect.Effect<Outcome> {
    return Effect.suspend(() => {
      const calls = entryOf(this.#lanes, lane, () => new Lane())
      const { history, number } = calls.begin()
      this.#counts.made++
      const start = performance.now()
      let outcome: Outcome = "I"
      const record = (exit: Exit.Exit<Response, unknown>) =>
        Effect.sync(() => {
          outcome = this.#outcomeOf(lane, number, exit)
          const took = performance.now() - start
          if (took > this.#patience) this.lose(`${lane}: call ${number} ended after ${took.toFixed()} ms`)
          this.#counts[outcome]++
          calls.end(outcome)
        })
      const recorded = Effect.onExit(send(`${lane}:${number}:${history}`), record)
      return Effect.map(Effect.exit(recorded), () => outcome)
    })
  }

  /** Notes a call that has come from a peer. Gives its number in its lane. */
  handle(peer: string, data: string): number {
    const [lane = "", number = "", history = ""] = data.split(":")
    this.#counts.handled++
    if (lane.split("/")[0] !== peer) this.lose(`${lane}: call ${number} came from ${peer}`)
    const wrong = entryOf(this.#seen, lane, () => new Seen()).note(Number(number), history)
    if (wrong !== undefined) this.lose(`${lane}: call ${number} ${wrong}`)
    return Number(number)
  }

  lose(what: string): void {
    if (this.#losses.length < maxLosses) this.#losses.push(what)
  }

  account(): Account {
    const { A, I, R, S, U, handled, made } = this.#counts
    return { made, answered: A, refused: R, sent: S, unsent: U, interrupted: I, handled, losses: this.#losses }
  }

  #outcomeOf(lane: string, number: number, exit: Exit.Exit<Response, unknown>): Outcome {
    if (Exit.isSuccess(exit)) {
      const { data } = exit.value
      if (data !== `${number}`) this.lose(`${lane}: call ${number} got the answer to ${data}`)
      return "A"
    }
    const outcome = outcomeOfFailure(exit.cause)
    if (outcome === undefined) this.lose(`${lane}: call ${number} ended with ${Cause.pretty(exit.cause)}`)
    return outcome ?? "R"
  }
}

/** `undefined` for an error that a call must not end with. */
const outcomeOfFailure = (cause: Cause.Cause<unknown>): Outcome | undefined => {
  if (Cause.hasInterrupts(cause)) return "I"
  const { _tag, code, sent } = Object(Cause.squash(cause)) as { _tag?: string; code?: string; sent?: boolean }
  if (typeof sent === "boolean") return sent ? "S" : "U"
  if (_tag === "CallQueueFullError" || _tag === "NotConnectedError") return "U"
  // A server that drains refuses calls so.
  return _tag === "RPCError" && code === "GenericError" ? "R" : undefined
}

const entryOf = <A>(entries: Map<string, A>, name: string, make: () => A): A => {
  const entry = entries.get(name) ?? make()
  entries.set(name, entry)
  return entry
}

/** Sums that do not agree between the calls of one side and those that the other has handled. */
export const contradictions = (name: string, calls: Account, handled: number): ReadonlyArray<string> => {
  const ended = calls.answered + calls.refused + calls.sent + calls.unsent + calls.interrupted
  const most = calls.answered + calls.sent + calls.interrupted
  const problems: Array<string> = []
  if (calls.made === 0) problems.push("no call was made")
  if (ended !== calls.made) problems.push(`${calls.made} calls were made, ${ended} have ended`)
  if (handled < calls.answered) problems.push(`${calls.answered} calls were answered, ${handled} handled`)
  if (handled > most) problems.push(`at most ${most} calls were sent, ${handled} handled`)
  return problems.map((problem) => `${name}: ${problem}`)
}

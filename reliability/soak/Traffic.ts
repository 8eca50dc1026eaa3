/** The calls of one process to its peers, at a steady rate, and the account of them. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { randomFrom } from "../../test/schemas/official.ts"
import { library } from "../processes/library.ts"
import { fault, type Memory, memory } from "../processes/parent.ts"
import { type Counts, Histogram } from "../support/Histogram.ts"
import { Calls, type Outcome, Seen } from "../support/Ledger.ts"

/** What a process is to do, and with how many peers. */
export interface Plan {
  readonly stations: number
  readonly seed: number
  /** Calls a second that this process makes, all peers together. */
  readonly rate: number
  /** Connections a minute that this process cuts, all peers together. */
  readonly cuts: number
}

/** The other side of a connection that may be down. */
export interface Remote {
  readonly connected: () => boolean
  readonly call: (data: string) => Effect.Effect<{ readonly data?: string | undefined }, unknown>
  /** Destroys the socket, with a reset or without. */
  readonly cut: (reset: boolean) => void
}

/** How many calls there were so far, and what became of them. */
export interface Account {
  readonly made: number
  readonly answered: number
  readonly refused: number
  readonly sent: number
  readonly unsent: number
  /** Calls of the peers that were handled here. */
  readonly handled: number
  readonly cuts: number
  readonly losses: ReadonlyArray<string>
}

/** What a process tells of itself between two spells of traffic. */
export interface Sample {
  readonly memory: Memory
  readonly account: Account
  /** Of calls that began on an open connection, since the last sample. */
  readonly latency: Counts
  /** Of calls that began without one and waited, since the last sample. */
  readonly waited: Counts
}

export const callTimeout = 10_000
export const vendorId = "soak"
export const identityOf = (station: number) => `CP${station}`

const tick = 10

export class Traffic {
  readonly #remotes: ReadonlyArray<Remote>
  readonly #calls: ReadonlyArray<Calls>
  readonly #seen: ReadonlyArray<Seen>
  readonly #random: () => number
  readonly #plan: Plan
  readonly #counts = { made: 0, A: 0, R: 0, S: 0, U: 0, handled: 0, cuts: 0 }
  readonly #losses: Array<string> = []
  readonly #latency = new Histogram()
  readonly #waited = new Histogram()
  #timer: NodeJS.Timeout | undefined
  #underWay = 0
  #due = { calls: 0, cuts: 0 }

  constructor(plan: Plan, remoteOf: (station: number) => Remote) {
    const each = Array.from({ length: plan.stations }, (_, station) => station)
    this.#plan = plan
    this.#random = randomFrom(plan.seed)
    this.#remotes = each.map(remoteOf)
    this.#calls = each.map(() => new Calls())
    this.#seen = each.map(() => new Seen())
  }

  /** Handles a call of a peer: some at once, some after a while, so that cuts find handlers at work. */
  handle(station: number, data: string): Effect.Effect<{ readonly status: "Accepted"; readonly data: string }> {
    const { fault: loss, number } = this.#seen[station]!.note(data)
    this.#counts.handled++
    if (loss !== undefined) this.#lose(station, loss)
    const response = Effect.succeed({ status: "Accepted", data: `${number}` } as const)
    return number % 3 === 0 ? Effect.delay(response, this.#random() * 20) : response
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), tick)
  }

  /** Begins nothing more, and waits until every call has ended. */
  async pause(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    const deadline = performance.now() + callTimeout + 5_000
    while (this.#underWay > 0) {
      if (performance.now() > deadline) throw new Error(`${this.#underWay} calls have outlived their timeout by 5 s`)
      await new Promise((resolve) => setTimeout(resolve, tick))
    }
  }

  connected(): number {
    return this.#remotes.filter((remote) => remote.connected()).length
  }

  async sample(): Promise<Sample> {
    const { A, R, S, U, cuts, handled, made } = this.#counts
    const account = { made, answered: A, refused: R, sent: S, unsent: U, handled, cuts, losses: this.#losses }
    return { memory: await memory(), account, latency: this.#latency.take(), waited: this.#waited.take() }
  }

  #tick(): void {
    const { cuts, rate } = this.#plan
    this.#due.calls += (rate * tick) / 1_000
    this.#due.cuts += (cuts * tick) / 60_000
    for (; this.#due.calls >= 1; this.#due.calls--) this.#callAny()
    for (; this.#due.cuts >= 1; this.#due.cuts--) this.#cutAny()
  }

  #any(): number {
    return Math.floor(this.#random() * this.#remotes.length)
  }

  #cutAny(): void {
    const remote = this.#remotes[this.#any()]!
    if (!remote.connected()) return
    remote.cut(this.#random() < 0.5)
    this.#counts.cuts++
  }

  #callAny(): void {
    const station = this.#any()
    const calls = this.#calls[station]!
    if (calls.busy) return
    const remote = this.#remotes[station]!
    const histogram = remote.connected() ? this.#latency : this.#waited
    const { data, number } = calls.begin()
    this.#counts.made++
    this.#underWay++
    const start = performance.now()
    Effect.runFork(remote.call(data)).addObserver((exit) => {
      const outcome = this.#outcomeOf(station, number, exit)
      if (outcome === "A") histogram.add(performance.now() - start)
      this.#counts[outcome]++
      this.#underWay--
      calls.end(outcome)
    })
  }

  #outcomeOf(
    station: number,
    number: number,
    exit: Exit.Exit<{ readonly data?: string | undefined }, unknown>,
  ): Outcome {
    if (exit._tag === "Success") {
      if (exit.value.data !== `${number}`) this.#lose(station, `call ${number} got the answer to ${exit.value.data}`)
      return "A"
    }
    const error = Cause.squash(exit.cause)
    if (error instanceof library.DisconnectedError || error instanceof library.TimeoutError)
      return error.sent ? "S" : "U"
    if (error instanceof library.CallQueueFullError || error instanceof library.Server.NotConnectedError) return "U"
    if (!(error instanceof library.RPCGenericError)) fault(`call ${number} of ${station} ended with ${String(error)}`)
    return "R"
  }

  #lose(station: number, what: string): void {
    if (this.#losses.length < 20) this.#losses.push(`${identityOf(station)}: ${what}`)
  }
}

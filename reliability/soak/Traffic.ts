/** The calls of one process to its peers, at a steady rate, and the account of them. */
import * as Effect from "effect/Effect"
import { randomFrom } from "../../test/schemas/official.ts"
import { type Memory, memory } from "../processes/parent.ts"
import { type Counts, Histogram } from "../support/Histogram.ts"
import { type Account, Ledger, type Response } from "../support/Ledger.ts"
import { until } from "../support/waiting.ts"

/** The work of a process, and the number of its peers. */
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
  readonly call: (data: string) => Effect.Effect<Response, unknown>
  /** Destroys the socket, with a reset or without. */
  readonly cut: (reset: boolean) => void
}

/** The state of a process between two spells of traffic. */
export interface Sample {
  readonly memory: Memory
  readonly account: Account
  /** Connections that this process has cut. */
  readonly cuts: number
  /** Of calls that began on an open connection, since the last sample. */
  readonly latency: Counts
  /** Of calls that began without one and waited, since the last sample. */
  readonly waited: Counts
}

export const callTimeout = 10_000
/** A call must have ended so many milliseconds after its timeout. */
const patience = 5_000
export const vendorId = "soak"
export const identityOf = (station: number) => `CP${station}`

const tick = 10

export class Traffic {
  readonly #remotes: ReadonlyArray<Remote>
  readonly #ledger = new Ledger(callTimeout + patience)
  readonly #random: () => number
  readonly #plan: Plan
  readonly #latency = new Histogram()
  readonly #waited = new Histogram()
  #cuts = 0
  #timer: NodeJS.Timeout | undefined
  #due = { calls: 0, cuts: 0 }

  constructor(plan: Plan, remoteOf: (station: number) => Remote) {
    this.#plan = plan
    this.#random = randomFrom(plan.seed)
    this.#remotes = Array.from({ length: plan.stations }, (_, station) => remoteOf(station))
  }

  /** Handles a call of a peer: some at once, some after a while, so that cuts find handlers at work. */
  handle(peer: string, data: string): Effect.Effect<{ readonly status: "Accepted"; readonly data: string }> {
    const number = this.#ledger.handle(peer, data)
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
    await until("every call has ended", () => this.#ledger.underWay === 0, callTimeout + patience)
  }

  connected(): number {
    return this.#remotes.filter((remote) => remote.connected()).length
  }

  async sample(): Promise<Sample> {
    return {
      memory: await memory(),
      account: this.#ledger.account(),
      cuts: this.#cuts,
      latency: this.#latency.take(),
      waited: this.#waited.take(),
    }
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
    this.#cuts++
  }

  #callAny(): void {
    const station = this.#any()
    const lane = identityOf(station)
    if (this.#ledger.isBusy(lane)) return
    const remote = this.#remotes[station]!
    const histogram = remote.connected() ? this.#latency : this.#waited
    const start = performance.now()
    const call = Effect.map(this.#ledger.call(lane, remote.call), (outcome) => {
      if (outcome === "A") histogram.add(performance.now() - start)
    })
    Effect.runFork(call)
  }
}

/**
 * Pings, and the verdict on a peer that does not answer them.
 *
 * A ping goes out every interval; when the previous one has no pong by then, the peer is dead. Where activity defers
 * pings, any message of the peer is as good as a pong.
 */
import type { Alarm, Alarms } from "./Alarms.ts"

export interface Options {
  /** Milliseconds between pings, `Infinity` for none. */
  readonly interval: number
  readonly deferOnActivity: boolean
  readonly ping: () => void
  readonly onDead: () => void
}

/** How late a ping may be before we suspect that this process was held up, and the pong waits in the socket, unread. */
const lateness = 100

export class KeepAlive {
  readonly #options: Options
  readonly #alarms: Alarms
  readonly #alarm: Alarm = { at: Number.POSITIVE_INFINITY, ring: (now) => this.#beat(now) }
  #pingedAt: number | undefined
  #heardAt = Number.NEGATIVE_INFINITY
  #due: number

  constructor(options: Options, alarms: Alarms) {
    this.#options = options
    this.#alarms = alarms
    this.#due = alarms.now() + options.interval
    alarms.wakeBy(this.#alarm, this.#due)
  }

  /** The peer sent something. */
  heard(): void {
    if (!this.#options.deferOnActivity) return
    this.#heardAt = this.#alarms.now()
    this.#pingedAt = undefined
  }

  /** The peer answered a ping. Returns how many milliseconds it took, unless there was none to answer. */
  pong(): number | undefined {
    const roundTrip = this.#pingedAt === undefined ? undefined : this.#alarms.now() - this.#pingedAt
    this.#pingedAt = undefined
    this.heard()
    return roundTrip
  }

  stop(): void {
    this.#alarms.clear(this.#alarm)
  }

  #beat(now: number): number {
    const { interval } = this.#options
    const heardUntil = this.#heardAt + interval
    if (heardUntil > now) return this.#next(heardUntil)
    if (this.#pingedAt === undefined) {
      this.#pingedAt = now
      this.#options.ping()
      return this.#next(now + interval)
    }
    if (now - this.#due > lateness) return this.#next(now + lateness)
    this.#options.onDead()
    return Number.POSITIVE_INFINITY
  }

  #next(at: number): number {
    this.#due = at
    return at
  }
}

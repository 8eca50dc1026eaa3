/**
 * Pings, and the verdict on a peer that gives no sign of life.
 *
 * A ping goes out every interval. When the next one is due and nothing has come since, neither its pong nor any byte, the peer is
 * dead. A pong may be behind what was sent before it: bytes that leave buy the peer the time that a slow line takes for them.
 */
import type { Deadline, Deadlines } from "./Deadlines.ts"
import type { Configured } from "./Settings.ts"

/** A connection whose peer is watched. */
export interface Watched extends Configured {
  readonly deadlines: Deadlines
  readonly ping: () => void
  /** Bytes on the wire so far. */
  readonly bytes: (direction: "in" | "out") => number
  readonly onDead: () => void
}

/** The slowest line that is waited for, in bytes a millisecond. */
const slowestLine = 8

/** By so much of the interval a ping may come earlier behind the one before: connections that were opened together drift apart. */
const jitter = 0.05

export class KeepAlive implements Deadline {
  entry: Deadline["entry"]
  readonly #watched: Watched
  /** When the next ping is due; it never shifts, however late a ping is. */
  #due = 0
  /** When the last ping went out that has no pong. */
  #pingedAt: number | undefined
  /** How many bytes had come and gone then. */
  #received = 0
  #sent = 0
  #heardAt = Number.NEGATIVE_INFINITY

  constructor(watched: Watched) {
    this.#watched = watched
    this.start()
  }

  /** Pings an interval from now, whatever was planned. */
  start(): void {
    const { deadlines } = this.#watched
    this.stop()
    this.#pingedAt = undefined
    this.#due = deadlines.now() + this.#watched.settings.pingInterval
    deadlines.wakeBy(this, this.#due)
  }

  stop(): void {
    this.#watched.deadlines.clear(this)
  }

  /** The peer has sent something. */
  heard(): void {
    if (!this.#watched.settings.deferPingsOnActivity) return
    this.#heardAt = this.#watched.deadlines.now()
    this.#pingedAt = undefined
  }

  /** The peer has answered a ping. Returns how many milliseconds it took, unless there was none to answer. */
  pong(): number | undefined {
    const roundTrip = this.#pingedAt === undefined ? undefined : this.#watched.deadlines.now() - this.#pingedAt
    this.#pingedAt = undefined
    this.heard()
    return roundTrip
  }

  expire(now: number): number {
    const watched = this.#watched
    const heardUntil = this.#heardAt + watched.settings.pingInterval
    if (heardUntil > now) return heardUntil
    if (this.#pingedAt !== undefined && watched.bytes("in") === this.#received) {
      const patience = this.#due + (watched.bytes("out") - this.#sent) / slowestLine
      if (patience > now) return patience
      watched.onDead()
      return Number.POSITIVE_INFINITY
    }
    this.#pingedAt = now
    this.#received = watched.bytes("in")
    watched.ping()
    this.#sent = watched.bytes("out")
    return this.#next(now)
  }

  /** The time of the next ping: an interval after the last one was due, however late that was. */
  #next(now: number): number {
    const { pingInterval: interval } = this.#watched.settings
    const missed = Math.max(0, Math.floor((now - this.#due) / interval))
    this.#due += (missed + 1 - Math.random() * jitter) * interval
    return this.#due
  }
}

/**
 * Pings, and the verdict on a peer that does not answer them.
 *
 * A ping goes out every interval; when the previous one has no pong by then, the peer is dead. Where activity defers
 * pings, any message of the peer is as good as a pong.
 */
import type { Deadline, Deadlines } from "./Deadlines.ts"
import type { Configured } from "./Settings.ts"

/** What the connection does for its pings. */
export interface Owner {
  readonly ping: () => void
  readonly onDead: () => void
}

/** How late a ping may be before we suspect that this process was held up, and the pong waits in the socket, unread. */
const lateness = 100

export class KeepAlive implements Deadline {
  entry: Deadline["entry"]
  readonly #configured: Configured
  readonly #deadlines: Deadlines
  readonly #owner: Owner
  #pingedAt: number | undefined
  #heardAt = Number.NEGATIVE_INFINITY
  #due = 0

  constructor(configured: Configured, deadlines: Deadlines, owner: Owner) {
    this.#configured = configured
    this.#deadlines = deadlines
    this.#owner = owner
    this.start()
  }

  /** Pings an interval from now, whatever was planned. */
  start(): void {
    this.stop()
    this.#pingedAt = undefined
    this.#deadlines.wakeBy(this, this.#next(this.#deadlines.now() + this.#configured.settings.pingInterval))
  }

  /** The peer sent something. */
  heard(): void {
    if (!this.#configured.settings.deferPingsOnActivity) return
    this.#heardAt = this.#deadlines.now()
    this.#pingedAt = undefined
  }

  /** The peer answered a ping. Returns how many milliseconds it took, unless there was none to answer. */
  pong(): number | undefined {
    const roundTrip = this.#pingedAt === undefined ? undefined : this.#deadlines.now() - this.#pingedAt
    this.#pingedAt = undefined
    this.heard()
    return roundTrip
  }

  stop(): void {
    this.#deadlines.clear(this)
  }

  ring(now: number): number {
    const { pingInterval: interval } = this.#configured.settings
    const heardUntil = this.#heardAt + interval
    if (heardUntil > now) return this.#next(heardUntil)
    if (this.#pingedAt === undefined) {
      this.#pingedAt = now
      this.#owner.ping()
      return this.#next(now + interval)
    }
    if (now - this.#due > lateness) return this.#next(now + lateness)
    this.#owner.onDead()
    return Number.POSITIVE_INFINITY
  }

  #next(at: number): number {
    this.#due = at
    return at
  }
}

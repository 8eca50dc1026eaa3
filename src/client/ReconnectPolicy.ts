/** A reconnect schedule on its way through the outages of a client. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { DisconnectedError } from "../ConnectionError.ts"
import type { ConnectFailure } from "./dial.ts"

/** The reasons for which a reconnect schedule is asked: the loss of a connection, then each attempt that failed. */
export type ReconnectReason = DisconnectedError | ConnectFailure

export type ReconnectSchedule = Schedule.Schedule<unknown, ReconnectReason>

/** Says how long to wait, or fails when it is time to give up. */
type Step = (reason: ReconnectReason) => Effect.Effect<Duration.Duration, unknown>

export class ReconnectPolicy {
  #schedule: ReconnectSchedule | undefined
  #step: Step = () => Effect.succeed(Duration.zero)
  /** How often the schedule has been asked since it was restarted. */
  #asked = 0

  /** The next outage begins with the schedule's first step. */
  restart(): void {
    this.#schedule = undefined
    this.#asked = 0
  }

  /**
   * Waits as long as a schedule says. Fails with the reason when it has ended.
   *
   * A schedule that takes over during an outage counts the attempts that were made before.
   */
  wait(schedule: ReconnectSchedule, reason: ReconnectReason): Effect.Effect<void, ReconnectReason> {
    return Effect.gen({ self: this }, function* () {
      if (schedule !== this.#schedule) {
        this.#schedule = schedule
        this.#step = yield* stepsOf(schedule)
        for (let n = 0; n < this.#asked; n++) yield* Effect.ignore(this.#step(reason))
      }
      this.#asked++
      const delay = yield* Effect.mapError(this.#step(reason), () => reason)
      yield* Effect.sleep(delay)
    })
  }
}

const stepsOf = (schedule: ReconnectSchedule): Effect.Effect<Step> =>
  Effect.map(
    Schedule.toStep(schedule),
    (step) => (reason) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.map(step(now, reason), ([, delay]) => delay)),
  )

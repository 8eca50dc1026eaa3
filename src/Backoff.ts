/**
 * When to try again: schedules for reconnecting. Any `Schedule` will do; these are the two that the field knows.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { type Checks, checkOptions, whenRead } from "./connection/OptionChecks.ts"
import { count, millis } from "./connection/Settings.ts"

/** Waits that grow by a factor, up to a maximum; for ever. */
const growing = (initial: number, factor: number, maximum: number): Schedule.Schedule<Duration.Duration> =>
  Schedule.min([Schedule.exponential(initial, factor), Schedule.spaced(maximum)])

/** A duration in milliseconds: finite, and not negative. */
const finiteMillis = (name: string, value: Duration.Input): number => {
  const duration = Duration.fromInput(value)
  const result = duration._tag === "Some" ? Duration.toMillis(duration.value) : Number.NaN
  // Effect takes NaN for zero.
  if (!Number.isNaN(value) && result >= 0 && result < Number.POSITIVE_INFINITY) return result
  throw new RangeError(`${name} must be a finite duration; got ${String(value)}`)
}

/**
 * The specification's back-off (OCPP 2.0.1 and 2.1, part 4, "Reconnecting").
 *
 * The first wait is `waitMinimum` and a random part of up to `randomRange`. Each further one doubles the previous wait
 * without its random part, `repeatTimes` times at most, and adds a new random part; then it stays there for ever.
 */
export const ocpp = (
  options: {
    /** RetryBackOffWaitMinimum. Default 10 seconds. */
    readonly waitMinimum?: Duration.Input
    /** RetryBackOffRandomRange. Default 10 seconds. */
    readonly randomRange?: Duration.Input
    /** RetryBackOffRepeatTimes. Default 5. */
    readonly repeatTimes?: number
  } = {},
): Schedule.Schedule<Duration.Duration> => {
  checkOptions(options, ocppOptions)
  const minimum = millis("waitMinimum", options.waitMinimum ?? 10_000)
  const range = finiteMillis("randomRange", options.randomRange ?? 10_000)
  const repeat = count("repeatTimes", options.repeatTimes ?? 5, 0)
  return Schedule.addDelay(growing(minimum, 2, minimum * 2 ** repeat), () =>
    Effect.map(Random.next, (random) => Duration.millis(random * range)),
  )
}

const ocppOptions = { waitMinimum: whenRead, randomRange: whenRead, repeatTimes: whenRead }

/** The numbers of an exponential back-off. */
export interface ExponentialOptions {
  /** Default 1 second. */
  readonly initialDelay?: Duration.Input
  /** Default 10 seconds. */
  readonly maxDelay?: Duration.Input
  /** Default 2. */
  readonly factor?: number
  /** From 0 to 1. Default 0.25. */
  readonly randomisationFactor?: number
}

const exponentialOptions: Checks<ExponentialOptions> = {
  initialDelay: whenRead,
  maxDelay: whenRead,
  factor: whenRead,
  randomisationFactor: whenRead,
}

/**
 * Exponential back-off: `initialDelay`, then `factor` times the previous delay up to `maxDelay`, each lengthened by a
 * random part of up to `randomisationFactor` of itself.
 */
export const exponential = (options: ExponentialOptions = {}): Schedule.Schedule<Duration.Duration> => {
  checkOptions(options, exponentialOptions)
  const initial = millis("initialDelay", options.initialDelay ?? 1_000)
  const maximum = millis("maxDelay", options.maxDelay ?? 10_000)
  const { factor = 2, randomisationFactor = 0.25 } = options
  if (!(factor >= 1)) throw new RangeError(`factor must be at least 1; got ${factor}`)
  if (!(randomisationFactor >= 0 && randomisationFactor <= 1)) {
    throw new RangeError(`randomisationFactor must be from 0 to 1; got ${randomisationFactor}`)
  }
  return Schedule.modifyDelay(growing(initial, factor, maximum), ({ duration }) =>
    Effect.map(Random.next, (random) =>
      Duration.millis(Duration.toMillis(Duration.fromInputUnsafe(duration)) * (1 + random * randomisationFactor)),
    ),
  )
}

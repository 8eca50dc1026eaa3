/**
 * Faults of a line, as data: a policy gives each message a {@link Verdict}.
 *
 * A policy is a function, or lists the verdicts for the first messages of either side:
 *
 * ```ts
 * const lost: Faults.Policy = ({ frame }) => (frame._tag === "CallResult" ? "drop" : "deliver")
 * const third: Faults.Policy = { station: ["deliver", "deliver", { delay: "5 seconds" }] }
 * ```
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Side } from "../connection/Connection.ts"
import { millis } from "../connection/Settings.ts"
import * as Frame from "../Frame.ts"

/** A message on its way. */
export interface Message {
  /** Its sender. */
  readonly from: Side
  /** The number of messages that its sender has sent before, over all connections of the link. */
  readonly index: number
  readonly text: string
  /** The text as a frame, or the reason why it is none. */
  readonly frame: Frame.Frame | Frame.Malformed
}

/**
 * The fate of a message. Later messages stay behind it, unless it says `"swap"`.
 *
 * - `"deliver"`, `"drop"`, `"duplicate"`: it arrives once, never, twice
 * - `"swap"`: it arrives behind the next message of its side, and never when none comes
 * - `delay`: it arrives when that time has passed on the Effect `Clock`
 * - `replace`: this text arrives in its place
 * - `"reset"`, `"cut"`, `"halfOpen"`: it is lost, and the link is reset, cut or half-open
 */
export type Verdict =
  | "deliver"
  | "drop"
  | "duplicate"
  | "swap"
  | "reset"
  | "cut"
  | "halfOpen"
  | { readonly delay: Duration.Input }
  | { readonly replace: string }

/** Gives verdicts: a function, or a list for the first messages of each side. Messages behind the list are delivered. */
export type Policy =
  | ((message: Message) => Verdict)
  | { readonly station?: ReadonlyArray<Verdict>; readonly csms?: ReadonlyArray<Verdict> }

/** Delivers every message. */
export const none: Policy = {}

/** Probabilities, each from 0 to 1. The rest, up to 1, is delivered. */
export interface Rates {
  readonly drop?: number
  readonly duplicate?: number
  readonly swap?: number
  /** A delay is drawn between 0 and `maxDelay`. */
  readonly delay?: number
  /** Default 1 second. */
  readonly maxDelay?: Duration.Input
}

/**
 * Makes a policy that draws from Effect's `Random`: with a seed, the same messages get the same verdicts.
 *
 * ```ts
 * const faults = yield* Random.withSeed(Faults.random({ drop: 0.1, delay: 0.2, maxDelay: "3 seconds" }), "7")
 * ```
 */
export const random = (rates: Rates): Effect.Effect<Policy> =>
  Effect.map(Random.Random, (source): Policy => {
    const { delay = 0, drop = 0, duplicate = 0, swap = 0 } = rates
    const maxDelay = millis("maxDelay", rates.maxDelay ?? 1_000)
    return () => {
      const drawn = source.nextDoubleUnsafe()
      if (drawn < drop) return "drop"
      if (drawn < drop + duplicate) return "duplicate"
      if (drawn < drop + duplicate + swap) return "swap"
      return drawn < drop + duplicate + swap + delay ? { delay: source.nextDoubleUnsafe() * maxDelay } : "deliver"
    }
  })

/** Asks a policy about a message. */
export const judge = (policy: Policy, from: Side, index: number, text: string): Verdict => {
  if (typeof policy !== "function") return policy[from]?.[index] ?? "deliver"
  return policy({
    from,
    index,
    text,
    get frame() {
      return Frame.decode(text, true)
    },
  })
}

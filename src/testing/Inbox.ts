/** What a scripted peer hears, in order, and what has been said on both sides. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { CloseInfo } from "../connection/Closing.ts"
import type { Frame, Malformed } from "../Frame.ts"

/** What a scripted peer expected did not come: something else did, or nothing. */
export class ExpectationError extends Data.TaggedError("ExpectationError")<{
  /** What was expected and what came, with the transcript. */
  readonly message: string
  readonly expected: string
  /** What came; `undefined` when nothing did. */
  readonly received: string | undefined
  /** What was said so far: `->` by the peer, `<-` to it. */
  readonly transcript: ReadonlyArray<string>
}> {}

/** One thing that a peer heard. */
export type Heard =
  | { readonly _tag: "Message"; readonly text: string; readonly frame: Frame | Malformed }
  | ({ readonly _tag: "Close" } & CloseInfo)

/** As a line of the transcript. */
export const textOf = (heard: Heard): string =>
  heard._tag === "Message" ? heard.text : `close ${heard.code} ${JSON.stringify(heard.reason)}`

// A test may replace the global timers; how long it is waited for something that never comes is real time.
const { clearTimeout, setTimeout } = globalThis

/** Milliseconds of real time. */
export const defaultPatience = 1_000

export class Inbox {
  readonly transcript: Array<string> = []
  readonly unread: Array<Heard> = []
  readonly #patience: number
  readonly #readers: Array<(heard: Heard) => void> = []

  constructor(patience: number) {
    this.#patience = patience
  }

  /** Writes down what the peer says. */
  said(what: string): void {
    this.transcript.push(`-> ${what}`)
  }

  /** Writes down what the peer hears. */
  heard(what: string): void {
    this.transcript.push(`<- ${what}`)
  }

  /** Gives the next expectation what it is to look at. */
  put(heard: Heard): void {
    const reader = this.#readers.shift()
    if (reader === undefined) this.unread.push(heard)
    else reader(heard)
  }

  /** What comes next, if it is what `select` selects. */
  take<A>(expected: string, select: (heard: Heard) => A | undefined): Effect.Effect<A, ExpectationError> {
    return Effect.flatMap(this.#next(expected), (heard) => {
      const selected = select(heard)
      return selected === undefined ? this.fail(expected, textOf(heard)) : Effect.succeed(selected)
    })
  }

  #next(expected: string): Effect.Effect<Heard, ExpectationError> {
    return Effect.callback((resume) => {
      const first = this.unread.shift()
      if (first !== undefined) return resume(Effect.succeed(first))
      const reader = (heard: Heard) => {
        clearTimeout(timer)
        resume(Effect.succeed(heard))
      }
      const leave = () => {
        clearTimeout(timer)
        const at = this.#readers.indexOf(reader)
        if (at !== -1) this.#readers.splice(at, 1)
      }
      const timer = setTimeout(() => {
        leave()
        resume(this.fail(expected, undefined))
      }, this.#patience)
      this.#readers.push(reader)
      return Effect.sync(leave)
    })
  }

  /** Waits for something that does not come through the inbox. */
  patiently<A, E>(expected: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | ExpectationError> {
    const impatience = Effect.callback<void>((resume) => {
      const timer = setTimeout(() => resume(Effect.void), this.#patience)
      return Effect.sync(() => clearTimeout(timer))
    })
    return Effect.raceFirst(
      effect,
      Effect.flatMap(impatience, () => this.fail(expected, undefined)),
    )
  }

  fail(expected: string, received: string | undefined): Effect.Effect<never, ExpectationError> {
    const transcript = [...this.transcript]
    const lines = transcript.length === 0 ? ["(nothing was said)"] : transcript
    const message = `expected ${expected}, but ${received === undefined ? "nothing" : received} came\n  ${lines.join("\n  ")}`
    return Effect.fail(new ExpectationError({ message, expected, received, transcript }))
  }
}

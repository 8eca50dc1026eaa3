/** The inbox of a scripted peer: messages and the close, one after the other, beside a transcript of both sides. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { CloseInfo } from "../../connection/Closing.ts"
import type { Frame, Malformed } from "../../Frame.ts"

/** Something else came than a scripted peer expected, or nothing did. */
export class ExpectationError extends Data.TaggedError("ExpectationError")<{
  /** The expectation and what came, with the transcript. */
  readonly message: string
  readonly expected: string
  /** The text that came; `undefined` when nothing did. */
  readonly received: string | undefined
  /** Both sides so far, a line each: `->` by the peer, `<-` to it. */
  readonly transcript: ReadonlyArray<string>
}> {}

/** A message to the peer, or the end of its connection. */
export type Heard =
  | { readonly _tag: "Message"; readonly text: string; readonly frame: Frame | Malformed }
  | ({ readonly _tag: "Close" } & CloseInfo)

/** Writes it as a line of the transcript. */
export const textOf = (heard: Heard): string =>
  heard._tag === "Message" ? heard.text : `close ${heard.code} ${JSON.stringify(heard.reason)}`

// A test may replace the global timers, but patience is counted in real time.
const { clearTimeout, setTimeout } = globalThis

/** In milliseconds of real time. */
export const defaultPatience = 1_000

export class Inbox {
  readonly transcript: Array<string> = []
  readonly unread: Array<Heard> = []
  readonly #patience: number
  readonly #readers: Array<(heard: Heard) => void> = []

  /** @param patience how long an expectation waits, in milliseconds of real time */
  constructor(patience: number) {
    this.#patience = patience
  }

  /** Adds a line by the peer to the transcript. */
  said(line: string): void {
    this.transcript.push(`-> ${line}`)
  }

  /** Adds a line to the peer to the transcript. */
  heard(line: string): void {
    this.transcript.push(`<- ${line}`)
  }

  /** Delivers to the expectation that waits first, or to the next one. */
  put(heard: Heard): void {
    const reader = this.#readers.shift()
    if (reader === undefined) this.unread.push(heard)
    else reader(heard)
  }

  /** Takes the next thing. Fails when `select` gives `undefined` for it, or nothing comes in time. */
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

  /** Runs an effect that does not read the inbox. Fails when it takes longer than the patience. */
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

/** One call of the other side: what its handler is given, and whatever that returns, throws or passes to `reply`, whenever it does. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type RPCError, RPCGenericError } from "../RPCError.ts"

type Answer = Exit.Exit<unknown, RPCError>

/** One call of the other side. The first answer counts. */
export class InboundCall {
  readonly method: string
  readonly params: unknown
  readonly messageId: string
  readonly reply = (answer: unknown): void => this.#give(answer)
  readonly #toRPCError: (error: Error) => RPCError
  #isGiven = false
  #answer: Answer | undefined
  #resume: ((answer: Answer) => void) | undefined
  #controller: AbortController | undefined
  #isAborted = false

  constructor(method: string, params: unknown, messageId: string, toRPCError: (error: Error) => RPCError) {
    this.method = method
    this.params = params
    this.messageId = messageId
    this.#toRPCError = toRPCError
  }

  /** Aborts when the connection is lost. Made when it is asked for: that costs more than the rest of a call. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#isAborted) this.#controller.abort()
    return this.#controller.signal
  }

  /** Lets a handler answer. The answer is an Exit, where the handler has it at once. */
  handleBy(handler: (call: this) => unknown): Effect.Effect<unknown, RPCError> {
    try {
      const returned = handler(this)
      if (isThenable(returned)) returned.then(this.reply, (reason) => this.#refuse(reason))
      else this.#give(returned)
    } catch (error) {
      this.#refuse(error)
    }
    if (this.#answer !== undefined) return this.#answer
    return Effect.callback((resume) => {
      this.#resume = resume
      return Effect.sync(() => this.#abort())
    })
  }

  /** Answers with a value, an error, or a promise of either. */
  #give(answer: unknown): void {
    if (this.#isGiven) return
    this.#isGiven = true
    if (!isThenable(answer)) return this.#settle(answer)
    answer.then(
      (value) => this.#settle(value),
      (reason) => this.#fail(reason),
    )
  }

  /** Answers with an error, whatever was thrown. */
  #refuse(reason: unknown): void {
    if (this.#isGiven) return
    this.#isGiven = true
    this.#fail(reason)
  }

  #fail(reason: unknown): void {
    this.#settle(isError(reason) ? reason : new RPCGenericError(textOf(reason)))
  }

  #settle(answer: unknown): void {
    const exit = this.#toExit(answer)
    if (this.#resume === undefined) this.#answer = exit
    else this.#resume(exit)
  }

  #toExit(answer: unknown): Answer {
    try {
      return isError(answer) ? Exit.fail(this.#toRPCError(answer)) : Exit.succeed(answer)
    } catch {
      // An error whose own fields throw.
      return Exit.fail(new RPCGenericError("the handler failed"))
    }
  }

  #abort(): void {
    this.#isAborted = true
    this.#controller?.abort()
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

/** A Proxy may throw when it is asked; then it is none. */
const isError = (value: unknown): value is Error => {
  try {
    return value instanceof Error
  } catch {
    return false
  }
}

/** What a value says of itself; nothing, when that throws. */
export const textOf = (value: unknown): string => {
  try {
    return String(value)
  } catch {
    return ""
  }
}

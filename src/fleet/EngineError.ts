/** Why an engine did not do what it was asked to. */
import * as Data from "effect/Data"

/** The engine refused, could not be reached, or its answer did not come. */
export class EngineError extends Data.TaggedError("EngineError")<{
  readonly message: string
  /** What was asked of it. */
  readonly verb: string
  /**
   * `false` when it is certain that the engine has done nothing: the request was never written, or was refused. What is not known
   * counts as `true`.
   */
  readonly sent: boolean
  readonly cause?: unknown
}> {
  static of(verb: string, cause: unknown, sent: boolean): EngineError {
    const why = cause instanceof Error ? cause.message : String(cause)
    return new EngineError({ message: `${verb}: ${why}`, verb, sent, cause })
  }
}

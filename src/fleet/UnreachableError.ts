/** Why a station cannot be called though it may be connected. */
import * as Data from "effect/Data"

/**
 * The station cannot be reached from this node now, though it may be connected. Nothing was sent: it is safe to repeat the call.
 */
export class UnreachableError extends Data.TaggedError("UnreachableError")<{
  readonly message: string
  readonly identity: string
  /**
   * `"engine"`: this node cannot reach the engine, and the station is not connected here. `"owner"`: the directory names a node that
   * cannot be reached through the engine; either its process has just ended, or it has lost the engine.
   */
  readonly part: "engine" | "owner"
  readonly sent: false
}> {
  static engine(identity: string): UnreachableError {
    const message = `${JSON.stringify(identity)} cannot be reached: the engine cannot be reached`
    return new UnreachableError({ message, identity, part: "engine", sent: false })
  }

  static owner(identity: string, node: string): UnreachableError {
    const message = `${JSON.stringify(identity)} cannot be reached: its node ${node} cannot be reached`
    return new UnreachableError({ message, identity, part: "owner", sent: false })
  }
}

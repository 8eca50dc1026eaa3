/**
 * The life of a connection, as the table that the code runs.
 *
 * A step that the table does not have at some phase does not happen: closing what is closed changes nothing.
 */
import type { CloseInfo } from "./Closing.ts"

/** The states of a connection, numbered as a WebSocket's are. */
export const State = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 } as const
export type State = (typeof State)[keyof typeof State]

/** What happens to a connection. */
export type Step =
  /** A client starts to connect. */
  | "connect"
  /** An attempt begins. */
  | "dial"
  /** An attempt has failed. */
  | "fail"
  /** The transport is open. */
  | "open"
  /** The transport is being given up. */
  | "abandon"
  /** It closes once its calls have ended. */
  | "drain"
  /** It closes. */
  | "close"
  /** The transport is gone, and will be replaced. */
  | "lose"
  /** The transport is gone for good. */
  | "end"
  /** Nothing of the connection is left. */
  | "closed"

/** Where a connection is between two steps. */
export type Phase = "idle" | "waiting" | "dialling" | "open" | "abandoned" | "draining" | "closing"

interface Row {
  readonly state: State
  /** What becomes of a new call of ours: it leaves when its turn comes, waits for a connection, or fails. */
  readonly calls: "leave" | "wait" | "fail"
  /** Whether new calls of the peer are handled. */
  readonly handles: boolean
  readonly steps: { readonly [S in Step]?: Phase }
}

const { CLOSED, CLOSING, CONNECTING, OPEN } = State

/** The table. `docs/architecture.md` shows it; a test compares the two. */
export const table: { readonly [P in Phase]: Row } = {
  idle: { state: CLOSED, calls: "fail", handles: false, steps: { connect: "waiting" } },
  waiting: { state: CONNECTING, calls: "wait", handles: false, steps: { dial: "dialling", close: "closing" } },
  dialling: {
    state: CONNECTING,
    calls: "wait",
    handles: false,
    steps: { fail: "waiting", open: "open", close: "closing" },
  },
  open: {
    state: OPEN,
    calls: "leave",
    handles: true,
    steps: { abandon: "abandoned", drain: "draining", close: "closing", lose: "waiting", end: "abandoned" },
  },
  abandoned: {
    state: OPEN,
    calls: "wait",
    handles: false,
    steps: { close: "closing", lose: "waiting", end: "abandoned" },
  },
  draining: { state: CLOSING, calls: "fail", handles: false, steps: { close: "closing", end: "closing" } },
  closing: { state: CLOSING, calls: "fail", handles: false, steps: { end: "closing", closed: "idle" } },
}

/** One connection, on its way through the {@link table}. */
export class Lifecycle {
  #phase: Phase
  /** Why new calls fail, when they do: the first code and reason with which it was closed, or its last end. */
  cause: CloseInfo = neverOpened

  constructor(phase: "idle" | "open") {
    this.#phase = phase
  }

  get phase(): Phase {
    return this.#phase
  }

  get state(): State {
    return table[this.#phase].state
  }

  get calls(): "leave" | "wait" | "fail" {
    return table[this.#phase].calls
  }

  get handles(): boolean {
    return table[this.#phase].handles
  }

  /** Takes a step. Returns whether the table has it here. */
  take(step: Step): boolean {
    const next = table[this.#phase].steps[step]
    if (next === undefined) return false
    this.#phase = next
    return true
  }
}

const neverOpened: CloseInfo = { code: 1000, reason: "not connected" }

/** Every call of a trial, by its id: what its caller was told, when it was written, and who handled it. */
import type { CallRecord, HandledRecord, Told, WrittenRecord } from "./plan.ts"

interface Line {
  call: CallRecord | undefined
  readonly writtenAt: Array<number>
  readonly handled: Array<HandledRecord>
}

/** Nothing of these may ever happen. */
export const promises = {
  answeredUnhandled: "answered, and never handled",
  unsentHandled: "said not to be sent, and handled",
  handledTwice: "handled twice",
  afterTold: "written or handled after the caller was told",
  misrouted: "handled by another station",
} as const

export type Promised = keyof typeof promises

/** By how much a call may be written after its caller was told: two processes read one clock. In milliseconds. */
const writtenLate = 5
/** By how much it may be handled later: it was on the wire, and the stations' process is busy. In milliseconds. */
const handledLate = 400

export class Account {
  readonly #lines = new Map<string, Line>()

  #line(id: string): Line {
    let line = this.#lines.get(id)
    if (line === undefined) {
      line = { call: undefined, writtenAt: [], handled: [] }
      this.#lines.set(id, line)
    }
    return line
  }

  ended(calls: ReadonlyArray<CallRecord>): void {
    for (const call of calls) this.#line(call.id).call = call
  }

  written(records: ReadonlyArray<WrittenRecord>): void {
    for (const { at, id } of records) if (id !== "") this.#line(id).writtenAt.push(at)
  }

  handled(records: ReadonlyArray<HandledRecord>): void {
    for (const record of records) this.#line(record.id).handled.push(record)
  }

  /** What is wrong with a call. A caller whose process was killed was told nothing. */
  #faultsOf({ call, handled, writtenAt }: Line): ReadonlyArray<Promised> {
    const faults: Array<Promised> = []
    if (handled.length > 1 || writtenAt.length > 1) faults.push("handledTwice")
    if (call === undefined) return faults
    if (call.told === "ok" && handled.length === 0) faults.push("answeredUnhandled")
    if (call.told === "unsent" && handled.length + writtenAt.length > 0) faults.push("unsentHandled")
    if (handled.some(({ by }) => by !== call.identity)) faults.push("misrouted")
    const isLate =
      writtenAt.some((at) => at > call.toldAt + writtenLate) || handled.some(({ at }) => at > call.toldAt + handledLate)
    if (call.told !== "none" && isLate) faults.push("afterTold")
    return faults
  }

  /** How often each promise was broken, and the first calls that broke one. */
  get verdict() {
    const broken: Record<Promised, number> = {
      answeredUnhandled: 0,
      unsentHandled: 0,
      handledTwice: 0,
      afterTold: 0,
      misrouted: 0,
    }
    const examples: Array<string> = []
    for (const line of this.#lines.values()) {
      for (const fault of this.#faultsOf(line)) {
        if (broken[fault]++ < 3) examples.push(`${promises[fault]}: ${JSON.stringify(line)}`)
      }
    }
    return { broken, examples }
  }

  /** How many calls were told what. */
  get tally(): Readonly<Record<Told, number>> {
    const tally: Record<Told, number> = { ok: 0, refused: 0, sent: 0, unsent: 0, none: 0 }
    for (const { call } of this.#lines.values()) tally[call?.told ?? "none"]++
    return tally
  }

  /** The calls that were begun in a time, by how they ended. */
  between(from: number, to: number): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const { call } of this.#lines.values()) {
      if (call === undefined || call.startedAt < from || call.startedAt >= to) continue
      const outcome = call.failure === undefined || call.told === "refused" ? "ok" : `${call.failure} ${call.told}`
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    }
    return counts
  }

  /** When the last call was begun that found its station nowhere, or lost it; `undefined` when none was after that time. */
  lastLost(after: number): number | undefined {
    let last: number | undefined
    for (const { call } of this.#lines.values()) {
      if (call === undefined || call.startedAt < after || !lost.has(call.failure ?? "")) continue
      last = Math.max(last ?? 0, call.startedAt)
    }
    return last
  }
}

const lost: ReadonlySet<string> = new Set(["NotConnectedError", "UnreachableError", "DisconnectedError"])

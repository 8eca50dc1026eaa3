/** Who called whom, what the caller was told, and what the station has done: the invariants of a fleet are counted here. */

/** What a caller was told. */
export type Told =
  | "ok"
  /** An error that says that nothing was sent. */
  | "unsent"
  /** An error that says that the call was, or may have been, sent. */
  | "sent"
  /** The station has refused it. */
  | "refused"
  /** The caller took it back, or its process is gone. */
  | "none"

interface Entry {
  readonly identity: string
  told: Told | undefined
  toldAt: number
  readonly handledAt: Array<number>
  readonly handledBy: Set<string>
}

/** How often each promise was broken. */
export interface Broken {
  readonly answeredUnhandled: number
  readonly unsentHandled: number
  readonly handledTwice: number
  readonly handledAfterTold: number
  readonly misrouted: number
}

/** No promise broken. */
export const none: Broken = {
  answeredUnhandled: 0,
  unsentHandled: 0,
  handledTwice: 0,
  handledAfterTold: 0,
  misrouted: 0,
}

/** A frame that is on its way while its caller is told, in milliseconds. */
const onTheWire = 5

export class Ledger {
  readonly #entries = new Map<string, Entry>()
  #next = 0

  /** A call is being made. Gives the text that it is to carry. */
  begin(identity: string): string {
    const text = `${++this.#next}`
    this.#entries.set(text, { identity, told: undefined, toldAt: 0, handledAt: [], handledBy: new Set() })
    return text
  }

  handled(text: string, by: string, at: number): void {
    const entry = this.#entries.get(text)
    entry?.handledAt.push(at)
    entry?.handledBy.add(by)
  }

  told(text: string, told: Told, at: number): void {
    const entry = this.#entries.get(text)
    if (entry === undefined) return
    entry.told = told
    entry.toldAt = at
  }

  /** How many calls came to what. */
  get tally(): Readonly<Record<string, number>> {
    const tally: Record<string, number> = {}
    for (const { told = "pending" } of this.#entries.values()) tally[told] = (tally[told] ?? 0) + 1
    return tally
  }

  get broken(): Broken {
    const all = [...this.#entries.values()]
    const count = (holds: (entry: Entry) => boolean) => all.filter(holds).length
    return {
      answeredUnhandled: count(({ handledAt, told }) => told === "ok" && handledAt.length === 0),
      unsentHandled: count(({ handledAt, told }) => told === "unsent" && handledAt.length > 0),
      handledTwice: count(({ handledAt }) => handledAt.length > 1),
      handledAfterTold: count(
        ({ handledAt, told, toldAt }) =>
          told !== undefined && told !== "none" && handledAt.some((at) => at > toldAt + onTheWire),
      ),
      misrouted: count(({ handledBy, identity }) => [...handledBy].some((by) => by !== identity)),
    }
  }

  /** The calls that broke a promise, for whoever looks into it. */
  get suspects(): ReadonlyArray<unknown> {
    return [...this.#entries].filter(
      ([, { handledAt, told, toldAt }]) =>
        (told === "ok" && handledAt.length === 0) ||
        (told === "unsent" && handledAt.length > 0) ||
        handledAt.length > 1 ||
        (told !== undefined && told !== "none" && handledAt.some((at) => at > toldAt + onTheWire)),
    )
  }
}

/** What a failure of a call tells. */
export const toldBy = (failure: { readonly _tag: string; readonly sent?: boolean }): Told => {
  if (failure._tag === "RPCError") return "refused"
  return failure.sent === true ? "sent" : "unsent"
}

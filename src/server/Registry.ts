/** The connections that are open, by identity. Several may have the same one; the newest counts. */
import { State } from "../connection/Lifecycle.ts"
import type { AcceptedStation } from "./AcceptedStation.ts"

export class Registry {
  readonly #all = new Set<AcceptedStation>()
  /** The newest last. */
  readonly #byIdentity = new Map<string, ReadonlyArray<AcceptedStation>>()

  get size(): number {
    return this.#all.size
  }

  get all(): ReadonlyArray<AcceptedStation> {
    return [...this.#all]
  }

  /** The connections of an identity, the newest last. */
  of(identity: string): ReadonlyArray<AcceptedStation> {
    return this.#byIdentity.get(identity) ?? none
  }

  /** The newest connection of an identity that is open. */
  open(identity: string): AcceptedStation | undefined {
    return this.of(identity).findLast(({ state }) => state === State.OPEN)
  }

  add(station: AcceptedStation): void {
    this.#all.add(station)
    this.#byIdentity.set(station.identity, [...this.of(station.identity), station])
  }

  /** Removes one connection: the late close of a replaced one takes nothing of its successor. */
  remove(station: AcceptedStation): void {
    this.#all.delete(station)
    const others = this.of(station.identity).filter((other) => other !== station)
    if (others.length === 0) this.#byIdentity.delete(station.identity)
    else this.#byIdentity.set(station.identity, others)
  }
}

const none: ReadonlyArray<AcceptedStation> = []

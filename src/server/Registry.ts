/** The connections that are open, by identity or a key of the program's. Several may have the same one; the newest counts. */
import { State } from "../connection/Lifecycle.ts"
import type { AcceptedStation } from "./AcceptedStation.ts"

export class Registry {
  /** With their keys. */
  readonly #all = new Map<AcceptedStation, string>()
  /** The newest last. */
  readonly #byKey = new Map<string, ReadonlyArray<AcceptedStation>>()

  get size(): number {
    return this.#all.size
  }

  get all(): ReadonlyArray<AcceptedStation> {
    return [...this.#all.keys()]
  }

  /** The connections under a key, the newest last. */
  of(key: string): ReadonlyArray<AcceptedStation> {
    return this.#byKey.get(key) ?? none
  }

  /** The newest connection under a key that is open. */
  open(key: string): AcceptedStation | undefined {
    return this.of(key).findLast(({ state }) => state === State.OPEN)
  }

  add(key: string, station: AcceptedStation): void {
    this.#all.set(station, key)
    this.#byKey.set(key, [...this.of(key), station])
  }

  /** Removes one connection: the late close of a replaced one takes nothing of its successor. */
  remove(station: AcceptedStation): void {
    const key = this.#all.get(station)
    if (key === undefined) return
    this.#all.delete(station)
    const others = this.of(key).filter((other) => other !== station)
    if (others.length === 0) this.#byKey.delete(key)
    else this.#byKey.set(key, others)
  }
}

const none: ReadonlyArray<AcceptedStation> = []

/** Which node has which station, as far as this node remembers. */
import type { Owner } from "./Engine.ts"

/** For how long an owner is believed without being asked for again, in milliseconds. */
const validity = 5_000

interface Known {
  readonly owner: Owner
  readonly until: number
}

export class Owners {
  readonly #known = new Map<string, Known>()
  readonly #now: () => number
  readonly #limit: number

  /** @param limit how many are remembered at most */
  constructor(now: () => number, limit: number) {
    this.#now = now
    this.#limit = limit
  }

  get(identity: string): Owner | undefined {
    const known = this.#known.get(identity)
    if (known === undefined) return undefined
    if (known.until > this.#now()) return known.owner
    this.#known.delete(identity)
    return undefined
  }

  set(identity: string, owner: Owner): void {
    this.#known.delete(identity)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size < this.#limit) break
      this.#known.delete(oldest)
    }
    this.#known.set(identity, { owner, until: this.#now() + validity })
  }

  /** An owner has turned out to be wrong, or not to answer. One that has become known since stays. */
  forget(identity: string, owner: Owner): void {
    const known = this.#known.get(identity)?.owner
    if (known !== undefined && known.node === owner.node && known.epoch <= owner.epoch) this.#known.delete(identity)
  }

  /** Some nodes are not believed any more. */
  forgetNodes(isGone: (node: string) => boolean): void {
    for (const [identity, { owner }] of this.#known) if (isGone(owner.node)) this.#known.delete(identity)
  }

  clear(): void {
    this.#known.clear()
  }
}

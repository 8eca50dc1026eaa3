/** Which station is at which node, and which node is alive: what every engine keeps, here as a Map. */
import type { Beat, Change, Claim, Claimed, Entry, Owner, Release } from "./EnginePort.ts"

interface Line extends Owner {
  /** When the station has connected. */
  readonly since: number
}

export class Directory {
  readonly #now: () => number
  readonly #tell: (changes: ReadonlyArray<Change>) => void
  readonly #lines = new Map<string, Line>()
  /** Until when the leases are valid, by node. */
  readonly #leases = new Map<string, number>()
  /** Survives {@link forget}: epochs never go back. */
  #epoch = 0

  /** @param tell hears of every change */
  constructor(now: () => number, tell: (changes: ReadonlyArray<Change>) => void) {
    this.#now = now
    this.#tell = tell
  }

  claim(node: string, claims: ReadonlyArray<Claim>): ReadonlyArray<Claimed> {
    const claimed = claims.map((claim) => this.#claim(node, claim))
    const owned = claimed.flatMap((each, i): ReadonlyArray<Change> => {
      const { identity, protocol } = claims[i] as Claim
      return each._tag === "Owned" ? [{ _tag: "Claimed", identity, node, epoch: each.epoch, protocol }] : []
    })
    if (owned.length > 0) this.#tell(owned)
    return claimed
  }

  #claim(node: string, { age, identity, protocol, since: known = Number.POSITIVE_INFINITY }: Claim): Claimed {
    const now = this.#now()
    const since = Math.min(now - age, known)
    const line = this.#lines.get(identity)
    const isOthers = line !== undefined && line.node !== node
    if (isOthers && this.isLeased(line.node) && isNewer(line, { node, since }, now)) {
      return { _tag: "Newer", identity, owner: ownerOf(line) }
    }
    this.#epoch = Math.max(this.#epoch + 1, Math.floor(now * 1_000))
    this.#lines.set(identity, { node, epoch: this.#epoch, since, protocol })
    return { _tag: "Owned", identity, epoch: this.#epoch, since, previous: isOthers ? ownerOf(line) : undefined }
  }

  release(node: string, releases: ReadonlyArray<Release>): void {
    const gone = releases.flatMap(({ epoch, identity }): ReadonlyArray<Change> => {
      const line = this.#lines.get(identity)
      if (line === undefined || (epoch === undefined ? line.node !== node : line.epoch !== epoch)) return []
      this.#lines.delete(identity)
      return [{ _tag: "Released", identity, epoch: line.epoch }]
    })
    if (gone.length > 0) this.#tell(gone)
  }

  find(identity: string): Owner | undefined {
    const line = this.#lines.get(identity)
    return line && ownerOf(line)
  }

  entries(): ReadonlyArray<Entry> {
    return Array.from(this.#lines, ([identity, line]) => ({ identity, ...ownerOf(line) }))
  }

  beat(node: string, lease: number): Beat {
    const now = this.#now()
    const lapsed = !this.isLeased(node)
    this.#leases.set(node, now + lease)
    return { now, lapsed, nodes: [...this.#leases.keys()].filter((each) => this.isLeased(each)) }
  }

  isLeased(node: string): boolean {
    return (this.#leases.get(node) ?? Number.NEGATIVE_INFINITY) > this.#now()
  }

  endLease(node: string): void {
    this.#leases.delete(node)
  }

  sweep(): number {
    const gone: Array<Change> = []
    for (const [identity, { epoch, node }] of this.#lines) {
      if (this.isLeased(node)) continue
      this.#lines.delete(identity)
      gone.push({ _tag: "Released", identity, epoch })
    }
    for (const node of this.#leases.keys()) if (!this.isLeased(node)) this.#leases.delete(node)
    if (gone.length > 0) this.#tell(gone)
    return gone.length
  }

  /** Everything is lost. */
  forget(): void {
    this.#lines.clear()
    this.#leases.clear()
  }
}

/** A connection, as far as it is compared with others. */
interface Connection {
  readonly node: string
  /** On the engine's clock. */
  readonly since: number
}

/** Whether an entry holds against a claim. */
export const isNewer = (entry: Connection, claim: Connection, now: number): boolean =>
  entry.since <= now && (entry.since > claim.since || (entry.since === claim.since && entry.node > claim.node))

const ownerOf = ({ epoch, node, protocol }: Line): Owner => ({ node, epoch, protocol })

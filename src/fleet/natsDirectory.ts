/**
 * The directory in a bucket of JetStream's, with compare-and-set on revisions, and the leases in another, whose keys expire.
 *
 * An entry says how old its connection was when it was written; the server says when that was. So clocks of nodes play no part. An epoch is
 * when the bucket was made, in microseconds, and the revision: both only grow.
 */
import { JetStreamApiError, jetstream, StorageType } from "@nats-io/jetstream"
import { type KV, type KvEntry, Kvm } from "@nats-io/kv"
import type { NatsConnection } from "@nats-io/transport-node"
import { isNewer } from "./Directory.ts"
import type { Beat, Change, Claim, Claimed, Entry, Owner, Release } from "./Engine.ts"
import { isNumber, isRecord, isString } from "./guards.ts"

/** How buckets are named and kept. */
export interface BucketOptions {
  readonly prefix: string
  readonly replicas: number
  /** In milliseconds. */
  readonly lease: number
  /** How long an operation may take, in milliseconds. */
  readonly patience: number
}

/** How many operations are under way at a time. */
const pipelined = 64
/** How often a claim is tried again that others have got in the way of. */
const attempts = 16

/** What an entry says. */
interface Line extends Owner {
  readonly revision: number
  /** When the station has connected, in milliseconds on the server's clock. */
  readonly since: number
}

export class NatsDirectory {
  readonly #node: string
  readonly #stations: KV
  readonly #leases: KV
  /** The epoch of revision 0. */
  readonly #base: number
  /** The server's clock, less this node's monotonic one, in milliseconds. */
  #offset = 0

  /** Opens the buckets; makes them where there are none. */
  static async open(connection: NatsConnection, node: string, options: BucketOptions): Promise<NatsDirectory> {
    const { lease, patience, prefix, replicas } = options
    const manager = new Kvm(jetstream(connection, { timeout: patience }))
    const common = { history: 1, replicas, storage: StorageType.Memory }
    const stations = await manager.create(`${prefix}_stations`, common)
    const leases = await manager.create(`${prefix}_leases`, { ...common, ttl: lease })
    const { streamInfo } = await stations.status()
    return new NatsDirectory(node, stations, leases, Date.parse(streamInfo.created) * 1_000)
  }

  private constructor(node: string, stations: KV, leases: KV, base: number) {
    this.#node = node
    this.#stations = stations
    this.#leases = leases
    this.#base = base
  }

  get #now(): number {
    return performance.now() + this.#offset
  }

  claim(claims: ReadonlyArray<Claim>): Promise<ReadonlyArray<Claimed>> {
    const known = new Map<string, Promise<boolean>>()
    const isAlive = (node: string): Promise<boolean> => {
      const asked = known.get(node) ?? this.isLeased(node)
      known.set(node, asked)
      return asked
    }
    return inParallel(claims, (claim) => this.#claim(claim, isAlive))
  }

  async #claim(claim: Claim, isAlive: (node: string) => Promise<boolean>): Promise<Claimed> {
    const { age, epoch, identity, protocol, since } = claim
    const value = JSON.stringify({ node: this.#node, age, since, protocol })
    let revision = Math.max(0, (epoch ?? 0) - this.#base)
    let previous: Owner | undefined
    for (let attempt = 0; attempt < attempts; attempt++) {
      const won = await this.#write(identity, value, revision)
      if (won !== undefined) {
        return { _tag: "Owned", identity, epoch: this.#base + won, since: earlier(this.#now - age, since), previous }
      }
      const entry = await this.#stations.get(keyOf(identity))
      const line = entry === null ? undefined : this.#lineOf(entry)
      revision = entry?.revision ?? 0
      previous = undefined
      if (line === undefined || line.node === this.#node) continue
      const now = this.#now
      const own = { node: this.#node, since: earlier(now - age, since) }
      if (isNewer(line, own, now) && (await isAlive(line.node))) {
        return { _tag: "Newer", identity, owner: ownerOf(line) }
      }
      previous = ownerOf(line)
    }
    throw new Error(`${JSON.stringify(identity)} is being claimed by too many`)
  }

  /** Writes, unless somebody has written since that revision. */
  async #write(identity: string, value: string, revision: number): Promise<number | undefined> {
    try {
      return await this.#stations.put(keyOf(identity), value, { previousSeq: revision })
    } catch (error) {
      if (isConflict(error)) return undefined
      throw error
    }
  }

  async release(releases: ReadonlyArray<Release>): Promise<void> {
    await inParallel(releases, async ({ epoch, identity }) => {
      if (epoch !== undefined) return void (await this.#delete(identity, epoch - this.#base))
      const entry = await this.#stations.get(keyOf(identity))
      const line = entry === null ? undefined : this.#lineOf(entry)
      if (line?.node === this.#node) await this.#delete(identity, line.revision)
    })
  }

  async #delete(identity: string, revision: number): Promise<boolean> {
    if (revision <= 0) return false
    try {
      await this.#stations.delete(keyOf(identity), { previousSeq: revision })
      return true
    } catch (error) {
      if (isConflict(error)) return false
      throw error
    }
  }

  lookup(identities: ReadonlyArray<string>): Promise<ReadonlyArray<Owner | undefined>> {
    return inParallel(identities, async (identity) => {
      const entry = await this.#stations.get(keyOf(identity))
      const line = entry === null ? undefined : this.#lineOf(entry)
      return line && ownerOf(line)
    })
  }

  async entries(): Promise<ReadonlyArray<Entry>> {
    return (await this.#read()).map(({ identity, line }) => ({ identity, ...ownerOf(line) }))
  }

  async #read(): Promise<ReadonlyArray<{ readonly identity: string; readonly line: Line }>> {
    const all = new Map<string, Line>()
    for await (const entry of await this.#stations.history()) {
      const identity = identityOf(entry.key)
      const line = this.#lineOf(entry)
      if (line === undefined) all.delete(identity)
      else all.set(identity, line)
    }
    return Array.from(all, ([identity, line]) => ({ identity, line }))
  }

  async sweep(): Promise<number> {
    const alive = await this.#nodes()
    const dead = (await this.#read()).filter(({ line }) => !alive.has(line.node))
    const deleted = await inParallel(dead, ({ identity, line }) => this.#delete(identity, line.revision))
    return deleted.filter((one) => one).length
  }

  /** Tells of changes until the returned function is called. */
  async watch(onChange: (change: Change) => void): Promise<() => void> {
    const entries = await this.#stations.watch({ include: "updates" })
    const tell = async () => {
      for await (const entry of entries) {
        const identity = identityOf(entry.key)
        const line = this.#lineOf(entry)
        if (line !== undefined) onChange({ _tag: "Claimed", identity, ...ownerOf(line) })
        else onChange({ _tag: "Released", identity, epoch: this.#base + entry.revision })
      }
    }
    // It ends with the connection; then it is made again.
    tell().catch(() => {})
    return () => entries.stop()
  }

  async beat(): Promise<Beat> {
    const key = keyOf(this.#node)
    const lapsed = !isThere(await this.#leases.get(key))
    const asked = performance.now()
    await this.#leases.put(key, "")
    const entry = await this.#leases.get(key)
    if (entry === null) throw new Error("the lease cannot be read")
    const now = entry.created.getTime()
    this.#offset = now - (asked + performance.now()) / 2
    const nodes = await this.#nodes()
    return { now, lapsed, nodes: [...nodes] }
  }

  async #nodes(): Promise<ReadonlySet<string>> {
    const nodes = new Set<string>()
    for await (const key of await this.#leases.keys()) nodes.add(identityOf(key))
    return nodes
  }

  async isLeased(node: string): Promise<boolean> {
    return isThere(await this.#leases.get(keyOf(node)))
  }

  async endLease(node: string): Promise<void> {
    await this.#leases.delete(keyOf(node))
  }

  #lineOf(entry: KvEntry): Line | undefined {
    if (entry.operation !== "PUT") return undefined
    const value: unknown = parse(entry.string())
    if (!isRecord(value) || !isString(value.node) || !isNumber(value.age) || !isString(value.protocol)) return undefined
    const { age, node, protocol, since } = value
    const { created, revision } = entry
    const connected = earlier(created.getTime() - age, isNumber(since) ? since : undefined)
    return { node, protocol, revision, epoch: this.#base + revision, since: connected }
  }
}

/** Identities may hold anything, keys may not. */
export const keyOf = (identity: string): string => `k${Buffer.from(identity).toString("base64url")}`

const identityOf = (key: string): string => Buffer.from(key.slice(1), "base64url").toString()

const earlier = (since: number, known: number | undefined): number =>
  known === undefined ? since : Math.min(since, known)

const ownerOf = ({ epoch, node, protocol }: Line): Owner => ({ node, epoch, protocol })

const isThere = (entry: KvEntry | null): boolean => entry?.operation === "PUT"

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** JetStream: "wrong last sequence". */
const isConflict = (error: unknown): boolean =>
  error instanceof JetStreamApiError && [10_071, 10_164].includes(error.code)

const inParallel = async <A, B>(all: ReadonlyArray<A>, work: (one: A) => Promise<B>): Promise<ReadonlyArray<B>> => {
  const done = new Array<B>(all.length)
  let next = 0
  const worker = async () => {
    for (let i = next++; i < all.length; i = next++) done[i] = await work(all[i] as A)
  }
  await Promise.all(Array.from({ length: Math.min(pipelined, all.length) }, worker))
  return done
}

/**
 * What stands between the nodes of a fleet: it owns, looks up and carries, and knows nothing of calls.
 *
 * An engine keeps a directory (which station is at which node), a lease for each node, and an inbox for each node. Everything else
 * is written once, in `Fleet`: correlation, deadlines, cancelling, duplicates, fencing. {@link layerMemory} is the engine inside
 * one process; `effect-ocpp/fleet/redis` and `effect-ocpp/fleet/nats` are those between processes. An engine of your own is right
 * when it passes `test/fleet/engineConformance.ts`.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { EngineError } from "./EngineError.ts"

/** Where a station is. */
export interface Owner {
  /** The node that holds its connection. */
  readonly node: string
  /** Grows with every claim that is won, and never goes back, not even when the engine has lost everything. */
  readonly epoch: number
  /** The subprotocol that it speaks, `""` for none. */
  readonly protocol: string
}

/** One line of the directory. */
export interface Entry extends Owner {
  readonly identity: string
}

/** A node says that a station is connected to it. */
export interface Claim {
  readonly identity: string
  readonly protocol: string
  /** How long it has been connected, in milliseconds. Clocks of two nodes are never compared, ages are. */
  readonly age: number
  /** When the engine has once said that the same connection was made; the earlier of the two counts. */
  readonly since?: number | undefined
  /** The epoch with which the node owned the same connection until now, if it did. */
  readonly epoch?: number | undefined
}

/** What came of a claim: the newest connection wins. */
export type Claimed =
  | {
      readonly _tag: "Owned"
      readonly identity: string
      readonly epoch: number
      /** When the station has connected, in milliseconds on the engine's clock. */
      readonly since: number
      /** Which other node has lost it by this claim; it is to be told. */
      readonly previous: Owner | undefined
    }
  | {
      readonly _tag: "Newer"
      readonly identity: string
      /** Who holds a newer connection of that station. */
      readonly owner: Owner
    }

/** What a node lets go. */
export interface Release {
  readonly identity: string
  /** Only an entry with this epoch is deleted. Without one, only an entry of this node. */
  readonly epoch: number | undefined
}

/** What a node learns when it renews its lease. */
export interface Beat {
  /** Milliseconds on the engine's clock; only differences mean anything. */
  readonly now: number
  /** Whether the lease had lapsed, or was unknown: then the directory may have forgotten what the node holds. */
  readonly lapsed: boolean
  /** The nodes whose lease is valid, this one included. */
  readonly nodes: ReadonlyArray<string>
}

/** What an engine knows of a node. */
export interface Presence {
  /** Its lease is valid. */
  readonly leased: boolean
  /** Somebody listens to its inbox. */
  readonly listening: boolean
}

/** A station came to a node, or is gone from it. */
export type Change =
  | ({ readonly _tag: "Claimed" } & Entry)
  | { readonly _tag: "Released"; readonly identity: string; readonly epoch: number }

/** What an engine tells a node. Called from the tick in which it happens; must not throw. */
export interface Listener {
  /** A message has come. Those of one node come in the order in which it has sent them. */
  readonly onMessage: (message: string) => void
  /**
   * The engine cannot be reached any more, or can be again, its inbox included. What was sent to the node meanwhile is lost, and the
   * engine may have forgotten everything.
   */
  readonly onStatus: (status: "up" | "down") => void
}

/** How a node enters. */
export interface JoinOptions {
  /** The node's id: 1 to 200 characters of `A-Z a-z 0-9 . _ ~ -`, unique to this process and this run of it. */
  readonly node: string
  /** How long a lease is valid without a beat, in milliseconds; the same for all nodes. */
  readonly lease: number
}

/** An engine as one node sees it. Every verb ends within a few seconds. */
export interface Member {
  /** The longest message that the engine carries, in bytes of UTF-8. */
  readonly maxMessageBytes: number
  /**
   * Enters stations into the directory: at most a few hundred at a time. Another node's entry stays when its connection is newer than
   * the claim's, on the engine's clock, and its lease is valid; of two that are equally old, that of the node whose id is greater. One that is
   * newer than now was entered before the engine's clock went back, and gives way. Answers are in the order of the claims.
   */
  readonly claim: (claims: ReadonlyArray<Claim>) => Effect.Effect<ReadonlyArray<Claimed>, EngineError>
  /** Compares and deletes. */
  readonly release: (releases: ReadonlyArray<Release>) => Effect.Effect<void, EngineError>
  /** Where stations are, in the order of the question. */
  readonly lookup: (identities: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Owner | undefined>, EngineError>
  /** The whole directory, those entries included whose node is dead and that have not been swept. */
  readonly entries: Effect.Effect<ReadonlyArray<Entry>, EngineError>
  /** Tells of every change from now on, some together, while the Scope is open and the engine can be reached. */
  readonly watch: (onChanges: (changes: ReadonlyArray<Change>) => void) => Effect.Effect<void, EngineError, Scope.Scope>
  /**
   * Carries a message to a node's inbox. `"nobody"` is certain: nobody listens there. `"handed"` is not: it may get lost. An error
   * says with `sent` whether it may have been handed.
   */
  readonly send: (node: string, message: string) => Effect.Effect<"handed" | "nobody", EngineError>
  /** Renews the lease. */
  readonly beat: Effect.Effect<Beat, EngineError>
  readonly presence: (node: string) => Effect.Effect<Presence, EngineError>
  /** Ends the lease of a node to whose inbox nobody listens. `false` when somebody does. */
  readonly bury: (node: string) => Effect.Effect<boolean, EngineError>
  /** Deletes the entries of all nodes without a valid lease. Succeeds with how many those were. */
  readonly sweep: Effect.Effect<number, EngineError>
  /** Drops the connections to the engine and makes new ones: what comes through them has stopped coming. */
  readonly reconnect: Effect.Effect<void>
}

/** An engine. */
export interface Engine {
  /** What it is, for logs and metrics: `"memory"`, `"redis"`, `"nats"`. */
  readonly name: string
  /**
   * Enters a node: its lease is valid, its inbox is open. Closing the Scope ends both; what it has in the directory it releases
   * before. Succeeds once the engine has been reached, and fails when that is refused or takes more than a few seconds.
   */
  readonly join: (options: JoinOptions, listener: Listener) => Effect.Effect<Member, EngineError, Scope.Scope>
}

/** The engine of a fleet. */
export const Engine = Context.Service<Engine>("effect-ocpp/fleet/Engine")

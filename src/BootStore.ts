/**
 * What this CSMS remembers of the boots of its stations: by identity, what it last answered to BootNotification, and what it has
 * asked for since then of a station that it has not accepted. `Middleware.requireBoot` lets stations in by it.
 *
 * Where no `BootStore` is provided, each `requireBoot` has one of its own in memory. {@link layerKeyValueStore} keeps it where a
 * `KeyValueStore` of Effect's does: in files, in a database; one of your own needs three functions.
 *
 * ```ts
 * const Csms = Server.layer({ port: 3000, protocols: [Ocpp21], handlers: [Middleware.requireBoot(CentralSystem)] }).pipe(
 *   Layer.provide(BootStore.layerKeyValueStore),
 * )
 * ```
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { asksOf } from "./boot/Asks.ts"
import { Server } from "./Server.ts"

/** What a BootNotification is answered with. */
export type Status = "Accepted" | "Pending" | "Rejected"

/** What is remembered of a station. */
export interface Boot {
  /** What its last BootNotification was answered with. */
  readonly status: Status
  /** The actions that it may call because it was asked to. Empty once it is accepted. */
  readonly asked: ReadonlyArray<string>
}

/** Remembers boots. Whoever plugs in one of his own takes care that it is bounded; a failure of it is a defect. */
export interface BootStore {
  /** What is remembered of an identity; `undefined` when nothing is. */
  readonly find: (identity: string) => Effect.Effect<Boot | undefined>
  /** Remembers an answer. `"Accepted"` forgets what was asked for. */
  readonly answered: (identity: string, status: Status) => Effect.Effect<void>
  /** Adds to what was asked for of a station that is remembered as not accepted. */
  readonly asked: (identity: string, actions: ReadonlyArray<string>) => Effect.Effect<void>
}

/** Remembers boots. */
export const BootStore = Context.Service<BootStore>("effect-ocpp/BootStore")

/** How much is remembered in memory. */
export interface MemoryOptions {
  /**
   * Of how many stations, of those that are accepted and again of those that are not. Beyond, the one is forgotten whose boot is
   * longest ago, and let in like any that is not known. Default 100,000.
   */
  readonly capacity?: number
}

/**
 * Remembers boots in memory.
 *
 * @throws {RangeError} when the capacity is not a positive integer.
 */
export const makeMemoryUnsafe = ({ capacity = 100_000 }: MemoryOptions = {}): BootStore => {
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new RangeError(`capacity must be a positive integer; got ${capacity}`)
  }
  const accepted = new Map<string, Boot>()
  const others = new Map<string, Boot>()
  const remember = (boots: Map<string, Boot>, identity: string, boot: Boot): void => {
    boots.set(identity, boot)
    if (boots.size <= capacity) return
    for (const oldest of boots.keys()) {
      boots.delete(oldest)
      return
    }
  }
  return {
    find: (identity) => Effect.sync(() => others.get(identity) ?? accepted.get(identity)),
    answered: (identity, status) =>
      Effect.sync(() => {
        const asked = others.get(identity)?.asked ?? []
        others.delete(identity)
        accepted.delete(identity)
        if (status === "Accepted") remember(accepted, identity, whoIsAccepted)
        else remember(others, identity, { status, asked })
      }),
    asked: (identity, actions) =>
      Effect.sync(() => {
        const boot = others.get(identity)
        if (boot !== undefined) others.set(identity, { ...boot, asked: [...new Set([...boot.asked, ...actions])] })
      }),
  }
}

const whoIsAccepted: Boot = { status: "Accepted", asked: [] }

/** Remembers boots in memory, for several `requireBoot` to share, or for {@link layerWatching}. */
export const layerMemory = (options: MemoryOptions = {}): Layer.Layer<BootStore> =>
  Layer.sync(BootStore, () => makeMemoryUnsafe(options))

/**
 * Remembers boots in a `KeyValueStore`, under the keys `ocpp/boot/status/…` and `ocpp/boot/asked/…`: two for each station, of which
 * none is ever removed.
 */
export const layerKeyValueStore: Layer.Layer<BootStore, never, KeyValueStore.KeyValueStore> = Layer.effect(
  BootStore,
  Effect.map(KeyValueStore.KeyValueStore, (store) => {
    const statuses = KeyValueStore.toSchemaStore(KeyValueStore.prefix(store, "ocpp/boot/status/"), Status)
    const asks = KeyValueStore.toSchemaStore(KeyValueStore.prefix(store, "ocpp/boot/asked/"), Actions)
    const askedOf = (identity: string) =>
      Effect.map(asks.get(identity), (asked) => (asked._tag === "Some" ? asked.value : []))
    const find = Effect.fnUntraced(function* (identity: string) {
      const status = yield* statuses.get(identity)
      if (status._tag === "None") return undefined
      const isAccepted = status.value === "Accepted"
      return { status: status.value, asked: isAccepted ? [] : yield* askedOf(identity) }
    })
    return {
      find: (identity) => Effect.orDie(find(identity)),
      answered: (identity, status) =>
        statuses
          .set(identity, status)
          .pipe(Effect.andThen(status === "Accepted" ? asks.set(identity, []) : Effect.void), Effect.orDie),
      asked: (identity, actions) =>
        Effect.flatMap(askedOf(identity), (asked) => asks.set(identity, [...new Set([...asked, ...actions])])).pipe(
          Effect.orDie,
        ),
    }
  }),
)

const Status = Schema.Literals(["Accepted", "Pending", "Rejected"])

const Actions = Schema.Array(Schema.String)

/** Whether a station may call nothing but what it was asked for. */
export const isShutOut = (boot: Boot | undefined): boot is Boot => boot !== undefined && boot.status !== "Accepted"

/**
 * Hears what stations are asked for from the first moment of their connections, as long as the Scope lives.
 *
 * `Middleware.requireBoot` hears it from the first call of a station on; without this, what is triggered on a new connection before the
 * station has said anything is refused.
 */
export const watch = (server: Server): Effect.Effect<void, never, BootStore | Scope.Scope> =>
  Effect.gen(function* () {
    const store = yield* BootStore
    const asks = asksOf(store)
    const run = yield* FiberSet.makeRuntime<never>()
    const unsubscribe = server.subscribe((event) => {
      if (event._tag !== "Connected") return
      const { station } = event
      // What comes while the store is asked must not be missed.
      asks.hear(station)
      run(Effect.map(store.find(station.identity), (boot) => isShutOut(boot) || asks.ignore(station)))
    })
    yield* Effect.addFinalizer(() => Effect.sync(unsubscribe))
  })

/** {@link watch}, for the server of a Layer. */
export const layerWatching: Layer.Layer<never, never, Server | BootStore> = Layer.effectDiscard(
  Effect.flatMap(Server, watch),
)

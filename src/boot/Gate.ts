/** Who may call what before a boot was accepted. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { BootStore, isShutOut, makeMemoryUnsafe, type Status } from "../BootStore.ts"
import { type RPCError, RPCSecurityError } from "../RPCError.ts"
import { Station } from "../Server.ts"
import { asksOf } from "./Asks.ts"

/** What `Middleware.requireBoot` can be told. */
export interface BootOptions {
  /** The actions that are let through anyway, beside BootNotification. Default none. */
  readonly allowed?: ReadonlyArray<string>
  /**
   * Whether a station of which nothing is remembered, after a restart for instance, is asked to boot (TriggerMessage), when its first
   * call on a connection has been answered. Default `false`.
   */
  readonly askToBoot?: boolean
}

export class Gate {
  readonly #allowed: ReadonlySet<string>
  readonly #askToBoot: boolean
  /** Where none is provided. */
  readonly #ownStore = makeMemoryUnsafe()
  /** Whether a station is let in, as far as that was found out on this connection: then only a boot on it changes that. */
  readonly #verdicts = new WeakMap<Station, boolean>()

  constructor({ allowed = [], askToBoot = false }: BootOptions) {
    this.#allowed = new Set(allowed)
    this.#askToBoot = askToBoot
  }

  /** Runs a handler, if its station may call this action. */
  pass<R>(handle: Effect.Effect<unknown, RPCError, R>, action: string): Effect.Effect<unknown, RPCError, R | Station> {
    return Effect.flatMap(Station, (station) => {
      if (action === "BootNotification") {
        return Effect.tap(handle, (response) => this.#note(station, statusOf(response)))
      }
      return this.#verdicts.get(station) === true ? handle : this.#judge(handle, action, station)
    })
  }

  get #store(): Effect.Effect<BootStore> {
    return Effect.map(
      Effect.serviceOption(BootStore),
      Option.getOrElse(() => this.#ownStore),
    )
  }

  /** Remembers an answer before it leaves. */
  #note(station: Station, status: Status | undefined): Effect.Effect<void> {
    if (status === undefined) return Effect.void
    return Effect.flatMap(this.#store, (store) => {
      const asks = asksOf(store)
      const isAccepted = status === "Accepted"
      if (isAccepted) asks.forget(station)
      else asks.hear(station, true)
      this.#verdicts.set(station, isAccepted)
      return store.answered(station.identity, status)
    })
  }

  #judge<R>(
    handle: Effect.Effect<unknown, RPCError, R>,
    action: string,
    station: Station,
  ): Effect.Effect<unknown, RPCError, R> {
    return Effect.gen({ self: this }, function* () {
      const { identity } = station
      const store = yield* this.#store
      const boot = yield* store.find(identity)
      // It may have booted while the store was asked.
      if (this.#verdicts.get(station) ?? !isShutOut(boot)) {
        this.#verdicts.set(station, true)
        return yield* boot === undefined && this.#askToBoot ? Effect.tap(handle, () => askToBoot(station)) : handle
      }
      const asks = asksOf(store)
      asks.hear(station, true)
      const remembered = boot?.asked ?? []
      const heard = asks.of(identity)
      const news = [...heard].filter((asked) => !remembered.includes(asked))
      if (news.length > 0) yield* store.asked(identity, news)
      if (this.#allowed.has(action) || remembered.includes(action) || heard.has(action)) return yield* handle
      return yield* new RPCSecurityError("a BootNotification must be accepted first")
    })
  }
}

/** What a response says, if it is one to a BootNotification. */
const statusOf = (response: unknown): Status | undefined => {
  if (typeof response !== "object" || response === null || !("status" in response)) return undefined
  const { status } = response
  return status === "Accepted" || status === "Pending" || status === "Rejected" ? status : undefined
}

/** In a fiber that ends with the call, and so at the latest with the connection: nobody waits for what the station says. */
const askToBoot = (station: Station): Effect.Effect<unknown> =>
  station.call("TriggerMessage", { requestedMessage: "BootNotification" }).pipe(
    Effect.catch((error) => Effect.logDebug("the station was not asked to boot", error)),
    Effect.forkDetach,
  )

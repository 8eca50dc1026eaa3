/**
 * An upgrade request that waits for `auth`. It is decided once: by `auth`, by the time that may pass, or by the station that goes away.
 *
 * `auth` runs in a Scope of its own, which becomes that of the connection. One that cannot be interrupted does not hold up the decision.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Deadline, Deadlines } from "../connection/Deadlines.ts"
import * as supervised from "../connection/supervised.ts"
import type { Handshake } from "../Handshake.ts"
import { isRejected, type Rejected, reject, type Upgrade } from "./Upgrade.ts"

/** The server at whose door the station waits. */
export interface Doorkeeper {
  readonly deadlines: Deadlines
  readonly context: Context.Context<never>
  readonly root: Scope.Scope
  /** Called once, before one of the others. */
  readonly onDecided: (upgrade: PendingUpgrade) => void
  /** `auth` has let the station in. Whatever it has acquired is in the Scope, which is the server's from now on. */
  readonly onAccepted: (upgrade: PendingUpgrade, verdict: unknown, scope: Scope.Closeable) => void
  /** The station is not let in; a `defect` is a fault of `auth`. */
  readonly onRefused: (upgrade: PendingUpgrade, refusal: Rejected, defect?: Cause.Cause<unknown>) => void
}

export class PendingUpgrade implements Deadline {
  entry: Deadline["entry"]
  readonly upgrade: Upgrade
  readonly handshake: Handshake
  readonly #doorkeeper: Doorkeeper
  readonly #scope: Scope.Closeable
  #unwatch: (() => void) | undefined
  #fiber: Fiber.Fiber<unknown, Rejected> | undefined
  #isDecided = false
  /** The answer to the station when `auth` is interrupted. */
  #refusal = reject(503)

  constructor(doorkeeper: Doorkeeper, upgrade: Upgrade, handshake: Handshake) {
    this.#doorkeeper = doorkeeper
    this.upgrade = upgrade
    this.handshake = handshake
    this.#scope = Scope.forkUnsafe(doorkeeper.root)
  }

  /** @param timeout in milliseconds */
  start(auth: Effect.Effect<unknown, Rejected>, timeout: number): void {
    const { context, deadlines, root } = this.#doorkeeper
    const fiber = supervised.fork(root, Context.add(context, Scope.Scope, this.#scope), auth)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#onExit(exit)
    this.#fiber = fiber
    this.#unwatch = this.upgrade.watch(() => this.abandon())
    deadlines.wakeBy(this, deadlines.now() + timeout)
    fiber.addObserver((exit) => this.#onExit(exit))
  }

  #onExit(exit: Exit.Exit<unknown, Rejected>): void {
    if (this.#isDecided) return this.#release()
    if (exit._tag === "Success") {
      this.#decide()
      return this.#doorkeeper.onAccepted(this, exit.value, this.#scope)
    }
    const refusal = exit.cause.reasons.find(Cause.isFailReason)?.error
    if (isRejected(refusal)) this.#refuse(refusal)
    else if (Cause.hasInterruptsOnly(exit.cause)) this.#refuse(this.#refusal)
    else this.#refuse(reject(500), exit.cause)
    this.#release()
  }

  expire(): number {
    this.abandon(reject(503, "authentication took too long"))
    return Number.POSITIVE_INFINITY
  }

  /** Interrupts `auth`: the station has gone, the server closes, or it has taken too long. */
  abandon(refusal = reject(503)): void {
    this.#refusal = refusal
    this.#fiber?.interruptUnsafe()
    // One that cannot be interrupted goes on without a station.
    this.#refuse(refusal)
  }

  #refuse(refusal: Rejected, defect?: Cause.Cause<unknown>): void {
    if (this.#isDecided) return
    this.#decide()
    this.#doorkeeper.onRefused(this, refusal, defect)
  }

  #decide(): void {
    this.#isDecided = true
    this.#doorkeeper.deadlines.clear(this)
    this.#unwatch?.()
    this.#doorkeeper.onDecided(this)
  }

  /** Gives back what `auth` has acquired for a connection that does not come about. */
  #release(): void {
    const { context, root } = this.#doorkeeper
    supervised.close(this.#scope, root, context)
  }
}

/** A connection that is open when it is made, and closed for good when its transport closes. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as Action from "../Action.ts"
import type { Router } from "../Handlers.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import type { Validator } from "../Validator.ts"
import type { CloseInfo } from "./Closing.ts"
import type { Side } from "./Connection.ts"
import type { Environment } from "./Environment.ts"
import { State } from "./Lifecycle.ts"
import { Peer } from "./Peer.ts"
import { Rpc } from "./Rpc.ts"
import type { ConnectionOptions, Settings } from "./Settings.ts"

/** The parts of an {@link OpenConnection}. */
export interface Parts {
  readonly side: Side
  readonly identity: string
  readonly transport: Transport
  readonly subprotocol: Subprotocol
  readonly router: Router
  readonly options: ConnectionOptions
  readonly settings: Settings
  readonly environment: Environment
  /** The Scope that outlives the connection. */
  readonly root: Scope.Scope
}

export class OpenConnection<in out Self extends Side> extends Peer<Self> {
  readonly side: Side
  readonly identity: string
  readonly protocol: string
  readonly root: Scope.Scope
  protected override readonly rpc: Rpc
  readonly #context: Context.Context<never>
  #closed: Deferred.Deferred<CloseInfo> | undefined

  /** @param context the services of its handlers */
  constructor(parts: Parts, context: Context.Context<never>) {
    const { environment, identity, options, root, router, settings, side, subprotocol, transport } = parts
    super(options, settings, environment, "open")
    this.side = side
    this.identity = identity
    this.protocol = subprotocol.name
    this.root = root
    this.#context = context
    this.rpc = new Rpc(this, transport, subprotocol, router)
  }

  handlerContext(): Context.Context<never> {
    return this.#context
  }

  /** Called once, when it has closed. */
  protected onClosed(_info: CloseInfo): void {}

  get subprotocol(): Subprotocol {
    return this.rpc.subprotocol
  }

  /** Whether an action is one of the subprotocol's. */
  speaks(action: Action.Any): boolean {
    return this.subprotocol.actions.get(action.name) === action
  }

  /** Validates with another validator from now on, in strict mode. */
  validateWith(validator: Validator | undefined): void {
    this.rpc.conformance.validateWith(validator)
  }

  /** Takes a Scope that was made before the connection, with what has been acquired for it. */
  adopt(scope: Scope.Closeable): void {
    this.rpc.adopt(scope)
  }

  /** Runs a program of the user's in the connection's Scope, with the services of its handlers. A failure is logged. */
  run(program: () => Effect.Effect<unknown, unknown>, name: string): void {
    const logged = Effect.catchCause(Effect.suspend(program), (cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError(`${name} failed`, cause),
    )
    this.rpc.fork(logged)
  }

  /** Starts reading. */
  start(): void {
    if (this.state === State.OPEN) this.hub.emit({ _tag: "Open", protocol: this.protocol })
    this.rpc.start()
  }

  get closed(): Effect.Effect<CloseInfo> {
    return Effect.suspend(() => {
      if (this.state === State.CLOSED) return Effect.succeed(this.lifecycle.cause)
      this.#closed ??= Deferred.makeUnsafe()
      return Deferred.await(this.#closed)
    })
  }

  /** Succeeds when the handlers and finalizers have ended that were interrupted when it closed. */
  get ended(): Effect.Effect<void> {
    return this.rpc.ended
  }

  onGivingUp(cause: CloseInfo, force: boolean): void {
    this.beginClose({ ...cause, awaitPending: false, force })
  }

  onGone(info: CloseInfo): void {
    this.take("end", { _tag: "Disconnect", ...info })
    this.take("close", this.state === State.OPEN ? { _tag: "Closing" } : undefined)
    const fail = this.outbound.close(info)
    this.lifecycle.cause = info
    this.take("closed", { _tag: "Close", ...info })
    this.onClosed(info)
    if (this.#closed !== undefined) Deferred.doneUnsafe(this.#closed, Exit.succeed(info))
    fail()
  }
}

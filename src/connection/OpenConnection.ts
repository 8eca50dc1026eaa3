/**
 * A connection that is open when it is made, and closed for good when its transport closes: the server's side of things.
 */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Action from "../Action.ts"
import type { DisconnectedError } from "../ConnectionError.ts"
import type { Router } from "../Handlers.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import type { Validator } from "../Validator.ts"
import { type CloseInfo, type CloseOptions, sendable } from "./Closing.ts"
import type { Environment } from "./Environment.ts"
import { type Peer, PeerBase, type Side, State } from "./Peer.ts"
import { type Owner, Rpc } from "./Rpc.ts"
import type { Options, Settings } from "./Settings.ts"

/** What an {@link OpenConnection} is made of. */
export interface Parts {
  readonly side: Side
  readonly identity: string
  readonly transport: Transport
  readonly subprotocol: Subprotocol
  readonly router: Router
  readonly options: Options
  readonly settings: Settings
  readonly environment: Environment
}

/** A connection that is open when it is made, and closed for good when its transport closes. */
export abstract class OpenConnection<in out Self extends Side> extends PeerBase<Self> implements Peer<Self>, Owner {
  readonly side: Side
  readonly identity: string
  readonly protocol: string
  protected override readonly rpc: Rpc
  readonly #closed = Deferred.makeUnsafe<CloseInfo>()

  constructor({ subprotocol, environment, identity, options, router, settings, side, transport }: Parts) {
    super(options, settings, environment, State.OPEN)
    this.side = side
    this.identity = identity
    this.protocol = subprotocol.name
    this.rpc = new Rpc(this, transport, subprotocol, router)
  }

  abstract handlerContext(): Context.Context<never>

  /** Called once, when it has closed. */
  protected abstract onClosed(info: CloseInfo): void

  /** Whether an action is one of the subprotocol's. */
  speaks(action: Action.Any): boolean {
    return this.rpc.subprotocol.actions.get(action.name) === action
  }

  /** From now on this validator judges, in strict mode. */
  judgeBy(validator: Validator | undefined): void {
    this.rpc.conformance.judgeBy(validator)
  }

  /** Starts reading. */
  start(): void {
    if (this.state === State.OPEN) this.hub.emit({ _tag: "Open", protocol: this.protocol })
    this.rpc.start()
  }

  sendRaw(message: string | Uint8Array): Effect.Effect<void, DisconnectedError> {
    return Effect.suspend(() => {
      if (this.state === State.CLOSED) return this.gone
      return Effect.sync(() => this.rpc.sendRaw(message))
    })
  }

  close(options: CloseOptions = {}): Effect.Effect<CloseInfo> {
    return Effect.suspend(() => {
      this.startClose(sendable(options))
      return this.closed
    })
  }

  get closed(): Effect.Effect<CloseInfo> {
    return Deferred.await(this.#closed)
  }

  startClose(options: CloseOptions): void {
    const info = { code: options.code ?? 1000, reason: options.reason ?? "" }
    if (this.state === State.OPEN) {
      this.outbound.refuse(info)
      this.become(State.CLOSING, { _tag: "Closing" })
    }
    this.rpc.close(options)
    if (options.awaitPending !== true) this.outbound.close(info)()
  }

  /** The handlers that were interrupted when it closed have ended. */
  get ended(): Effect.Effect<void> {
    return this.rpc.ended
  }

  onFatal(info: CloseInfo): void {
    this.startClose(info)
  }

  onEnding(info: CloseInfo): void {
    this.startClose(info)
  }

  onGone(info: CloseInfo): void {
    this.hub.emit({ _tag: "Disconnect", ...info })
    if (this.state === State.OPEN) this.become(State.CLOSING, { _tag: "Closing" })
    const fail = this.outbound.close(info)
    this.become(State.CLOSED, { _tag: "Close", ...info })
    this.onClosed(info)
    Deferred.doneUnsafe(this.#closed, Exit.succeed(info))
    fail()
  }
}

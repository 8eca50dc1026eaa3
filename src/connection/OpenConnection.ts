/**
 * A connection that is open when it is made, and closed for good when its transport closes: the server's side of things.
 */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { DisconnectedError } from "../ConnectionError.ts"
import type { Router } from "../Handlers.ts"
import type * as Protocol from "../Protocol.ts"
import type { Transport } from "../Transport.ts"
import type { Alarms } from "./Alarms.ts"
import { type Peer, PeerBase, type Side, State } from "./Peer.ts"
import { type CloseInfo, type CloseOptions, Rpc } from "./Rpc.ts"
import type { Options, Settings } from "./Settings.ts"

/** What an {@link OpenConnection} is made of. */
export interface Parts {
  readonly identity: string
  readonly transport: Transport
  readonly protocol: Protocol.Protocol
  readonly options: Options
  readonly settings: Settings
  readonly router: Router
  /** What the handlers are given; made when the first of them runs. */
  readonly context: () => Context.Context<never>
  readonly alarms: Alarms
  /** Called once, when it has closed. */
  readonly onClose?: (info: CloseInfo) => void
}

/** A connection that is open when it is made, and closed for good when its transport closes. */
export class OpenConnection<in out Self extends Side> extends PeerBase<Self> implements Peer<Self> {
  readonly identity: string
  readonly protocol: string
  protected override readonly rpc: Rpc
  readonly #closed = Deferred.makeUnsafe<CloseInfo>()
  #state: State = State.OPEN

  constructor(parts: Parts) {
    const { alarms, context, options, protocol, router, settings, transport } = parts
    super(options, settings, alarms)
    this.identity = parts.identity
    this.protocol = protocol.name
    this.rpc = new Rpc({
      transport,
      protocol,
      settings,
      router,
      context,
      alarms,
      hub: this.hub,
      outbound: this.outbound,
      onFatal: (info) => this.startClose(info),
      onEnding: (info) => this.startClose(info),
      onClose: (info) => this.#onClose(info, parts.onClose),
    })
  }

  get state(): State {
    return this.#state
  }

  /** Starts reading. */
  start(): void {
    if (this.#state === State.OPEN) this.hub.emit({ _tag: "Open", protocol: this.protocol })
    this.rpc.start()
  }

  sendRaw(message: string | Uint8Array): Effect.Effect<void, DisconnectedError> {
    return Effect.suspend(() => {
      if (this.#state === State.CLOSED) return DisconnectedError.of(1006, "closed", false)
      return Effect.sync(() => this.rpc.sendRaw(message))
    })
  }

  close(options: CloseOptions = {}): Effect.Effect<CloseInfo> {
    return Effect.suspend(() => {
      this.startClose(options)
      return this.closed
    })
  }

  get closed(): Effect.Effect<CloseInfo> {
    return Deferred.await(this.#closed)
  }

  startClose(options: CloseOptions): void {
    if (this.#state === State.OPEN) {
      this.#state = State.CLOSING
      this.hub.emit({ _tag: "Closing" })
    }
    this.rpc.close(options)
    if (options.awaitPending !== true) this.outbound.close(options.code ?? 1000, options.reason ?? "")()
  }

  /** The handlers that were interrupted when it closed have ended. */
  get ended(): Effect.Effect<void> {
    return this.rpc.ended
  }

  #onClose(info: CloseInfo, tellOwner: Parts["onClose"]): void {
    this.hub.emit({ _tag: "Disconnect", ...info })
    if (this.#state === State.OPEN) this.hub.emit({ _tag: "Closing" })
    this.#state = State.CLOSED
    const fail = this.outbound.close(info.code, info.reason)
    this.hub.emit({ _tag: "Close", ...info })
    tellOwner?.(info)
    Deferred.doneUnsafe(this.#closed, Exit.succeed(info))
    fail()
  }
}

/** The connection of a station that a server has accepted. */
import * as Context from "effect/Context"
import type { CloseInfo } from "../connection/Closing.ts"
import { OpenConnection, type Parts } from "../connection/OpenConnection.ts"
import { type ConnectionOptions, checkStrictMode } from "../connection/Settings.ts"
import type { Handshake } from "../Handshake.ts"
import type { Subprotocol } from "../Subprotocol.ts"

/** The server that has accepted a station. */
export interface Acceptor {
  readonly protocols: ReadonlyArray<Subprotocol>
  /** The services of a station's handlers. */
  readonly contextOf: (station: AcceptedStation) => Context.Context<never>
  readonly remove: (station: AcceptedStation, info: CloseInfo) => void
}

export class AcceptedStation extends OpenConnection<"csms"> {
  /** What the station said of itself when it connected. */
  readonly handshake: Handshake
  /** The value with which `auth` succeeded. */
  readonly session: unknown
  /** The object as which a program of the promise face knows this station. */
  client: object | undefined = undefined
  readonly #acceptor: Acceptor

  constructor(parts: Parts, handshake: Handshake, session: unknown, acceptor: Acceptor) {
    super(parts, Context.empty())
    this.handshake = handshake
    this.session = session
    this.#acceptor = acceptor
  }

  override reconfigure(options: ConnectionOptions): void {
    checkStrictMode(options.strictMode, [this.subprotocol, ...this.#acceptor.protocols])
    super.reconfigure(options)
  }

  override handlerContext(): Context.Context<never> {
    return this.#acceptor.contextOf(this)
  }

  protected override onClosed(info: CloseInfo): void {
    this.#acceptor.remove(this, info)
  }
}

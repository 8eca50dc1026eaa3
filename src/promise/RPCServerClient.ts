/** A connected client, as its server sees it. */
import type { IncomingMessage } from "node:http"
import type { AcceptedStation } from "../core.ts"
import { type Handshake, readAll } from "../Handshake.ts"
import { protocolNamed, type RPCClientOptions, type SharedOptions } from "./options.ts"
import { RPCClient } from "./RPCClient.ts"

/** A handshake as it is documented: everything there, and the root as `/`. */
export const documented = (handshake: Handshake): Handshake => ({
  ...readAll(handshake),
  endpoint: handshake.endpoint || "/",
})

/** A client that a server has accepted. It cannot connect by itself. */
export class RPCServerClient<P extends string = string> extends RPCClient<P> {
  readonly #station: AcceptedStation
  #handshake: Handshake | undefined
  /** The value that was passed to `accept()`. */
  // biome-ignore lint/suspicious/noExplicitAny: documented as `*`
  readonly session: any

  /** @param options those of the server, checked and shared by all its clients */
  constructor(options: SharedOptions, station: AcceptedStation) {
    super(options, station.identity)
    this.#station = station
    // The socket keeps its peer's address beyond its own end for whoever has asked before.
    void station.handshake.remoteAddress
    this.session = station.session ?? {}
    this.attach(station)
  }

  /** What the client said of itself when it connected. */
  get handshake(): Handshake {
    this.#handshake ??= documented(this.#station.handshake)
    return this.#handshake
  }

  protected override reconfigurePeer(options: Partial<RPCClientOptions>, all: SharedOptions): void {
    super.reconfigurePeer(options, all)
    if (options.strictModeValidators === undefined) return
    this.#station.validateWith(protocolNamed(this.#station.protocol, options.strictModeValidators).validator)
  }

  override connect(): Promise<{ response: IncomingMessage | undefined }> {
    return Promise.reject(new Error("Cannot connect from server to client"))
  }
}

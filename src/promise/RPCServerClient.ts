/** A connected client, as its server sees it. */
import type { IncomingMessage } from "node:http"
import type { Handshake } from "../Handshake.ts"
import type { AcceptedStation } from "../server/StationServer.ts"
import type { RPCClientOptions } from "./options.ts"
import { RPCClient } from "./RPCClient.ts"

/** A client that a server has accepted. It cannot connect by itself. */
export class RPCServerClient<P extends string = string> extends RPCClient<P> {
  /** What the client said of itself when it connected. */
  readonly handshake: Handshake
  /** What was passed to `accept()`. */
  // biome-ignore lint/suspicious/noExplicitAny: documented as `*`
  readonly session: any

  constructor(options: RPCClientOptions, station: AcceptedStation) {
    super(options)
    this.handshake = { ...station.handshake, endpoint: station.handshake.endpoint || "/" }
    this.session = station.session ?? {}
    this.attach(station)
  }

  override connect(): Promise<{ response: IncomingMessage | undefined }> {
    return Promise.reject(new Error("Cannot connect from server to client"))
  }
}

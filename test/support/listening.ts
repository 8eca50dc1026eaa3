/** Servers and clients of the promise face on 127.0.0.1. They end with the test that made them. */
import type * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { onTestFinished } from "@effect/vitest"
import { RPCClient, type RPCClientOptions, RPCServer, type RPCServerClient, type RPCServerOptions } from "effect-ocpp"
import { WebSocketServer } from "ws"
import { next } from "./listeners.ts"
import { RawSocket } from "./RawSocket.ts"

/** The URL under which an HTTP server listens. */
export const endpointOf = (server: { address(): unknown }, scheme = "ws"): string =>
  `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`

/** A client that has not connected yet. */
export const makeClient = (endpoint: string, options: Partial<RPCClientOptions> = {}): RPCClient => {
  const client = new RPCClient({ endpoint, identity: "CP001", reconnect: false, ...options })
  onTestFinished(async () => void (await client.close({ force: true })))
  return client
}

/** A server that listens on a free port. */
export const listening = async (options: RPCServerOptions = {}) => {
  const server = new RPCServer(options)
  onTestFinished(() => server.close({ force: true }))
  const httpServer: Http.Server = await server.listen(0, "127.0.0.1")
  return { server, httpServer, endpoint: endpointOf(httpServer) }
}

/** Connects a client to a server, and gives both ends. `prepare` sees the server's end before anything is read. */
export const connected = async (
  serverOptions: RPCServerOptions = {},
  clientOptions: Partial<RPCClientOptions> = {},
  prepare: (client: RPCServerClient) => void = () => {},
) => {
  const { endpoint, httpServer, server } = await listening(serverOptions)
  server.on("client", prepare)
  const client = makeClient(endpoint, clientOptions)
  const [[station]] = await Promise.all([next(server, "client"), client.connect()])
  return { client, endpoint, httpServer, server, station: station as RPCServerClient }
}

/** A client of ours, connected to a server that is written out by hand. */
export const connectedToRaw = async (
  options: Partial<RPCClientOptions> = {},
  prepare?: (client: RPCClient) => void,
) => {
  const raw = new WebSocketServer({ port: 0, host: "127.0.0.1" })
  onTestFinished(() => {
    for (const socket of raw.clients) socket.terminate()
    raw.close()
  })
  await next(raw, "listening")
  const client = makeClient(endpointOf(raw), options)
  prepare?.(client)
  const accepted = new Promise<RawSocket>((resolve) =>
    raw.once("connection", (socket) => resolve(new RawSocket(socket))),
  )
  const [peer] = await Promise.all([accepted, client.connect()])
  return { client, peer, raw }
}

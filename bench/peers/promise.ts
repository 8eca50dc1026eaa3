/** The promise face, and whatever has the same documented API. */
import type { AddressInfo } from "node:net"
import type * as Face from "../../src/promise/index.ts"
import { command, measurement, type Peer } from "./Peer.ts"

type Library = Pick<typeof Face, "RPCClient" | "RPCServer">

export const peerOf = ({ RPCClient, RPCServer }: Library): Peer => ({
  serve: async ({ protocol, strict }) => {
    const clients: Array<Face.RPCServerClient> = []
    const server = new RPCServer({ protocols: [protocol], strictMode: strict })
    server.on("client", (client) => {
      client.handle(measurement[protocol].action, () => measurement[protocol].response)
      clients.push(client)
    })
    const httpServer = await server.listen(0, "127.0.0.1")
    const { action, payload } = command[protocol]
    return {
      port: (httpServer.address() as AddressInfo).port,
      callStations: async (goOn) => {
        await Promise.all(
          clients.map(async (client) => {
            while (goOn()) await client.call(action, payload)
          }),
        )
      },
    }
  },
  connect: async (port, identity, { concurrency, protocol, strict }) => {
    const client = new RPCClient({
      endpoint: `ws://127.0.0.1:${port}`,
      identity,
      protocols: [protocol],
      strictMode: strict,
      callConcurrency: concurrency,
      reconnect: false,
      wsOpts: { perMessageDeflate: false },
    })
    client.handle(command[protocol].action, () => command[protocol].response)
    await client.connect()
    const { action, payload } = measurement[protocol]
    return { call: () => client.call(action, payload), close: () => void client.close({ force: true }) }
  },
})

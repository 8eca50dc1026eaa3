/** The promise face, and whatever has the same documented API. */
import type { AddressInfo } from "node:net"
import { command, measurement, type Peer } from "./Peer.ts"

interface Client {
  handle: (method: string, handler: () => unknown) => void
  call: (method: string, params: unknown) => Promise<unknown>
  connect: () => Promise<unknown>
  close: (options: object) => Promise<unknown>
}

interface Library {
  RPCServer: new (
    options: object,
  ) => {
    on: (event: "client", listener: (client: Client) => void) => unknown
    listen: (port: number, host: string) => Promise<{ address: () => AddressInfo | string | null }>
  }
  RPCClient: new (options: object) => Client
}

export const peerOf = ({ RPCClient, RPCServer }: Library): Peer => ({
  serve: async ({ protocol, strict }) => {
    const clients: Array<Client> = []
    const server = new RPCServer({ protocols: [protocol], strictMode: strict })
    server.on("client", (client) => {
      client.handle(measurement[protocol].action, () => measurement[protocol].response)
      clients.push(client)
    })
    const httpServer = await server.listen(0, "127.0.0.1")
    const { action, payload } = command[protocol]
    return {
      port: (httpServer.address() as AddressInfo).port,
      callStations: async (times) => {
        await Promise.all(
          clients.map(async (client) => {
            for (let i = 0; i < times; i++) await client.call(action, payload)
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

import { done } from "./done.mjs"

/** A server and a client, up to the first strictly validated answer. */
export const start = async ({ RPCClient, RPCServer }) => {
  const options = { protocols: ["ocpp1.6"], strictMode: true }
  const server = new RPCServer(options)
  server.on("client", (client) => {
    client.handle("BootNotification", () => ({
      status: "Accepted",
      currentTime: new Date().toISOString(),
      interval: 300,
    }))
  })
  const httpServer = await server.listen(0, "127.0.0.1")
  const endpoint = `ws://127.0.0.1:${httpServer.address().port}`
  const client = new RPCClient({ ...options, endpoint, identity: "CP001" })
  await client.connect()
  await client.call("BootNotification", { chargePointVendor: "V", chargePointModel: "M" })
  done()
}

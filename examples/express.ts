/**
 * A CSMS beside an Express app, on one port: HTTP routes for operators, WebSockets for charging stations.
 * Run it: npx tsx examples/express.ts 3000
 */
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { RPCServer, type RPCServerClient } from "effect-ocpp/promise"
import express from "express"

export const start = async (port: number) => {
  const stations = new Map<string, RPCServerClient>()
  const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true })
  server.on("client", (client) => {
    const { identity } = client.handshake
    stations.set(identity, client)
    // A station that reconnects may be here again before its former connection has closed.
    client.once("close", () => stations.get(identity) === client && stations.delete(identity))
    const booted = () => ({ status: "Accepted", currentTime: new Date().toISOString(), interval: 300 })
    client.handle("BootNotification", booted)
  })

  const app = express()
  app.get("/stations", (_, response) => void response.json([...stations.keys()]))
  app.post("/stations/:identity/reset", async ({ params }, response) => {
    const station = stations.get(params.identity)
    if (station === undefined) return void response.status(404).json({ error: "not connected" })
    const fail = ({ message }: Error) => response.status(502).json({ error: message })
    await station.call("Reset", { type: "Soft" }).then((answer) => response.json(answer), fail)
  })

  const httpServer = app.listen(port).on("upgrade", server.handleUpgrade)
  await once(httpServer, "listening")
  const close = () => server.close({ code: 1001 }).then(() => once(httpServer.close(), "close"))
  return { port: (httpServer.address() as AddressInfo).port, close }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { close, port } = await start(Number(process.argv[2] ?? 3000))
  console.log(`Stations: ws://localhost:${port}/<identity>; operators: http://localhost:${port}/stations`)
  process.once("SIGINT", close).once("SIGTERM", close)
}

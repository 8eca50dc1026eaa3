/**
 * A CSMS beside a Fastify app, on one port: HTTP routes for operators, WebSockets for charging stations.
 * Run it: npx tsx examples/fastify.ts 3000
 */
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { RPCServer, type RPCServerClient } from "effect-ocpp/promise"
import fastify from "fastify"

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

  const app = fastify()
  app.get("/stations", () => [...stations.keys()])
  app.post<{ Params: { identity: string } }>("/stations/:identity/reset", async ({ params }, reply) => {
    const station = stations.get(params.identity)
    if (station === undefined) return reply.code(404).send({ error: "not connected" })
    return station.call("Reset", { type: "Soft" }).catch(({ message }) => reply.code(502).send({ error: message }))
  })

  app.server.on("upgrade", server.handleUpgrade)
  // Fastify waits for every connection to end, so the stations go first.
  app.addHook("preClose", () => server.close({ code: 1001 }))
  await app.listen({ port, host: "0.0.0.0" })
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { close, port } = await start(Number(process.argv[2] ?? 3000))
  console.log(`Stations: ws://localhost:${port}/<identity>; operators: http://localhost:${port}/stations`)
  process.once("SIGINT", close).once("SIGTERM", close)
}

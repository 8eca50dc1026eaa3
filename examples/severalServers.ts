/**
 * One HTTP server: a CSMS for each version of OCPP by path, and a WebSocket endpoint of another kind beside them.
 * Run it: npx tsx examples/severalServers.ts 3000
 */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { RPCServer } from "effect-ocpp/promise"
import { WebSocketServer } from "ws"

export const start = async (port: number) => {
  const ocpp16 = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true })
  const ocpp201 = new RPCServer({ protocols: ["ocpp2.0.1"], strictMode: true })
  const live = new WebSocketServer({ noServer: true }).on("connection", (viewer) => viewer.on("error", console.error))
  for (const server of [ocpp16, ocpp201]) {
    server.on("client", (client) => {
      for (const viewer of live.clients) viewer.send(`${client.identity} has connected with ${client.protocol}`)
      client.handle("Heartbeat", () => ({ currentTime: new Date().toISOString() }))
    })
  }
  const httpServer = createServer((_, response) => response.writeHead(404).end())
  httpServer.on("upgrade", (request, socket, head) => {
    const path = request.url?.split("?")[0] ?? ""
    if (path.startsWith("/ocpp16/")) return ocpp16.handleUpgrade(request, socket, head)
    if (path.startsWith("/ocpp201/")) return ocpp201.handleUpgrade(request, socket, head)
    if (path === "/live") return live.handleUpgrade(request, socket, head, (viewer) => live.emit("connection", viewer))
    socket.on("error", console.error).end("HTTP/1.1 404 Not Found\r\n\r\n", () => socket.destroy())
  })
  await once(httpServer.listen(port), "listening")
  const close = async () => {
    for (const viewer of live.clients) viewer.close(1001)
    await Promise.all([ocpp16.close({ code: 1001 }), ocpp201.close({ code: 1001 })])
    await once(httpServer.close(), "close")
  }
  return { port: (httpServer.address() as AddressInfo).port, close }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { close, port } = await start(Number(process.argv[2] ?? 3000))
  console.log(`Stations: ws://localhost:${port}/ocpp16/<identity> and /ocpp201/<identity>; viewers: /live`)
  process.once("SIGINT", close).once("SIGTERM", close)
}

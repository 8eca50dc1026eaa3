/**
 * A CSMS in plain JavaScript: whoever plugs in may charge.
 * Run it: npm run build && node examples/plain.mjs 3000
 */
import { fileURLToPath } from "node:url"
import { createRPCError, RPCServer } from "effect-ocpp/promise"

export const start = async (port) => {
  const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true })
  server.auth((accept, reject, { identity, password }) => {
    if (password?.toString() === "secret") accept({ owner: identity })
    else reject(401)
  })
  server.on("client", (client) => {
    const charge = (connectorId) =>
      client.call("RemoteStartTransaction", { connectorId, idTag: "FREE" }).then(
        ({ status }) => console.log(`${client.identity} was asked to charge: ${status}`),
        (error) => console.error(`${client.identity} was not asked to charge: ${error.message}`),
      )
    client.handle("BootNotification", ({ params }) => {
      console.log(`${client.identity} is a ${params.chargePointModel}`)
      return { status: "Accepted", currentTime: new Date().toISOString(), interval: 300 }
    })
    client.handle("StatusNotification", ({ params }) => {
      if (params.status === "Preparing") charge(params.connectorId)
      return {}
    })
    client.handle(({ method }) => {
      throw createRPCError("NotImplemented", `${method} is not for me`)
    })
  })
  const httpServer = await server.listen(port)
  return { port: httpServer.address().port, close: () => server.close({ code: 1001 }) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { close, port } = await start(Number(process.argv[2] ?? 3000))
  console.log(`Stations: ws://localhost:${port}/<identity>, with the password "secret"`)
  process.once("SIGINT", close).once("SIGTERM", close)
}

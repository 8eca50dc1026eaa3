/**
 * A charging station in plain JavaScript, for the CSMS of plain.mjs: it boots, and a car is plugged in.
 * Run it: npm run build && node examples/plainStation.cjs 3000
 */
const { RPCClient } = require("effect-ocpp/promise")

exports.start = async (port) => {
  const client = new RPCClient({
    endpoint: `ws://localhost:${port}`,
    identity: "CP001",
    password: "secret",
    protocols: ["ocpp1.6"],
    strictMode: true,
  })
  client.handle("RemoteStartTransaction", ({ params }) => {
    console.log(`${params.idTag} charges at connector ${params.connectorId}`)
    return { status: "Accepted" }
  })
  client.on("disconnect", ({ code }) => console.log(`The connection is lost: ${code}`))
  await client.connect()
  const boot = await client.call("BootNotification", { chargePointVendor: "Example", chargePointModel: "Plain" })
  console.log(`The CSMS has answered: ${boot.status}`)
  await client.call("StatusNotification", { connectorId: 1, errorCode: "NoError", status: "Preparing" })
  return { port, close: () => client.close() }
}

if (require.main === module) {
  exports.start(Number(process.argv[2] ?? 3000)).then(
    ({ close }) => process.once("SIGINT", close).once("SIGTERM", close),
    (error) => {
      console.error(error.message)
      process.exitCode = 1
    },
  )
}

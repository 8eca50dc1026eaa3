/**
 * A whole session frame by frame: a CSMS and a station talk, then the CSMS serves whoever connects, until Ctrl-C.
 * Run it: npm start; or npm run demo, which ends after the session; `-- --port 3001` listens elsewhere
 */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { Ocpp16, Server } from "effect-ocpp"
import * as Csms from "./csms.ts"
import { runMain } from "./main.ts"
import { printFrames } from "./printFrames.ts"
import * as Station from "./station.ts"

const { values } = parseArgs({ options: { once: { type: "boolean" }, port: { type: "string", default: "3000" } } })

const demo = Effect.gen(function* () {
  const csms = yield* Server.Server
  printFrames(csms)
  const endpoint = `ws://localhost:${csms.port}`
  console.log(`The CSMS listens on ${endpoint}/<identity> for ocpp2.1, ocpp2.0.1 and ocpp1.6.\n`)

  yield* Effect.scoped(
    Effect.gen(function* () {
      yield* Station.session(yield* Station.connect(endpoint, "CP001"))
      const station = yield* csms.station("CP001")
      const { status } = yield* station.call(Ocpp16.RemoteStartTransaction, { idTag: "04E3A2B1", connectorId: 1 })
      console.log(`            the station has answered the remote command: ${status}`)
    }),
  )

  if (values.once) return
  console.log("\nThe session is over. The CSMS serves whoever connects; Ctrl-C ends it.\n")
  yield* Effect.never
}).pipe(Effect.provide(Csms.layer(Number(values.port))))

runMain(
  Effect.catchTag(demo, "ListenError", ({ message }) =>
    Effect.sync(() => {
      console.error(`${message}\nAnother port: npm start -- --port 3001`)
      process.exit(1)
    }),
  ),
)

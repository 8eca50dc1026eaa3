/**
 * A CSMS and a charging station talk to each other on ws://localhost:3000; then the CSMS goes on serving whoever
 * connects, until Ctrl-C. `--once` ends after the session; `--port` listens elsewhere.
 */
import { parseArgs } from "node:util"
import { Effect, Runtime } from "effect"
import { Ocpp16, Server } from "effect-ocpp"
import * as Csms from "./csms.ts"
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

/** Runs to the end, or to the first signal, which interrupts: then every Scope closes before the process exits. */
const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let received = false
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (received) process.exit(130)
      received = true
      console.log("\nClosing; once more to leave at once.")
      fiber.interruptUnsafe()
    })
  }
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(received ? 0 : code)))
})

runMain(
  Effect.catchTag(demo, "ListenError", ({ message }) =>
    Effect.sync(() => {
      console.error(`${message}\nAnother port: npm start -- --port 3001`)
      process.exit(1)
    }),
  ),
)

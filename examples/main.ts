/**
 * Runs an Effect as the program, until it ends or a signal interrupts it: then every Scope closes before the process exits.
 * Used by the others, as they would use `NodeRuntime.runMain` of `@effect/platform-node`.
 */
import { fileURLToPath } from "node:url"
import { Effect, Layer, Runtime } from "effect"
import { Server } from "effect-ocpp"

export const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
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

/** Runs the program of a module, unless that is imported. It is given what stands behind the module's name. */
export const main = <A, E>(url: string, program: (...args: ReadonlyArray<string>) => Effect.Effect<A, E>): void => {
  if (process.argv[1] === fileURLToPath(url)) runMain(program(...process.argv.slice(2)))
}

/** Runs a CSMS for ever, and logs where it listens and who comes and goes. */
export const launch = <E>(csms: Layer.Layer<Server.Server, E>): Effect.Effect<never, E> =>
  Effect.gen(function* () {
    const { port } = yield* Server.Server
    yield* Effect.log(`Stations: ws://localhost:${port}/<identity>`)
    return yield* Effect.never
  }).pipe(Effect.provide(Layer.provideMerge(Server.layerLogging, csms)))

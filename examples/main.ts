/**
 * Runs an Effect as the program, until it ends or a signal interrupts it: then every Scope closes before the process exits.
 * Used by the others, as they would use `NodeRuntime.runMain` of `@effect/platform-node`.
 */
import { fileURLToPath } from "node:url"
import { type Effect, Runtime } from "effect"

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

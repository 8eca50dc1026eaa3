/** The other end of a `Child`: performs what the driver asks, and tells it what must never happen. */
import type { Commands } from "./Child.ts"

export const fault = (text: string): void => {
  if (process.connected) process.send?.({ fault: text })
  else console.error(text)
}

const textOf = (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error))

process.on("unhandledRejection", (reason) => fault(`unhandled rejection: ${textOf(reason)}`))
process.on("uncaughtException", (error) => fault(`uncaught exception: ${textOf(error)}`))
process.on("warning", (warning) => fault(`warning: ${warning.message}`))

/** Answers the driver's commands, one message each. */
export const perform = (commands: Commands): void => {
  const run = commands as Readonly<Record<string, (argument: unknown) => unknown>>
  process.on("message", async ({ argument, id, name }: { id: number; name: string; argument: unknown }) => {
    try {
      process.send?.({ id, value: await run[name]?.(argument) })
    } catch (error) {
      process.send?.({ id, error: textOf(error) })
    }
  })
}

/** What a process holds after four forced collections, in bytes. */
export interface Memory {
  readonly heap: number
  readonly rss: number
}

export const memory = (): Memory => {
  for (let i = 0; i < 4; i++) globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed, rss }
}

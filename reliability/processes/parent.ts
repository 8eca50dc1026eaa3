/** The other end of a `Child`: performs commands, and tells the driver about everything that must never happen. */
import type { Commands, Question, Reply } from "./commands.ts"

const send = (reply: Reply): void => {
  if (process.connected) process.send?.(reply)
  else if ("fault" in reply) console.error(reply.fault)
}

export const fault = (text: string): void => send({ fault: text })

const textOf = (error: unknown): string => {
  try {
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  } catch {
    return "an error that cannot be read"
  }
}

process.on("unhandledRejection", (reason) => fault(`unhandled rejection: ${textOf(reason)}`))
process.on("uncaughtException", (error) => fault(`uncaught exception: ${textOf(error)}`))
process.on("warning", (warning) => fault(`warning: ${textOf(warning)}`))

/** Performs the driver's commands. The process ends when its driver does; when it is left alone, as soon as nothing keeps it. */
export const perform = (commands: Commands): void => {
  const table = commands as Readonly<Record<string, (argument: unknown) => unknown>>
  process.on("message", async (question: Question) => {
    if ("leave" in question) return leave()
    const { argument, id, name } = question
    try {
      send({ id, value: await table[name]?.(argument) })
    } catch (error) {
      send({ id, error: textOf(error) })
    }
  })
  process.on("disconnect", () => process.exit())
}

const leave = (): void => {
  process.removeAllListeners("disconnect")
  process.disconnect()
}

/** The memory of a process after four forced collections, in bytes. */
export interface Memory {
  readonly heap: number
  readonly external: number
  readonly rss: number
}

/** Measures the memory of this process. Between collections a turn passes, in which finalizers run. */
export const memory = async (): Promise<Memory> => {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { external, heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed, external, rss }
}

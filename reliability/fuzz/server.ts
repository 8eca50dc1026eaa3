/**
 * The process under attack: a server as it is published. It answers questions of its parent about itself, and tells what
 * nobody has caught.
 */
import type * as Library from "../../src/index.ts"

/** What the parent starts it with: the responses of its handlers, by subprotocol and action. */
export interface Setup {
  readonly responses: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly strictMode: ReadonlyArray<string>
}

/** What it says of itself. */
export interface Condition {
  readonly port: number
  readonly stations: number
  readonly timers: number
  /** What nobody has caught, and warnings. */
  readonly uncaught: ReadonlyArray<string>
}

const { Effect, Scope } = await import("effect")
const { Handlers, Ocpp16, Ocpp21, Ocpp201, Server }: typeof Library = await import(
  new URL("../../dist/index.js", import.meta.url).href
)

const uncaught: Array<string> = []
const note = (kind: string) => (reason: unknown) => {
  uncaught.push(`${kind}: ${reason instanceof Error ? reason.stack : String(reason)}`)
}
process.on("uncaughtException", note("uncaughtException"))
process.on("unhandledRejection", note("unhandledRejection"))
process.on("warning", note("warning"))

const start = ({ responses, strictMode }: Setup) =>
  Effect.tap(
    Server.make({
      protocols: [Ocpp16, Ocpp201, Ocpp21],
      strictMode,
      handlers: (station) => {
        const own = new Map(Object.entries(responses[station.protocol] ?? {}))
        return [Handlers.dynamic((action) => (own.has(action) ? () => Effect.succeed(own.get(action)) : undefined))]
      },
      auth: ({ identity }) =>
        Effect.andThen(nextTurn, identity === "refused" ? Server.reject(401) : Effect.succeed({})),
    }),
    (server) => server.listen({ port: 0, host: "127.0.0.1" }),
  )

/** What a station sends ahead meets a server that is still deciding. */
const nextTurn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const conditionOf = async (server: Library.Server.Server): Promise<Condition> => ({
  port: server.port as number,
  stations: (await Effect.runPromise(server.stations)).length,
  timers: process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length,
  uncaught,
})

const scope = Scope.makeUnsafe()
process.once("message", async (setup: Setup) => {
  const server = await Effect.runPromise(Scope.provide(start(setup), scope))
  process.on("message", async () => process.send?.(await conditionOf(server)))
  process.send?.(await conditionOf(server))
})
process.on("disconnect", () => process.exit())

/** The process under attack: a server as it is published, which answers questions about itself. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type * as Library from "../../src/index.ts"
import { library } from "../processes/library.ts"
import { perform } from "../processes/parent.ts"

/** The responses of its handlers, by subprotocol and action, and the subprotocols that are validated. */
export interface Setup {
  readonly responses: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly strictMode: ReadonlyArray<string>
}

export interface Condition {
  readonly stations: number
  readonly timers: number
}

const { Handlers, Ocpp16, Ocpp21, Ocpp201, Server } = library

/** Messages that a station sends ahead meet a server that is still deciding. */
const nextTurn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const make = ({ responses, strictMode }: Setup) =>
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

let server: Library.Server.Server

export const commands = {
  /** Gives the port. */
  start: async (setup: Setup): Promise<number> => {
    server = await Effect.runPromise(Scope.provide(make(setup), Scope.makeUnsafe()))
    return server.port as number
  },
  condition: async (): Promise<Condition> => ({
    stations: (await Effect.runPromise(server.stations)).length,
    timers: process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length,
  }),
}

perform(commands)

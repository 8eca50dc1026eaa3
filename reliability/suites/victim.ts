/** The CSMS that is tested by the tools. */
import type { Server as HttpServer } from "node:http"
import type { TlsOptions } from "node:tls"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { library } from "../processes/library.ts"
import { perform } from "../processes/parent.ts"

const { Handlers, Ocpp16, Ocpp201, Server } = library

export interface Setting {
  /** In bytes; default: the library's. */
  readonly maxPayload?: number
  /** Whether a station that offers no subprotocol gets 400 in place of a handshake. Default `false`. */
  readonly refuseWithoutProtocol?: boolean
  readonly tls?: Pick<TlsOptions, "cert" | "key">
}

const now = () => Effect.sync(() => ({ currentTime: new Date().toISOString() }))
const accepted = { idTagInfo: { status: "Accepted" } } as const

const handlers = [
  Handlers.make(Ocpp16, {
    BootNotification: () => Effect.map(now(), (time) => ({ ...time, status: "Accepted", interval: 60 }) as const),
    Heartbeat: now,
    Authorize: () => Effect.succeed(accepted),
    StartTransaction: () => Effect.succeed({ ...accepted, transactionId: 1 }),
  }),
  Handlers.make(Ocpp201, { Heartbeat: now }),
]

const scope = Scope.makeUnsafe()
let httpServer: HttpServer

const listen = async ({ maxPayload, refuseWithoutProtocol = false, tls }: Setting): Promise<number> => {
  const listening = Effect.gen(function* () {
    const server = yield* Server.make({
      protocols: [Ocpp201, Ocpp16],
      handlers,
      strictMode: true,
      auth: ({ protocols }) =>
        refuseWithoutProtocol && protocols.size === 0 ? Effect.fail(Server.reject(400)) : Effect.void,
      ...(maxPayload === undefined ? undefined : { maxPayload }),
    })
    httpServer = yield* server.listen({ host: "127.0.0.1", ...(tls === undefined ? undefined : { tls }) })
    return server.port as number
  })
  return Effect.runPromise(Scope.provide(listening, scope))
}

/** Counts the sockets that the server holds. */
const sockets = () =>
  new Promise<number>((resolve, reject) => {
    httpServer.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
  })

export const commands = { listen, sockets, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }

perform(commands)

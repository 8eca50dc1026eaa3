/** The CSMS of a soak: it restarts when it is told to, and keeps its account. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Server } from "../../src/index.ts"
import { library } from "../processes/library.ts"
import { perform } from "../processes/parent.ts"
import { callTimeout, identityOf, type Plan, type Remote, Traffic, vendorId } from "./Traffic.ts"

const { Handlers, Ocpp16, Server: Servers } = library

let traffic: Traffic
let server: Server.Server
let scope: Scope.Closeable
let port = 0
const connected = new Map<string, Server.Station>()

const handlers = Handlers.make(Ocpp16, {
  DataTransfer: Effect.fnUntraced(function* ({ data = "" }) {
    return yield* traffic.handle((yield* Servers.Station).identity, data)
  }),
})

const listen = async () => {
  scope = Scope.makeUnsafe()
  const made = Servers.make({
    protocols: [Ocpp16],
    handlers: [handlers],
    strictMode: true,
    callTimeout,
    pingInterval: 5_000,
    shutdownGrace: 1_000,
    auth: ({ identity, password }) =>
      password?.toString() === identity ? Effect.void : Effect.fail(Servers.reject(401)),
  })
  server = await Effect.runPromise(Scope.provide(made, scope))
  server.subscribe((event) => {
    if (event._tag === "Connected") connected.set(event.station.identity, event.station)
    // The end of a connection that has been replaced is not the end of its successor.
    if (event._tag === "Disconnected" && connected.get(event.station.identity) === event.station) {
      connected.delete(event.station.identity)
    }
  })
  await Effect.runPromise(server.listen({ port, host: "127.0.0.1" }))
  port = server.port as number
}

/** Gracefully, or as after a fault: every socket destroyed, calls in flight lost. */
const restart = async (gracefully: boolean) => {
  if (!gracefully) await Effect.runPromise(server.close({ force: true }))
  await Effect.runPromise(Scope.close(scope, Exit.void))
  await listen()
}

const remoteOf = (station: number): Remote => {
  const identity = identityOf(station)
  return {
    connected: () => connected.has(identity),
    call: (data) =>
      Effect.flatMap(
        Effect.suspend(() => server.station(identity)),
        (found) => found.call(Ocpp16.DataTransfer, { vendorId, data }),
      ),
    cut: (reset) => {
      const socket = connected.get(identity)?.handshake.request.socket
      if (reset) socket?.resetAndDestroy()
      else socket?.destroy()
    },
  }
}

export const commands = {
  prepare: async (plan: Plan): Promise<number> => {
    traffic = new Traffic(plan, remoteOf)
    await listen()
    return port
  },
  start: () => traffic.start(),
  pause: () => traffic.pause(),
  connected: () => traffic.connected(),
  sample: () => traffic.sample(),
  restart,
  finish: () => Effect.runPromise(Scope.close(scope, Exit.void)),
}

perform(commands)

/** The stations of a soak: as many clients, each of which comes back when it is cut off. */
import { connect, type NetConnectOpts, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Client } from "../../src/index.ts"
import { library } from "../processes/library.ts"
import { perform } from "../processes/parent.ts"
import { inParallel } from "../support/inParallel.ts"
import { callTimeout, identityOf, type Plan, type Remote, Traffic, vendorId } from "./Traffic.ts"

const { Backoff, Client: Clients, Handlers, Ocpp16 } = library

/** An open connection (`State.OPEN`). */
const open = 1

let traffic: Traffic
const scope = Scope.makeUnsafe()
const clients: Array<Client.Client> = []
const sockets: Array<Socket> = []

const reconnect = Backoff.ocpp({ waitMinimum: 500, randomRange: 1_000, repeatTimes: 3 })

const handlers = Handlers.make(Ocpp16, {
  DataTransfer: Effect.fnUntraced(function* ({ data = "" }) {
    return yield* traffic.handle((yield* Clients.Client).identity, data)
  }),
})

const connectStation = async (station: number, port: number) => {
  const identity = identityOf(station)
  const made = Clients.make({
    endpoint: `ws://127.0.0.1:${port}`,
    identity,
    password: identity,
    protocols: [Ocpp16],
    handlers: [handlers],
    strictMode: true,
    callTimeout,
    pingInterval: 5_000,
    reconnect,
    webSocket: {
      createConnection: ((options: NetConnectOpts) => {
        const socket = connect(options)
        sockets[station] = socket
        return socket
      }) as typeof connect,
    },
  })
  clients[station] = await Effect.runPromise(Scope.provide(made, scope))
}

/** As many handshakes at a time as a server's backlog takes without loss. */
const handshakes = 64

const remoteOf = (station: number): Remote => ({
  connected: () => clients[station]?.state === open,
  call: (data) => clients[station]!.call(Ocpp16.DataTransfer, { vendorId, data }),
  cut: (reset) => {
    if (reset) sockets[station]?.resetAndDestroy()
    else sockets[station]?.destroy()
  },
})

export const commands = {
  prepare: async ({ plan, port }: { readonly plan: Plan; readonly port: number }): Promise<void> => {
    traffic = new Traffic(plan, remoteOf)
    await inParallel(plan.stations, handshakes, (station) => connectStation(station, port))
  },
  start: () => traffic.start(),
  pause: () => traffic.pause(),
  connected: () => traffic.connected(),
  sample: () => traffic.sample(),
  finish: () => Effect.runPromise(Scope.close(scope, Exit.void)),
}

perform(commands)

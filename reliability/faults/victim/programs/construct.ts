/** Constructs servers and stations with options that may be wrong. They open nothing, so they need not be closed. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { library } from "../../../processes/library.ts"
import type { Face, Options } from "../commands.ts"
import { everyProtocol, messageOf } from "../Subject.ts"

const { Client, Ocpp16, RPCClient, RPCServer, Server } = library

export interface Construction {
  readonly face: Face
  readonly role: "server" | "station"
  readonly options: Options
  /** JSON text of options to use in their place: for keys that structured clone loses. */
  readonly json?: string
}

const make = ({ face, options, role }: Construction): void => {
  const endpoint = "ws://127.0.0.1:1"
  const identity = "CP001"
  if (face === "promise") {
    const common = { protocols: everyProtocol, ...options }
    role === "server" ? new RPCServer(common) : new RPCClient({ endpoint, identity, ...common })
  } else if (role === "server") {
    Effect.runSync(Scope.provide(Server.make({ protocols: [Ocpp16], ...options }), Scope.makeUnsafe()))
  } else {
    const all = { endpoint, identity, protocols: [Ocpp16], reconnect: false, ...options } as const
    Effect.runSync(Scope.provide(Client.makeUnconnected(Client.dialler(all), all), Scope.makeUnsafe()))
  }
}

/** The reason why the options were refused; `undefined` when they were taken. */
export const refusalOf = (construction: Construction): string | undefined => {
  const { json } = construction
  try {
    make(json === undefined ? construction : { ...construction, options: JSON.parse(json) })
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** Whether `Object.prototype` is as it was. */
export const isPrototypeClean = (): boolean => Object.keys(Object.prototype).length === 0 && !("polluted" in {})

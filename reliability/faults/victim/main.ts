/** The process that is attacked: servers and stations of either face, as the library is built. */
import { getEventListeners, setMaxListeners } from "node:events"
import { performance } from "node:perf_hooks"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { release } from "./behaviours.ts"
import {
  type Argument,
  type CallSetup,
  type Face,
  type Options,
  run,
  type StationSetup,
  type VictimCommands,
} from "./Program.ts"
import { simulate } from "./victim/backoff.ts"
import { EffectServer, EffectStation } from "./victim/effectFace.ts"
import { Fleet } from "./victim/Fleet.ts"
import { PromiseServer, PromiseStation } from "./victim/promiseFace.ts"
import { everyProtocol, library, messageOf, payloadOf, type Subject, settle, tally, totals } from "./victim/Subject.ts"
import { jump } from "./victim/wallClock.ts"

const subjects = new Map<number, Subject>()
let made = 0

const enter = (subject: Subject): number => {
  subjects.set(++made, subject)
  return made
}

const subjectOf = ({ on }: { readonly on: number }): Subject => {
  const subject = subjects.get(on)
  if (subject === undefined) throw new Error(`nothing is numbered ${on}`)
  return subject
}

const stationOf = ({ face = "effect" }: StationSetup) =>
  face === "effect" ? new EffectStation() : new PromiseStation()

/** On the promise face a failed connect rejects with the error of the socket, as documented. */
const isSocketError = (error: unknown): boolean => error instanceof Error

const dial = async (setup: StationSetup) => {
  const station = stationOf(setup)
  const outcome = await settle(station.start(setup), setup.face === "promise" ? isSocketError : undefined)
  return { station, outcome }
}

const stationsOf = ({ on }: { readonly on: number }): Fleet => {
  const fleet = subjectOf({ on })
  if (fleet instanceof Fleet) return fleet
  throw new Error(`${on} is no fleet`)
}

/** Who takes a call back knows why it has failed. */
const isTakenBack = ({ abortAfter }: CallSetup) => abortAfter !== undefined

const callAborted = async (setup: Argument<VictimCommands, "callAborted">) => {
  const { abortion, times = 1 } = setup
  const subject = subjectOf(setup)
  const controller = new AbortController()
  // Effect adds a listener of its own for each fiber.
  if (subject.face === "effect") setMaxListeners(0, controller.signal)
  let abortedAt = performance.now()
  const abort = () => {
    abortedAt = performance.now()
    controller.abort()
  }
  if (abortion === "before") abort()
  const calls = Array.from({ length: times }, () => settle(subject.call(setup, controller.signal), () => true))
  if (abortion === "meanwhile") {
    await new Promise((resolve) => setImmediate(resolve))
    abort()
  }
  const outcomes = await Promise.all(calls)
  const listeners = getEventListeners(controller.signal, "abort").length
  return { tags: tally(outcomes), listeners, took: performance.now() - abortedAt }
}

const dialOften = async (setup: Argument<VictimCommands, "dialOften">) => {
  const tags: Record<string, number> = {}
  let left = setup.times
  const worker = async () => {
    while (left-- > 0) {
      const { outcome, station } = await dial(setup)
      const tag = outcome.ok ? "connected" : outcome.tag
      tags[tag] = (tags[tag] ?? 0) + 1
      await station.shutdown()
    }
  }
  await Promise.all(Array.from({ length: setup.together }, worker))
  return { tags }
}

/** What is constructed opens nothing, so nothing of it needs to be closed. */
const construct = (face: Face, role: "server" | "station", options: Options): void => {
  const { Client, Ocpp16, RPCClient, RPCServer, Server } = library
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

const collect = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

run<VictimCommands>({
  serve: async (setup) => {
    const server = setup.face === "promise" ? new PromiseServer() : new EffectServer()
    const port = await server.start(setup)
    return { id: enter(server), port }
  },
  dial: async (setup) => {
    const { outcome, station } = await dial(setup)
    return { id: enter(station), outcome }
  },
  call: async (setup) => {
    const subject = subjectOf(setup)
    const { times = 1 } = setup
    const call = (_: unknown, n: number) =>
      settle(subject.call({ ...setup, payload: payloadOf(setup, n) }), () => isTakenBack(setup))
    return Promise.all(Array.from({ length: times }, call))
  },
  fleet: async (setup) => {
    const fleet = new Fleet()
    const tags = await fleet.start(setup)
    return { id: enter(fleet), tags }
  },
  callEach: (setup) => stationsOf(setup).callEach(setup),
  callAborted,
  dialOften,
  close: (what) => settle(subjectOf(what).close(what.options ?? {})),
  shutdown: (what) => settle(subjectOf(what).shutdown()),
  construct: ({ face, json, options, role }) => {
    try {
      construct(face, role, json === undefined ? options : JSON.parse(json))
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  },
  events: (what) =>
    subjectOf(what).seen.filter(({ identity }) => what.identity === undefined || what.identity === identity),
  eventCounts: (what) => Object.fromEntries(subjectOf(what).counts),
  connectedAt: (what) => subjectOf(what).connectedAt,
  repeated: (what) => subjectOf(what).repeated,
  handled: (what) => subjectOf(what).handled,
  handledCount: (what) => subjectOf(what).handledCount,
  authCount: (what) => subjectOf(what).authCount,
  release: () => release(),
  counters: () => {
    const resources: Record<string, number> = {}
    for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
    const stations = [...subjects.values()].reduce((sum, { connected }) => sum + connected, 0)
    return {
      stations,
      handlers: totals.handlers,
      auths: totals.auths,
      calls: totals.calls,
      fibers: totals.fibers,
      untyped: totals.untyped,
      resources,
    }
  },
  memory: async () => {
    await collect()
    const { external, heapUsed, rss } = process.memoryUsage()
    return { heapUsed, external, rss }
  },
  jump: ({ by }) => jump(by),
  leave: () => {
    process.removeAllListeners("disconnect")
    setImmediate(() => process.disconnect())
  },
  simulateBackoff: ({ sequences }) => simulate(sequences),
  isClean: () => Object.keys(Object.prototype).length === 0 && !("polluted" in {}),
})

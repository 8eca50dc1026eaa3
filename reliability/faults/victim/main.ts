/** The process that is attacked: servers and stations of either face, as the library is built. */
import { memory, perform } from "../../processes/parent.ts"
import { release } from "./behaviours.ts"
import type { CallSetup, VictimCommands } from "./commands.ts"
import { EffectServer } from "./effectFace.ts"
import { Fleet } from "./Fleet.ts"
import { PromiseServer } from "./promiseFace.ts"
import { payloadOf, settle, totals } from "./Subject.ts"
import { connections, dial, enter, subjectOf } from "./table.ts"

const fleetOf = (what: { readonly on: number }): Fleet => {
  const subject = subjectOf(what)
  if (subject instanceof Fleet) return subject
  throw new Error(`${what.on} is no fleet`)
}

/** A caller that takes its call back knows why it has failed. */
const isTakenBack = ({ abortAfter }: CallSetup) => abortAfter !== undefined

type Performed<C> = {
  readonly [K in keyof C]: C[K] extends (what: infer A) => infer B ? (what: A) => B | Promise<B> : never
}

const commands: Performed<VictimCommands> = {
  serve: async (setup) => {
    const server = setup.face === "promise" ? new PromiseServer() : new EffectServer()
    const port = await server.start(setup)
    return { id: enter(server), port }
  },
  dial: async (setup) => {
    const { outcome, station } = await dial(setup)
    return { id: enter(station), outcome }
  },
  fleet: async (setup) => {
    const fleet = new Fleet()
    const tags = await fleet.start(setup)
    return { id: enter(fleet), tags }
  },
  call: async (setup) => {
    const subject = subjectOf(setup)
    const { times = 1 } = setup
    const call = (_: unknown, n: number) =>
      settle(subject.call({ ...setup, payload: payloadOf(setup, n) }), () => isTakenBack(setup))
    return Promise.all(Array.from({ length: times }, call))
  },
  callEach: (setup) => fleetOf(setup).callEach(setup),
  close: (what) => settle(subjectOf(what).close(what.options ?? {})),
  shutdown: (what) => settle(subjectOf(what).shutdown()),
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
    return { ...totals, stations: connections(), resources }
  },
  memory,
  run: async ({ argument, module, name }) => {
    const { [name]: program } = await import(module)
    if (typeof program !== "function") throw new Error(`${module} exports no function ${name}`)
    return program(argument)
  },
}

perform(commands)

/** Servers and stations in a victim's process, as cases see them. */
import type { Child } from "../processes/Child.ts"
import { until } from "../support/waiting.ts"
import type { CallSetup, Handled, Options, Outcome, Seen, Tally, VictimCommands } from "./victim/commands.ts"
import type * as Abortions from "./victim/programs/abortions.ts"
import { programs } from "./victim/programs.ts"

export type Victim = Child<VictimCommands>

const abortions = programs<typeof Abortions>(new URL("./victim/programs/abortions.ts", import.meta.url))

/** A server or a station. */
export class Subject {
  readonly process: Victim
  readonly id: number

  constructor(process: Victim, id: number) {
    this.process = process
    this.id = id
  }

  events(identity?: string): Promise<ReadonlyArray<Seen>> {
    return this.process.do("events", identity === undefined ? { on: this.id } : { on: this.id, identity })
  }

  /** Waits for an event whose tag and text match. */
  event(pattern: RegExp, identity?: string, patience?: number): Promise<Seen> {
    const ask = async () => (await this.events(identity)).find((seen) => pattern.test(`${seen.tag} ${seen.text}`))
    return until(`an event ${pattern}`, ask, patience)
  }

  counts(): Promise<Tally> {
    return this.process.do("eventCounts", { on: this.id })
  }

  handled(): Promise<ReadonlyArray<Handled>> {
    return this.process.do("handled", { on: this.id })
  }

  handledCount(): Promise<number> {
    return this.process.do("handledCount", { on: this.id })
  }

  authCount(): Promise<number> {
    return this.process.do("authCount", { on: this.id })
  }

  call(setup: Omit<CallSetup, "on">): Promise<ReadonlyArray<Outcome>> {
    return this.process.do("call", { on: this.id, ...setup })
  }

  callAborted(setup: Omit<CallSetup, "on"> & { readonly abortion: Abortions.Abortion }): Promise<Abortions.Aborted> {
    return abortions(this.process, "callAborted", { on: this.id, ...setup })
  }

  callEach(setup: Omit<CallSetup, "on"> & { readonly pause?: number }): Promise<Tally> {
    return this.process.do("callEach", { on: this.id, ...setup })
  }

  connectedAt(): Promise<ReadonlyArray<number>> {
    return this.process.do("connectedAt", { on: this.id })
  }

  repeated(): Promise<number> {
    return this.process.do("repeated", { on: this.id })
  }

  close(options: Options = {}): Promise<Outcome> {
    return this.process.do("close", { on: this.id, options })
  }

  shutdown(): Promise<Outcome> {
    return this.process.do("shutdown", { on: this.id })
  }
}

export class ServerSubject extends Subject {
  readonly port: number
  readonly endpoint: string

  constructor(process: Victim, id: number, port: number, isSecure: boolean) {
    super(process, id)
    this.port = port
    this.endpoint = `${isSecure ? "wss" : "ws"}://127.0.0.1:${port}`
  }
}

export class StationSubject extends Subject {
  /** The end of its first `connect`. */
  readonly outcome: Outcome

  constructor(process: Victim, id: number, outcome: Outcome) {
    super(process, id)
    this.outcome = outcome
  }
}

export class FleetSubject extends Subject {
  /** The ends of the stations' first `connect`, counted by tag. */
  readonly tags: Tally

  constructor(process: Victim, id: number, tags: Tally) {
    super(process, id)
    this.tags = tags
  }
}

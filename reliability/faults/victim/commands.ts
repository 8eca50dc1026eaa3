/** What the child processes are told, and what they answer. Values travel by structured clone. */
import type { SecureContextOptions } from "node:tls"

export type Face = "effect" | "promise"
export type Options = Readonly<Record<string, unknown>>

/** A server to be made. Handlers and auth are names of `behaviours.ts`. */
export interface ServerSetup {
  readonly face?: Face
  /** Names. Default all three versions. */
  readonly protocols?: ReadonlyArray<string>
  /** By action, `"*"` for the wildcard. Default: `Heartbeat`, `BootNotification`, `DataTransfer`. */
  readonly handlers?: Readonly<Record<string, string>>
  readonly auth?: string
  /** Whatever else the face takes. */
  readonly options?: Options
  /** Where to listen. Default: any free port. */
  readonly port?: number
  readonly tls?: SecureContextOptions & { readonly requestCert?: boolean; readonly rejectUnauthorized?: boolean }
  /** Whether events are written down: what nobody observes costs less. Default `true`. */
  readonly observed?: boolean
}

/** A station to be made and connected. */
export interface StationSetup {
  readonly face?: Face
  readonly endpoint: string
  readonly identity?: string
  readonly protocols?: ReadonlyArray<string>
  readonly handlers?: Readonly<Record<string, string>>
  /** Whatever else the face takes; `reconnect: { minimum, range }` in milliseconds on the Effect face. */
  readonly options?: Options
  /** So many of the first frames cannot be sent: what makes their masks throws. */
  readonly jams?: number
  readonly observed?: boolean
}

/** Many stations, whose identities are numbered. */
export interface FleetSetup extends StationSetup {
  readonly count: number
}

/** When the one signal of many calls aborts: before the calls, when they are made, or after they have ended. */
export type Abortion = "before" | "meanwhile" | "never"

export interface CallSetup {
  /** The server or station that calls. */
  readonly on: number
  /** Whom a server calls. */
  readonly identity?: string
  readonly action: string
  readonly payload?: unknown
  /** How many of these calls, all at once. Default 1. */
  readonly times?: number
  /** Milliseconds. */
  readonly timeout?: number
  readonly noReply?: boolean
  /** Whether each call's payload is numbered, from 0, as `n`. Default `false`. */
  readonly numbered?: boolean
  /** Milliseconds after which the caller takes the calls back. */
  readonly abortAfter?: number
}

/** How an Effect or a promise of the library has ended. */
export type Outcome =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false
      /** The `_tag`, or the name of the class; `""` when the error is of no class of the library. */
      readonly tag: string
      readonly code: string | number | undefined
      /** The error code as the peer wrote it, when it is none of OCPP's. */
      readonly receivedCode?: string | undefined
      readonly message: string
    }

/** One thing that the library told its observers, without the texts that were on the wire. */
export interface Seen {
  readonly tag: string
  readonly identity: string | undefined
  /** What it says: code, reason, message of the error. */
  readonly text: string
}

export interface Counters {
  readonly stations: number
  /** Handlers that run. */
  readonly handlers: number
  /** Decisions of `auth` that are awaited. */
  readonly auths: number
  /** Calls, connects and closes whose callers wait. */
  readonly calls: number
  /** Callers that got an error of no class of the library. */
  readonly untyped: ReadonlyArray<string>
  /** Fibers of the Effect face. */
  readonly fibers: number
  /** What keeps the event loop alive, by kind. */
  readonly resources: Readonly<Record<string, number>>
}

export interface Memory {
  /** The heap after four forced collections, and what lies outside of it. */
  readonly heapUsed: number
  readonly external: number
  readonly rss: number
}

/** How often what has happened. */
export type Tally = Readonly<Record<string, number>>

/** The commands of a victim: what they take, and what they answer. */
export interface VictimCommands {
  readonly serve: (setup: ServerSetup) => { readonly id: number; readonly port: number }
  readonly dial: (setup: StationSetup) => { readonly id: number; readonly outcome: Outcome }
  /** Stations that answer as one subject; how each has connected is counted by tag. */
  readonly fleet: (setup: FleetSetup) => { readonly id: number; readonly tags: Tally }
  /** Answers when every call has settled. */
  readonly call: (setup: CallSetup) => ReadonlyArray<Outcome>
  /** Has every station of a fleet call so often, one call after the other; counts how they ended, by tag. */
  readonly callEach: (setup: CallSetup & { readonly pause?: number }) => Tally
  /** Has one AbortSignal for all the calls. */
  readonly callAborted: (setup: CallSetup & { readonly abortion: Abortion }) => {
    readonly tags: Tally
    /** Of the signal, in the end. */
    readonly listeners: number
    /** Milliseconds from the abortion to the last call's end. */
    readonly took: number
  }
  /** Runs something in vain, so many times one after the other: dials that fail. */
  readonly dialOften: (setup: StationSetup & { readonly times: number; readonly together: number }) => {
    readonly tags: Tally
  }
  readonly close: (what: { readonly on: number; readonly options?: Options }) => Outcome
  /** Closes the Scope (Effect face), or as `close` with 1001 (promise face). */
  readonly shutdown: (what: { readonly on: number }) => Outcome
  /** Constructs, on both faces; answers why it was refused, `undefined` when it was not. */
  readonly construct: (what: {
    readonly face: Face
    readonly role: "server" | "station"
    readonly options: Options
    /** JSON text that is parsed into the options: for keys that structured clone loses. */
    readonly json?: string
  }) => string | undefined
  readonly events: (what: { readonly on: number; readonly identity?: string }) => ReadonlyArray<Seen>
  /** How often each kind of event has come. */
  readonly eventCounts: (what: { readonly on: number }) => Tally
  /** When stations have connected, by the wall clock. */
  readonly connectedAt: (what: { readonly on: number }) => ReadonlyArray<number>
  /** How many numbered calls came to a handler twice. */
  readonly repeated: (what: { readonly on: number }) => number
  /** The calls that reached a handler. */
  readonly handled: (what: { readonly on: number }) => ReadonlyArray<{
    readonly action: string
    readonly payload: unknown
    readonly messageId: string
  }>
  readonly handledCount: (what: { readonly on: number }) => number
  readonly authCount: (what: { readonly on: number }) => number
  /** Opens the gate at which the handler and the auth named `gated` wait. */
  readonly release: (what: null) => void
  readonly counters: (what: null) => Counters
  readonly memory: (what: null) => Memory
  /** Sets the wall clock forward by so many milliseconds, for good; back when negative. */
  readonly jump: (what: { readonly by: number }) => void
  /** Lets go of the parent, and ends when nothing else is left. */
  readonly leave: (what: null) => void
  /** Runs so many clients through losses and attempts on a simulated clock; answers what was not as the specification has it. */
  readonly simulateBackoff: (what: { readonly sequences: number }) => ReadonlyArray<string>
  /** Whether `Object.prototype` is as it was. */
  readonly isClean: (what: null) => boolean
}

export interface Lap {
  /** How many heartbeats were answered. */
  readonly answered: number
  /** The longest, in milliseconds. */
  readonly worst: number
  /** What is wrong with them. */
  readonly faults: ReadonlyArray<string>
}

/** The commands of the process that watches the bystanders. */
export interface WatcherCommands {
  readonly watch: (what: { readonly port: number; readonly pid: number; readonly secure: boolean }) => number
  readonly lap: (what: { readonly watch: number }) => Lap
  readonly unwatch: (what: { readonly watch: number }) => void
}

type Commands = VictimCommands | WatcherCommands

export type Argument<C, K extends keyof C> = C[K] extends (what: infer A) => unknown ? A : never
export type Answer<C, K extends keyof C> = C[K] extends (what: never) => infer A ? A : never

/** What a child process does for each of its commands. */
export type Program<C extends Commands> = {
  readonly [K in keyof C]: (what: Argument<C, K>) => Answer<C, K> | Promise<Answer<C, K>>
}

/** From parent to child, and back. */
export interface Question {
  readonly id: number
  readonly command: string
  readonly what: unknown
}
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly problem: string }
  | { readonly ready: true }

const textOf = (error: unknown): string => {
  try {
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  } catch {
    return "an error that cannot be read"
  }
}

/** Answers the parent's questions, and tells it whatever nobody has caught. */
export const run = <C extends Commands>(program: Program<C>): void => {
  const send = (reply: Reply) => void process.send?.(reply)
  for (const problem of ["unhandledRejection", "uncaughtException", "warning"] as const) {
    process.on(problem as "warning", (error) => send({ problem: `${problem}: ${textOf(error)}` }))
  }
  const table = program as unknown as Record<string, (what: unknown) => unknown>
  process.on("message", async ({ command, id, what }: Question) => {
    try {
      send({ id, value: await table[command]?.(what) })
    } catch (error) {
      send({ id, error: textOf(error) })
    }
  })
  process.on("disconnect", () => process.exit())
  send({ ready: true })
}

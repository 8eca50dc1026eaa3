/** The commands of a victim. Their arguments and answers travel by structured clone. */
import type { SecureContextOptions } from "node:tls"
import type { Memory } from "../../processes/parent.ts"

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
  /** Further options of the face. */
  readonly options?: Options
  /** The port to listen on. Default: any free one. */
  readonly port?: number
  readonly tls?: SecureContextOptions & { readonly requestCert?: boolean; readonly rejectUnauthorized?: boolean }
  /** Whether events are written down; without observers they cost less. Default `true`. */
  readonly observed?: boolean
}

/** A station to be made and connected. */
export interface StationSetup {
  readonly face?: Face
  readonly endpoint: string
  readonly identity?: string
  readonly protocols?: ReadonlyArray<string>
  readonly handlers?: Readonly<Record<string, string>>
  /** Further options of the face; `reconnect: { minimum, range }` in milliseconds on the Effect face. */
  readonly options?: Options
  /** The number of first frames that cannot be sent, because the making of their masks throws. Default 0. */
  readonly jams?: number
  readonly observed?: boolean
}

/** Many stations, whose identities are numbered. */
export interface FleetSetup extends StationSetup {
  readonly count: number
}

export interface CallSetup {
  /** The server or station that calls. */
  readonly on: number
  /** The station that a server calls. */
  readonly identity?: string
  readonly action: string
  readonly payload?: unknown
  /** The number of these calls, all at once. Default 1. */
  readonly times?: number
  /** Milliseconds. */
  readonly timeout?: number
  readonly noReply?: boolean
  /** Whether each call's payload is numbered, from 0, as `n`. Default `false`. */
  readonly numbered?: boolean
  /** Milliseconds after which the caller takes the calls back. */
  readonly abortAfter?: number
}

/** The end of an Effect or a promise of the library. */
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

/** One event that the library told its observers, without the texts that were on the wire. */
export interface Seen {
  readonly tag: string
  readonly identity: string | undefined
  /** Its words: code, reason, message of the error. */
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
  /** The messages of errors that are of no class of the library, and that a caller got. */
  readonly untyped: ReadonlyArray<string>
  /** Fibers of the Effect face. */
  readonly fibers: number
  /** Handles that keep the event loop alive, by kind. */
  readonly resources: Readonly<Record<string, number>>
}

/** Counts by name. */
export type Tally = Readonly<Record<string, number>>

/** The commands of a victim: their arguments and answers. */
export type VictimCommands = {
  readonly serve: (setup: ServerSetup) => { readonly id: number; readonly port: number }
  readonly dial: (setup: StationSetup) => { readonly id: number; readonly outcome: Outcome }
  /** Connects stations that answer as one subject. Counts by tag how each has connected. */
  readonly fleet: (setup: FleetSetup) => { readonly id: number; readonly tags: Tally }
  /** Makes calls. Answers when every one of them has settled. */
  readonly call: (setup: CallSetup) => ReadonlyArray<Outcome>
  /** Has every station of a fleet call so often, one call after the other. Counts by tag how they have ended. */
  readonly callEach: (setup: CallSetup & { readonly pause?: number }) => Tally
  readonly close: (what: { readonly on: number; readonly options?: Options }) => Outcome
  /** Closes the Scope (Effect face), or as `close` with 1001 (promise face). */
  readonly shutdown: (what: { readonly on: number }) => Outcome
  readonly events: (what: { readonly on: number; readonly identity?: string }) => ReadonlyArray<Seen>
  /** Counts the events of each kind. */
  readonly eventCounts: (what: { readonly on: number }) => Tally
  /** The times at which stations have connected, by the wall clock. */
  readonly connectedAt: (what: { readonly on: number }) => ReadonlyArray<number>
  /** Counts the numbered calls that came to a handler twice. */
  readonly repeated: (what: { readonly on: number }) => number
  /** The calls that reached a handler, but Heartbeats. */
  readonly handled: (what: { readonly on: number }) => ReadonlyArray<Handled>
  readonly handledCount: (what: { readonly on: number }) => number
  readonly authCount: (what: { readonly on: number }) => number
  /** Opens the gate at which the handler and the auth named `gated` wait. */
  readonly release: (what: undefined) => void
  readonly counters: (what: undefined) => Counters
  readonly memory: (what: undefined) => Memory
  /** Calls an exported function of a module, for what is needed by one case only. */
  readonly run: (what: { readonly module: string; readonly name: string; readonly argument: unknown }) => unknown
}

export interface Handled {
  readonly action: string
  readonly payload: unknown
  readonly messageId: string
}

/** What the processes of a fleet's trial agree on. */
import * as Schema from "effect/Schema"
import * as Action from "../../src/Action.ts"
import * as Protocol from "../../src/Protocol.ts"

/** How a call is to be treated by its station. */
export type Manner = "answer" | "refuse" | "ignore"

const request = Schema.Struct({ id: Schema.String, manner: Schema.String, delay: Schema.Number })

export const Trial = Protocol.make("trial1.0", [
  Action.make("Count", { request, response: Schema.Struct({ id: Schema.String }) }),
])

export const stationCount = 300

export const identities: ReadonlyArray<string> = Array.from({ length: stationCount }, (_, i) => `CP${i}`)

/** Milliseconds on a clock that all processes of a machine share, and that no setting of the time of day moves. */
export const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000

/** How a call ended, as its caller was told. */
export type Told = "ok" | "refused" | "sent" | "unsent" | "none"

export interface CallRecord {
  readonly id: string
  readonly identity: string
  readonly told: Told
  /** The tag of the failure, if it was one. */
  readonly failure: string | undefined
  readonly startedAt: number
  readonly toldAt: number
}

/** A node has put a call on the wire. */
export interface WrittenRecord {
  readonly id: string
  readonly at: number
}

/** A station has got a call. */
export interface HandledRecord {
  readonly id: string
  readonly by: string
  readonly at: number
}

/** Which engine, and where. */
export interface EngineAddress {
  readonly kind: "redis" | "nats"
  readonly port: number
}

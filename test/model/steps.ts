/** Schedules of a connection, as data: the steps of its program, its peer, its network and its clock. */
import fc from "fast-check"
import type * as Connection from "../../src/Connection.ts"
import type { Kind, Life } from "./Model.ts"

/** The end of an attempt to dial. */
export type Dialled = "opens" | "opensLate" | "fails" | "failsForGood" | "never"

/** The act of an observer, from within an event. */
export type Reaction = "call" | "close" | "connect"

export type Step =
  | { readonly do: "call"; readonly kind: Kind; readonly timeout: number }
  /** `which` counts calls: backwards for an abort, from the oldest for an answer. */
  | { readonly do: "abort" | "answer" | "answerTwice" | "refuse" | "answerOld"; readonly which: number }
  | { readonly do: "ask"; readonly action: "Echo" | "Slow"; readonly twice: boolean }
  | { readonly do: "answerUnknown"; readonly type: 3 | 4 | 5 }
  | { readonly do: "garbage" | "cut" | "peerCloses" | "stall" | "connect" | "abandon" }
  | { readonly do: "close"; readonly options: Connection.CloseOptions }
  | { readonly do: "reconfigure"; readonly concurrency: number; readonly queue: number; readonly handlers: number }
  | { readonly do: "reconnect"; readonly again: boolean }
  | { readonly do: "dialling"; readonly will: Dialled }
  /** An observer acts from within the next event of this kind. */
  | { readonly do: "onEvent"; readonly at: Life; readonly reaction: Reaction }
  | { readonly do: "wait"; readonly millis: number }

const some = <const S>(arbitrary: fc.Arbitrary<S>, weight: number) => ({ arbitrary, weight })
const which = fc.nat({ max: 9 })
const just = fc.constant

const step: fc.Arbitrary<Step> = fc.oneof(
  some(
    fc.record({
      do: just("call" as const),
      kind: fc.constantFrom<Kind>("call", "call", "call", "forgotten", "send"),
      timeout: fc.constantFrom(300, 5_000, 30_000),
    }),
    14,
  ),
  some(fc.record({ do: fc.constantFrom("abort", "answerTwice", "refuse", "answerOld"), which }), 8),
  some(fc.record({ do: just("answer" as const), which }), 8),
  some(fc.record({ do: just("ask" as const), action: fc.constantFrom("Echo", "Slow"), twice: fc.boolean() }), 4),
  some(fc.record({ do: just("answerUnknown" as const), type: fc.constantFrom(3, 4, 5) }), 1),
  some(fc.record({ do: fc.constantFrom("garbage", "cut", "peerCloses", "stall", "abandon") }), 4),
  some(fc.record({ do: just("connect" as const) }), 2),
  some(
    fc.record({
      do: just("close" as const),
      options: fc.record(
        { code: fc.constantFrom(1000, 1001, 1006, 4000), awaitPending: fc.boolean(), force: fc.boolean() },
        { requiredKeys: [] },
      ),
    }),
    2,
  ),
  some(
    fc.record({
      do: just("reconfigure" as const),
      concurrency: fc.constantFrom(1, 2, 5),
      queue: fc.constantFrom(0, 2, 50),
      handlers: fc.constantFrom(1, 64),
    }),
    2,
  ),
  some(fc.record({ do: just("reconnect" as const), again: fc.boolean() }), 1),
  some(
    fc.record({
      do: just("dialling" as const),
      will: fc.constantFrom("opens", "opensLate", "fails", "failsForGood", "never"),
    }),
    2,
  ),
  some(
    fc.record({
      do: just("onEvent" as const),
      at: fc.constantFrom<Life>("Connecting", "ConnectFailure", "Open", "Disconnect", "Closing", "Close"),
      reaction: fc.constantFrom<Reaction>("call", "close", "connect"),
    }),
    2,
  ),
  some(fc.record({ do: just("wait" as const), millis: fc.constantFrom(1, 300, 1_000, 7_000) }), 6),
) as fc.Arbitrary<Step>

/** Groups of steps: nothing comes to rest within a group. */
export const schedule = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 25 })

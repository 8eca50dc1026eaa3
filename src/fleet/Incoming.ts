/**
 * Calls of other nodes' callers for stations of this node. Each is run at most once, not after its deadline, and not when its caller
 * has taken it back.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"
import { isTraced } from "./core.ts"
import type { Member } from "./Engine.ts"
import type { EngineClock } from "./EngineClock.ts"
import { type CallFailure, CallQueueFullError, DisconnectedError } from "./failures.ts"
import type { HostStation } from "./Host.ts"
import * as Message from "./Message.ts"
import type { Meters, Refusal } from "./Meters.ts"
import * as Outcome from "./Outcome.ts"
import { grace, Seen } from "./Seen.ts"

/** How many calls are remembered, those that have ended included. */
const remembered = 1_000_000

/** How often an answer that could not be handed is tried again, in milliseconds. */
const retryInterval = 500

/** What incoming calls ask of their node. */
export interface Server {
  readonly id: string
  readonly clock: EngineClock
  readonly meters: Meters
  readonly isUp: boolean
  readonly member: Member
  readonly maxMessageBytes: number
  readonly maxCalls: number
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  /** Whether calls may be served: the node has not slept, and does not leave. */
  readonly serves: boolean
  readonly station: (identity: string) => HostStation | undefined
  /** The directory names this node for a station that is not connected here. */
  readonly disown: (identity: string, epoch: number) => void
}

/** An answer that waits for the engine, or for its reader. */
interface Undelivered {
  readonly to: string
  readonly answer: string
  readonly until: number
}

export class Incoming {
  readonly #server: Server
  readonly #seen = new Seen(remembered)
  readonly #running = new Map<
    string,
    { readonly call: Message.Call; readonly fiber: Fiber.Fiber<unknown, CallFailure> }
  >()
  #undelivered: Array<Undelivered> = []
  #retriedAt = 0

  constructor(server: Server) {
    this.#server = server
  }

  get size(): number {
    return this.#running.size
  }

  called(call: Message.Call): void {
    const { clock, maxCalls, serves, station: find } = this.#server
    const seen = this.#seen.add(call.from, call.id, call.expires)
    if (seen === "known") return this.#server.meters.refused("duplicate")
    if (!serves) return this.#refuse(call, "asleep", { _tag: "NotHere" })
    if (!(clock.now() < call.expires)) return this.#refuse(call, "expired", { _tag: "Expired" })
    const station = find(call.identity)
    if (station === undefined) {
      this.#server.disown(call.identity, call.epoch)
      return this.#refuse(call, "notHere", { _tag: "NotHere" })
    }
    if (seen === "full" || this.#running.size >= maxCalls) {
      const limit = Math.min(maxCalls, remembered)
      return this.#refuse(call, "overload", Outcome.ofFailure(new CallQueueFullError({ action: call.action, limit })))
    }
    this.#start(call, station)
  }

  #refuse(call: Message.Call, reason: Refusal, outcome: Outcome.Outcome): void {
    this.#server.meters.refused(reason)
    this.#answer(call, outcome)
  }

  #start(call: Message.Call, station: HostStation): void {
    const key = keyOf(call)
    const timeout = Math.min(call.timeout, call.expires - this.#server.clock.now())
    const work =
      call.kind === "Send"
        ? station.send(call.action, call.payload)
        : station.call(call.action, call.payload, { timeout, noReply: call.noReply === true })
    const fiber = this.#server.run(traced(call, this.#server.id, work))
    this.#running.set(key, { call, fiber })
    fiber.addObserver((exit) => {
      // What was taken back, by its caller or by this node, has been answered or needs no answer.
      if (!this.#running.delete(key)) return
      this.#server.meters.called("in", Outcome.labelOf(exit))
      const outcome = Outcome.ofExit(exit)
      if (outcome !== undefined) this.#answer(call, outcome)
    })
  }

  cancelled(cancel: Message.Cancel): void {
    const running = this.#running.get(keyOf(cancel))
    // It may come before what it cancels.
    if (running === undefined) return void this.#seen.add(cancel.from, cancel.id, cancel.expires)
    this.#interrupt(running)
  }

  #interrupt({
    call,
    fiber,
  }: {
    readonly call: Message.Call
    readonly fiber: Fiber.Fiber<unknown, CallFailure>
  }): void {
    this.#running.delete(keyOf(call))
    this.#server.meters.called("in", "interrupted")
    fiber.interruptUnsafe()
  }

  /** No answer gets through: what waits is never sent, and what was sent is not waited for. */
  takeBackAll(reason: string): void {
    const lost = Outcome.ofFailure(new DisconnectedError({ code: 1006, reason, sent: true }))
    for (const running of [...this.#running.values()]) {
      this.#interrupt(running)
      this.#answer(running.call, lost)
    }
  }

  #answer(call: Message.Call, outcome: Outcome.Outcome): void {
    const { clock, maxMessageBytes } = this.#server
    let answer = Message.encode({ type: "answer", id: call.id, outcome })
    if (!Message.fits(answer, maxMessageBytes)) {
      const message = `the response of ${call.action} is too long: between nodes a message has at most ${maxMessageBytes} bytes`
      const tooLong: Outcome.Final = { _tag: "RPCError", code: "InternalError", message, details: {} }
      answer = Message.encode({ type: "answer", id: call.id, outcome: tooLong })
    }
    const until = clock.monotonic() + Math.max(0, call.expires - clock.now()) + grace
    this.#deliver({ to: call.from, answer, until })
  }

  #deliver(undelivered: Undelivered): void {
    const { answer, to } = undelivered
    if (!this.#server.isUp) return this.#keep(undelivered)
    this.#server.run(
      Effect.match(this.#server.member.send(to, answer), {
        onFailure: () => this.#keep(undelivered),
        onSuccess: (handed) => {
          if (handed === "nobody") this.#keep(undelivered)
        },
      }),
    )
  }

  /** The caller's node may be connecting again, or this one: until its deadline the caller waits. */
  #keep(undelivered: Undelivered): void {
    if (this.#undelivered.length < this.#server.maxCalls) this.#undelivered.push(undelivered)
  }

  /** Tries again what could not be delivered. */
  retry(): void {
    const now = this.#server.clock.monotonic()
    this.#retriedAt = now
    const some = this.#undelivered
    this.#undelivered = []
    for (const one of some) if (one.until > now) this.#deliver(one)
  }

  /** Time has passed. */
  tick(): void {
    const { clock, isUp } = this.#server
    if (!Number.isNaN(clock.now())) this.#seen.forget(clock.now())
    if (isUp && this.#undelivered.length > 0 && clock.monotonic() - this.#retriedAt >= retryInterval) this.retry()
  }
}

const keyOf = ({ from, id }: { readonly from: string; readonly id: number }): string => `${from}/${id}`

/** The handling in a span whose parent is the caller's, where a tracer is provided. */
const traced = <A, E>({ action, identity, trace }: Message.Call, node: string, work: Effect.Effect<A, E>) =>
  Effect.withFiber<A, E>((fiber) => {
    if (trace === undefined || !isTraced(fiber.context)) return work
    const attributes = { "ocpp.identity": identity, "ocpp.fleet.node": node }
    return Effect.useSpan(action, { kind: "server", parent: Tracer.externalSpan(trace), attributes }, (span) =>
      Effect.withParentSpan(work, span),
    )
  })

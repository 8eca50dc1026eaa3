/**
 * Calls of stations that are connected to other nodes: from the caller to the owner's inbox, and back. A call has one outcome, and
 * what that says of `sent` is true: what may have reached the owner counts as sent.
 */
import * as Effect from "effect/Effect"
import type * as Action from "../Action.ts"
import { RPCFormatViolationError, RPCInternalError, RPCProtocolError } from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import { NotConnectedError } from "./core.ts"
import type { Member, Owner } from "./Engine.ts"
import type { EngineClock } from "./EngineClock.ts"
import type { EngineError } from "./EngineError.ts"
import { DisconnectedError, type FleetFailure, TimeoutError } from "./failures.ts"
import * as Message from "./Message.ts"
import type { Meters } from "./Meters.ts"
import * as Outcome from "./Outcome.ts"
import { Owners } from "./Owners.ts"
import { grace } from "./Seen.ts"
import { UnreachableError } from "./UnreachableError.ts"

/** What is to be called. */
export interface Request {
  readonly identity: string
  readonly kind: "Call" | "Send"
  readonly action: string
  /** The action as a value, when the caller has one. */
  readonly declaration: Action.Any | undefined
  readonly payload: unknown
  /** In milliseconds; `undefined` for the default. */
  readonly timeout: number | undefined
  readonly noReply: boolean
  readonly trace: Message.Trace | undefined
}

/** How long to wait before a station whose node did not have it is looked up again, in milliseconds. */
const waits: ReadonlyArray<number> = [20, 60, 180]

/** The longest that a call between nodes takes, in milliseconds: a day. */
const longest = 86_400_000

/** How many owners are remembered. */
const remembered = 100_000

/** What became of one attempt to call. */
type Verdict =
  | Outcome.Outcome
  /** Nobody listens to the owner's inbox. */
  | { readonly _tag: "Nobody" }
  /** This node cannot reach the engine, and has sent nothing. */
  | { readonly _tag: "EngineAway" }
  /** The time is over, and the owner has not answered. */
  | { readonly _tag: "Silence" }
  /** The owner's process is gone. */
  | { readonly _tag: "Gone" }

/** What outgoing calls ask of their node. */
export interface Caller {
  readonly id: string
  readonly clock: EngineClock
  readonly meters: Meters
  readonly isUp: boolean
  readonly member: Member
  readonly maxMessageBytes: number
  /** How long a call may take that does not say, in milliseconds. */
  readonly callTimeout: number
  readonly run: (effect: Effect.Effect<unknown>) => unknown
  readonly protocols: ReadonlyArray<Subprotocol>
  /** The same call by this node, when the station is connected here. */
  readonly callHere: (request: Request) => Effect.Effect<unknown, FleetFailure> | undefined
  /** The directory names this node for a station that is not connected here. */
  readonly disown: (identity: string, epoch: number) => void
  /** Nobody listens to a node's inbox. */
  readonly suspect: (node: string) => void
  readonly nameOf: (node: string) => string
}

/** A call that waits for its answer. */
class Pending {
  readonly node: string
  readonly madeAt: number
  /** When its caller gives up, on this node's monotonic clock. */
  readonly until: number
  #verdict: Verdict | undefined
  #resume: ((effect: Effect.Effect<Verdict>) => void) | undefined

  constructor(node: string, madeAt: number, until: number) {
    this.node = node
    this.madeAt = madeAt
    this.until = until
  }

  settle(verdict: Verdict): void {
    if (this.#verdict !== undefined) return
    this.#verdict = verdict
    this.#resume?.(Effect.succeed(verdict))
  }

  readonly verdict: Effect.Effect<Verdict> = Effect.callback((resume) => {
    if (this.#verdict !== undefined) resume(Effect.succeed(this.#verdict))
    else this.#resume = resume
  })
}

interface Lookup {
  readonly identity: string
  readonly resume: (effect: Effect.Effect<Owner | undefined, EngineError>) => void
}

export class Outgoing {
  readonly #caller: Caller
  readonly #pending = new Map<number, Pending>()
  readonly #owners: Owners
  #lookups: Array<Lookup> = []
  /** What could not be taken back, because the engine was away. */
  readonly #untaken = new Map<Message.Cancel, string>()
  #lastId = 0

  constructor(caller: Caller) {
    this.#caller = caller
    this.#owners = new Owners(() => caller.clock.monotonic(), remembered)
  }

  get size(): number {
    return this.#pending.size
  }

  /** The nodes that have not answered for some time, in milliseconds. */
  silentFor(millis: number): ReadonlySet<string> {
    const before = this.#caller.clock.monotonic() - millis
    const silent = new Set<string>()
    for (const { madeAt, node } of this.#pending.values()) if (madeAt <= before) silent.add(node)
    return silent
  }

  call(request: Request): Effect.Effect<unknown, FleetFailure> {
    return Effect.suspend(() => {
      const { callTimeout, clock, meters } = this.#caller
      const startedAt = clock.monotonic()
      const timeout = Math.min(request.timeout ?? callTimeout, longest)
      return Effect.onExit(this.#call(request, timeout, startedAt + timeout), (exit) =>
        Effect.sync(() => meters.called("out", Outcome.labelOf(exit), clock.monotonic() - startedAt)),
      )
    })
  }

  readonly #call = Effect.fnUntraced(function* (
    this: Outgoing,
    request: Request,
    timeout: number,
    deadline: number,
  ): Effect.fn.Return<unknown, FleetFailure> {
    const { clock } = this.#caller
    const { action, identity } = request
    let last: { readonly owner: Owner; readonly isAlone: boolean } | undefined
    for (const wait of [0, ...waits]) {
      if (wait > 0) {
        yield* Effect.sleep(Math.min(wait, Math.max(0, deadline - clock.monotonic())))
        const here = this.#caller.callHere({ ...request, timeout: deadline - clock.monotonic() })
        if (here !== undefined) return yield* here
      }
      if (clock.monotonic() >= deadline)
        return yield* new TimeoutError({ action, messageId: this.#name(0), timeout, sent: false })
      if (!this.#caller.isUp) return yield* UnreachableError.engine(identity)
      const owner = yield* this.#ownerOf(identity)
      if (owner === undefined) return yield* notConnected(identity)
      const id = ++this.#lastId
      const verdict = yield* this.#attempt(id, request, owner, deadline)
      switch (verdict._tag) {
        case "EngineAway":
          return yield* UnreachableError.engine(identity)
        case "Silence":
          return yield* new TimeoutError({ action, messageId: this.#name(id), timeout, sent: true })
        case "Expired":
          return yield* new TimeoutError({ action, messageId: this.#name(id), timeout, sent: false })
        case "Gone":
          return yield* new DisconnectedError({
            code: 1006,
            reason: `the node ${this.#caller.nameOf(owner.node)} is gone`,
            sent: true,
          })
        case "NotHere":
        case "Nobody":
          this.#owners.forget(identity, owner)
          last = { owner, isAlone: verdict._tag === "Nobody" }
          break
        default:
          return yield* Outcome.toEffect(verdict)
      }
    }
    return yield* this.#unreached(identity, last?.isAlone === true ? last.owner.node : undefined)
  })

  /** The owner that the directory names cannot be reached: is it alive at all? */
  #unreached(identity: string, node: string | undefined): Effect.Effect<never, FleetFailure> {
    if (node === undefined) return notConnected(identity)
    return Effect.matchEffect(this.#caller.member.presence(node), {
      onFailure: () => UnreachableError.engine(identity),
      onSuccess: ({ leased }): Effect.Effect<never, FleetFailure> =>
        leased ? UnreachableError.owner(identity, this.#caller.nameOf(node)) : notConnected(identity),
    })
  }

  #name(id: number): string {
    return `${this.#caller.id}/${id}`
  }

  /** Where a station is; `undefined` when it is connected nowhere. */
  owner(identity: string): Effect.Effect<Owner | undefined, UnreachableError> {
    return Effect.suspend(() =>
      this.#caller.isUp ? this.#ownerOf(identity) : Effect.fail(UnreachableError.engine(identity)),
    )
  }

  #ownerOf(identity: string): Effect.Effect<Owner | undefined, UnreachableError> {
    const known = this.#owners.get(identity)
    this.#caller.meters.lookedUp(known !== undefined)
    if (known !== undefined) return Effect.succeed(known)
    const asked = Effect.callback<Owner | undefined, EngineError>((resume) => {
      // What is asked in one tick is asked together.
      if (this.#lookups.push({ identity, resume }) === 1) queueMicrotask(() => this.#caller.run(this.#lookUp))
    })
    return Effect.mapError(asked, () => UnreachableError.engine(identity))
  }

  get #lookUp(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const lookups = this.#lookups
      this.#lookups = []
      return Effect.match(this.#caller.member.lookup(lookups.map(({ identity }) => identity)), {
        onFailure: (error) => {
          for (const { resume } of lookups) resume(Effect.fail(error))
        },
        onSuccess: (owners) => {
          for (const [i, { identity, resume }] of lookups.entries()) {
            const owner = owners[i]
            if (owner !== undefined) this.#owners.set(identity, owner)
            resume(Effect.succeed(owner))
          }
        },
      })
    })
  }

  /** Owners that have just been read from the directory. */
  learn(identity: string, owner: Owner): void {
    this.#owners.set(identity, owner)
  }

  #attempt(id: number, request: Request, owner: Owner, deadline: number): Effect.Effect<Verdict, FleetFailure> {
    const { clock, disown, id: self, member } = this.#caller
    if (owner.node === self) {
      disown(request.identity, owner.epoch)
      return Effect.succeed({ _tag: "NotHere" })
    }
    const fault = this.#faultOf(request, owner)
    if (fault !== undefined) return Effect.fail(fault)
    const now = clock.monotonic()
    const expires = clock.now() + deadline - now
    const text = this.#encode(id, request, owner, deadline - now, expires)
    if (typeof text !== "string") return Effect.fail(text)
    const pending = new Pending(owner.node, now, deadline + grace)
    this.#pending.set(id, pending)
    const cancel: Message.Cancel = { type: "cancel", id, from: self, expires }
    const verdict = Effect.matchEffect(member.send(owner.node, text), {
      onFailure: ({ sent }): Effect.Effect<Verdict> =>
        sent ? pending.verdict : Effect.succeed({ _tag: "EngineAway" }),
      onSuccess: (handed): Effect.Effect<Verdict> => {
        if (handed === "handed") return pending.verdict
        this.#caller.suspect(owner.node)
        return Effect.succeed({ _tag: "Nobody" })
      },
    })
    return Effect.onExit(verdict, (exit) =>
      Effect.sync(() => {
        this.#pending.delete(id)
        const isSilent = exit._tag === "Success" && exit.value._tag === "Silence"
        if (isSilent) this.#owners.forget(request.identity, owner)
        if (exit._tag === "Failure" || isSilent) this.#takeBack(cancel, owner.node)
      }),
    )
  }

  /** Why a request may not be sent to a station that speaks what the directory says. */
  #faultOf({ action, declaration }: Request, { protocol }: Owner): RPCProtocolError | undefined {
    const subprotocol = this.#caller.protocols.find(({ name }) => name === protocol)
    if (declaration === undefined || subprotocol === undefined || subprotocol.actions.get(action) === declaration)
      return undefined
    return new RPCProtocolError(`this ${action} is not an action of ${protocol}, which the connection speaks`)
  }

  #encode(id: number, request: Request, owner: Owner, timeout: number, expires: number) {
    const { action, identity, kind, noReply, payload, trace } = request
    const call: Message.Call = {
      type: "call",
      id,
      from: this.#caller.id,
      identity,
      epoch: owner.epoch,
      kind,
      action,
      payload,
      timeout,
      expires,
      ...(noReply ? { noReply } : undefined),
      ...(trace === undefined ? undefined : { trace }),
    }
    try {
      const text = Message.encode(call)
      const { maxMessageBytes } = this.#caller
      if (Message.fits(text, maxMessageBytes)) return text
      return new RPCInternalError(
        `${action} was not sent: between nodes a message has at most ${maxMessageBytes} bytes`,
      )
    } catch (error) {
      const why = error instanceof Error ? error.message : "unknown reason"
      return new RPCFormatViolationError(`the payload of ${action} cannot be written as JSON: ${why}`)
    }
  }

  #takeBack(cancel: Message.Cancel, node: string): void {
    const { clock, isUp, member, run } = this.#caller
    const keep = Effect.sync(() => {
      if (cancel.expires > clock.now()) this.#untaken.set(cancel, node)
    })
    run(
      isUp ? Effect.catch(member.send(node, Message.encode(cancel)), ({ sent }) => (sent ? Effect.void : keep)) : keep,
    )
  }

  /** The engine can be reached again. */
  resumed(): void {
    const untaken = [...this.#untaken]
    this.#untaken.clear()
    for (const [cancel, node] of untaken) this.#takeBack(cancel, node)
  }

  /** An answer has come. */
  answered({ id, outcome }: Message.Answer): void {
    this.#pending.get(id)?.settle(outcome)
  }

  /** Time has passed. */
  tick(): void {
    const now = this.#caller.clock.monotonic()
    for (const pending of this.#pending.values()) if (pending.until <= now) pending.settle({ _tag: "Silence" })
    for (const cancel of this.#untaken.keys()) {
      if (cancel.expires <= this.#caller.clock.now()) this.#untaken.delete(cancel)
    }
  }

  /** The process of a node is gone: what it was asked gets no answer. */
  gone(node: string): void {
    this.forgetNodes((each) => each === node)
    for (const pending of this.#pending.values()) if (pending.node === node) pending.settle({ _tag: "Gone" })
  }

  /** Some nodes are not believed any more to have what they had. */
  forgetNodes(isGone: (node: string) => boolean): void {
    this.#owners.forgetNodes(isGone)
  }
}

export const notConnected = (identity: string): Effect.Effect<never, NotConnectedError> =>
  Effect.fail(new NotConnectedError({ message: `${JSON.stringify(identity)} is not connected`, identity }))

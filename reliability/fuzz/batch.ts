/**
 * One batch of messages to one connection over a transport in memory, on a clock of its own, each reaction held against
 * the oracle. Afterwards a well-formed call is answered, every call has ended, and nothing keeps the connection from
 * closing.
 */
import { isDeepStrictEqual } from "node:util"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TestClock } from "effect/testing"
import * as Connection from "../../src/Connection.ts"
import * as Handlers from "../../src/Handlers.ts"
import type { Protocol } from "../../src/Protocol.ts"
import { isRPCError } from "../../src/RPCError.ts"
import * as Transport from "../../src/Transport.ts"
import { countingClock } from "../../test/support/countingClock.ts"
import { RawPeer } from "../../test/support/rawPeer.ts"
import { type Corpus, callToken } from "./messages.ts"
import * as Oracle from "./oracle.ts"

/** All that a batch depends on: the same batch always goes the same way. */
export interface Batch {
  readonly strict: boolean
  /** The side that is under test. */
  readonly side: "station" | "csms"
  /** Whether what has no handler of its own goes to a wildcard. */
  readonly wildcard: boolean
  readonly maxBadMessages: number
  /** Actions that the connection calls before the first message. */
  readonly calls: ReadonlyArray<string>
  readonly texts: ReadonlyArray<string>
}

/** A message at which something was not as it must be. */
export class Finding extends Error {
  readonly index: number
  constructor(index: number, message: string) {
    super(message)
    this.index = index
  }
}

/** A handler of this action waits until the batch is over. */
const heldAction = "DataTransfer"

/** An action that the side under test handles in every version, and that needs no payload. */
const aliveAction = { csms: "Heartbeat", station: "ClearCache" } as const

/** One turn is enough here, and a batch has hundreds of them. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

const handledBy = ({ side, wildcard }: Batch, corpus: Corpus): ((action: string) => boolean) => {
  const sender = side === "csms" ? "station" : "csms"
  const own = new Set(corpus.actions.filter((action) => action.sender !== side).map(({ name }) => name))
  if (own.size === 0) throw new Error(`no ${sender} sends anything`)
  return (action) => wildcard || own.has(action)
}

/** The handlers: the payloads that they were given, and the gate at which some of them wait. */
class Work {
  readonly payloads: Array<unknown> = []
  running = 0
  open: () => void = () => {}
  readonly #gate = new Promise<void>((resolve) => {
    this.open = resolve
  })
  readonly #corpus: Corpus

  constructor(corpus: Corpus) {
    this.#corpus = corpus
  }

  handle(action: string, payload: unknown): Effect.Effect<unknown> {
    this.payloads.push(payload)
    const response = this.#corpus.responses.get(action)?.[0] ?? {}
    if (action !== heldAction) return Effect.succeed(response)
    return Effect.acquireUseRelease(
      Effect.sync(() => this.running++),
      () =>
        Effect.as(
          Effect.promise(() => this.#gate),
          response,
        ),
      () => Effect.sync(() => this.running--),
    )
  }
}

/** One call of the connection's and its outcomes, of which there must be one. */
interface OwnCall {
  readonly action: string
  readonly outcomes: Array<Exit.Exit<unknown, Connection.CallFailure>>
}

class Run {
  readonly #protocol: Protocol
  readonly #batch: Batch
  readonly #work: Work
  readonly #peer: RawPeer
  readonly #connection: Connection.Connection<"csms">
  readonly #calls = new Map<string, OwnCall>()
  readonly #pending = new Map<string, string>()
  readonly #handling = new Set<string>()
  /** The answers that will come once the gate is open. */
  readonly #unanswered: Array<readonly [number, string]> = []
  readonly #handles: (action: string) => boolean
  /** Consecutive bad messages: at least, at most. */
  #bad = [0, 0] as readonly [number, number]
  #at = 0

  constructor(
    protocol: Protocol,
    corpus: Corpus,
    batch: Batch,
    parts: { readonly work: Work; readonly peer: RawPeer; readonly connection: Connection.Connection<"csms"> },
  ) {
    this.#protocol = protocol
    this.#batch = batch
    this.#work = parts.work
    this.#peer = parts.peer
    this.#connection = parts.connection
    this.#handles = handledBy(batch, corpus)
  }

  #fail(message: string): never {
    throw new Finding(this.#at, message)
  }

  get #situation(): Oracle.Situation {
    return {
      subprotocol: this.#protocol.name as Oracle.Subprotocol,
      strict: this.#batch.strict,
      handles: this.#handles,
      hasMade: (id) => this.#calls.has(id),
      handling: this.#handling,
      pending: this.#pending,
    }
  }

  async callAll(corpus: Corpus): Promise<void> {
    const waiting = this.#batch.calls.map((action): OwnCall => {
      const call: OwnCall = { action, outcomes: [] }
      const effect = this.#connection.call(action, corpus.requests.get(action)?.[0] ?? {})
      Effect.runFork(effect).addObserver((exit) => call.outcomes.push(exit))
      return call
    })
    await turn()
    const sent = this.#peer.take()
    if (sent.length !== waiting.length) this.#fail(`${waiting.length} calls were made, ${sent.length} were sent`)
    for (const [index, call] of waiting.entries()) {
      const [type, messageId, action] = sent[index] ?? []
      if (type !== 2 || action !== call.action) this.#fail(`${call.action} left as ${JSON.stringify(sent[index])}`)
      this.#calls.set(messageId as string, call)
      this.#pending.set(messageId as string, call.action)
    }
  }

  /** Sends every message; gives the texts with the ids in the place of the tokens. */
  async sendAll(): Promise<void> {
    const ids = [...this.#calls.keys()]
    for (const [index, text] of this.#batch.texts.entries()) {
      this.#at = index
      const filled = ids.reduce((filled, id, call) => filled.replaceAll(callToken(call), id), text)
      await this.#exchange(filled)
      if (this.#closed !== undefined) return
    }
  }

  async #answersTo(text: string): Promise<ReadonlyArray<string>> {
    this.#peer.transport.send(text)
    await turn()
    return this.#peer.received.splice(0)
  }

  /** The end of the connection, at the other side. */
  get #closed() {
    return this.#peer.closes[0]
  }

  async #exchange(text: string): Promise<void> {
    const reaction = Oracle.react(text, this.#situation)
    const answers = await this.#answersTo(text)
    this.#checkHandled(reaction)
    const isHeld = this.#work.running > this.#handling.size
    if (isHeld) this.#hold(JSON.parse(text) as [number, string])
    this.#checkAnswers(text, isHeld ? undefined : reaction.answer, answers)
    this.#checkClose(reaction.bad)
    if (this.#closed === undefined) this.#checkOutcome(reaction.settles)
  }

  #hold([type, id]: readonly [number, string]): void {
    this.#handling.add(id)
    if (type === 2) this.#unanswered.push([3, id])
  }

  #checkHandled({ handled }: Oracle.Reaction): void {
    const payloads = this.#work.payloads.splice(0)
    if (handled === "maybe") return
    if (payloads.length !== (handled === undefined ? 0 : 1)) this.#fail(`handlers ran ${payloads.length} times`)
    if (handled !== undefined && !isDeepStrictEqual(payloads[0], handled.payload)) {
      this.#fail(`the handler was given ${JSON.stringify(payloads[0])}`)
    }
  }

  #checkAnswers(text: string, expected: Oracle.Answer | undefined, answers: ReadonlyArray<string>): void {
    if (answers.length !== (expected === undefined ? 0 : 1)) {
      this.#fail(`expected ${expected === undefined ? "no answer" : JSON.stringify(expected)}; got ${answers.join()}`)
    }
    for (const answer of answers) {
      const wrong = wrongWith(answer, text, expected as Oracle.Answer, this.#protocol.name as Oracle.Subprotocol)
      if (wrong !== undefined) this.#fail(`${wrong}; expected ${JSON.stringify(expected)}; got ${answer}`)
    }
  }

  #checkOutcome(settles: Oracle.Outcome | undefined): void {
    for (const [id, call] of this.#calls) {
      const isPending = this.#pending.has(id) && settles?.messageId !== id
      if (call.outcomes.length !== (isPending ? 0 : 1)) {
        this.#fail(`the call of ${call.action} has ${call.outcomes.length} outcomes`)
      }
    }
    if (settles === undefined) return
    this.#pending.delete(settles.messageId)
    const wrong = wrongOutcome(settles, this.#calls.get(settles.messageId)?.outcomes[0])
    if (wrong !== undefined) this.#fail(wrong)
  }

  #checkClose(bad: Oracle.Reaction["bad"]): void {
    const [least, most] = this.#bad
    if (bad === "yes") this.#bad = [least + 1, most + 1]
    if (bad === "maybe") this.#bad = [0, most + 1]
    if (bad === "no") this.#bad = [0, 0]
    const limit = this.#batch.maxBadMessages
    const closed = this.#closed
    if (closed === undefined && this.#bad[0] > limit) this.#fail(`more than ${limit} bad messages, and no close`)
    if (closed === undefined) return
    if (this.#bad[1] <= limit || closed.code !== 1002) this.#fail(`closed with ${closed.code} ${closed.reason}`)
  }

  /** Nothing of the batch is left, and the connection is as good as new. */
  *finish() {
    this.#at = this.#batch.texts.length
    if (this.#closed !== undefined) return yield* this.#checkEnd(1002)
    yield* this.#endHeld()
    yield* Effect.promise(() => this.#checkAlive())
    yield* TestClock.adjust("31 seconds")
    yield* Effect.promise(turn)
    this.#checkTimedOut()
    yield* Effect.forkDetach(this.#connection.close({ awaitPending: true }), { startImmediately: true })
    yield* Effect.promise(turn)
    return yield* this.#checkEnd(1000)
  }

  *#endHeld() {
    this.#work.open()
    yield* Effect.promise(turn)
    const ids = this.#peer.take().map((frame) => frame.slice(0, 2))
    const expected = this.#unanswered
    if (!isDeepStrictEqual(ids, expected))
      this.#fail(`held calls ${JSON.stringify(expected)}; got ${JSON.stringify(ids)}`)
    this.#handling.clear()
  }

  async #checkAlive(): Promise<void> {
    const text = JSON.stringify([2, "alive", aliveAction[this.#batch.side], {}])
    const answers = await this.#answersTo(text)
    this.#checkAnswers(text, { type: 3, messageId: "alive", codes: [] }, answers)
  }

  #checkTimedOut(): void {
    for (const id of this.#pending.keys()) {
      const [exit, ...more] = this.#calls.get(id)?.outcomes ?? []
      const error = exit === undefined ? undefined : Exit.findErrorOption(exit)
      if (more.length > 0 || error?._tag !== "Some" || error.value._tag !== "TimeoutError") {
        this.#fail("a call without answer has not timed out")
      }
    }
  }

  *#checkEnd(code: number) {
    yield* Effect.promise(turn)
    if (this.#closed?.code !== code) this.#fail(`${code} expected; closed with ${this.#closed?.code ?? "nothing"}`)
    if (this.#work.running !== 0) this.#fail(`${this.#work.running} handlers still run`)
    for (const { action, outcomes } of this.#calls.values()) {
      if (outcomes.length !== 1) this.#fail(`the call of ${action} has ${outcomes.length} outcomes in the end`)
    }
    if (this.#peer.take().length > 0) this.#fail("something was sent to a connection that had closed")
    if (Object.keys(Object.prototype).length > 0) this.#fail("Object.prototype has been given properties")
  }
}

/** Says what is wrong with an answer: its form, its message id, its code, its payload. */
export const wrongWith = (
  text: string,
  asked: string,
  expected: Oracle.Answer,
  subprotocol: Oracle.Subprotocol,
): string | undefined => {
  const form = Oracle.malformation(text, asked)
  if (form !== undefined) return `the answer ${form}`
  const [type, messageId, codeOrPayload] = JSON.parse(text) as [number, string, unknown]
  if (type !== expected.type) return "another type"
  if (messageId !== expected.messageId) return "another message id"
  if (type !== 3) return expected.codes.includes(codeOrPayload as string) ? undefined : "another code"
  const action = (JSON.parse(asked) as [unknown, unknown, string])[2]
  const faults = Oracle.faultsOf({ subprotocol }, action, "response", codeOrPayload) ?? []
  return faults.length === 0 ? undefined : "the response is not valid"
}

const wrongOutcome = (
  expected: Oracle.Outcome,
  exit: Exit.Exit<unknown, Connection.CallFailure> | undefined,
): string | undefined => {
  if (exit === undefined) return "the call has not ended"
  if ("result" in expected) {
    const isRight = Exit.isSuccess(exit) && isDeepStrictEqual(exit.value, expected.result)
    return isRight ? undefined : `the call should have succeeded with ${JSON.stringify(expected.result)}`
  }
  const error = Exit.findErrorOption(exit)
  if (error._tag === "None" || !isRPCError(error.value)) return "the call should have failed with an RPCError"
  const { code } = error.value
  return expected.codes.map(Oracle.received).includes(code)
    ? undefined
    : `${expected.codes} expected; failed with ${code}`
}

const connectionOf = (protocol: Protocol, corpus: Corpus, batch: Batch, work: Work, transport: Transport.Transport) => {
  const handles = handledBy({ ...batch, wildcard: false }, corpus)
  const router = Handlers.dynamic((action) =>
    handles(action) || batch.wildcard ? (payload) => work.handle(action, payload) : undefined,
  )
  return Connection.make(transport, {
    // Both sides behave alike; only the actions that they handle differ.
    side: "csms",
    protocol,
    handlers: [router],
    strictMode: batch.strict,
    callConcurrency: Math.max(1, batch.calls.length),
    maxBadMessages: batch.maxBadMessages,
    pingInterval: "Infinity",
  })
}

/** Runs a batch; what is found is thrown. */
export const run = (protocol: Protocol, corpus: Corpus, batch: Batch): Promise<void> => {
  const program = Effect.gen(function* () {
    const { clock, sleepers } = countingClock(yield* Clock.Clock)
    const body = Effect.gen(function* () {
      const [ours, theirs] = Transport.makePair(protocol.name)
      const peer = new RawPeer(theirs)
      const work = new Work(corpus)
      const connection = yield* connectionOf(protocol, corpus, batch, work, ours)
      const run = new Run(protocol, corpus, batch, { work, peer, connection })
      yield* Effect.promise(turn)
      yield* Effect.promise(() => run.callAll(corpus))
      yield* Effect.promise(() => run.sendAll())
      yield* run.finish()
      if (sleepers() > 0) throw new Finding(batch.texts.length, `${sleepers()} deadlines are still set`)
    })
    yield* Effect.provideService(Effect.scoped(body), Clock.Clock, clock)
  })
  return Effect.runPromise(Effect.provide(program, TestClock.layer({ warningDelay: "1 hour" })))
}

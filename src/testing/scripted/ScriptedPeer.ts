/** The one implementation of scripted peers, whatever the side that they play and the actions that type their calls. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Json } from "effect/Schema"
import type * as Action from "../../Action.ts"
import type { Side } from "../../connection/Connection.ts"
import * as Frame from "../../Frame.ts"
import { fromWire, type RPCError } from "../../RPCError.ts"
import type { Subprotocol } from "../../Subprotocol.ts"
import { guarded, type Transport } from "../../Transport.ts"
import type { Part } from "../../Validator.ts"
import { settled } from "../settled.ts"
import { defaultPatience, type ExpectationError, type Heard, Inbox, textOf } from "./Inbox.ts"
import type { Options, Peer, Received } from "./Peer.ts"

/** A scripted peer that listens to a transport from now on. Only its type knows which side it plays. */
export const makeUnsafe = <Self extends Side>(transport: Transport, options: Options<Self>): Peer<Self> =>
  new ScriptedPeer(transport, options) as Peer<Self>

class ScriptedPeer {
  readonly transport: Transport
  readonly #protocol: Subprotocol
  readonly #inbox: Inbox
  readonly #always = new Map<string, (request: unknown) => unknown>()
  /** Our calls that have no answer, by message id. */
  readonly #pending = new Map<string, Deferred.Deferred<Frame.CallResult | Frame.CallError, string>>()
  #sent = 0

  constructor(transport: Transport, { patience = defaultPatience, protocol }: Options<Side>) {
    this.transport = transport
    this.#protocol = protocol
    this.#inbox = new Inbox(patience)
    transport.listen({
      onMessage: (text) => this.#onMessage(text),
      onPing: () => this.#inbox.heard("ping"),
      onPong: () => this.#inbox.heard("pong"),
      onError: (error) => this.#inbox.heard(`error ${error.message}`),
      onClose: (code, reason) => {
        const heard = { _tag: "Close", code, reason } as const
        this.#inbox.heard(textOf(heard))
        for (const pending of this.#pending.values()) Deferred.doneUnsafe(pending, Effect.fail(textOf(heard)))
        this.#inbox.put(heard)
      },
    })
  }

  get transcript(): ReadonlyArray<string> {
    return this.#inbox.transcript
  }

  #onMessage(text: string): void {
    this.#inbox.heard(text)
    const frame = Frame.decode(text, this.#protocol.extendedFrames)
    if (frame._tag === "CallResult" || frame._tag === "CallError") {
      const pending = this.#pending.get(frame.messageId)
      if (pending !== undefined) return void Deferred.doneUnsafe(pending, Effect.succeed(frame))
    }
    const answer = frame._tag === "Call" ? this.#always.get(frame.action) : undefined
    if (frame._tag === "Call" && answer !== undefined) {
      const { messageId, payload = {} } = frame
      return guarded(() => this.#say({ _tag: "CallResult", messageId, payload: answer(payload) as Json }))
    }
    this.#inbox.put({ _tag: "Message", text, frame })
  }

  expectCall(action: Action.Call | string): Effect.Effect<Received, ExpectationError> {
    return this.#expectRequest("Call", action)
  }

  expectSend(action: Action.Send | string): Effect.Effect<unknown, ExpectationError> {
    return Effect.map(this.#expectRequest("Send", action), ({ payload }) => payload)
  }

  #expectRequest(tag: "Call" | "Send", action: Action.Any | string): Effect.Effect<Received, ExpectationError> {
    const name = nameOf(action)
    const expected = `a ${tag.toUpperCase()} of ${name}`
    const select = (heard: Heard): Received | undefined => {
      const frame = frameOf(heard, tag)
      return frame?.action === name ? { ...frame, payload: frame.payload ?? {} } : undefined
    }
    return Effect.tap(this.#inbox.take(expected, select), ({ payload }) =>
      this.#checked(action, "request", payload, expected),
    )
  }

  /** An action as a value promises the type of its payload. */
  #checked(action: Action.Any | string, part: Part, payload: unknown, expected: string) {
    if (typeof action === "string") return Effect.void
    const fault = this.#protocol.validator?.check(action.name, part, payload)
    if (fault === undefined) return Effect.void
    return this.#inbox.fail(`${expected} that is valid`, `one that is not (${fault.message})`)
  }

  expectFrame<Tag extends Frame.Frame["_tag"]>(tag: Tag) {
    return this.#inbox.take(`a ${tag.toUpperCase()}`, (heard) => frameOf(heard, tag))
  }

  expectClose(code?: number) {
    return this.#inbox.take(code === undefined ? "a close" : `a close with ${code}`, (heard) =>
      heard._tag === "Close" && (code === undefined || heard.code === code)
        ? { code: heard.code, reason: heard.reason }
        : undefined,
    )
  }

  get expectNothing(): Effect.Effect<void, ExpectationError> {
    return Effect.flatMap(settled, () => {
      const [first] = this.#inbox.unread
      return first === undefined ? Effect.void : this.#inbox.fail("nothing", textOf(first))
    })
  }

  answer({ messageId }: Received, response: unknown): Effect.Effect<void> {
    return this.#do(() => this.#say({ _tag: "CallResult", messageId, payload: response as Json }))
  }

  refuse({ messageId }: Pick<Received, "messageId">, error: RPCError): Effect.Effect<void> {
    const { code, details, message: description } = error
    return this.#do(() =>
      this.#say({ _tag: "CallError", messageId, code, description, details: details as { [key: string]: Json } }),
    )
  }

  always(action: Action.Call | string, answer: (request: unknown) => unknown): Effect.Effect<void> {
    return Effect.sync(() => void this.#always.set(nameOf(action), answer))
  }

  call(action: Action.Call | string, request: unknown = {}): Effect.Effect<unknown, RPCError | ExpectationError> {
    return Effect.gen({ self: this }, function* () {
      const name = nameOf(action)
      const messageId = this.#nextId()
      const answered = Deferred.makeUnsafe<Frame.CallResult | Frame.CallError, string>()
      this.#pending.set(messageId, answered)
      this.#say({ _tag: "Call", messageId, action: name, payload: request as Json })
      const expected = `an answer to the CALL of ${name}`
      const frame = yield* this.#inbox
        .patiently(
          expected,
          Effect.catch(Deferred.await(answered), (instead) => this.#inbox.fail(expected, instead)),
        )
        .pipe(Effect.ensuring(Effect.sync(() => this.#pending.delete(messageId))))
      if (frame._tag === "CallError") return yield* fromWire(frame.code, frame.description, frame.details)
      const response = frame.payload ?? {}
      yield* this.#checked(action, "response", response, expected)
      return response
    })
  }

  notify(action: Action.Send | string, request: unknown = {}): Effect.Effect<void> {
    return this.#do(() =>
      this.#say({ _tag: "Send", messageId: this.#nextId(), action: nameOf(action), payload: request as Json }),
    )
  }

  send(message: string | ReadonlyArray<unknown>): Effect.Effect<void> {
    return this.#do(() => this.#write(typeof message === "string" ? message : JSON.stringify(message)))
  }

  close(code = 1000, reason = ""): Effect.Effect<void> {
    return this.#do(() => {
      this.#inbox.said(textOf({ _tag: "Close", code, reason }))
      this.transport.close(code, reason)
    })
  }

  get drop(): Effect.Effect<void> {
    return this.#do(() => {
      this.#inbox.said("drop")
      this.transport.terminate()
    })
  }

  #nextId(): string {
    return `script-${++this.#sent}`
  }

  #do(act: () => void): Effect.Effect<void> {
    return Effect.andThen(Effect.sync(act), settled)
  }

  #say(frame: Frame.Frame): void {
    this.#write(Frame.encode(frame, this.#protocol.spelling))
  }

  #write(text: string): void {
    this.#inbox.said(text)
    this.transport.send(text)
  }
}

const nameOf = (action: { readonly name: string } | string) => (typeof action === "string" ? action : action.name)

/** The frame of a message, if it is of this kind. */
const frameOf = <Tag extends Frame.Frame["_tag"]>(heard: Heard, tag: Tag) =>
  heard._tag === "Message" && heard.frame._tag === tag
    ? (heard.frame as Extract<Frame.Frame, { readonly _tag: Tag }>)
    : undefined

/**
 * One end of a connection, small enough to be read: how a connection uses its `Session` and keeps its messages in order.
 *
 * It has two lanes. What we send passes `#out` before it is written; what we get passes `#in` before anything is made of it. Neither
 * holds anything up while nothing is signed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import * as Codec from "../../../src/Codec.ts"
import type * as Frame from "../../../src/Frame.ts"
import { fromWire, isRPCError, type RPCError, RPCGenericError, RPCInternalError } from "../../../src/RPCError.ts"
import * as Signing from "../../../src/Signing.ts"
import type { Subprotocol } from "../../../src/Subprotocol.ts"
import { Lane, type Limits } from "../../../src/signing/Lane.ts"
import type { Listener, Transport } from "../../../src/Transport.ts"

/** What an end does with a request: an Effect that may ask who signed it. */
export type Handle = (request: Signing.MaybeSigned<Frame.Call | Frame.Send>) => Effect.Effect<Schema.Json, RPCError>

interface Options {
  readonly subprotocol: Subprotocol
  readonly signing?: Signing.Signing
  readonly handle?: Handle
  readonly limits?: Limits
  /** Runs what takes its time. */
  readonly fork?: ConstructorParameters<typeof Lane>[0]
}

interface Pending {
  readonly action: string
  readonly settle: (exit: Exit.Exit<Answer, RPCError>) => void
}

/** What a call succeeds with. */
export interface Answer {
  readonly payload: Frame.CallResult["payload"]
  readonly signed: Signing.Signed | undefined
}

export class End implements Listener {
  /** The texts that came, as they came. */
  readonly received: Array<string> = []
  readonly #transport: Transport
  readonly #subprotocol: Subprotocol
  readonly #session: Signing.Session | undefined
  readonly #handle: Handle
  readonly #pending = new Map<string, Pending>()
  readonly #in: Lane
  readonly #out: Lane
  #calls = 0

  constructor(
    transport: Transport,
    { subprotocol, fork = Effect.runFork, handle = () => Effect.succeed({}), limits, signing }: Options,
  ) {
    this.#transport = transport
    this.#subprotocol = subprotocol
    this.#session = (signing ?? Signing.make()).connect({ identity: "CP001", subprotocol })
    this.#handle = handle
    this.#in = new Lane(fork, limits)
    this.#out = new Lane(fork)
    transport.listen(this)
  }

  /** Calls the other end. Interrupting it takes it back, even while it is being signed. */
  call(action: string, payload: Schema.Json): Effect.Effect<Answer, RPCError> {
    return Effect.callback((resume) => {
      const messageId = `${++this.#calls}`
      this.#pending.set(messageId, { action, settle: resume })
      const leave = this.#request({ _tag: "Call", messageId, action, payload }, (error) =>
        this.#settle(messageId, Exit.failCause(error)),
      )
      return Effect.sync(() => {
        this.#pending.delete(messageId)
        leave()
      })
    })
  }

  /** Sends what is not answered. */
  send(action: string, payload: Schema.Json): void {
    this.#request({ _tag: "Send", messageId: `${++this.#calls}`, action, payload }, () => {})
  }

  #request(request: Frame.Call | Frame.Send, onFailure: (cause: Cause.Cause<RPCError>) => void): () => void {
    const { _tag, action, payload } = request
    // A connection validates the plain payload here: nothing that is not valid is signed.
    const sign = this.#session?.request(_tag, action)
    if (sign === undefined) return this.#write(request)
    const text = JSON.stringify(payload)
    return this.#out.enter(text.length, sign(text), (exit) => {
      if (exit._tag === "Failure") return onFailure(exit.cause)
      this.#transmit({ ...request, action: Signing.signedAction(action), payload: exit.value })
    })
  }

  /** Writes what is not signed, once what came before it has been. */
  #write(frame: Frame.Frame): () => void {
    return this.#out.pass(0, () => this.#transmit(frame))
  }

  #transmit(frame: Frame.Frame): void {
    this.#transport.send(Codec.encode(frame, this.#subprotocol.spelling))
  }

  onMessage(text: string): void {
    this.received.push(text)
    const frame = Codec.decode(text, this.#subprotocol.extendedFrames)
    switch (frame._tag) {
      case "Call":
      case "Send": {
        if (!this.#in.hasRoom(text.length))
          return this.#refuse(frame, Cause.fail(new RPCGenericError("too much waits")))
        const opening = this.#session?.openRequest(frame)
        if (opening === undefined) return void this.#in.pass(text.length, () => this.#run(frame))
        return void this.#in.enter(text.length, opening, (exit) =>
          exit._tag === "Success" ? this.#run(exit.value) : this.#refuse(frame, exit.cause),
        )
      }
      case "CallResult": {
        const { messageId, payload } = frame
        const call = this.#pending.get(messageId)
        if (call === undefined) return
        const opening = this.#session?.openResult(frame, call.action)
        const plain = Exit.succeed({ payload, signed: undefined })
        if (opening === undefined) return void this.#in.pass(text.length, () => this.#settle(messageId, plain))
        return void this.#in.enter(text.length, opening, (exit) => this.#settle(messageId, exit))
      }
      case "CallError": {
        const { code, description, details, messageId } = frame
        const error = Exit.fail(fromWire(code, description, details))
        return void this.#in.pass(text.length, () => this.#settle(messageId, error))
      }
    }
  }

  #settle(messageId: string, exit: Exit.Exit<Answer, RPCError>): void {
    const call = this.#pending.get(messageId)
    this.#pending.delete(messageId)
    call?.settle(exit)
  }

  /** A connection checks from here on what it checks of any request; it sees the plain one. */
  #run(request: Signing.MaybeSigned<Frame.Call | Frame.Send>): void {
    const handled = Effect.provideService(this.#handle(request), Signing.Signed, request.signed)
    Effect.runFork(handled).addObserver((exit) => {
      if (request._tag === "Send") return
      if (exit._tag === "Failure") return this.#refuse(request, exit.cause)
      const sign = this.#session?.result(request)
      const result: Frame.CallResult = { _tag: "CallResult", messageId: request.messageId, payload: exit.value }
      if (sign === undefined) return void this.#write(result)
      const text = JSON.stringify(exit.value)
      this.#out.enter(text.length, sign(text), (signing) => {
        if (signing._tag === "Failure") this.#transmit(errorFrame(request, signing.cause))
        else this.#transmit({ ...result, payload: signing.value })
      })
    })
  }

  #refuse(request: Frame.Call | Frame.Send, cause: Cause.Cause<RPCError>): void {
    if (request._tag === "Call") this.#write(errorFrame(request, cause))
  }

  onClose(): void {
    Effect.runFork(Effect.andThen(this.#in.stop(), this.#out.stop()))
  }

  onPing(): void {}
  onPong(): void {}
  onError(): void {}
}

const errorFrame = ({ messageId }: Frame.Call, cause: Cause.Cause<RPCError>): Frame.CallError => {
  const failure = cause.reasons.find(Cause.isFailReason)?.error
  const { code, message } = isRPCError(failure) ? failure : new RPCInternalError("the program failed")
  return { _tag: "CallError", messageId, code, description: message, details: {} }
}

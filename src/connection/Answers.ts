/** Our answers to the peer's calls: results, refusals, and the CALLRESULTERRORs that may come back for them. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Frame from "../Frame.ts"
import { type Follower, noReply } from "../Handlers.ts"
import { isRPCError, type RPCError, RPCInternalError } from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Conformance } from "./Conformance.ts"
import { about } from "./Event.ts"
import type { Hub } from "./Hub.ts"
import type { Metrics, Outcome } from "./Metrics.ts"
import type { Configured } from "./Settings.ts"
import * as supervised from "./supervised.ts"
import * as Tracing from "./Tracing.ts"

/** The open connection, as our answers see it. */
export interface Writer extends Configured {
  readonly hub: Hub
  readonly metrics: Metrics
  readonly subprotocol: Subprotocol
  readonly conformance: Conformance
  readonly scope: Scope.Scope
  readonly handlerContext: Context.Context<never>
  readonly metricName: (action: string) => string
  /** Sends a message of ours, which is this frame. Returns whether it is on its way. */
  readonly send: (message: string, frame: Frame.Frame) => boolean
}

/** Our results that the peer may still refuse with a CALLRESULTERROR. */
const rememberedResults = 64

export class Answers {
  readonly #writer: Writer
  #remembered: Set<string> | undefined

  constructor(writer: Writer) {
    this.#writer = writer
  }

  /** Answers a call whose handler has ended. Returns what came of it. */
  conclude(call: Frame.Call | Frame.Send, exit: Exit.Exit<unknown, unknown>): Outcome {
    if (exit._tag === "Success") return this.#result(call, exit.value)
    const failure = exit.cause.reasons.find(Cause.isFailReason)?.error
    if (isRPCError(failure) && call._tag === "Call") return this.error(call, failure)
    this.#log(call, "a handler failed", exit.cause)
    if (call._tag === "Send") return "InternalError"
    const detail = this.#writer.settings.respondWithDetailedErrors ? Cause.pretty(exit.cause) : "the handler failed"
    return this.error(call, new RPCInternalError(detail))
  }

  #result(call: Frame.Call | Frame.Send, response: unknown): Outcome {
    if (call._tag === "Send" || response === noReply) return "ok"
    const { conformance, hub, settings, subprotocol } = this.#writer
    const payload = (response ?? {}) as Schema.Json
    const invalid = conformance.ownResult(call, payload)
    if (invalid !== undefined) {
      this.#log(call, `the response of a handler is not valid: ${invalid.message}`)
      const detail = settings.respondWithDetailedErrors ? `: ${invalid.message}` : ""
      return this.error(call, new RPCInternalError(`the response is not valid${detail}`))
    }
    const written = this.#write({ _tag: "CallResult", messageId: call.messageId, payload })
    if (typeof written === "object") {
      this.#log(call, "the response of a handler is not JSON", Cause.die(written.reason))
      return this.error(call, new RPCInternalError("the response cannot be written as JSON"))
    }
    if (subprotocol.extendedFrames && written) this.#remember(call.messageId)
    if (hub.active) hub.emit({ _tag: "CallResult", result: payload, sent: written, ...about(call, false) })
    return written ? "ok" : "disconnected"
  }

  /** Answers a call whose handler takes too long. */
  timedOut(call: Frame.Call | Frame.Send): void {
    const text = `the handler did not finish within ${this.#writer.settings.handlerTimeout} ms`
    this.error(call, new RPCInternalError(text))
  }

  /** Refuses a call that no handler gets to see. */
  refuse(call: Frame.Call | Frame.Send, error: RPCError): void {
    this.#writer.metrics.called("in", this.#writer.metricName(call.action), this.error(call, error), 0)
  }

  /** Answers with an error. A SEND is never answered; that it came to nothing can only be observed. */
  error(call: Frame.Call | Frame.Send, error: RPCError): Outcome {
    const { hub, subprotocol } = this.#writer
    if (call._tag === "Send") {
      if (!hub.active) return error.code
      const message = Frame.encode(call, subprotocol.spelling)
      hub.emit({ _tag: "BadMessage", message, error, response: undefined })
      return error.code
    }
    const sent = this.sendError("CallError", call.messageId, error) !== undefined
    if (hub.active) hub.emit({ _tag: "CallError", error, sent, ...about(call, false) })
    return sent ? error.code : "disconnected"
  }

  /** Sends an error frame. Returns it when it is on its way. */
  sendError(
    _tag: "CallError" | "CallResultError",
    messageId: string,
    error: RPCError,
  ): Frame.CallError | Frame.CallResultError | undefined {
    const frame = errorFrame(_tag, messageId, error)
    const written = this.#write(frame)
    if (typeof written === "boolean") return written ? frame : undefined
    // Details that are not JSON must not cost the caller his answer.
    const plain = { ...frame, details: {} }
    return this.#write(plain) === true ? plain : undefined
  }

  /** Sends a frame. Returns whether it is on its way, or why it cannot be written as JSON. */
  #write(frame: Frame.Frame): boolean | { readonly reason: unknown } {
    const { subprotocol } = this.#writer
    let message: string
    try {
      message = Frame.encode(frame, subprotocol.spelling)
    } catch (reason) {
      return { reason }
    }
    return this.#writer.send(message, frame)
  }

  /** Forgets a result of ours that the peer refuses. Returns whether there was one under this message id. */
  takeBack(messageId: string): boolean {
    return this.#remembered?.delete(messageId) === true
  }

  /** An id that is longer than any may be (36 characters of two units) is not kept: it may be as long as a message. */
  #remember(messageId: string): void {
    if (messageId.length > 72) return
    this.#remembered ??= new Set()
    this.#remembered.add(messageId)
    if (this.#remembered.size <= rememberedResults) return
    for (const oldest of this.#remembered) {
      this.#remembered.delete(oldest)
      return
    }
  }

  /** Runs a program that has waited for the answer to leave, in the connection's Scope. */
  follow(call: Frame.Call | Frame.Send, { context, program }: Follower): void {
    const { scope } = this.#writer
    const logged = Effect.catchCause(program, (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logError(`what was to follow the answer to ${call.action} failed`, cause),
    )
    supervised.fork(scope, Context.add(context, Scope.Scope, scope), logged)
  }

  /** Nobody else learns of a defect: the peer gets an error that says nothing, and the handler has ended. */
  #log(call: Frame.Call | Frame.Send, ...message: readonly [what: string, cause?: Cause.Cause<unknown>]): void {
    const log = Effect.annotateLogs(Effect.logError(...message), Tracing.annotationsOf(call))
    supervised.fork(this.#writer.scope, this.#writer.handlerContext, log)
  }
}

const errorFrame = (
  _tag: "CallError" | "CallResultError",
  messageId: string,
  error: RPCError,
): Frame.CallError | Frame.CallResultError => ({
  _tag,
  messageId,
  code: error.code,
  description: error.message,
  // Whoever makes an error without the help of the types may give it anything.
  details: (Array.isArray(error.details) ? {} : error.details) as { readonly [key: string]: Schema.Json },
})

/**
 * What may be said: whether a call is one of the subprotocol's, and, in strict mode, whether a payload satisfies it. Whoever
 * observes the connection, and the metrics, hear of every payload that does not.
 */

import type * as Frame from "../Frame.ts"
import {
  type RPCError,
  RPCFormatViolationError,
  RPCFrameworkError,
  RPCInternalError,
  RPCProtocolError,
} from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Part, Validator } from "../Validator.ts"
import { about, type Hub } from "./Event.ts"
import type { Metrics } from "./Metrics.ts"
import type { Pending } from "./Outbound.ts"
import { type Configured, isStrict } from "./Settings.ts"

type Call = Frame.Call | Frame.Send | Pending

/** Whose payloads are judged. */
export interface Owner extends Configured {
  readonly hub: Hub
  readonly metrics: Metrics
}

export class Conformance {
  readonly #owner: Owner
  #subprotocol: Subprotocol
  /** In strict mode, where there is one. */
  #validator: Validator | undefined

  constructor(owner: Owner, subprotocol: Subprotocol) {
    this.#owner = owner
    this.#subprotocol = subprotocol
    this.reconfigured()
  }

  /** The settings have changed. */
  reconfigured(): void {
    const { name, validator } = this.#subprotocol
    this.#validator = isStrict(this.#owner.settings.strictMode, name) ? validator : undefined
  }

  /** From now on this validator judges, in strict mode. */
  judgeBy(validator: Validator | undefined): void {
    this.#subprotocol = { ...this.#subprotocol, validator }
    this.reconfigured()
  }

  /** OCPP-J 1.6 §4.1.4, 2.x part 4 §4.1.4: at most 36 characters. */
  messageId(id: string): RPCError | undefined {
    if (this.#validator === undefined || id.length <= 36 || [...id].length <= 36) return undefined
    return new RPCFrameworkError("the message id is longer than 36 characters")
  }

  /** The fault of a request that the peer sent, unless it is to be let through. */
  request(call: Frame.Call | Frame.Send): RPCError | undefined {
    if (this.#validator === undefined) return undefined
    const wrong = this.#wrongKind(call.action, call._tag)
    if (wrong === undefined) return this.#checkInbound(call, "request", call.payload)
    this.#tell("peer", call, "request", call.payload, wrong)
    return wrong
  }

  /** The fault of a result that the peer sent, unless it is to be let through. */
  result(call: Pending, payload: unknown): RPCError | undefined {
    return this.#checkInbound(call, "response", payload)
  }

  /** Why a request of ours may not be sent. */
  ownRequest(call: Pending): RPCError | undefined {
    const { actions, extendedFrames, name } = this.#subprotocol
    const { action, declaration, kind, payload } = call.request
    const spoken = name || "no subprotocol"
    if (declaration !== undefined && actions.get(action) !== declaration) {
      return new RPCProtocolError(`this ${action} is not an action of ${spoken}, which the connection speaks`)
    }
    const wrong = this.#wrongKind(action, kind)
    if (wrong !== undefined) return wrong
    if (kind === "Send" && !extendedFrames) {
      return new RPCProtocolError(`${action} cannot be sent: ${spoken} knows no SEND`)
    }
    return this.#check("us", call, "request", payload ?? {})
  }

  /** Why a result of ours may not be sent. */
  ownResult(call: Frame.Call, payload: unknown): RPCError | undefined {
    return this.#check("us", call, "response", payload)
  }

  /** A SEND of what is called, or a CALL of what is only sent. */
  #wrongKind(action: string, kind: "Call" | "Send"): RPCError | undefined {
    const known = this.#subprotocol.actions.get(action)
    if (known === undefined || (known.kind === "send") === (kind === "Send")) return undefined
    return new RPCProtocolError(`${action} is a ${known.kind === "send" ? "SEND, which has no answer" : "CALL"}`)
  }

  #checkInbound(call: Call, part: Part, payload: unknown): RPCError | undefined {
    const { validateInbound } = this.#owner.settings
    if (validateInbound === "ignore") return undefined
    const error = this.#check("peer", call, part, payload)
    return validateInbound === "reject" ? error : undefined
  }

  #check(sender: "us" | "peer", call: Call, part: Part, payload: unknown): RPCError | undefined {
    const error = this.#conformance(call.action, part, payload)
    if (error !== undefined) this.#tell(sender, call, part, payload, error)
    return error
  }

  /** A validator of the user's may throw; then nobody can say that the payload is valid. */
  #conformance(action: string, part: Part, payload: unknown): RPCError | undefined {
    if (this.#validator === undefined) return undefined
    if (payload === undefined && part === "request") {
      return new RPCFormatViolationError("the payload (element 3) is missing")
    }
    try {
      return this.#validator.check(action, part, payload)
    } catch (error) {
      return new RPCInternalError(`the validator failed: ${textOf(error)}`)
    }
  }

  #tell(sender: "us" | "peer", call: Call, part: Part, payload: unknown, error: RPCError): void {
    const { hub, metrics } = this.#owner
    metrics.validationFailure(sender)
    if (!hub.active) return
    const result = part === "response" ? payload : undefined
    const outbound = (sender === "us") === (part === "request")
    hub.emit({ _tag: "ValidationFailure", sender, part, result, error, ...about(call, outbound) })
  }
}

/** What an error says of itself. */
export const textOf = (error: unknown): string => (error instanceof Error ? error.message : "unknown reason")

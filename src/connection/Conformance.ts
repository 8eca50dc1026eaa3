/**
 * Conformance to the subprotocol: whether a call is one of its actions, and, in strict mode, whether a payload satisfies it. Observers of the
 * connection, and the metrics, hear of every payload that does not.
 */
import type * as Frame from "../Frame.ts"
import {
  type RPCError,
  RPCFormatViolationError,
  RPCFrameworkError,
  RPCInternalError,
  RPCNotImplementedError,
  RPCProtocolError,
} from "../RPCError.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Part, Validator } from "../Validator.ts"
import { about } from "./Event.ts"
import type { Hub } from "./Hub.ts"
import type { Metrics } from "./Metrics.ts"
import type { OutboundCall } from "./OutboundCall.ts"
import { type Configured, isStrict } from "./Settings.ts"

type AnyCall = Frame.Call | Frame.Send | OutboundCall

/** The connection whose payloads are checked. */
export interface Spoken extends Configured {
  readonly hub: Hub
  readonly metrics: Metrics
}

export class Conformance {
  readonly #spoken: Spoken
  #subprotocol: Subprotocol
  /** In strict mode, where there is one. */
  #validator: Validator | undefined

  constructor(spoken: Spoken, subprotocol: Subprotocol) {
    this.#spoken = spoken
    this.#subprotocol = subprotocol
    this.reconfigured()
  }

  /** The settings have changed. */
  reconfigured(): void {
    const { name, validator } = this.#subprotocol
    this.#validator = isStrict(this.#spoken.settings.strictMode, name) ? validator : undefined
  }

  /** Validates with another validator from now on, in strict mode. */
  validateWith(validator: Validator | undefined): void {
    this.#subprotocol = { ...this.#subprotocol, validator }
    this.reconfigured()
  }

  /** OCPP-J 1.6 §4.1.4, 2.x part 4 §4.1.4: at most 36 characters, in strict mode. */
  messageId(id: string): RPCError | undefined {
    if (id.length <= 36 || this.#validator === undefined || this.#spoken.settings.validateInbound === "ignore")
      return undefined
    if ([...id].length <= 36) return undefined
    return new RPCFrameworkError("the message id is longer than 36 characters")
  }

  /** Why a request of the peer is refused. */
  request(call: Frame.Call | Frame.Send): RPCError | undefined {
    if (this.#validator === undefined) return undefined
    const wrongKind = this.#wrongKind(call.action, call._tag)
    if (wrongKind !== undefined) {
      this.#tell("peer", call, "request", call.payload, wrongKind)
      return wrongKind
    }
    const invalid = this.#received(call, "request", call.payload)
    // A wildcard handler does not make it an action of the subprotocol.
    const isUnknown = invalid?.code === "ProtocolError" && !this.#subprotocol.actions.has(call.action)
    return isUnknown ? new RPCNotImplementedError(invalid.message) : invalid
  }

  /** Why a result of the peer is refused. */
  result(call: OutboundCall, payload: unknown): RPCError | undefined {
    return this.#received(call, "response", payload)
  }

  /** Why a request of ours may not be sent. */
  ownRequest(call: OutboundCall): RPCError | undefined {
    const { actions, extendedFrames, name } = this.#subprotocol
    const { action, declaration, payload } = call.request
    const kind = call.request.kind === "Send" ? "Send" : "Call"
    const spoken = name || "no subprotocol"
    if (declaration !== undefined && actions.get(action) !== declaration) {
      return new RPCProtocolError(`this ${action} is not an action of ${spoken}, which the connection speaks`)
    }
    const wrongKind = this.#wrongKind(action, kind)
    if (wrongKind !== undefined) return wrongKind
    if (kind === "Send" && !extendedFrames) {
      return new RPCProtocolError(`${action} cannot be sent: ${spoken} knows no SEND`)
    }
    return this.#checked("us", call, "request", payload ?? {})
  }

  /** Why a result of ours may not be sent. */
  ownResult(call: Frame.Call, payload: unknown): RPCError | undefined {
    return this.#checked("us", call, "response", payload)
  }

  /** Refuses a SEND of an action that is called, and a CALL of one that is only sent. */
  #wrongKind(action: string, kind: "Call" | "Send"): RPCError | undefined {
    const known = this.#subprotocol.actions.get(action)
    if (known === undefined || (known.kind === "send") === (kind === "Send")) return undefined
    return new RPCProtocolError(`${action} is a ${known.kind === "send" ? "SEND, which has no answer" : "CALL"}`)
  }

  #received(call: AnyCall, part: Part, payload: unknown): RPCError | undefined {
    const { validateInbound } = this.#spoken.settings
    if (validateInbound === "ignore") return undefined
    const error = this.#checked("peer", call, part, payload)
    return validateInbound === "reject" ? error : undefined
  }

  #checked(sender: "us" | "peer", call: AnyCall, part: Part, payload: unknown): RPCError | undefined {
    if (this.#validator === undefined) return undefined
    const error = verdict(this.#validator, call.action, part, payload)
    if (error !== undefined) this.#tell(sender, call, part, payload, error)
    return error
  }

  #tell(sender: "us" | "peer", call: AnyCall, part: Part, payload: unknown, error: RPCError): void {
    const { hub, metrics } = this.#spoken
    metrics.validationFailure(sender)
    if (!hub.active) return
    const result = part === "response" ? payload : undefined
    const outbound = (sender === "us") === (part === "request")
    hub.emit({ _tag: "ValidationFailure", sender, part, result, error, ...about(call, outbound) })
  }
}

/** A validator of the user's may throw; then nobody can say that the payload is valid. */
const verdict = (validator: Validator, action: string, part: Part, payload: unknown): RPCError | undefined => {
  if (payload === undefined && part === "request") {
    return new RPCFormatViolationError("the payload (element 3) is missing")
  }
  try {
    return validator.check(action, part, payload)
  } catch (error) {
    return new RPCInternalError(`the validator failed: ${messageOf(error)}`)
  }
}

/** The message of an error. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : "unknown reason")

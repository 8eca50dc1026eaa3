/**
 * The errors that travel in a CALLERROR (OCPP-J 1.6 §4.2.3, OCPP 2.x part 4 §4.3).
 *
 * Every error is an {@link RPCError} with a `code`, a `message` (the errorDescription) and `details` (the errorDetails).
 * There is one class per code, so `instanceof` and `error.code` both work; all of them are tagged `"RPCError"`, so that
 * `Effect.catchTag("RPCError", …)` catches whichever code arrives. They are yieldable: a handler fails with
 * `return yield* new RPCSecurityError("unknown tag")`.
 *
 * Two codes have two spellings. The classes are named as OCPP 2.x spells them; {@link wireCode} gives what a subprotocol
 * writes, and {@link fromWire} takes either.
 */
import * as Data from "effect/Data"

/** The codes as OCPP 2.x spells them. */
export const codes = [
  "NotImplemented",
  "NotSupported",
  "InternalError",
  "ProtocolError",
  "SecurityError",
  "FormatViolation",
  "PropertyConstraintViolation",
  "OccurrenceConstraintViolation",
  "TypeConstraintViolation",
  "GenericError",
  "MessageTypeNotSupported",
  "RpcFrameworkError",
] as const

/** A code as OCPP 2.x spells it. */
export type Code = (typeof codes)[number]

/** The spellings that only OCPP 1.6 has (its errata ask to keep the missing letter). */
export type LegacyCode = "FormationViolation" | "OccurenceConstraintViolation"

/** Which spelling a subprotocol writes: `"1.6"` or, for everything newer and for subprotocols of your own, `"2.x"`. */
export type Spelling = "1.6" | "2.x"

const legacySpelling: ReadonlyMap<string, LegacyCode> = new Map([
  ["FormatViolation", "FormationViolation"],
  ["OccurrenceConstraintViolation", "OccurenceConstraintViolation"],
])

const currentSpelling: ReadonlyMap<string, Code> = new Map([
  ["FormationViolation", "FormatViolation"],
  ["OccurenceConstraintViolation", "OccurrenceConstraintViolation"],
])

/** Longest errorDescription that may be sent, in Unicode code points. */
export const maxDescriptionLength = 255

/** Marks the errors of all copies of this package that a program has loaded. */
const brand = Symbol.for("effect-ocpp/RPCError")

/** The base of all OCPP errors. `message` is the errorDescription; empty when there is nothing to say. */
export class RPCError extends Data.Error<{ readonly message: string }> {
  readonly _tag = "RPCError"
  override readonly name: string = "RPCError"
  /** The error code, as OCPP 2.x spells it. */
  readonly code: Code
  /** The errorDetails: always an object, `{}` when there is nothing to say. */
  readonly details: Readonly<Record<string, unknown>>
  /** @internal */
  get [brand](): true {
    return true
  }

  constructor(code: Code, message = "", details: Readonly<Record<string, unknown>> = {}) {
    super({ message: typeof message === "string" ? message : String(message ?? "") })
    this.code = code
    this.details = details
  }

  /** The same as `code`, under the name that the promise face documents. */
  get rpcErrorCode(): Code {
    return this.code
  }
}

type RPCErrorClass<C extends Code> = new (
  message?: string,
  details?: Readonly<Record<string, unknown>>,
) => RPCError & { readonly code: C }

const define = <const C extends Code>(code: C, name: string): RPCErrorClass<C> => {
  class Defined extends RPCError {
    declare readonly code: C
    override readonly name: string = name
    constructor(message?: string, details?: Readonly<Record<string, unknown>>) {
      super(code, message, details)
    }
  }
  Object.defineProperty(Defined, "name", { value: name })
  return Defined
}

/** The action is not known, or nothing handles it. */
export class RPCNotImplementedError extends define("NotImplemented", "RPCNotImplementedError") {}
/** The action is known but not supported. */
export class RPCNotSupportedError extends define("NotSupported", "RPCNotSupportedError") {}
/** The receiver could not process the request because of a fault of its own. */
export class RPCInternalError extends define("InternalError", "RPCInternalError") {}
/** The payload is incomplete, or no schema of the subprotocol covers it. */
export class RPCProtocolError extends define("ProtocolError", "RPCProtocolError") {}
/** A security issue kept the receiver from processing the request. */
export class RPCSecurityError extends define("SecurityError", "RPCSecurityError") {}
/** The payload is syntactically wrong or has not the structure of the message. 1.6 writes `FormationViolation`. */
export class RPCFormatViolationError extends define("FormatViolation", "RPCFormatViolationError") {}
/** A field holds a value that it may not hold. */
export class RPCPropertyConstraintViolationError extends define(
  "PropertyConstraintViolation",
  "RPCPropertyConstraintViolationError",
) {}
/** A field is missing or occurs too often. 1.6 writes `OccurenceConstraintViolation`. */
export class RPCOccurrenceConstraintViolationError extends define(
  "OccurrenceConstraintViolation",
  "RPCOccurrenceConstraintViolationError",
) {}
/** @deprecated the spelling of 1.6 */
export {
  RPCFormatViolationError as RPCFormationViolationError,
  RPCOccurrenceConstraintViolationError as RPCOccurenceConstraintViolationError,
}
/** A field has the wrong JSON type. */
export class RPCTypeConstraintViolationError extends define(
  "TypeConstraintViolation",
  "RPCTypeConstraintViolationError",
) {}
/** Any other error. */
export class RPCGenericError extends define("GenericError", "RPCGenericError") {
  /** The code that the peer wrote, when it is not one of OCPP's. */
  readonly receivedCode: string | undefined
  constructor(message?: string, details?: Readonly<Record<string, unknown>>, receivedCode?: string) {
    super(message, details)
    this.receivedCode = receivedCode
  }
}
/** The message type number is not supported. */
export class RPCMessageTypeNotSupportedError extends define(
  "MessageTypeNotSupported",
  "RPCMessageTypeNotSupportedError",
) {}
/** The frame is not a valid RPC message, for example because its id could not be read. */
export class RPCFrameworkError extends define("RpcFrameworkError", "RPCFrameworkError") {}

const classes = {
  NotImplemented: RPCNotImplementedError,
  NotSupported: RPCNotSupportedError,
  InternalError: RPCInternalError,
  ProtocolError: RPCProtocolError,
  SecurityError: RPCSecurityError,
  FormatViolation: RPCFormatViolationError,
  PropertyConstraintViolation: RPCPropertyConstraintViolationError,
  OccurrenceConstraintViolation: RPCOccurrenceConstraintViolationError,
  TypeConstraintViolation: RPCTypeConstraintViolationError,
  GenericError: RPCGenericError,
  MessageTypeNotSupported: RPCMessageTypeNotSupportedError,
  RpcFrameworkError: RPCFrameworkError,
} satisfies Record<Code, new (message?: string, details?: Readonly<Record<string, unknown>>) => RPCError>

/** Says whether a value is an {@link RPCError}, be it of another copy of this package. */
export const isRPCError = (value: unknown): value is RPCError => {
  try {
    return typeof value === "object" && value !== null && brand in value
  } catch {
    // A Proxy may throw whatever it is asked.
    return false
  }
}

/**
 * The error of a code, in either spelling.
 *
 * @throws {TypeError} when the code is not one of OCPP's.
 */
export const createRPCError = (
  code: Code | LegacyCode,
  message?: string,
  details?: Readonly<Record<string, unknown>>,
): RPCError => {
  const current = currentSpelling.get(code) ?? code
  if (!Object.hasOwn(classes, current)) {
    throw new TypeError(`unknown RPC error code ${JSON.stringify(code)}; expected one of ${codes.join(", ")}`)
  }
  return new classes[current as Code](message, details)
}

/**
 * The error for a CALLERROR that was received. An unknown code gives an {@link RPCGenericError} whose `receivedCode`
 * names it.
 */
export const fromWire = (code: string, message: string, details: Readonly<Record<string, unknown>>): RPCError => {
  const current = currentSpelling.get(code) ?? code
  return Object.hasOwn(classes, current)
    ? new classes[current as Code](message, details)
    : new RPCGenericError(message, details, code)
}

/** The code as the subprotocol writes it. */
export const wireCode = (code: string, spelling: Spelling): string =>
  (spelling === "1.6" ? legacySpelling : currentSpelling).get(code) ?? code

/** The description as it may be sent: at most {@link maxDescriptionLength} code points. */
export const wireDescription = (message: string): string =>
  message.length <= maxDescriptionLength
    ? message
    : Array.from(message.slice(0, 2 * maxDescriptionLength))
        .slice(0, maxDescriptionLength)
        .join("")

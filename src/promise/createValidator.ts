/**
 * Validators for the promise face: of users' own JSON Schemas, and of the built-in versions.
 *
 * Both know a payload by its schema id, in the spelling of 1.6 (`urn:Echo.req`, `urn:Echo.conf`) or in that of 2.x
 * (`urn:EchoRequest`, `urn:EchoResponse`). `urn:Echo` is the request of a SEND.
 */
import type * as Core from "../Validator.ts"
import { refusal } from "../validator/Violation.ts"
import { describe } from "../validator/wording.ts"
import { compileSchemas, type JsonSchema, original, type Verdict } from "./compileSchemas.ts"
import { checkBy, names } from "./standard.ts"

export type { JsonSchema } from "./compileSchemas.ts"

/** Judges the payloads of one subprotocol. */
export class Validator implements Core.Validator {
  /** The name of the subprotocol. */
  readonly subprotocol: string
  readonly check: Core.Validator["check"]

  constructor(subprotocol: string, check: Core.Validator["check"]) {
    this.subprotocol = subprotocol
    this.check = check
  }

  /**
   * Judges a value by the schema of an id.
   *
   * @throws {RPCError} when the value is not valid, or there is no such schema
   */
  validate(schemaId: string, value: unknown): true {
    const { action, part } = payloadOf(schemaId)
    const error = this.check(action, part, value)
    if (error === undefined) return true
    Error.captureStackTrace?.(error, this.validate)
    throw error
  }
}

/** The validators of `ocpp1.6`, `ocpp2.0.1` and `ocpp2.1`. */
export const standardValidators: ReadonlyArray<Validator> = names.map((name) => new Validator(name, checkBy(name)))

/** The payload that a schema id stands for. */
const payloadOf = (schemaId: string): { readonly action: string; readonly part: Core.Part } => {
  const name = schemaId.replace(/^urn:/, "")
  const [, action, suffix] = /^(.+?)(\.req|\.conf|Request|Response)$/.exec(name) ?? [undefined, name, ".req"]
  return { action: action as string, part: suffix === ".conf" || suffix === "Response" ? "response" : "request" }
}

/**
 * Makes a validator of JSON Schemas (all of draft-07), which may refer to each other by `$id`.
 *
 * @param subprotocol the name of the subprotocol that the schemas describe
 * @throws {TypeError} when a schema is malformed, two have the same id, or a reference leads nowhere
 */
export const createValidator = (subprotocol: string, schemas: ReadonlyArray<JsonSchema>): Validator => {
  if (typeof subprotocol !== "string") throw new TypeError(`subprotocol must be a string; got ${describe(subprotocol)}`)
  if (!Array.isArray(schemas)) throw new TypeError(`schemas must be an array; got ${describe(schemas)}`)
  const verdicts = new Map<string, Verdict>()
  try {
    for (const [id, verdict] of compileSchemas(schemas)) {
      const { action, part } = payloadOf(id)
      verdicts.set(`${part} ${action}`, verdict)
    }
  } catch (cause) {
    const reason = original(cause instanceof Error ? cause.message : String(cause))
    throw new TypeError(`the schemas of ${subprotocol} are malformed: ${reason}`, { cause })
  }
  return new Validator(subprotocol, (action, part, payload) => {
    const verdict = verdicts.get(`${part} ${action}`)
    if (verdict === undefined)
      return refusal("ProtocolError", `${subprotocol} has no schema for the ${part} of ${action}`)
    return verdict(payload)
  })
}

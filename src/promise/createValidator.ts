/**
 * Validators for the promise face: of users' own JSON Schemas, and of the built-in versions.
 *
 * Both answer to the same schema ids, in the spelling of 1.6 (`urn:Echo.req`, `urn:Echo.conf`) and in that of 2.x
 * (`urn:EchoRequest`, `urn:EchoResponse`); `urn:Echo` is the request of a SEND.
 */
import { createRequire } from "node:module"
import type { Ajv, ErrorObject, ValidateFunction } from "ajv"
import type * as AjvFormats from "ajv-formats"
import type traverse from "json-schema-traverse"
import { maxDescriptionLength, type RPCError, RPCFormatViolationError, RPCProtocolError } from "../RPCError.ts"
import type * as Core from "../Validator.ts"
import {
  alternatives,
  describe,
  type Fault,
  maxFaults,
  missing,
  shortened,
  toError,
  unknown,
} from "../validator/Fault.ts"
import { checkBy, names } from "./standard.ts"

/** A JSON Schema (draft-07). One that stands for a payload has an `$id` such as `urn:Echo.req`. */
export type JsonSchema = { readonly $id?: string; readonly [keyword: string]: unknown }

/** Judges the payloads of one subprotocol. */
export class Validator implements Core.Validator {
  /** The subprotocol whose payloads it knows. */
  readonly subprotocol: string
  readonly check: Core.Validator["check"]

  constructor(subprotocol: string, check: Core.Validator["check"]) {
    this.subprotocol = subprotocol
    this.check = check
  }

  /**
   * Judges a value by the schema of an id.
   *
   * @throws {RPCError} that says where the value fails and what was expected, or that there is no such schema.
   */
  validate(schemaId: string, value: unknown): true {
    const { action, part } = payloadOf(schemaId)
    const error = this.check(action, part, value)
    if (error !== undefined) throw error
    return true
  }
}

/** The validators of `ocpp1.6`, `ocpp2.0.1` and `ocpp2.1`. */
export const standardValidators: ReadonlyArray<Validator> = names.map((name) => new Validator(name, checkBy(name)))

/** Which payload of which action a schema id stands for. */
const payloadOf = (schemaId: string): { readonly action: string; readonly part: Core.Part } => {
  const name = schemaId.replace(/^urn:/, "")
  const [, action, suffix] = /^(.+?)(\.req|\.conf|Request|Response)$/.exec(name) ?? [undefined, name, ".req"]
  return { action: action as string, part: suffix === ".conf" || suffix === "Response" ? "response" : "request" }
}

/**
 * A validator made of JSON Schemas, whole draft-07, which may refer to each other by `$id`.
 *
 * @param subprotocol the name of the subprotocol that the schemas describe
 * @throws {TypeError} when a schema is malformed, two have the same id, or a reference leads nowhere
 */
export const createValidator = (subprotocol: string, schemas: ReadonlyArray<JsonSchema>): Validator => {
  if (typeof subprotocol !== "string") throw new TypeError(`subprotocol must be a string; got ${describe(subprotocol)}`)
  if (!Array.isArray(schemas)) throw new TypeError(`schemas must be an array; got ${describe(schemas)}`)
  const judges = new Map<string, ValidateFunction>()
  try {
    const ajv = makeAjv()
    const ids = schemas.map((schema) => add(ajv, schema))
    for (const id of ids) {
      const judge = id === undefined ? undefined : ajv.getSchema(acceptable(id))
      if (id === undefined || judge === undefined) continue
      const { action, part } = payloadOf(id)
      judges.set(`${part} ${action}`, judge)
    }
  } catch (cause) {
    const reason = (cause instanceof Error ? cause.message : String(cause)).replaceAll(scheme, "urn:")
    throw new TypeError(`the schemas of ${subprotocol} are malformed: ${reason}`, { cause })
  }
  return new Validator(subprotocol, (action, part, payload) => {
    const judge = judges.get(`${part} ${action}`)
    if (judge === undefined) return new RPCProtocolError(`${subprotocol} has no schema for the ${part} of ${action}`)
    return verdict(judge, payload)
  })
}

/** ajv is loaded when the first validator is made: most programs need none. */
const makeAjv = (): Ajv => {
  const require = createRequire(import.meta.url)
  const { Ajv: AjvConstructor } = require("ajv") as { readonly Ajv: typeof Ajv }
  const { default: addFormats } = require("ajv-formats") as typeof AjvFormats
  const ajv = new AjvConstructor({ strict: false, verbose: true, allErrors: true, multipleOfPrecision: 6 })
  addFormats.default(ajv)
  return ajv
}

const add = (ajv: Ajv, schema: JsonSchema): string | undefined => {
  const copy = structuredClone(schema) as Record<string, unknown>
  const require = createRequire(import.meta.url)
  const visit = require("json-schema-traverse") as typeof traverse
  visit(copy, {
    cb: (node) => {
      for (const keyword of ["$id", "$ref"]) {
        if (typeof node[keyword] === "string") node[keyword] = acceptable(node[keyword])
      }
    },
  })
  ajv.addSchema(copy)
  return schema.$id
}

/**
 * An id that ajv takes. It reads ids as URIs and refuses `urn:Echo.req`, which has no namespace; but these are the ids that
 * the field uses. What follows a `#` stays.
 */
const acceptable = (id: string): string =>
  id.replace(/^urn:([^#]*)/, (_, name: string) => `${scheme}${encodeURIComponent(name)}`)

const scheme = "json-schema:/"

const verdict = (judge: ValidateFunction, payload: unknown): RPCError | undefined => {
  if (judge(payload) === true) return undefined
  const [first, ...others] = (judge.errors ?? []).slice(0, maxFaults).map(faultOf)
  return first === undefined ? new RPCFormatViolationError("/: the payload is not valid") : toError([first, ...others])
}

const faultOf = (error: ErrorObject): Fault => {
  const { keyword, params } = error
  if (keyword === "required") return absent(error, missing(String(params.missingProperty)))
  if (keyword === "additionalProperties") return absent(error, unknown(String(params.additionalProperty)))
  return wrong(error)
}

const absent = (
  { instancePath }: ErrorObject,
  [keyword, expected, actual, message]: ReturnType<typeof missing | typeof unknown>,
) => ({
  instancePath: shortened(instancePath, maxDescriptionLength),
  keyword,
  message,
  expected,
  actual,
})

const wrong = ({ data, instancePath, keyword, message = keyword, schema }: ErrorObject): Fault => {
  const expected = shortened(expectedBy(keyword, schema) ?? message, maxDescriptionLength)
  const actual = describe(data)
  const place = shortened(instancePath, maxDescriptionLength)
  return { instancePath: place, keyword, message: `expected ${expected}; got ${actual}`, expected, actual }
}

const expectedBy = (keyword: string, schema: unknown): string | undefined => {
  switch (keyword) {
    case "type":
      return [schema].flat().join(" or ")
    case "enum":
      return alternatives(schema as ReadonlyArray<unknown>)
    case "const":
      return alternatives([schema])
    case "format":
      return String(schema)
    default:
      return undefined
  }
}

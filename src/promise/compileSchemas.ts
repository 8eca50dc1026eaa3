/**
 * Compiles JSON Schemas with ajv.
 *
 * ajv stops at the first error or at the last, and one message of a kilobyte, inflated, may have hundreds of thousands of them. So
 * a payload is read up to its first error. Only a payload of ordinary size is read again, for all of its errors.
 */
import type { Ajv, ErrorObject, ValidateFunction } from "ajv"
import { maxDescriptionLength, type RPCError } from "../RPCError.ts"
import { isOrdinary } from "../validator/size.ts"
import {
  maxViolations,
  missing,
  refusal,
  toError,
  unknown,
  unreadable,
  type Violation,
} from "../validator/Violation.ts"
import { alternatives, describe, shortened } from "../validator/wording.ts"
import { loadAjv, loadFormats, loadTraverse } from "./ajv.cjs"
import { uniqueItems } from "./uniqueItems.ts"

/** A JSON Schema (draft-07). One that stands for a payload has an `$id` such as `urn:Echo.req`. */
export type JsonSchema = { readonly $id?: string; readonly [keyword: string]: unknown }

/** Judges a payload; `undefined` means valid. */
export type Verdict = (payload: unknown) => RPCError | undefined

/**
 * Compiles schemas to verdicts, by their ids.
 *
 * @throws when a schema is malformed, two have the same id, or a reference leads nowhere
 */
export const compileSchemas = (schemas: ReadonlyArray<JsonSchema>): ReadonlyMap<string, Verdict> => {
  const copies = schemas.map(copyOf)
  const stopping = ajvFor(copies, { allErrors: false })
  let complete: Ajv | undefined
  const verdicts = new Map<string, Verdict>()
  for (const { $id } of schemas) {
    const validate = $id === undefined ? undefined : stopping.getSchema(acceptable($id))
    if ($id === undefined || validate === undefined) continue
    const validateAll = () => {
      complete ??= ajvFor(copies, { allErrors: true })
      return complete.getSchema(acceptable($id)) as ValidateFunction
    }
    verdicts.set($id, verdictBy(validate, validateAll))
  }
  return verdicts
}

/** A copy of a schema, with ids that ajv takes. */
const copyOf = (schema: JsonSchema): JsonSchema => {
  const copy = structuredClone(schema) as Record<string, unknown>
  loadTraverse()(copy, {
    cb: (node) => {
      for (const keyword of ["$id", "$ref"]) {
        if (typeof node[keyword] === "string") node[keyword] = acceptable(node[keyword])
      }
    },
  })
  return copy
}

const ajvFor = (schemas: ReadonlyArray<JsonSchema>, options: { readonly allErrors: boolean }): Ajv => {
  const { Ajv } = loadAjv()
  const ajv = new Ajv({ strict: false, verbose: true, multipleOfPrecision: 6, ...options })
  loadFormats().default.default(ajv)
  ajv.removeKeyword("uniqueItems").addKeyword(uniqueItems)
  for (const schema of schemas) ajv.addSchema(schema)
  return ajv
}

/**
 * An id that ajv takes. It reads ids as URIs and refuses `urn:Echo.req`, which has no namespace; but these are the ids that
 * the field uses. What follows a `#` stays.
 */
const acceptable = (id: string): string =>
  id.replace(/^urn:([^#]*)/, (_, name: string) => `${scheme}${encodeURIComponent(name)}`)

const scheme = "json-schema:/"

/** Puts the ids in a text of ajv's back into the user's spelling. */
export const original = (text: string): string => text.replaceAll(scheme, "urn:")

const verdictBy = (validate: ValidateFunction, validateAll: () => ValidateFunction): Verdict => {
  return (payload) => {
    try {
      const errors = errorsOf(validate, payload)
      if (errors === undefined) return undefined
      const all = isOrdinary(payload) ? errorsOf(validateAll(), payload) : undefined
      const [first, ...others] = (all ?? errors).slice(0, maxViolations).map(violationOf)
      return first === undefined
        ? refusal("FormatViolation", "/: the payload is not valid")
        : toError([first, ...others])
    } catch {
      // A getter that throws, or nesting deeper than the stack.
      return unreadable()
    }
  }
}

/** ajv's errors; `undefined` when a payload is valid. */
const errorsOf = (validate: ValidateFunction, payload: unknown): ReadonlyArray<ErrorObject> | undefined => {
  if (validate(payload) === true) return undefined
  const errors = validate.errors ?? []
  // The errors hold the payload.
  validate.errors = null
  return errors
}

const violationOf = (error: ErrorObject): Violation => {
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

const wrong = ({ data, instancePath, keyword, message = keyword, schema }: ErrorObject): Violation => {
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

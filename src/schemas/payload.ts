/**
 * The words that the message schemas are written in.
 *
 * Each is an ordinary Effect Schema of JSON as it is on the wire, and exact by itself: `Schema.is(BootNotificationRequest)`
 * gives the verdict of the official JSON Schema without any parse option. The checks carry what generates valid payloads,
 * and an id by which the validator knows the JSON Schema keyword that they stand for.
 */
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import { kinds } from "../validator/Check.ts"
import { isAtMost, isDateTime, isDateTimeMaybeLocal, isTenths, isUri } from "../validator/Formats.ts"

/** The ids that the checks of this module have in their `representation` annotation, where Effect has no such check. */
export const checkId = {
  unknownProperty: "effect-ocpp/unknownProperty",
  integer: "effect-ocpp/integer",
  tenths: "effect-ocpp/tenths",
  dateTime: "effect-ocpp/dateTime",
  dateTimeMaybeLocal: "effect-ocpp/dateTimeMaybeLocal",
  uri: "effect-ocpp/uri",
} as const

/** A check that does nothing beside its predicate: it runs for every string and number of every payload. */
const check = <T>(accepts: (value: T) => boolean, annotations: Schema.Annotations.Filter): SchemaAST.Filter<T> =>
  new SchemaAST.Filter<T>(
    (value, _ast, options) => (accepts(value) ? undefined : new SchemaIssue.InvalidValue(undefined, value, options)),
    annotations,
  )

const own = (id: (typeof checkId)[keyof typeof checkId]) => ({ representation: { id, payload: null } })

/** The Schema of an object with known properties only; its `Type` is `Self`. */
export interface Closed<Self, Fields extends Schema.Struct.Fields>
  extends Schema.Opaque<Self, Schema.Struct<Fields>, unknown> {
  readonly fields: Fields
}

/**
 * An object with these properties and no others: an unknown property is a fault, it is not stripped.
 *
 * ```ts
 * class IdTagInfo extends closed<IdTagInfo>()({
 *   expiryDate: optional(dateTime),
 *   status: AuthorizationStatus,
 * }) {}
 * ```
 */
export const closed =
  <Self>() =>
  <const Fields extends Schema.Struct.Fields>(fields: Fields): Closed<Self, Fields> => {
    const struct = Schema.Struct(fields)
    const unknownProperty = check<string>((name) => !Object.hasOwn(fields, name), own(checkId.unknownProperty))
    const rest = new SchemaAST.IndexSignature(new SchemaAST.String(undefined, [unknownProperty]), SchemaAST.never)
    return Schema.Opaque<Self, unknown>()(struct.rebuild(new SchemaAST.Objects(struct.ast.propertySignatures, [rest])))
  }

/** The Schema of an object with known properties and any others; its `Type` is `Self`. */
export interface Open<Self, Fields extends Schema.Struct.Fields>
  extends Schema.Opaque<
    Self,
    Schema.StructWithRest<Schema.Struct<Fields>, readonly [Schema.$Record<Schema.String, Schema.Unknown>]>,
    unknown
  > {}

/** An object with these properties and any others. */
export const open =
  <Self>() =>
  <const Fields extends Schema.Struct.Fields>(fields: Fields): Open<Self, Fields> =>
    Schema.Opaque<Self, unknown>()(
      Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(Schema.String, Schema.Unknown)]),
    )

/** A property that may be left out. It is never `undefined` or `null`. */
export const optional = <S extends Schema.Constraint>(schema: S): Schema.optionalKey<S> => Schema.optionalKey(schema)

const texts = new Map<number, Schema.String>()

/** A string of at most so many Unicode code points. */
export const text = (maxLength: number): Schema.String => {
  let schema = texts.get(maxLength)
  if (schema === undefined) {
    const { annotations } = Schema.isMaxCodePoints(maxLength, {
      expected: kinds.maxLength.expected(maxLength),
    })
    const accepts = (value: string) => value.length <= maxLength || isAtMost(maxLength, value)
    schema = Schema.String.check(check(accepts, { ...annotations }))
    texts.set(maxLength, schema)
  }
  return schema
}

/** An array of these items, within bounds on their number. */
export const list = <Item extends Schema.Constraint>(
  item: Item,
  { minItems, maxItems }: { readonly minItems?: number; readonly maxItems?: number } = {},
): Schema.$Array<Item> => {
  let schema = Schema.Array(item)
  if (minItems !== undefined) {
    const { annotations } = Schema.isMinLength(minItems, { expected: kinds.minItems.expected(minItems) })
    schema = schema.check(check((value) => value.length >= minItems, { ...annotations }))
  }
  if (maxItems !== undefined) {
    const { annotations } = Schema.isMaxLength(maxItems, { expected: kinds.maxItems.expected(maxItems) })
    schema = schema.check(check((value) => value.length <= maxItems, { ...annotations }))
  }
  return schema
}

/** Bounds on a number; both are allowed values. */
export interface Bounds {
  readonly minimum?: number
  readonly maximum?: number
}

const within = (schema: Schema.Number, { minimum, maximum }: Bounds): Schema.Number => {
  let bounded = schema
  if (minimum !== undefined) {
    const { annotations } = Schema.isGreaterThanOrEqualTo(minimum, { expected: kinds.minimum.expected(minimum) })
    bounded = bounded.check(check((value) => value >= minimum, { ...annotations }))
  }
  if (maximum !== undefined) {
    const { annotations } = Schema.isLessThanOrEqualTo(maximum, { expected: kinds.maximum.expected(maximum) })
    bounded = bounded.check(check((value) => value <= maximum, { ...annotations }))
  }
  return bounded
}

/** A JSON integer of any size, so also one beyond 2^53. */
export const integer: Schema.Number = Schema.Number.check(
  check<number>(Number.isInteger, {
    ...own(checkId.integer),
    expected: kinds.integer.expected(),
    toJsonSchema: () => ({ type: "integer" }),
    arbitraryConstraint: { number: "integer" },
  }),
)

/** An {@link integer} within bounds. */
export const integerWithin = (bounds: Bounds): Schema.Number => within(integer, bounds)

/** A JSON number: `NaN` and the infinities are none. */
export const number: Schema.Number = Schema.Finite

/** A {@link number} within bounds. */
export const numberWithin = (bounds: Bounds): Schema.Number => within(number, bounds)

/** A {@link number} with at most one decimal: `multipleOf: 0.1` in its decimal meaning, so 8.1 and 0.3 are two of them. */
export const tenths: Schema.Number = number.check(
  check<number>(isTenths, {
    ...own(checkId.tenths),
    expected: kinds.tenths.expected(),
    toJsonSchema: () => ({ multipleOf: 0.1 }),
  }),
)

const someDateTime = "^20\\d\\d-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,3})?Z$"

const dateTimeOf = (name: "dateTime" | "dateTimeMaybeLocal", accepts: (value: string) => boolean): Schema.String =>
  Schema.String.check(
    check(accepts, {
      ...own(checkId[name]),
      expected: kinds[name].expected(),
      toJsonSchema: () => ({ format: "date-time" }),
      arbitraryConstraint: { patterns: [{ source: someDateTime, flags: "" }] },
    }),
  )

/** A date-time of RFC 3339 §5.6: lower-case `t` and `z`, fractions and leap seconds included. */
export const dateTime: Schema.String = dateTimeOf("dateTime", isDateTime)

/** A {@link dateTime} whose offset may be missing: OCPP 1.6 asks for ISO 8601, and chargers in the field omit it. */
export const dateTimeMaybeLocal: Schema.String = dateTimeOf("dateTimeMaybeLocal", isDateTimeMaybeLocal)

/** An absolute URI. */
export const uri: Schema.String = Schema.String.check(
  check<string>(isUri, {
    ...own(checkId.uri),
    expected: kinds.uri.expected(),
    toJsonSchema: () => ({ format: "uri" }),
    arbitraryConstraint: {
      patterns: [{ source: "^(https?|ftps?)://[a-z]{1,12}\\.example(/[a-z0-9]{0,8}){0,3}$", flags: "" }],
    },
  }),
)

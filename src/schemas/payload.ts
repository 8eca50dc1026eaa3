/**
 * The vocabulary of the message schemas.
 *
 * Each word is an ordinary Effect Schema of JSON as it is on the wire, and exact by itself: `Schema.is(BootNotificationRequest)`
 * gives the verdict of the official JSON Schema without any parse option. Filters carry hints for generating valid payloads,
 * and an id by which the validator recognizes the JSON Schema keyword.
 */
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import { kinds, unknownPropertyId } from "../validator/Constraint.ts"

/** A filter that does nothing but call its predicate: it runs for every string and number of every payload. */
const filter = <T>(accepts: (value: T) => boolean, annotations: Schema.Annotations.Filter): SchemaAST.Filter<T> =>
  new SchemaAST.Filter<T>(
    (value, _ast, options) => (accepts(value) ? undefined : new SchemaIssue.InvalidValue(undefined, value, options)),
    annotations,
  )

/** The annotation by which the validator recognizes a filter of ours. */
const identified = (id: string) => ({ representation: { id, payload: null } })

/** The Schema of an object with known properties only; its `Type` is `Self`. */
export interface Closed<Self, Fields extends Schema.Struct.Fields>
  extends Schema.Opaque<Self, Schema.Struct<Fields>, unknown> {
  readonly fields: Fields
}

/**
 * An object with these properties and no others: an unknown property is a violation, it is not stripped.
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
    const unknownProperty = filter<string>((name) => !Object.hasOwn(fields, name), identified(unknownPropertyId))
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
    const { accepts, expected } = kinds.maxLength
    const { annotations } = Schema.isMaxCodePoints(maxLength, { expected: expected(maxLength) })
    schema = Schema.String.check(filter((value) => accepts(value, maxLength), { ...annotations }))
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
    schema = schema.check(filter((value) => value.length >= minItems, { ...annotations }))
  }
  if (maxItems !== undefined) {
    const { annotations } = Schema.isMaxLength(maxItems, { expected: kinds.maxItems.expected(maxItems) })
    schema = schema.check(filter((value) => value.length <= maxItems, { ...annotations }))
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
    bounded = bounded.check(filter((value) => value >= minimum, { ...annotations }))
  }
  if (maximum !== undefined) {
    const { annotations } = Schema.isLessThanOrEqualTo(maximum, { expected: kinds.maximum.expected(maximum) })
    bounded = bounded.check(filter((value) => value <= maximum, { ...annotations }))
  }
  return bounded
}

/** A JSON integer of any size, so also one beyond 2^53. */
export const integer: Schema.Number = Schema.Number.check(
  filter(kinds.integer.accepts, {
    ...identified(kinds.integer.id),
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
  filter(kinds.tenths.accepts, {
    ...identified(kinds.tenths.id),
    expected: kinds.tenths.expected(),
    toJsonSchema: () => ({ multipleOf: 0.1 }),
  }),
)

/** A Schema of date-times. It generates texts that match `start` and then one of `ends`. */
const dateTimeOf = (kind: "dateTime" | "isoDateTime", start: string, ends: ReadonlyArray<string>): Schema.String => {
  // One pattern for each form: from a pattern with optional parts, Effect generates only the shortest texts.
  const [first, ...others] = ends.map((end) => ({ source: `^${start}${end}$`, flags: "" }))
  return Schema.String.check(
    filter(kinds[kind].accepts, {
      ...identified(kinds[kind].id),
      expected: kinds[kind].expected(),
      toJsonSchema: () => ({ format: "date-time" }),
      ...(first && { arbitraryConstraint: { patterns: [first, ...others] } }),
    }),
  )
}

const someDate = "20\\d\\d-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])"
const someMinute = "([01]\\d|2[0-3]):[0-5]\\d"
const someSecond = ":[0-5]\\d"
const someOffset = "[+-](0\\d|1[0-2])"

/** A date-time of RFC 3339 §5.6: lower-case `t` and `z`, fractions and leap seconds included. */
export const dateTime: Schema.String = dateTimeOf(
  "dateTime",
  `${someDate}T${someMinute}`,
  [someSecond, `${someSecond}\\.\\d`, `${someSecond}\\.\\d{3}`].map((second) => `${second}Z`),
)

/**
 * A date-time of ISO 8601, as OCPP 1.6 asks. Beside a {@link dateTime}, a blank for the `T`, a comma in the fraction, a time
 * without seconds, and an offset such as `+0200` or `+02` or none are allowed.
 */
export const isoDateTime: Schema.String = dateTimeOf(
  "isoDateTime",
  `${someDate}[T ]${someMinute}`,
  ["", someSecond, `${someSecond}[.,]\\d`, `${someSecond}[.,]\\d{3}`].flatMap((second) =>
    ["", "Z", someOffset, `${someOffset}[0-5]\\d`, `${someOffset}:[0-5]\\d`].map((offset) => second + offset),
  ),
)

/** An absolute URI. */
export const uri: Schema.String = Schema.String.check(
  filter(kinds.uri.accepts, {
    ...identified(kinds.uri.id),
    expected: kinds.uri.expected(),
    toJsonSchema: () => ({ format: "uri" }),
    arbitraryConstraint: {
      patterns: [{ source: "^(https?|ftps?)://[a-z]{1,12}\\.example(/[a-z0-9]{0,8}){0,3}$", flags: "" }],
    },
  }),
)

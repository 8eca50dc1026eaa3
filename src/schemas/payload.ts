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

/** The ids that the checks of this module have in their `representation` annotation, where Effect has no such check. */
export const checkId = {
  unknownProperty: "effect-ocpp/unknownProperty",
  integer: "effect-ocpp/integer",
  tenths: "effect-ocpp/tenths",
  dateTime: "effect-ocpp/dateTime",
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

/** For instance "1 item", "2 items". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** Whether a text has at most so many Unicode code points. */
export const isAtMost = (maximum: number, value: string): boolean => {
  let codePoints = 0
  for (const _ of value) if (++codePoints > maximum) return false
  return true
}

const texts = new Map<number, Schema.String>()

/** A string of at most so many Unicode code points. */
export const text = (maxLength: number): Schema.String => {
  let schema = texts.get(maxLength)
  if (schema === undefined) {
    const { annotations } = Schema.isMaxCodePoints(maxLength, {
      expected: `at most ${counted(maxLength, "character")}`,
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
    const { annotations } = Schema.isMinLength(minItems, { expected: `at least ${counted(minItems, "item")}` })
    schema = schema.check(check((value) => value.length >= minItems, { ...annotations }))
  }
  if (maxItems !== undefined) {
    const { annotations } = Schema.isMaxLength(maxItems, { expected: `at most ${counted(maxItems, "item")}` })
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
    const { annotations } = Schema.isGreaterThanOrEqualTo(minimum, { expected: `at least ${minimum}` })
    bounded = bounded.check(check((value) => value >= minimum, { ...annotations }))
  }
  if (maximum !== undefined) {
    const { annotations } = Schema.isLessThanOrEqualTo(maximum, { expected: `at most ${maximum}` })
    bounded = bounded.check(check((value) => value <= maximum, { ...annotations }))
  }
  return bounded
}

/** A JSON integer of any size, so also one beyond 2^53. */
export const integer: Schema.Number = Schema.Number.check(
  check<number>(Number.isInteger, {
    ...own(checkId.integer),
    expected: "integer",
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
  check<number>((value) => Number.isInteger(value) || Math.round(value * 10) / 10 === value, {
    ...own(checkId.tenths),
    expected: "a multiple of 0.1",
    toJsonSchema: () => ({ multipleOf: 0.1 }),
  }),
)

const fullDate = /\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])/.source
const partialTime = /(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?/.source
const timeOffset = /(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)/.source
const rfc3339 = new RegExp(`^${fullDate}[Tt]${partialTime}${timeOffset}$`)
const rfc3339MaybeLocal = new RegExp(`^${fullDate}[Tt]${partialTime}${timeOffset}?$`)

const daysInMonth = (year: number, month: number): number => {
  if (month !== 2) return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
}

/** Whether the minute of a leap second is the last one of a day in UTC, where leap seconds are (RFC 3339 §5.7). */
const isLastMinuteOfUtcDay = (value: string): boolean => {
  const offset = /([+-])(\d\d):(\d\d)$/.exec(value)
  const minuteOfDay = (hours: string | undefined, minutes: string | undefined) => 60 * Number(hours) + Number(minutes)
  const local = minuteOfDay(value.slice(11, 13), value.slice(14, 16))
  const ahead = offset === null ? 0 : (offset[1] === "-" ? -1 : 1) * minuteOfDay(offset[2], offset[3])
  return (local - ahead + 1440) % 1440 === 1439
}

const isDateTime = (grammar: RegExp) => (value: string) =>
  grammar.test(value) &&
  (value.slice(8, 10) <= "28" ||
    Number(value.slice(8, 10)) <= daysInMonth(Number(value.slice(0, 4)), Number(value.slice(5, 7)))) &&
  (value.slice(17, 19) !== "60" || isLastMinuteOfUtcDay(value))

const someDateTime = "^20\\d\\d-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,3})?Z$"

const dateTimeOf = (grammar: RegExp, expected: string): Schema.String =>
  Schema.String.check(
    check(isDateTime(grammar), {
      ...own(checkId.dateTime),
      expected,
      toJsonSchema: () => ({ format: "date-time" }),
      arbitraryConstraint: { patterns: [{ source: someDateTime, flags: "" }] },
    }),
  )

/** A date-time of RFC 3339 §5.6: lower-case `t` and `z`, fractions and leap seconds included. */
export const dateTime: Schema.String = dateTimeOf(rfc3339, "a date-time such as 2025-04-01T12:00:00Z")

/** A {@link dateTime} whose offset may be missing: OCPP 1.6 asks for ISO 8601, and chargers in the field omit it. */
export const dateTimeMaybeLocal: Schema.String = dateTimeOf(
  rfc3339MaybeLocal,
  "a date-time such as 2025-04-01T12:00:00Z",
)

/** The grammar of an absolute URI (RFC 3986 appendix A). */
const uriGrammar = (() => {
  const escaped = "%[0-9a-f]{2}"
  const userinfo = `(?:[a-z0-9\\-._~!$&'()*+,;=:]|${escaped})*@`
  const pchar = `(?:[a-z0-9\\-._~!$&'()*+,;=:@]|${escaped})`
  const octet = "(?:25[0-5]|2[0-4]\\d|[01]?\\d\\d?)"
  const ipv4 = `(?:${octet}\\.){3}${octet}`
  const h16 = "[0-9a-f]{1,4}"
  const ls32 = `(?:${h16}:${h16}|${ipv4})`
  const upTo = (n: number) => `(?:(?:${h16}:){0,${n}}${h16})?`
  const ipv6 = [
    `(?:${h16}:){6}${ls32}`,
    `::(?:${h16}:){5}${ls32}`,
    `(?:${h16})?::(?:${h16}:){4}${ls32}`,
    `${upTo(1)}::(?:${h16}:){3}${ls32}`,
    `${upTo(2)}::(?:${h16}:){2}${ls32}`,
    `${upTo(3)}::${h16}:${ls32}`,
    `${upTo(4)}::${ls32}`,
    `${upTo(5)}::${h16}`,
    `${upTo(6)}::`,
  ].join("|")
  const ipFuture = "v[0-9a-f]+\\.[a-z0-9\\-._~!$&'()*+,;=:]+"
  const regName = `(?:[a-z0-9\\-._~!$&'()*+,;=]|${escaped})*`
  const host = `(?:\\[(?:${ipv6}|${ipFuture})\\]|${ipv4}|${regName})`
  const authority = `(?:${userinfo})?${host}(?::\\d*)?(?:/${pchar}*)*`
  const path = `(?://?${authority}|/(?:${pchar}+(?:/${pchar}*)*)?|${pchar}+(?:/${pchar}*)*)`
  const tail = `(?:${pchar}|[/?])*`
  return new RegExp(`^[a-z][a-z0-9+\\-.]*:${path}(?:\\?${tail})?(?:#${tail})?$`, "i")
})()

/** An absolute URI. */
export const uri: Schema.String = Schema.String.check(
  check<string>((value) => uriGrammar.test(value), {
    ...own(checkId.uri),
    expected: "an absolute URI",
    toJsonSchema: () => ({ format: "uri" }),
    arbitraryConstraint: {
      patterns: [{ source: "^(https?|ftps?)://[a-z]{1,12}\\.example(/[a-z0-9]{0,8}){0,3}$", flags: "" }],
    },
  }),
)

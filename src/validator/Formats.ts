/** Predicates for formats and other keywords of JSON Schema. They run for every payload. */

/** The number of Unicode code points in a text; half a surrogate pair counts as one. */
export const codePoints = (text: string): number => {
  let count = text.length
  for (let index = 1; index < text.length; index++) {
    if (isLowSurrogate(text.charCodeAt(index)) && isHighSurrogate(text.charCodeAt(index - 1))) count--
  }
  return count
}

const isHighSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xd800
const isLowSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xdc00

/** Says whether a number is a multiple of 0.1 in the decimal meaning: 8.1 and 0.3 are. */
export const isTenths = (value: number): boolean => Number.isInteger(value) || Math.round(value * 10) / 10 === value

const date = /\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])/.source
const hour = /(?:[01]\d|2[0-3])/.source
const minute = /[0-5]\d/.source
const second = /(?:[0-5]\d|60)/.source

const rfc3339 = new RegExp(`^${date}[Tt]${hour}:${minute}:${second}(?:\\.\\d+)?(?:[Zz]|[+-]${hour}:${minute})$`)

const iso8601 = new RegExp(
  `^${date}[Tt ]${hour}:${minute}(?::${second}(?:[.,]\\d+)?)?(?:[Zz]|[+-]${hour}(?::?${minute})?)?$`,
)

const daysInMonth = (year: number, month: number): number => {
  if (month !== 2) return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
}

/** Says whether the minute of a leap second is the last of a day in UTC: others have none (RFC 3339 §5.7). */
const isLastMinuteOfUtcDay = (value: string): boolean => {
  const [, sign, hours = "0", minutes = "0"] = /([+-])(\d\d)(?::?(\d\d))?$/.exec(value) ?? []
  const local = 60 * Number(value.slice(11, 13)) + Number(value.slice(14, 16))
  const ahead = (sign === "-" ? -1 : 1) * (60 * Number(hours) + Number(minutes))
  return (local - ahead + 1440) % 1440 === 1439
}

const isDateTimeOf = (grammar: RegExp) => (value: string) =>
  grammar.test(value) &&
  (value.slice(8, 10) <= "28" ||
    Number(value.slice(8, 10)) <= daysInMonth(Number(value.slice(0, 4)), Number(value.slice(5, 7)))) &&
  // Without seconds an offset stands in this place, and no offset has 60 hours.
  (value.slice(17, 19) !== "60" || isLastMinuteOfUtcDay(value))

/** Says whether a text is a date-time of RFC 3339 §5.6; lower-case `t` and `z`, fractions and leap seconds are allowed. */
export const isDateTime = isDateTimeOf(rfc3339)

/**
 * Says whether a text is a date-time of ISO 8601 as chargers send it. Beside {@link isDateTime}, a blank for the `T`, a comma in
 * the fraction, a time without seconds, and an offset such as `+0200` or `+02` or none are allowed.
 */
export const isIsoDateTime = isDateTimeOf(iso8601)

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

/** Says whether a text is an absolute URI. */
export const isUri = (value: string): boolean => uriGrammar.test(value)

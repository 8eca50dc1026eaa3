/** What JSON Schema's formats and keywords ask of a value, as predicates. Everything here runs for every payload. */

/** For instance "1 item", "2 items". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** Whether a text has at most so many Unicode code points. */
export const isAtMost = (maximum: number, value: string): boolean => {
  let codePoints = 0
  for (const _ of value) if (++codePoints > maximum) return false
  return true
}

/** Whether a number is a multiple of 0.1 in the decimal meaning, so 8.1 and 0.3 are two of them. */
export const isTenths = (value: number): boolean => Number.isInteger(value) || Math.round(value * 10) / 10 === value

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

const isDateTimeOf = (grammar: RegExp) => (value: string) =>
  grammar.test(value) &&
  (value.slice(8, 10) <= "28" ||
    Number(value.slice(8, 10)) <= daysInMonth(Number(value.slice(0, 4)), Number(value.slice(5, 7)))) &&
  (value.slice(17, 19) !== "60" || isLastMinuteOfUtcDay(value))

/** A date-time of RFC 3339 §5.6: lower-case `t` and `z`, fractions and leap seconds included. */
export const isDateTime = isDateTimeOf(rfc3339)

/** A {@link isDateTime date-time} whose offset may be missing: OCPP 1.6 asks for ISO 8601, and chargers in the field omit it. */
export const isDateTimeMaybeLocal = isDateTimeOf(rfc3339MaybeLocal)

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

/** Whether a text is an absolute URI. */
export const isUri = (value: string): boolean => uriGrammar.test(value)

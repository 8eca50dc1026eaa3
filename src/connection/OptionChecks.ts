/** Refuses options with unknown names or values of the wrong kind. */

/** Throws a RangeError that names the option when its value is of the wrong kind. */
export type Check = (name: string, value: unknown) => void

/** A check for each of some options. */
export type Checks<O> = { readonly [K in keyof Required<O>]: Check }

/** A check that says what the value must be. */
export const must =
  (what: string, holds: (value: unknown) => boolean): Check =>
  (name, value) => {
    if (!holds(value)) throw new RangeError(`${name} must be ${what}; got ${shown(value)}`)
  }

/** A value as an error shows it: what is in an object is nobody's business. */
export const shown = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (!isObject(value)) return String(value)
  return Array.isArray(value) ? "an array" : "an object"
}

/** The value is checked where it is read, which takes `null` for nothing. */
export const whenRead: Check = must("left out or have a value", (value) => value !== null)
export const flag: Check = must("true or false", (value) => typeof value === "boolean")
export const text: Check = must("a string", (value) => typeof value === "string")
export const list: Check = must("an array", Array.isArray)
export const callback: Check = must("a function", (value) => typeof value === "function")
export const record: Check = must("an object", (value) => isObject(value) && !Array.isArray(value))
/** A string, or a record of strings. */
export const query: Check = must("a string or an object", (value) => typeof value === "string" || isObject(value))
/** An array of objects that have a property. */
const listOf =
  (what: string, property: string): Check =>
  (name, value) => {
    list(name, value)
    const isOne = must(what, (item) => isObject(item) && property in item)
    for (const [index, item] of (value as ReadonlyArray<unknown>).entries()) isOne(`${name}[${index}]`, item)
  }

/** Subprotocols, such as `Ocpp16`; their names are not enough. */
export const subprotocols = listOf("a subprotocol such as Ocpp16", "name")
const handlersList = listOf("what Handlers.make and its like give", "parts")
/** Handlers, or a function that gives them. */
export const handlers: Check = (name, value) => {
  if (typeof value !== "function") handlersList(name, value)
}

/** Options without those that are `undefined`: these are not given. */
export const given = <O extends object>(options: O): { [K in keyof O]: Exclude<O[K], undefined> } =>
  // What is left has no undefined.
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof O]: Exclude<O[K], undefined>
  }

/** Some options, changed by those of others that are given. */
export const changedBy = <O extends object>(options: O, changes: Partial<O>): O => ({ ...options, ...given(changes) })

export const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

const unknownOption = (name: string, key: string, known: ReadonlyArray<string>): string => {
  const meant = meantBy(key, known)
  const question = meant === undefined ? "" : `; did you mean ${JSON.stringify(meant)}?`
  return `unknown option ${JSON.stringify(name)}: the options are ${known.join(", ")}${question}`
}

/** The name that a misspelt one stands for, if there is one like it: with the same words, or a few letters away. */
const meantBy = (name: string, known: ReadonlyArray<string>): string | undefined => {
  const plain = name.toLowerCase()
  const byWords = known.filter((other) => other.toLowerCase().includes(plain) || plain.includes(other.toLowerCase()))
  if (byWords.length === 1) return byWords[0]
  const [nearest] = known
    .map((other) => ({ other, distance: distanceOf(plain, other.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  return nearest !== undefined && nearest.distance <= Math.max(2, name.length / 4) ? nearest.other : byWords[0]
}

/** How many letters have to be put in, taken out or replaced to make one word of the other. */
const distanceOf = (a: string, b: string): number => {
  // Whoever has given a longer name has meant no option.
  if (a.length > 64) return a.length
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...b].entries()) {
      next.push(
        Math.min((row[j] as number) + (letter === other ? 0 : 1), (row[j + 1] as number) + 1, (next[j] as number) + 1),
      )
    }
    row = next
  }
  return row[b.length] as number
}

/**
 * Refuses options that nobody knows, and values of the wrong kind. An option that is `undefined` is not given.
 *
 * @throws {RangeError} naming the option.
 */
export const checkOptions = (options: object, checks: Readonly<Record<string, Check>>, prefix = ""): void => {
  for (const [key, value] of Object.entries(options)) {
    const name = `${prefix}${key}`
    if (!Object.hasOwn(checks, key)) throw new RangeError(unknownOption(name, key, Object.keys(checks)))
    if (value !== undefined) checks[key]?.(name, value)
  }
}

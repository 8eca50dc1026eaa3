/** What is wrong with options that a program was given by hand, or by the hand of another: unknown names, wrong kinds. */

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

export const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/**
 * Refuses options that nobody knows, and values of the wrong kind. An option that is `undefined` is not given.
 *
 * @throws {RangeError} naming the option.
 */
export const checkOptions = (options: object, checks: Readonly<Record<string, Check>>, prefix = ""): void => {
  for (const [key, value] of Object.entries(options)) {
    const name = `${prefix}${key}`
    if (!Object.hasOwn(checks, key)) {
      throw new RangeError(`there is no option ${JSON.stringify(name)}, but ${Object.keys(checks).join(", ")}`)
    }
    if (value !== undefined) checks[key]?.(name, value)
  }
}

/** Words for errors. A value is described, never copied, and every text is short, however large the payload. */
import { codePoints } from "./Formats.ts"

/** A number of things, for instance "1 item" or "2 items". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** The beginning of a text, of at most so many code points. */
export const shortened = (text: string, length: number): string => {
  if (text.length <= length) return text
  const points = Array.from(text.slice(0, 2 * length + 2))
  return points.length <= length ? text : `${points.slice(0, length - 1).join("")}…`
}

/** A property's name or a string, in quotes, shortened. */
export const quoted = (text: string): string => JSON.stringify(shortened(text, 40))

/** Alternatives in quotes, as many as fit into a description. */
export const alternatives = (values: ReadonlyArray<unknown>): string => {
  const words = values.map((value) => (typeof value === "string" ? quoted(value) : String(value)))
  if (words.length === 1) return words.join()
  const list = words.join(", ")
  return `one of ${list.length <= maxListLength ? list : `${list.slice(0, list.lastIndexOf(", ", maxListLength))}, …`}`
}

const maxListLength = 120

/** Describes a value in a few words. */
export const describe = (value: unknown): string => {
  switch (typeof value) {
    case "string":
      return quoted(value)
    case "object":
      if (value === null) return "null"
      if (Array.isArray(value)) return "array"
      return hasToJson(value) ? shortened(`an instance of ${value.constructor?.name}`, 40) : "object"
    case "number":
    case "boolean":
    case "undefined":
      return String(value)
    default:
      return typeof value
  }
}

/** Describes a value that broke a keyword: by its length where the keyword is about length, else by {@link describe}. */
export const describeFor = (keyword: string, value: unknown): string => {
  if (Array.isArray(value) && keyword.endsWith("Items")) return counted(value.length, "item")
  return typeof value === "string" && keyword.endsWith("Length")
    ? counted(codePoints(value), "character")
    : describe(value)
}

/** Says whether `JSON.stringify` writes something else than the object's own properties. */
export const hasToJson = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function"

/** The keyword `uniqueItems` in one pass over the items; ajv's own compares each item with every other. */
import type { FuncKeywordDefinition, SchemaValidateFunction } from "ajv"

export const uniqueItems: FuncKeywordDefinition = {
  keyword: "uniqueItems",
  type: "array",
  schemaType: "boolean",
  compile: (isAsked: boolean) => {
    const validate: SchemaValidateFunction = (items: ReadonlyArray<unknown>) => {
      const pair = isAsked ? identical(items) : undefined
      if (pair === undefined) return true
      const message = `must NOT have duplicate items (items ## ${pair.join(" and ")} are identical)`
      validate.errors = [{ keyword: "uniqueItems", message, params: { j: pair[0], i: pair[1] } }]
      return false
    }
    return validate
  },
}

/** The indexes of the last two items that are identical. */
const identical = (items: ReadonlyArray<unknown>): readonly [number, number] | undefined => {
  const indexes = new Map<string, number>()
  let pair: readonly [number, number] | undefined
  items.forEach((item, index) => {
    const text = canonical(item)
    const earlier = indexes.get(text)
    if (earlier !== undefined) pair = [earlier, index]
    indexes.set(text, index)
  })
  return pair
}

/** A text that equal JSON values have in common, whatever the order of their properties. */
const canonical = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value !== "object" || value === null) return String(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  const properties = Object.entries(value).map(([name, property]) => `${JSON.stringify(name)}:${canonical(property)}`)
  return `{${properties.sort().join()}}`
}

/** Searches a value for what violates its shape. */
import type { Constraint } from "./Constraint.ts"
import type { Place, Search } from "./Search.ts"
import type { ArrayShape, ObjectShape, Shape } from "./Shape.ts"
import { missing, unknown } from "./Violation.ts"
import { alternatives, describe, describeFor, hasToJson } from "./wording.ts"

/**
 * Notes the violations of the value at a place, until the search is full. In an object first the missing properties, then the
 * unknown ones, then the violations of the values, each in the order of the shape (the unknown ones: of the payload).
 */
export const explain = (shape: Shape, value: unknown, at: Place, search: Search): void => {
  switch (shape.is) {
    case "anything":
      return
    case "boolean":
      if (typeof value !== "boolean") search.add(at, "type", "boolean", describe(value))
      return
    case "string":
      if (typeof value !== "string") search.add(at, "type", "string", describe(value))
      else explainConstraints(shape.constraints, value, at, search)
      return
    case "number":
      if (!Number.isFinite(value)) search.add(at, "type", numberType(shape.constraints), describe(value))
      else explainConstraints(shape.constraints, value, at, search)
      return
    case "enumeration":
      if (!shape.values.includes(value)) explainEnumeration(shape.values, value, at, search)
      return
    case "array":
      if (!Array.isArray(value)) search.add(at, "type", "array", describe(value))
      else explainArray(shape, value, at, search)
      return
    case "object":
      // The payload itself has been judged before.
      if (at !== undefined && search.canSkip(shape, value)) return
      if (!isObject(value)) search.add(at, "type", "object", describe(value))
      else explainObject(shape, value, at, search)
      return
    case "suspended":
      explain(shape.shape(), value, at, search)
      return
    case "foreign":
      if (!shape.accepts(value)) shape.explain(value, at, search)
      return
  }
}

const explainConstraints = (
  constraints: ReadonlyArray<Constraint>,
  value: unknown,
  at: Place,
  search: Search,
): void => {
  for (const constraint of constraints) {
    if (constraint.accepts(value)) continue
    const { expected, explain, isFinal, keyword } = constraint
    if (explain === undefined) search.add(at, keyword, expected, describeFor(keyword, value))
    else explain(value, at, search)
    if (isFinal) return
  }
}

const numberType = (constraints: ReadonlyArray<Constraint>): string =>
  constraints.find(({ keyword }) => keyword === "type")?.expected ?? "number"

const explainEnumeration = (values: ReadonlyArray<unknown>, value: unknown, at: Place, search: Search): void => {
  const types = [...new Set(values.map((literal) => typeof literal))]
  if (types.includes(typeof value)) search.add(at, "enum", alternatives(values), describe(value))
  else search.add(at, "type", types.join(" or "), describe(value))
}

const explainArray = (
  { constraints, item }: ArrayShape,
  value: ReadonlyArray<unknown>,
  at: Place,
  search: Search,
): void => {
  explainConstraints(constraints, value, at, search)
  if (item.is === "anything") return
  for (let index = 0; index < value.length && !search.isFull; index++) {
    explain(item, value[index], { of: at, key: index }, search)
  }
}

type JsonObject = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !hasToJson(value)

const explainObject = ({ others, properties }: ObjectShape, value: JsonObject, at: Place, search: Search): void => {
  for (const [name, { isRequired }] of properties) {
    if (isRequired && !has(value, name)) search.add(at, ...missing(name))
  }
  if (others === undefined) explainUnknown(properties, value, at, search)
  for (const [name, { shape }] of properties) {
    if (search.isFull) return
    if (has(value, name)) explain(shape, value[name], { of: at, key: name }, search)
  }
  if (others !== undefined && others.is !== "anything") {
    for (const name of Object.keys(value)) {
      if (search.isFull) return
      if (properties.has(name) || value[name] === undefined) continue
      explain(others, value[name], { of: at, key: name }, search)
    }
  }
}

const explainUnknown = (properties: ObjectShape["properties"], value: JsonObject, at: Place, search: Search): void => {
  for (const name of Object.keys(value)) {
    if (search.isFull) return
    if (!properties.has(name) && value[name] !== undefined) search.add(at, ...unknown(name))
  }
}

/** Whether JSON has a property of an object: its own, enumerable, and not `undefined`. */
const has = (object: JsonObject, name: string): boolean =>
  Object.prototype.propertyIsEnumerable.call(object, name) && object[name] !== undefined

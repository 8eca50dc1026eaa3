/**
 * What a payload has to look like, as data.
 *
 * A Schema of Effect's becomes a shape (`fromSchema`), and {@link pack} writes shapes down, so that a program can validate
 * without loading Schemas. What JSON Schema has no word for is a `foreign` shape, which cannot be written down.
 */
import * as Check from "./Check.ts"
import type { Rule } from "./Rule.ts"

export type Shape =
  | { readonly is: "anything" }
  | { readonly is: "boolean" }
  | { readonly is: "string" | "number"; readonly checks: ReadonlyArray<Check.Check> }
  | { readonly is: "enumeration"; readonly values: ReadonlyArray<unknown> }
  | { readonly is: "array"; readonly item: Shape; readonly checks: ReadonlyArray<Check.Check> }
  | ObjectShape
  | { readonly is: "suspended"; readonly shape: () => Shape }
  | { readonly is: "foreign"; readonly rule: Rule }

export interface ObjectShape {
  readonly is: "object"
  readonly properties: ReadonlyArray<Property>
  /** What the properties are that are not named; `undefined` when there must be none. */
  readonly others: Shape | undefined
}

export interface Property {
  readonly name: string
  readonly shape: Shape
  readonly isRequired: boolean
}

/** Accepts every value. */
export const anything: Shape = { is: "anything" }

/** Shapes written down: each once, with the numbers of those inside it, and the number of each that has a name. */
export interface Packed {
  readonly shapes: ReadonlyArray<PackedShape>
  readonly names: Readonly<Record<string, number>>
}

type PackedShape =
  | readonly ["anything" | "boolean"]
  | readonly ["string" | "number", ...ReadonlyArray<Check.Data>]
  | readonly ["enumeration", ReadonlyArray<unknown>]
  | readonly ["array", item: number, ...ReadonlyArray<Check.Data>]
  | readonly ["object", others: number | null, ...ReadonlyArray<readonly [name: string, shape: number, 1?]>]

/**
 * Writes shapes down.
 *
 * @throws {TypeError} when there is a shape among them that is not data
 */
export const pack = (named: Iterable<readonly [name: string, Shape]>): Packed => {
  const shapes: Array<PackedShape> = []
  const numbers = new Map<string, number>()
  const number = (shape: Shape): number => {
    const packed = packOne(shape, number)
    const key = JSON.stringify(packed)
    let known = numbers.get(key)
    if (known === undefined) {
      known = shapes.push(packed) - 1
      numbers.set(key, known)
    }
    return known
  }
  const names = Object.fromEntries(Array.from(named, ([name, shape]) => [name, number(shape)]))
  return { shapes, names }
}

const packOne = (shape: Shape, number: (shape: Shape) => number): PackedShape => {
  switch (shape.is) {
    case "anything":
    case "boolean":
      return [shape.is]
    case "string":
    case "number":
      return [shape.is, ...shape.checks.map(dataOf)]
    case "enumeration":
      return [shape.is, shape.values]
    case "array":
      return [shape.is, number(shape.item), ...shape.checks.map(dataOf)]
    case "object": {
      const others = shape.others === undefined ? null : number(shape.others)
      const properties = shape.properties.map(({ isRequired, name, shape }) =>
        isRequired ? ([name, number(shape), 1] as const) : ([name, number(shape)] as const),
      )
      return [shape.is, others, ...properties]
    }
    default:
      throw new TypeError(`a ${shape.is} shape cannot be written down`)
  }
}

const dataOf = ({ data, expected }: Check.Check): Check.Data => {
  if (data !== undefined) return data
  throw new TypeError(`the check for ${expected} cannot be written down`)
}

/** Reads shapes by their names, each when it is first asked for. */
export const unpack = ({ names, shapes }: Packed): ((name: string) => Shape | undefined) => {
  const read = new Map<number, Shape>()
  const shapeOf = (number: number): Shape => {
    let shape = read.get(number)
    if (shape === undefined) {
      shape = unpackOne(shapes[number] as PackedShape, shapeOf)
      read.set(number, shape)
    }
    return shape
  }
  return (name) => (Object.hasOwn(names, name) ? shapeOf(names[name] as number) : undefined)
}

const unpackOne = (packed: PackedShape, shapeOf: (number: number) => Shape): Shape => {
  switch (packed[0]) {
    case "anything":
    case "boolean":
      return { is: packed[0] }
    case "string":
    case "number": {
      const [is, ...checks] = packed
      return { is, checks: checks.map((data) => Check.known(...data)) }
    }
    case "enumeration":
      return { is: "enumeration", values: packed[1] }
    case "array": {
      const [is, item, ...checks] = packed
      return { is, item: shapeOf(item), checks: checks.map((data) => Check.known(...data)) }
    }
    case "object": {
      const [is, others, ...properties] = packed
      return {
        is,
        others: others === null ? undefined : shapeOf(others),
        properties: properties.map(([name, number, required]) => ({
          name,
          shape: shapeOf(number),
          isRequired: required === 1,
        })),
      }
    }
  }
}

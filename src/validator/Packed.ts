/** Reads and writes shapes as JSON. */
import * as Constraint from "./Constraint.ts"
import type { Shape } from "./Shape.ts"

/** Shapes as JSON. Each stands there once and refers to those inside it by number; some have names. */
export interface Packed {
  readonly shapes: ReadonlyArray<PackedShape>
  readonly names: Readonly<Record<string, number>>
}

type PackedShape =
  | readonly ["anything" | "boolean"]
  | readonly ["string" | "number", ...ReadonlyArray<Constraint.Data>]
  | readonly ["enumeration", ReadonlyArray<unknown>]
  | readonly ["array", item: number, ...ReadonlyArray<Constraint.Data>]
  | readonly ["object", others: number | null, ...ReadonlyArray<readonly [name: string, shape: number, 1?]>]

/**
 * Writes shapes down.
 *
 * @throws {TypeError} when a shape is not data
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
      return [shape.is, ...shape.constraints.map(dataOf)]
    case "enumeration":
      return [shape.is, shape.values]
    case "array":
      return [shape.is, number(shape.item), ...shape.constraints.map(dataOf)]
    case "object": {
      const others = shape.others === undefined ? null : number(shape.others)
      const properties = Array.from(shape.properties, ([name, { isRequired, shape }]) =>
        isRequired ? ([name, number(shape), 1] as const) : ([name, number(shape)] as const),
      )
      return [shape.is, others, ...properties]
    }
    default:
      throw new TypeError(`a ${shape.is} shape cannot be written down`)
  }
}

const dataOf = ({ data, expected }: Constraint.Constraint): Constraint.Data => {
  if (data !== undefined) return data
  throw new TypeError(`the constraint "${expected}" cannot be written down`)
}

/** Reads shapes by name, each when it is first asked for. */
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
      const [is, ...constraints] = packed
      return { is, constraints: constraints.map((data) => Constraint.known(...data)) }
    }
    case "enumeration":
      return { is: "enumeration", values: packed[1] }
    case "array": {
      const [is, item, ...constraints] = packed
      return { is, item: shapeOf(item), constraints: constraints.map((data) => Constraint.known(...data)) }
    }
    case "object": {
      const [is, others, ...properties] = packed
      return {
        is,
        properties: new Map(
          properties.map(([name, number, required]) => [name, { shape: shapeOf(number), isRequired: required === 1 }]),
        ),
        others: others === null ? undefined : shapeOf(others),
      }
    }
  }
}

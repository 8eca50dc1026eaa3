/**
 * Shapes: the forms of payloads as data.
 *
 * A Schema becomes a shape (`fromSchema`). A shape can be written down (`Packed`), so that a program validates without loading
 * Schemas. Two functions read shapes: `compile` makes code that quickly says yes, and `explain` searches for violations.
 *
 * Shapes describe the output of `JSON.stringify`: only an object's own enumerable properties count, a property that is
 * `undefined` is absent, and an object with a `toJSON` method is not taken for an object.
 */
import type { Constraint } from "./Constraint.ts"
import type { Place, Search } from "./Search.ts"

export type Shape =
  | { readonly is: "anything" }
  | { readonly is: "boolean" }
  | { readonly is: "string" | "number"; readonly constraints: ReadonlyArray<Constraint> }
  | { readonly is: "enumeration"; readonly values: ReadonlyArray<unknown> }
  | ArrayShape
  | ObjectShape
  | SuspendedShape
  | ForeignShape

export interface ArrayShape {
  readonly is: "array"
  readonly item: Shape
  readonly constraints: ReadonlyArray<Constraint>
}

export interface ObjectShape {
  readonly is: "object"
  readonly properties: ReadonlyMap<string, Property>
  /** The shape of all other properties; `undefined` when there must be none. */
  readonly others: Shape | undefined
}

export interface Property {
  readonly shape: Shape
  readonly isRequired: boolean
}

/** A shape that may contain itself. */
export interface SuspendedShape {
  readonly is: "suspended"
  readonly shape: () => Shape
}

/** A shape that JSON Schema has no word for; Effect decides. */
export interface ForeignShape {
  readonly is: "foreign"
  readonly accepts: (value: unknown) => boolean
  /** Notes the violations of a value that is not accepted. */
  readonly explain: (value: unknown, at: Place, search: Search) => void
}

/** The shape of every value. */
export const anything: Shape = { is: "anything" }

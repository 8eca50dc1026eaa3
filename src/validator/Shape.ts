/**
 * Shapes: what payloads have to look like, as data.
 *
 * A Schema of Effect's becomes a shape (`fromSchema`), and shapes can be written down (`Packed`), so that a program can
 * validate without loading Schemas. A shape is told in two ways: as code that is quick to say yes (`compile`), and as a search
 * for violations (`explain`).
 *
 * Shapes describe what `JSON.stringify` would send: only an object's own enumerable properties count, one whose value is
 * `undefined` is absent, and an object that has a `toJSON` method is none.
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
  /** The shape of the properties that are not named; `undefined` when there must be none. */
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

/** The verdict of someone else, where JSON Schema has no word for a shape. */
export interface ForeignShape {
  readonly is: "foreign"
  readonly accepts: (value: unknown) => boolean
  /** Notes the violations of a value that is not accepted. */
  readonly explain: (value: unknown, at: Place, search: Search) => void
}

/** Accepts every value. */
export const anything: Shape = { is: "anything" }

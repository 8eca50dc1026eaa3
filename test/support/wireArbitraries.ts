/** Generators of arrays as they come from the wire: frames, and frames that were damaged. */
import * as fc from "fast-check"

/** Values that nest as deep as a payload may, or deeper. */
const deep = fc.tuple(fc.constantFrom(10, 64, 65, 66, 200), fc.boolean()).map(([levels, object]) => {
  let value: unknown = 1
  for (let level = 0; level < levels; level++) value = object ? { a: value } : [value]
  return value
})

const string = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom("-1", "__proto__", "constructor", "toString", "Heartbeat", "FormationViolation", "NotSupported"),
)

const value = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 2, arbitrary: deep },
  string,
  fc.constant(null),
)

const object = fc.dictionary(string, value, { maxKeys: 4 })

/** Well-formed frames of all five types, as their JSON arrays. */
export const frameArray: fc.Arbitrary<ReadonlyArray<unknown>> = fc.oneof(
  fc.tuple(fc.constantFrom(2, 6), string, string, value),
  fc.tuple(fc.constant(3), string, value),
  fc.tuple(fc.constantFrom(4, 5), string, string, string, object),
)

type Change = (array: ReadonlyArray<unknown>, at: number, other: number, value: unknown) => ReadonlyArray<unknown>

const changes: Readonly<Record<string, Change>> = {
  dropped: (array, at) => array.toSpliced(at, 1),
  swapped: (array, at, other) => array.with(at, array[other]).with(other, array[at]),
  replaced: (array, at, _, value) => array.with(at, value),
  added: (array, at, _, value) => array.toSpliced(at, 0, value),
  cut: (array, at) => array.slice(0, at),
}

/** Arrays with an element dropped, swapped, replaced or added, or that end early. */
export const mutated = (arrays: fc.Arbitrary<ReadonlyArray<unknown>>): fc.Arbitrary<ReadonlyArray<unknown>> =>
  fc
    .tuple(
      arrays,
      fc.constantFrom(...Object.values(changes)),
      fc.nat(),
      fc.nat(),
      fc.oneof({ weight: 3, arbitrary: value }, fc.integer({ min: 0, max: 9 }), fc.double()),
    )
    .map(([array, change, at, other, value]) =>
      array.length === 0 ? [value] : change(array, at % array.length, other % array.length, value),
    )

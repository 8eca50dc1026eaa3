/** Choices that a seed decides. */
import { randomFrom } from "../../test/schemas/official.ts"

export interface Random {
  /** In [0, 1). */
  readonly next: () => number
  /** From 0 to `below` - 1. */
  readonly below: (below: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(values: ReadonlyArray<A>) => A
  /** One of the values, each as often as its weight says. */
  readonly weighted: <A>(values: ReadonlyArray<readonly [weight: number, value: A]>) => A
}

export const make = (seed: number): Random => {
  const next = randomFrom(seed)
  const below = (limit: number) => Math.floor(next() * limit)
  const pick = <A>(values: ReadonlyArray<A>): A => {
    if (values.length === 0) throw new RangeError("there is nothing to pick from")
    return values[below(values.length)] as A
  }
  const weighted = <A>(values: ReadonlyArray<readonly [number, A]>): A => {
    let at = next() * values.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, value] of values) {
      at -= weight
      if (at < 0) return value
    }
    return pick(values)[1]
  }
  return { next, below, pick, weighted, chance: (probability) => next() < probability }
}

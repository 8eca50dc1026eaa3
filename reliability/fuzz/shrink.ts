/** The smallest batch that still fails: fewer messages, then less in each. */

/** As few of the texts, and as little of each, as `fails` allows; within so many attempts. */
export const shrink = async (
  texts: ReadonlyArray<string>,
  fails: (texts: ReadonlyArray<string>) => Promise<boolean>,
  attempts = 2_000,
): Promise<ReadonlyArray<string>> => {
  let left = attempts
  const still = async (candidate: ReadonlyArray<string>) => left-- > 0 && (await fails(candidate))
  let best = texts
  for (let size = texts.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.length; ) {
      const candidate = best.toSpliced(at, size)
      if (await still(candidate)) best = candidate
      else at += size
    }
  }
  for (let index = 0; index < best.length; index++) {
    for (let smaller = await firstThat(best, index, still); smaller !== undefined; ) {
      best = smaller
      smaller = await firstThat(best, index, still)
    }
  }
  return best
}

const firstThat = async (
  texts: ReadonlyArray<string>,
  index: number,
  still: (texts: ReadonlyArray<string>) => Promise<boolean>,
): Promise<ReadonlyArray<string> | undefined> => {
  const text = texts[index] as string
  for (const candidate of smallerTexts(text)) {
    if (candidate.length < text.length && (await still(texts.with(index, candidate))))
      return texts.with(index, candidate)
  }
  return undefined
}

function* smallerTexts(text: string): Generator<string> {
  const value = parsed(text)
  if (value !== undefined) {
    for (const smaller of smallerValues(value)) yield JSON.stringify(smaller)
  }
  for (let size = Math.floor(text.length / 2); size >= 1; size = Math.floor(size / 2)) {
    yield text.slice(size)
    yield text.slice(0, -size)
  }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function* smallerValues(value: unknown): Generator<unknown> {
  if (typeof value === "string" && value.length > 1) yield value.slice(0, Math.ceil(value.length / 2))
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) {
      yield value.toSpliced(at, 1)
      for (const smaller of smallerValues(item)) yield value.with(at, smaller)
    }
  } else if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value)
    for (const [at, [key, member]] of entries.entries()) {
      yield Object.fromEntries(entries.toSpliced(at, 1))
      for (const smaller of smallerValues(member)) yield Object.fromEntries(entries.with(at, [key, smaller]))
    }
  }
}

/** Does something `count` times, with the numbers from 0, at most `limit` at a time. Gives the results as they come. */
export const inParallel = async <A>(
  count: number,
  limit: number,
  work: (index: number) => Promise<A>,
): Promise<ReadonlyArray<A>> => {
  const done: Array<A> = []
  let next = 0
  const worker = async () => {
    while (next < count) done.push(await work(next++))
  }
  await Promise.all(Array.from({ length: Math.min(count, limit) }, worker))
  return done
}

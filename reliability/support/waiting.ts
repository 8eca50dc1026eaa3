/** Waiting with a limit, in milliseconds of real time. */

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Asks until the answer is not `undefined` or `false`, and gives it. Fails when that takes too long. */
export const until = async <A>(
  what: string,
  ask: () => A | Promise<A>,
  patience = 15_000,
): Promise<Exclude<A, undefined | false>> => {
  const deadline = Date.now() + patience
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer as Exclude<A, undefined | false>
    if (Date.now() > deadline) throw new Error(`${what}: not within ${patience} ms`)
    await pause(10)
  }
}

/** Settles as the promise does, but fails when that takes too long. */
export const within = async <A>(patience: number, what: string, promise: Promise<A>): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${patience} ms`)), patience)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

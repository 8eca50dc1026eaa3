/** Waiting for the events of an emitter, and writing them down. */

interface Listenable {
  on(event: string, listener: (...args: ReadonlyArray<any>) => void): unknown
  once(event: string, listener: (...args: ReadonlyArray<any>) => void): unknown
}

/** The arguments of the next event of this name. Unlike `events.once`, it does not care for `error`. */
export const next = (emitter: Listenable, event: string): Promise<ReadonlyArray<any>> =>
  new Promise((resolve) => emitter.once(event, (...args) => resolve(args)))

/** Every event of these names from now on: its name, and what it carries. */
export const record = (emitter: Listenable, ...names: ReadonlyArray<string>): Array<readonly [string, any]> => {
  const events: Array<readonly [string, any]> = []
  for (const name of names) emitter.on(name, (event) => events.push([name, event]))
  return events
}

/** What a promise is rejected with; fails when it is not. */
export const rejection = async (promise: Promise<unknown>): Promise<any> => {
  const [outcome] = await Promise.allSettled([promise])
  if (outcome.status === "rejected") return outcome.reason
  throw new Error("the promise was fulfilled, but should have been rejected")
}

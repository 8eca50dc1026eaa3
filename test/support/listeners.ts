/** Waits for the events of an emitter, or records them. */

interface Listenable {
  on(event: string, listener: (...args: ReadonlyArray<any>) => void): unknown
  once(event: string, listener: (...args: ReadonlyArray<any>) => void): unknown
}

/** Waits for the next event of this name, and gives its arguments. Unlike `events.once`, it ignores `error`. */
export const next = (emitter: Listenable, event: string): Promise<ReadonlyArray<any>> =>
  new Promise((resolve) => emitter.once(event, (...args) => resolve(args)))

/** Records every event of these names from now on, with its argument. */
export const record = (emitter: Listenable, ...names: ReadonlyArray<string>): Array<readonly [string, any]> => {
  const events: Array<readonly [string, any]> = []
  for (const name of names) emitter.on(name, (event) => events.push([name, event]))
  return events
}

/** Gives the reason for which a promise is rejected; fails when it is fulfilled. */
export const rejection = async (promise: Promise<unknown>): Promise<any> => {
  const [outcome] = await Promise.allSettled([promise])
  if (outcome.status === "rejected") return outcome.reason
  throw new Error("the promise was fulfilled, but should have been rejected")
}

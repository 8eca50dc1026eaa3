/** Many calls of one AbortSignal. */
import { getEventListeners, setMaxListeners } from "node:events"
import { performance } from "node:perf_hooks"
import type { CallSetup, Tally } from "../commands.ts"
import { settle, tally } from "../Subject.ts"
import { subjectOf } from "../table.ts"

/** The time at which the signal aborts: before the calls, when they are made, or never. */
export type Abortion = "before" | "meanwhile" | "never"

export interface Aborted {
  readonly tags: Tally
  /** The listeners of the signal in the end. */
  readonly listeners: number
  /** Milliseconds from the abortion to the last call's end. */
  readonly took: number
}

export const callAborted = async (setup: CallSetup & { readonly abortion: Abortion }): Promise<Aborted> => {
  const { abortion, times = 1 } = setup
  const subject = subjectOf(setup)
  const controller = new AbortController()
  // Effect adds a listener of its own for each fiber.
  if (subject.face === "effect") setMaxListeners(0, controller.signal)
  let abortedAt = performance.now()
  const abort = () => {
    abortedAt = performance.now()
    controller.abort()
  }
  if (abortion === "before") abort()
  const calls = Array.from({ length: times }, () => settle(subject.call(setup, controller.signal), () => true))
  if (abortion === "meanwhile") {
    await new Promise((resolve) => setImmediate(resolve))
    abort()
  }
  const outcomes = await Promise.all(calls)
  const listeners = getEventListeners(controller.signal, "abort").length
  return { tags: tally(outcomes), listeners, took: performance.now() - abortedAt }
}

/** One listener of an AbortSignal for all the calls that it takes back: of more than ten Node warns as of a leak. */

interface Listening {
  readonly tasks: Set<() => void>
  readonly listener: () => void
}

const listening = new WeakMap<AbortSignal, Listening>()

const listenTo = (signal: AbortSignal): Listening => {
  const tasks = new Set<() => void>()
  const listener = () => {
    listening.delete(signal)
    for (const task of tasks) task()
  }
  signal.addEventListener("abort", listener, { once: true })
  const made = { tasks, listener }
  listening.set(signal, made)
  return made
}

/** Runs the task when the signal aborts, unless the returned function is called before. */
export const whenAborted = (signal: AbortSignal, task: () => void): (() => void) => {
  const { listener, tasks } = listening.get(signal) ?? listenTo(signal)
  tasks.add(task)
  return () => {
    tasks.delete(task)
    if (tasks.size > 0 || listening.get(signal)?.tasks !== tasks) return
    listening.delete(signal)
    signal.removeEventListener("abort", listener)
  }
}

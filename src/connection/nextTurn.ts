/** One turn of the event loop, on every runtime: the only place that asks for Node's `setImmediate`. */

type Turn = (task: () => void) => void

const { setImmediate } = globalThis as { readonly setImmediate?: Turn }

/** Runs a task in the next turn of the event loop, after the sockets have been read. Keeps the process alive until then. */
export const nextTurn: Turn =
  setImmediate === undefined ? (task) => void setTimeout(task, 0) : (task) => void setImmediate(task)

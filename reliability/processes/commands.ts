/** The language between a driver and a process of its own. Values travel by structured clone. */

/** The commands of a process: each takes one argument and gives an answer, at once or as a promise. */
export type Commands = { readonly [name: string]: (argument: never) => unknown }

/** The argument of a command. */
export type Argument<C> = C extends (argument: infer A) => unknown ? A : never

/** The answer to a command. */
export type Answer<C> = C extends (argument: never) => infer A ? Awaited<A> : never

/** From the driver. */
export type Question =
  | { readonly id: number; readonly name: string; readonly argument: unknown }
  /** Nothing more will be asked: the process is to end by itself. */
  | { readonly leave: true }

/** To the driver. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string }
  /** Something that must never happen has happened. */
  | { readonly fault: string }

/** Functions that run in a victim's process, for what only one case needs. */
import type { Child } from "../../processes/Child.ts"
import type { VictimCommands } from "./commands.ts"

/** The exports of a module: functions of one argument at most. What they take and give travels by structured clone. */
type Programs = { readonly [name: string]: unknown }

type Taken<P> = P extends (argument: infer A) => unknown ? A : undefined
type Given<P> = P extends (...args: never) => infer B ? Awaited<B> : never

/** Gives access to the functions that a module exports: `run(process, "name", argument)` calls one of them there. */
export const programs =
  <P extends Programs>(module: URL) =>
  async <Name extends keyof P & string>(
    process: Child<VictimCommands>,
    name: Name,
    argument: Taken<P[Name]>,
  ): Promise<Given<P[Name]>> =>
    // The module's own types say what its functions give.
    (await process.do("run", { module: module.href, name, argument })) as Given<P[Name]>

/** Options of which any may be read from the program's configuration. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"

/** The same options, where each value may be a `Config` of it. */
export type Configurable<Options> = {
  readonly [Name in keyof Options]: Options[Name] | Config.Config<Exclude<Options[Name], undefined>>
}

/** Reads what is to be read. */
export const resolve = <Options extends object>(
  options: Configurable<Options>,
): Effect.Effect<Options, Config.ConfigError> =>
  Effect.map(
    Effect.forEach(Object.entries(options), ([name, value]) =>
      Config.isConfig(value)
        ? Effect.map(value, (read) => [name, read] as const)
        : Effect.succeed([name, value] as const),
    ),
    // Every name has the value that its option asks for.
    (entries) => Object.fromEntries(entries) as Options,
  )

/** The options of a program. */
import { type ParseArgsConfig, parseArgs } from "node:util"

type Options = NonNullable<ParseArgsConfig["options"]>

/** Reads the options; with `--help` it prints how the program is used, and ends. */
export const commandLine = <const O extends Options>(usage: string, options: O) => {
  if (process.argv.includes("--help")) {
    console.log(usage.trim())
    process.exit(0)
  }
  return parseArgs({ options }).values
}

/** Reads an option that is a whole number, 0 or more. */
export const countOf = (name: string, text: string): number => {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new RangeError(`--${name} must be a count; got ${text}`)
}

/** Reads an option that is a positive number. */
export const positive = (name: string, text: string | number): number => {
  const value = Number(text)
  if (value > 0 && value < Number.POSITIVE_INFINITY) return value
  throw new RangeError(`--${name} must be a positive number; got ${text}`)
}

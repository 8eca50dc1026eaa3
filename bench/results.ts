/** The results of a run: a median for each figure and library, with its samples. */
import { createRequire } from "node:module"
import { arch, cpus, platform, totalmem } from "node:os"
import { type Cpu, type Figure, figures, type Measurement, type Measurements } from "./figures.ts"
import { type LibraryName, libraries } from "./peers/Peer.ts"

export interface Result {
  readonly figure: Figure
  readonly name: string
  readonly unit: string
  readonly better: "more" | "less"
  /** Nothing, where a library cannot be asked. */
  readonly medians: { readonly [L in LibraryName]?: Measurement }
  /** One value for each turn of each round. */
  readonly samples: { readonly [L in LibraryName]?: ReadonlyArray<number> }
}

export interface Results {
  readonly date: string
  readonly quick: boolean
  readonly rounds: number
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memory: string
    readonly platform: string
  }
  readonly versions: Readonly<Record<string, string>>
  readonly results: ReadonlyArray<Result>
}

const median = (numbers: ReadonlyArray<number>): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const medianOf = (samples: ReadonlyArray<Measurement>): Measurement => {
  const cpus = samples.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu]))
  const value = median(samples.map(({ value }) => value))
  const side = (name: keyof Cpu) => median(cpus.map((cpu) => cpu[name]))
  return cpus.length === 0 ? { value } : { value, cpu: { server: side("server"), client: side("client") } }
}

/** The rounds of one figure; `rounds` holds what each library has measured. */
const resultOf = (figure: Figure, rounds: ReadonlyMap<LibraryName, ReadonlyArray<Measurements>>): Result => {
  const measured = [...rounds].flatMap(([library, all]) => {
    const samples = all.flatMap((measurements) => measurements[figure] ?? [])
    return samples.length === 0 ? [] : [[library, samples] as const]
  })
  return {
    figure,
    ...figures[figure],
    medians: Object.fromEntries(measured.map(([library, samples]) => [library, medianOf(samples)])),
    samples: Object.fromEntries(measured.map(([library, samples]) => [library, samples.map(({ value }) => value)])),
  }
}

/** Figures of the largest fleet, relative to the smallest. They are ratios of medians, so they are computed at the end. */
const growths: { readonly [F in Figure]?: (measured: Measurement) => number | undefined } = {
  growth: ({ value }) => value,
  growthCpu: ({ cpu }) => cpu?.server,
}

const growthOf = (figure: Figure, results: ReadonlyArray<Result>): Result => {
  const of = (fleet: Figure, library: LibraryName): number | undefined => {
    const measured = results.find((result) => result.figure === fleet)?.medians[library]
    return measured && growths[figure]?.(measured)
  }
  const medians = libraries.flatMap((library) => {
    const [few, many] = [of("fleet100", library), of("fleet10000", library)]
    return few === undefined || many === undefined ? [] : [[library, { value: many / few }] as const]
  })
  return { figure, ...figures[figure], medians: Object.fromEntries(medians), samples: {} }
}

/** The results of one workload. */
export const resultsOf = (
  names: ReadonlyArray<Figure>,
  rounds: ReadonlyMap<LibraryName, ReadonlyArray<Measurements>>,
): ReadonlyArray<Result> => {
  const results = names.map((figure) => resultOf(figure, rounds))
  return results.map((result) => (result.figure in growths ? growthOf(result.figure, results) : result))
}

/** The ratio of one library's figure to another's; `undefined` where that would be a ratio of ratios. */
export const ratio = (result: Result, library: LibraryName, to: LibraryName): number | undefined => {
  if (result.unit === "ratio") return undefined
  const [a, b] = [result.medians[library], result.medians[to]]
  return a === undefined || b === undefined ? undefined : a.value / b.value
}

const versionOf = (name: string): string => createRequire(import.meta.url)(`${name}/package.json`).version

/** The circumstances of a run: time, machine, versions. */
export const circumstances = (quick: boolean, rounds: number): Omit<Results, "results"> => ({
  date: new Date().toISOString(),
  quick,
  rounds,
  machine: {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 1024 ** 3)} GiB`,
    platform: `${platform()} ${arch()}`,
  },
  versions: {
    node: process.version,
    "effect-ocpp": versionOf("effect-ocpp"),
    effect: versionOf("effect"),
    ws: versionOf("ws"),
    "ocpp-rpc": versionOf("ocpp-rpc"),
  },
})

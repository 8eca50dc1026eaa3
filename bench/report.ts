/** Results as rows: for the terminal, and for the README. */
import type { Cpu } from "./figures.ts"
import { type LibraryName, libraries } from "./peers/Peer.ts"
import { type Result, type Results, ratio } from "./results.ts"
import { isMet, type Target, targets } from "./targets.ts"

const faces = ["promise", "effect"] as const
type Face = (typeof faces)[number]

const text = (value: number | undefined): string => {
  if (value === undefined) return "–"
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3)
}

const mark = (target: Target | undefined, value: number): string => {
  if (target === undefined) return ""
  return isMet(target, value) ? " ✓" : " ✗"
}

const targetOf = (result: Result, by: "ocpp-rpc" | "raw" | undefined): Target | undefined =>
  targets[result.figure]?.find((target) => target.by === by)

const ratioCell = (result: Result, face: Face, to: "ocpp-rpc" | "raw"): string => {
  const value = ratio(result, face, to)
  return value === undefined ? "–" : `${value.toFixed(2)}${mark(targetOf(result, to), value)}`
}

const valueCell = (result: Result, library: LibraryName): string => {
  const value = result.medians[library]?.value
  const isFace = faces.some((face) => face === library)
  return `${text(value)}${value === undefined || !isFace ? "" : mark(targetOf(result, undefined), value)}`
}

const targetText = ({ atLeast, atMost, by }: Target): string =>
  `${by === undefined ? "" : `÷ ${by} `}${atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`}`

export const header: ReadonlyArray<string> = [
  "median",
  "unit",
  ...libraries,
  ...faces.flatMap((face) => [`${face} ÷ ocpp-rpc`, `÷ raw`]),
  "targets",
]

const row = (result: Result): ReadonlyArray<string> => [
  result.name,
  result.unit,
  ...libraries.map((library) => valueCell(result, library)),
  ...faces.flatMap((face) => [ratioCell(result, face, "ocpp-rpc"), ratioCell(result, face, "raw")]),
  (targets[result.figure] ?? []).map(targetText).join(", "),
]

/** The CPU time of one side as a result of its own: what a busy machine disturbs least. */
const cpuOf = (result: Result, side: keyof Cpu): Result => {
  const measured = libraries.flatMap((library) => {
    const value = result.medians[library]?.cpu?.[side]
    return value === undefined ? [] : [[library, { value }] as const]
  })
  return { ...result, unit: "µs CPU", better: "less", medians: Object.fromEntries(measured), samples: {} }
}

const hasCpu = ({ medians }: Result): boolean => Object.values(medians).some(({ cpu }) => cpu !== undefined)

const cpuRows = (result: Result): ReadonlyArray<ReadonlyArray<string>> =>
  (["server", "client"] as const).map((side) => {
    const [, ...cells] = row(cpuOf(result, side))
    return [`  each, ${side} process`, ...cells.slice(0, -1).map((cell) => cell.replace(/ [✓✗]$/, "")), ""]
  })

/** One figure in the terminal's table: a row, and two for CPU time where it was taken. */
export const rows = (result: Result): ReadonlyArray<ReadonlyArray<string>> => [
  row(result),
  ...(hasCpu(result) ? cpuRows(result) : []),
]

const widths = [52, 10, ...libraries.map(() => 10), 18, 8, 18, 8]

export const line = (cells: ReadonlyArray<string>): string =>
  cells
    .map((cell, index) => (index === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[index] ?? 0)))
    .join("  ")
    .trimEnd()

/** The circumstances of a run, in two sentences. */
export const setting = ({ date, machine, rounds, versions }: Omit<Results, "results">): string => {
  const used = Object.entries(versions).map(([name, version]) => `${name} ${version.replace(/^v/, "")}`)
  return (
    `${date.slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, ${machine.memory}, ${machine.platform}; ` +
    `${used.join(", ")}. Medians of ${rounds} round${rounds === 1 ? "" : "s"}.`
  )
}

const markdownRow = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`

const markdownTitles = [
  "unit",
  "raw `ws`",
  "`ocpp-rpc`",
  "promises",
  "÷ `ocpp-rpc`",
  "÷ raw",
  "Effect",
  "÷ `ocpp-rpc`",
  "÷ raw",
]

const markdownCells = (result: Result): ReadonlyArray<string> => {
  const value = (library: LibraryName) => text(result.medians[library]?.value)
  const quotient = (face: Face, to: LibraryName) => ratio(result, face, to)?.toFixed(2) ?? "–"
  const compared = faces.flatMap((face) => [value(face), quotient(face, "ocpp-rpc"), quotient(face, "raw")])
  return [result.name, result.unit, value("raw"), value("ocpp-rpc"), ...compared]
}

const markdownTable = (first: string, results: ReadonlyArray<Result>): string => {
  const titles = [first, ...markdownTitles]
  const rule = titles.map((_, index) => (index < 2 ? "---" : "--:"))
  return [titles, rule, ...results.map(markdownCells)].map(markdownRow).join("\n")
}

/** The tables of the README. */
export const markdown = (all: Results): string => {
  const timed = all.results.filter(hasCpu)
  return [
    setting(all),
    markdownTable("median", all.results),
    "The CPU time that the server's process spends on each call or connection, which a busy machine disturbs less:",
    markdownTable(
      "server",
      timed.map((result) => cpuOf(result, "server")),
    ),
  ].join("\n\n")
}

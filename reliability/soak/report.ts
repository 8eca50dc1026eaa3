/** The report of a soak: the calls and whether they add up, latencies, memory, and a plot of both. */
import { none, percentile, sum } from "../support/Histogram.ts"
import { type Account, contradictions } from "../support/Ledger.ts"
import { type Panel, plot } from "./plot.ts"
import type { Sample } from "./Traffic.ts"

export const sides = ["csms", "stations"] as const
export type Side = (typeof sides)[number]

/** Both processes between two spells of traffic. */
export interface Checkpoint {
  readonly hours: number
  /** Whether the server has restarted in the spell before. */
  readonly restarted: boolean
  readonly csms: Sample
  readonly stations: Sample
}

export const callsAt = ({ csms, stations }: Checkpoint) => csms.account.made + stations.account.made

export const mebibytes = (bytes: number) => bytes / 1024 ** 2

/** Every loss, and every sum that does not agree. */
export const lossesOf = ({ csms, stations }: Checkpoint): ReadonlyArray<string> => [
  ...csms.account.losses,
  ...stations.account.losses,
  ...contradictions("calls of the stations", stations.account, csms.account.handled),
  ...contradictions("calls of the CSMS", csms.account, stations.account.handled),
  ...[csms, stations].flatMap(({ account: { interrupted } }) =>
    interrupted === 0 ? [] : [`${interrupted} calls were interrupted, by nobody`],
  ),
]

type Point = readonly [x: number, y: number]

/** The line through some points: least squares, with the standard error of its slope. */
const lineThrough = (points: ReadonlyArray<Point>) => {
  const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))]
  const spread = points.reduce((total, [x]) => total + (x - mx) ** 2, 0)
  const slope = points.reduce((total, [x, y]) => total + (x - mx) * (y - my), 0) / spread
  const at0 = my - slope * mx
  const squares = points.reduce((total, [x, y]) => total + (y - at0 - slope * x) ** 2, 0)
  return { slope, at0, error: Math.sqrt(squares / (points.length - 2) / spread) }
}

/** Fewer samples say nothing of a slope. */
const leastSamples = 6

const tellMemory = (side: Side, points: ReadonlyArray<Checkpoint>) => {
  const against = (x: (point: Checkpoint) => number, kind: "heap" | "rss") =>
    lineThrough(points.map((point) => [x(point), point[side].memory[kind]]))
  const perHour = (kind: "heap" | "rss") => {
    const { error, slope } = against(({ hours }) => hours, kind)
    return `${mebibytes(slope).toFixed(1)} ± ${mebibytes(error).toFixed(1)} MiB/h`
  }
  const perCall = against(callsAt, "heap")
  const { heap, rss } = points.at(-1)![side].memory
  console.log(
    `memory of ${side.padEnd(8)} heap ${mebibytes(heap).toFixed(1)} MiB, slope ${perHour("heap")}, ` +
      `${perCall.slope.toFixed(1)} ± ${perCall.error.toFixed(1)} B/call; ` +
      `RSS ${mebibytes(rss).toFixed(1)} MiB, slope ${perHour("rss")}`,
  )
}

const percentiles = [
  ["p50", 0.5, "#15803d"],
  ["p95", 0.95, "#a16207"],
  ["p99", 0.99, "#b91c1c"],
] as const

const tellLatency = (name: string, checkpoints: ReadonlyArray<Checkpoint>, side: Side, kind: "latency" | "waited") => {
  for (const restarted of [false, true]) {
    const spells = checkpoints.filter((point) => point.restarted === restarted)
    const counts = spells.map((point) => point[side][kind]).reduce(sum, none)
    const figures = percentiles.map(([label, part]) => `${label} ${percentile(counts, part).toFixed(1)}`)
    const when = restarted ? "with a restart" : "without one"
    console.log(`latency ${name}, spells ${when}: ${figures.join(", ")}, max ${counts.max.toFixed(1)} ms`)
  }
}

const tellCalls = (name: string, calls: Account, cuts: number, handled: number) =>
  console.log(
    `calls of ${name.padEnd(8)} ${calls.made} made: ${calls.answered} answered, ${calls.refused} refused, ${calls.sent} ended ` +
      `after they were sent, ${calls.unsent} before; ${handled} handled; ${cuts} connections cut by this side`,
  )

/** Prints everything. The first `warmUp` checkpoints say nothing of memory. */
export const tell = (checkpoints: ReadonlyArray<Checkpoint>, warmUp: number): void => {
  const { csms, stations } = checkpoints.at(-1)!
  tellCalls("stations", stations.account, stations.cuts, csms.account.handled)
  tellCalls("csms", csms.account, csms.cuts, stations.account.handled)
  tellLatency("station to CSMS", checkpoints, "stations", "latency")
  tellLatency("station to CSMS, begun while cut off", checkpoints, "stations", "waited")
  tellLatency("CSMS to station", checkpoints, "csms", "latency")
  const measured = checkpoints.slice(warmUp)
  if (measured.length < leastSamples) console.log("memory: the run is too short for a slope")
  else for (const side of sides) tellMemory(side, measured)
}

const colours = { csms: "#1f5fbf", stations: "#c2410c" }

const memoryPanel = (checkpoints: ReadonlyArray<Checkpoint>, warmUp: number): Panel => ({
  title: "Memory in MiB",
  lines: sides.flatMap((side) => {
    const points = checkpoints.map((point) => [point.hours * 60, mebibytes(point[side].memory.heap)] as const)
    const measured = points.slice(warmUp)
    const line = lineThrough(measured)
    const ends = [measured.at(0)!, measured.at(-1)!].map(([x]) => [x, line.at0 + line.slope * x] as const)
    const colour = colours[side]
    return [
      { name: `${side}, heap after gc`, colour, points },
      { name: `${side}, least squares`, colour, points: ends, fitted: true },
    ]
  }),
})

const latencyPanel = (checkpoints: ReadonlyArray<Checkpoint>): Panel => ({
  title: "Latency of calls on an open connection, in ms",
  lines: percentiles.map(([name, part, colour]) => ({
    name,
    colour,
    points: checkpoints.map(
      ({ csms, hours, stations }) => [hours * 60, percentile(sum(csms.latency, stations.latency), part)] as const,
    ),
  })),
})

/** Memory and latency over time, as an SVG. */
export const draw = (title: string, checkpoints: ReadonlyArray<Checkpoint>, warmUp: number): string =>
  plot(title, "minutes", [memoryPanel(checkpoints, warmUp), latencyPanel(checkpoints)])

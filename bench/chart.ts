/** The results as bars, `ocpp-rpc` being 1: an SVG that is readable on light and on dark ground. */
import type { Figure } from "./figures.ts"
import type { LibraryName } from "./peers/Peer.ts"
import { type Result, type Results, ratio } from "./results.ts"

const shown: ReadonlyArray<readonly [Figure, string]> = [
  ["oneStation", "1 station, sequential"],
  ["inFlight", "1 station, 32 in flight"],
  ["strict", "100 stations"],
  ["relaxed", "100 stations, not validated"],
  ["transactionEvent", "100 stations, 2.0.1"],
  ["fromCsms", "CSMS calls 100 stations"],
  ["fleet10000", "10,000 stations"],
  ["accepted", "connections accepted"],
  ["heap", "heap per idle connection"],
  ["coldStart", "cold start"],
]

const bars: ReadonlyArray<readonly [LibraryName, string]> = [
  ["promise", "effect-ocpp, promises"],
  ["effect", "effect-ocpp, Effect"],
  ["raw", "raw loop over ws"],
]

const left = 190
const right = 60
const top = 74
const width = 760
const barHeight = 11
const groupHeight = bars.length * barHeight + 13

const style = `
    text { font: 12px system-ui, sans-serif; fill: #1f2328 }
    .title { font-size: 15px; font-weight: 600 }
    .note, .value { fill: #59636e; font-size: 11px }
    .promise { fill: #1f6feb }
    .effect { fill: #8250df }
    .raw { fill: #afb8c1 }
    .one { stroke: #59636e; stroke-dasharray: 3 3 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .note, .value { fill: #9198a1 }
      .promise { fill: #58a6ff }
      .effect { fill: #bc8cff }
      .raw { fill: #6e7681 }
      .one { stroke: #9198a1 }
    }`

/** The advantage over `ocpp-rpc` as a factor: a quarter of the memory is 4. */
const advantage = (result: Result, library: LibraryName): number | undefined => {
  const value = ratio(result, library, "ocpp-rpc")
  if (value === undefined || result.better === "more") return value
  return 1 / value
}

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped(content)}</text>`

const bar = (y: number, library: LibraryName, value: number, scale: number): string =>
  `<rect class="${library}" x="${left}" y="${y}" width="${(value * scale).toFixed(1)}" height="${barHeight - 1}" rx="1.5"/>` +
  text(left + value * scale + 5, y + barHeight - 2, `${value.toFixed(1)}×`, `class="value"`)

const group = (y: number, label: string, result: Result, scale: number): string => {
  const drawn = bars.flatMap(([library], index) => {
    const value = advantage(result, library)
    return value === undefined ? [] : [bar(y + index * barHeight, library, value, scale)]
  })
  const middle = y + (bars.length * barHeight) / 2 + 4
  return [text(left - 10, middle, label, `text-anchor="end"`), ...drawn].join("")
}

const legend = (): string =>
  bars
    .map(([library, label], index) => {
      const x = left + index * 165
      return `<rect class="${library}" x="${x}" y="44" width="10" height="10" rx="1.5"/>${text(x + 15, 53, label)}`
    })
    .join("")

export const chart = ({ date, machine, results, versions }: Results): string => {
  const groups = shown.flatMap(([figure, label]) => {
    const result = results.find((result) => result.figure === figure)
    return result === undefined ? [] : [{ label, result }]
  })
  const most = Math.max(1, ...groups.flatMap(({ result }) => bars.map(([library]) => advantage(result, library) ?? 0)))
  const scale = (width - left - right) / most
  const bottom = top + groups.length * groupHeight
  const height = bottom + 30
  const where = `${date.slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, Node ${versions.node?.slice(1)}, ocpp-rpc ${versions["ocpp-rpc"]}`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
  <title>Speed, memory and start of effect-ocpp and of a raw loop over ws, ocpp-rpc being 1</title>
  <style>${style}
  </style>
  ${text(16, 26, "How many times as fast, small or quick to start as ocpp-rpc", `class="title"`)}
  ${legend()}
  ${groups.map(({ label, result }, index) => group(top + index * groupHeight, label, result, scale)).join("\n  ")}
  <line class="one" x1="${(left + scale).toFixed(1)}" x2="${(left + scale).toFixed(1)}" y1="${top - 8}" y2="${bottom - 6}"/>
  ${text(16, bottom + 16, `Dashed: ocpp-rpc. Strict validation unless said. ${where}`, `class="note"`)}
</svg>
`
}

/** Lines over time as an SVG. */

export interface Line {
  readonly name: string
  readonly colour: string
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
  /** A fitted line is dashed and has no dots. */
  readonly fitted?: boolean
}

export interface Panel {
  readonly title: string
  readonly lines: ReadonlyArray<Line>
}

const width = 860
const height = 260
const margin = { left: 70, right: 20, top: 40, bottom: 40 }

/** One panel under the other, each with an axis of its own from 0 to its highest value. */
export const plot = (title: string, xLabel: string, panels: ReadonlyArray<Panel>): string => {
  const total = panels.length * height + 30
  const body = panels.map((panel, i) => `<g transform="translate(0 ${30 + i * height})">${draw(panel, xLabel)}</g>`)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${total}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    text(width / 2, 20, title, "middle"),
    ...body,
    "</svg>",
    "",
  ].join("\n")
}

const draw = ({ lines, title }: Panel, xLabel: string): string => {
  const points = lines.flatMap((line) => line.points).filter(([, y]) => Number.isFinite(y))
  const xMax = niceAbove(Math.max(...points.map(([x]) => x), 0))
  const yMax = niceAbove(Math.max(...points.map(([, y]) => y), 0))
  const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom]
  const at = ([x, y]: readonly [number, number]): readonly [number, number] => [
    left + (x / xMax) * (right - left),
    bottom - (y / yMax) * (bottom - top),
  ]
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((part) => {
    const [x, y] = at([part * xMax, part * yMax])
    return [
      `<path d="M${left} ${y.toFixed(1)}H${right}" stroke="#ddd"/>`,
      text(left - 6, y + 4, short(part * yMax), "end"),
      text(x, bottom + 16, short(part * xMax), "middle"),
    ]
  })
  const legend = lines.map(({ colour, name }, i) => text(left + 10 + i * 190, top - 6, name, "start", colour))
  return [
    text(left, 14, title, "start"),
    text(right, bottom + 32, xLabel, "end"),
    ...grid,
    ...legend,
    ...lines.map((line) => curve(line, at)),
  ].join("\n")
}

const curve = (
  { colour, fitted = false, points }: Line,
  at: (point: readonly [number, number]) => readonly [number, number],
) => {
  const placed = points.filter(([, y]) => Number.isFinite(y)).map((point) => at(point).map((value) => value.toFixed(1)))
  const dash = fitted ? ` stroke-dasharray="6 4"` : ""
  const dots = fitted ? [] : placed.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="2.5" fill="${colour}"/>`)
  return `<polyline points="${placed.join(" ")}" fill="none" stroke="${colour}"${dash}/>${dots.join("")}`
}

const text = (x: number, y: number, content: string, anchor: "start" | "middle" | "end", fill = "black") =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${fill}">${escaped(content)}</text>`

const escaped = (content: string) => content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const short = (value: number) => `${Number(value.toPrecision(3))}`

/** The next of 1, 2, 4, 6, 8, 10 times a power of ten. */
const niceAbove = (value: number): number => {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 2, 4, 6, 8].find((step) => value <= step * power) ?? 10)
}

/**
 * Writes results into the documentation: the chart to docs/bench.svg, the tables between two comments of the README.
 *
 *     npm run bench -- --publish               runs, then publishes
 *     npx tsx bench/publish.ts                 publishes the results of the last run, bench/results.json
 *     npx tsx bench/publish.ts --from <file> --into <directory>
 *                                              publishes elsewhere, to look at it; takes the results of a quick run too
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { chart } from "./chart.ts"
import { markdown } from "./report.ts"
import type { Results } from "./results.ts"

const root = fileURLToPath(new URL("../", import.meta.url))
const begin = "<!-- bench: begin -->"
const end = "<!-- bench: end -->"

/** @throws {Error} when a README has no place for it, or the results are those of a quick run. */
export const publish = (results: Results, into = root): void => {
  if (into === root && results.quick) throw new Error("the figures of a quick run mean nothing: they are not published")
  const [readme, svg] = [join(into, "README.md"), join(into, "docs/bench.svg")]
  const [before, rest] = readFileSync(readme, "utf8").split(begin)
  const after = rest?.split(end)[1]
  if (after === undefined) throw new Error(`the README has no place between ${begin} and ${end}`)
  mkdirSync(dirname(svg), { recursive: true })
  writeFileSync(svg, chart(results))
  const image = "![effect-ocpp compared with ocpp-rpc](docs/bench.svg)"
  writeFileSync(readme, [before, begin, "\n\n", image, "\n\n", markdown(results), "\n\n", end, after].join(""))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { from, into } = parseArgs({ options: { from: { type: "string" }, into: { type: "string" } } }).values
  if (into !== undefined) {
    mkdirSync(into, { recursive: true })
    copyFileSync(join(root, "README.md"), join(into, "README.md"))
  }
  publish(JSON.parse(readFileSync(from ?? join(root, "bench/results.json"), "utf8")), into)
}

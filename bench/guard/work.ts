/**
 * One process of the guard: makes strict calls over a connection in memory, and says how many bytes each has allocated.
 *
 *     work.js <face> <calls to warm up> <calls to measure>
 */
import { PerformanceObserver } from "node:perf_hooks"
import { setImmediate as turn } from "node:timers/promises"
import { faces } from "./ends.ts"

const [face, warmUp, measured] = process.argv.slice(2)
const calls = await faces[face as keyof typeof faces]()
await calls(Number(warmUp))

let collections = 0
new PerformanceObserver((list) => {
  collections += list.getEntries().length
}).observe({ entryTypes: ["gc"] })

const allocated = () => {
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

globalThis.gc?.()
await turn()
await turn()
collections = 0
const before = allocated()
await calls(Number(measured))
const after = allocated()
await turn()
await turn()
// Collected bytes are not counted: then the process needs a larger young generation.
if (collections > 0) throw new Error(`${collections} garbage collections while allocations were counted`)
console.log((after - before) / Number(measured))
process.exit(0)

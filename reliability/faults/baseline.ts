/** Comparing what a process holds with what it held before. */
import type { Counters } from "./victim/commands.ts"

const counted = ["stations", "handlers", "auths", "calls", "fibers"] as const

/** A baseline, raised by what a further server has brought. */
export const risen = (baseline: Counters, before: Counters, after: Counters): Counters => {
  const raised = counted.map((name) => [name, baseline[name] + after[name] - before[name]] as const)
  const resources = Object.entries(after.resources).map(
    ([kind, count]) => [kind, (baseline.resources[kind] ?? 0) + count - (before.resources[kind] ?? 0)] as const,
  )
  return {
    ...baseline,
    ...Object.fromEntries(raised),
    untyped: [],
    resources: { ...baseline.resources, ...Object.fromEntries(resources) },
  }
}

/** Everything of which there is more than before, as text. */
export const excessOf = (baseline: Counters, now: Counters): ReadonlyArray<string> => {
  const rows = counted.map((name) => [name, baseline[name], now[name]] as const)
  const kinds = Object.keys(now.resources).filter((kind) => kind !== "Immediate" && kind !== "WriteWrap")
  const resources = kinds.map((kind) => [kind, baseline.resources[kind] ?? 0, now.resources[kind] ?? 0] as const)
  return [...rows, ...resources].filter(([, was, is]) => is > was).map(([name, was, is]) => `${name} ${was} -> ${is}`)
}

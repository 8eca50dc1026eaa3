/** What is counted of a fleet, for one node: it appears in Effect's metric registry, beside what connections count. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"

/** In milliseconds. */
const boundaries: ReadonlyArray<number> = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000,
]

/** Why a message of another node was not acted on. */
export type Refusal = "invalid" | "duplicate" | "asleep" | "expired" | "notHere" | "overload"

export class Meters {
  readonly #context: Context.Context<never>
  readonly #node: string
  readonly #counters = new Map<string, Metric.Counter<number>>()
  readonly #durations: Metric.Histogram<number>

  constructor(context: Context.Context<never>, node: string) {
    this.#context = context
    this.#node = node
    this.#durations = Metric.histogram("ocpp_fleet_call_duration_ms", {
      description: "From a call of a station of another node to its end",
      attributes: { node },
      boundaries,
    })
  }

  /** A call of a station of another node has ended; of this node's caller (`"out"`), or another's (`"in"`). */
  called(direction: "in" | "out", outcome: string, millis?: number): void {
    this.#count("ocpp_fleet_calls_total", "Calls between nodes that have ended, by how", { direction, outcome })
    if (millis !== undefined) this.#durations.updateUnsafe(millis, this.#context)
  }

  claimed(outcome: "owned" | "newer"): void {
    this.#count("ocpp_fleet_claims_total", "Claims of stations, by outcome", { outcome })
  }

  fenced(): void {
    this.#count("ocpp_fleet_fenced_total", "Connections closed because another node has a newer one", {})
  }

  refused(reason: Refusal): void {
    this.#count("ocpp_fleet_refused_messages_total", "Messages of nodes that were not acted on, by why", { reason })
  }

  lookedUp(cached: boolean): void {
    this.#count("ocpp_fleet_lookups_total", "Owners that were asked for", { cached: String(cached) })
  }

  engineLost(): void {
    this.#count("ocpp_fleet_engine_losses_total", "How often the engine could not be reached any more", {})
  }

  /** A figure that is read when somebody asks, until the returned function is called. */
  gauge(name: string, description: string, value: () => number): () => void {
    const metric = Metric.gauge(name, { description, attributes: { node: this.#node } })
    const get = () => ({ value: value() })
    return Metric.registerUnsafe(metric, this.#context, { get, update: () => {}, modify: () => {} }).remove
  }

  #count(name: string, description: string, labels: Readonly<Record<string, string>>): void {
    const key = `${name} ${Object.values(labels).join(" ")}`
    let counter = this.#counters.get(key)
    if (counter === undefined) {
      counter = Metric.counter(name, { description, attributes: { ...labels, node: this.#node }, incremental: true })
      this.#counters.set(key, counter)
    }
    counter.updateUnsafe(1, this.#context)
  }
}

/**
 * What is counted: calls by outcome, how long they take, connections, bytes, bad messages.
 *
 * Counting is plain arithmetic on the path of a call; what needs more work is done when somebody reads. The figures appear in
 * Effect's metric registry, where any exporter of metrics finds them.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

/** How a call ended: answered, refused with an error code, or without an answer. */
export type Outcome = "ok" | "timeout" | "disconnected" | "queueFull" | "interrupted" | (string & {})

/** Who calls: `"out"` is us. */
export type Direction = "in" | "out"

/** The figures of an open connection, read when somebody asks. */
export interface Gauges {
  readonly side: "station" | "csms"
  readonly inFlight: (direction: Direction) => number
  /** Bytes on the wire so far. */
  readonly bytes: (direction: Direction) => number
}

/** In milliseconds. */
const boundaries: ReadonlyArray<number> = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000,
]

/** How many actions are told apart in each direction; a peer may call what it likes. */
const maxActions = 256

/** A distribution of durations. */
class Durations {
  readonly #counts = new Array<number>(boundaries.length).fill(0)
  #count = 0
  #sum = 0
  #min = Number.POSITIVE_INFINITY
  #max = 0

  add(millis: number): void {
    this.#count++
    this.#sum += millis
    if (millis < this.#min) this.#min = millis
    if (millis > this.#max) this.#max = millis
    for (let i = 0; i < boundaries.length; i++) {
      if (millis > (boundaries[i] as number)) continue
      this.#counts[i] = (this.#counts[i] as number) + 1
      return
    }
  }

  get state(): Metric.HistogramState {
    let total = 0
    const buckets = this.#counts.map((count, i): [number, number] => {
      total += count
      return [boundaries[i] as number, total]
    })
    return { buckets, count: this.#count, sum: this.#sum, min: this.#count === 0 ? 0 : this.#min, max: this.#max }
  }
}

/** The calls of one action in one direction. */
class Calls {
  ok = 0
  readonly durations = new Durations()
  readonly failures = new Map<Outcome, { count: number }>()
}

const sharedMetrics = new WeakMap<Metric.MetricRegistry, Metrics>()

/** The metrics of one metric registry. */
export class Metrics {
  readonly #context: Context.Context<never>
  readonly #calls = { in: new Map<string, Calls>(), out: new Map<string, Calls>() }
  readonly #live = new Set<Gauges>()
  readonly #closedBytes = { in: 0, out: 0 }
  readonly #validationFailures = { us: 0, peer: 0 }
  readonly #queueWaits = new Durations()
  readonly #roundTrips = new Durations()
  #badMessages = 0
  #reconnects = 0

  /** The metrics of the registry of a context: all connections that report there share them. */
  static of(context: Context.Context<never>): Metrics {
    const registry = Context.get(context, Metric.MetricRegistry)
    let metrics = sharedMetrics.get(registry)
    if (metrics === undefined) {
      metrics = new Metrics(context)
      sharedMetrics.set(registry, metrics)
    }
    return metrics
  }

  private constructor(context: Context.Context<never>) {
    this.#context = context
    for (const direction of ["in", "out"] as const) {
      this.#gauge("ocpp_calls_in_flight", "Calls that have not ended", { direction }, () =>
        this.#sum((live) => live.inFlight(direction)),
      )
      this.#counter("ocpp_bytes_total", "Bytes on the wire", { direction }, () => {
        return this.#closedBytes[direction] + this.#sum((live) => live.bytes(direction))
      })
    }
    for (const side of ["station", "csms"] as const) {
      this.#gauge("ocpp_connections", "Open connections, by the side that we are", { side }, () =>
        this.#sum((live) => (live.side === side ? 1 : 0)),
      )
    }
    for (const sender of ["us", "peer"] as const) {
      const description = "Payloads that do not satisfy their Schema, by who sent them"
      this.#counter("ocpp_validation_failures_total", description, { sender }, () => this.#validationFailures[sender])
    }
    this.#counter(
      "ocpp_bad_messages_total",
      "Messages that are broken or belong to nothing",
      {},
      () => this.#badMessages,
    )
    this.#counter(
      "ocpp_reconnects_total",
      "Connections that a client has opened after a loss",
      {},
      () => this.#reconnects,
    )
    this.#histogram("ocpp_call_queue_wait_ms", "How long our calls wait for their turn", {}, this.#queueWaits)
    this.#histogram("ocpp_ping_round_trip_ms", "From ping to pong", {}, this.#roundTrips)
  }

  /** A call has ended, so many milliseconds after it was made, or its handler began. */
  called(direction: Direction, action: string, outcome: Outcome, millis: number): void {
    const calls = this.#callsOf(direction, action)
    calls.durations.add(millis)
    if (outcome === "ok") calls.ok++
    else this.#failed(calls, direction, action, outcome)
  }

  /** A call of ours has left, after it has waited for its turn. */
  waited(millis: number): void {
    this.#queueWaits.add(millis)
  }

  ponged(millis: number): void {
    this.#roundTrips.add(millis)
  }

  badMessage(): void {
    this.#badMessages++
  }

  validationFailure(sender: "us" | "peer"): void {
    this.#validationFailures[sender]++
  }

  reconnected(): void {
    this.#reconnects++
  }

  opened(live: Gauges): void {
    this.#live.add(live)
  }

  closed(live: Gauges): void {
    if (!this.#live.delete(live)) return
    this.#closedBytes.in += live.bytes("in")
    this.#closedBytes.out += live.bytes("out")
  }

  #sum(figure: (live: Gauges) => number): number {
    let sum = 0
    for (const live of this.#live) sum += figure(live)
    return sum
  }

  #callsOf(direction: Direction, action: string): Calls {
    const known = this.#calls[direction].get(action)
    if (known !== undefined) return known
    if (this.#calls[direction].size >= maxActions && action !== others) return this.#callsOf(direction, others)
    const calls = new Calls()
    this.#calls[direction].set(action, calls)
    const labels = { direction, action }
    this.#counter("ocpp_calls_total", callsTotal, { ...labels, outcome: "ok" }, () => calls.ok)
    this.#histogram("ocpp_call_duration_ms", "From a call to its end", labels, calls.durations)
    return calls
  }

  #failed(calls: Calls, direction: Direction, action: string, outcome: Outcome): void {
    let tally = calls.failures.get(outcome)
    if (tally === undefined) {
      const made = { count: 0 }
      const name = this.#calls[direction].get(action) === calls ? action : others
      this.#counter("ocpp_calls_total", callsTotal, { direction, action: name, outcome }, () => made.count)
      calls.failures.set(outcome, made)
      tally = made
    }
    tally.count++
  }

  #counter(name: string, description: string, attributes: Labels, count: () => number): void {
    const get = () => ({ count: count(), incremental: true })
    this.#register(Metric.counter(name, { description, attributes, incremental: true }), get)
  }

  #gauge(name: string, description: string, attributes: Labels, value: () => number): void {
    this.#register(Metric.gauge(name, { description, attributes }), () => ({ value: value() }))
  }

  #histogram(name: string, description: string, attributes: Labels, durations: Durations): void {
    this.#register(Metric.histogram(name, { description, attributes, boundaries }), () => durations.state)
  }

  #register<Input, State>(metric: Metric.Metric<Input, State>, get: () => State): void {
    Metric.registerUnsafe(metric, this.#context, { get, update: () => {}, modify: () => {} })
  }
}

type Labels = Readonly<Record<string, string>>

const callsTotal = "Calls that have ended, by how"

/** What actions are called that are not told apart. */
const others = "other"

/** The measured figures, by name: the rows of the table. */

interface Row {
  readonly name: string
  readonly unit: string
  /** `"more"` calls per second are better, `"less"` memory or time is. */
  readonly better: "more" | "less"
}

const rate = (name: string, unit = "calls/s"): Row => ({ name, unit, better: "more" })
const cost = (name: string, unit: string): Row => ({ name, unit, better: "less" })

export const figures = {
  oneStation: rate("1 station, sequential, strict"),
  inFlight: rate("1 station, 32 in flight, strict"),
  strict: rate("100 stations, sequential, strict"),
  relaxed: rate("100 stations, sequential, relaxed"),
  transactionEvent: rate("100 stations, 2.0.1 TransactionEvent, strict"),
  fromCsms: rate("CSMS calls 100 stations, strict"),
  accepted: rate("connections accepted, the same bare sockets dial", "per second"),
  acceptedFirst: rate("the same, the first 1,000 of a process", "per second"),
  connected: rate("connections made, each library's own client dials", "per second"),
  connectedFirst: rate("the same, the first 1,000 of both processes", "per second"),
  heap: cost("heap of the CSMS per idle connection, 10,000 of them", "bytes"),
  rss: cost("RSS of the CSMS per idle connection, 10,000 of them", "bytes"),
  coldStart: cost("cold start to the first strict answer", "ms"),
  coldStartCpu: cost("cold start to the first strict answer, CPU time", "ms"),
  fleet100: rate("100 stations connected, 100 calling in turn"),
  fleet1000: rate("1,000 stations connected, 100 calling in turn"),
  fleet10000: rate("10,000 stations connected, 100 calling in turn"),
  growth: rate("calls/s with 10,000 stations ÷ with 100", "ratio"),
  growthCpu: cost("CPU time of the CSMS a call, 10,000 stations ÷ 100", "ratio"),
  paced: rate("1,000 stations, a call a second each: answered"),
  p50: cost("1,000 stations, a call a second each: p50", "µs"),
  p95: cost("1,000 stations, a call a second each: p95", "µs"),
  p99: cost("1,000 stations, a call a second each: p99", "µs"),
} as const satisfies Readonly<Record<string, Row>>

export type Figure = keyof typeof figures

/** One measurement, and the CPU time of both processes while it was made, in µs for each call or connection. */
export interface Measurement {
  readonly value: number
  readonly cpu?: Cpu
}

export interface Cpu {
  readonly server: number
  readonly client: number
}

export type Measurements = { readonly [F in Figure]?: Measurement }

/** A station that minds its own business while others abuse its CSMS. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { library } from "../processes/library.ts"
import { Histogram, percentile } from "../support/Histogram.ts"
import { pause } from "../support/waiting.ts"

const { Client, Ocpp16 } = library

/** The Heartbeats of a bystander: their number, and the time that their answers took. */
export interface Report {
  readonly sent: number
  readonly answered: number
  /** In milliseconds. */
  readonly p99: number
  readonly slowest: number
}

export interface Bystander {
  /** Hangs up and tells. */
  readonly leave: () => Promise<Report>
}

/** Connects, and sends a Heartbeat every 100 ms until it leaves. It does not come back when it is cut off. */
export const bystander = async (port: number): Promise<Bystander> => {
  const scope = Scope.makeUnsafe()
  const made = Client.make({
    endpoint: `ws://127.0.0.1:${port}`,
    identity: "BYSTANDER",
    protocols: [Ocpp16],
    callTimeout: 5_000,
    reconnect: false,
  })
  const client = await Effect.runPromise(Scope.provide(made, scope))
  const latency = new Histogram()
  let [sent, answered, stays] = [0, 0, true]
  const beating = (async () => {
    for (; stays; await pause(100)) {
      sent++
      const start = performance.now()
      const exit = await Effect.runPromiseExit(client.call(Ocpp16.Heartbeat, {}))
      if (exit._tag === "Success") answered++
      latency.add(performance.now() - start)
    }
  })()
  return {
    leave: async () => {
      stays = false
      await beating
      await Effect.runPromise(Scope.close(scope, Exit.void))
      const counts = latency.take()
      return { sent, answered, p99: percentile(counts, 0.99), slowest: counts.max }
    },
  }
}

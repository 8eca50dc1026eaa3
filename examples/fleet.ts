/**
 * A fleet of simulated stations in one process, for smallCsms.ts: it prints a line a second of how they are doing.
 * Run it: npx tsx examples/fleet.ts ws://localhost:3000 500
 */
import { Console, type Duration, Effect, Schedule } from "effect"
import { Client, Handlers, Ocpp16 } from "effect-ocpp"
import { main } from "./main.ts"

const accepted = () => Effect.succeed({ status: "Accepted" as const })

const ChargePoint = Handlers.make(Ocpp16, { Reset: accepted, SetChargingProfile: accepted })

/** So many stations, each of which beats at an interval. They connect 50 at a time: a CSMS bounds its handshakes. */
export const run = Effect.fn("fleet")(function* (endpoint: string, size: number, interval: Duration.Input) {
  const seen = { connected: 0, beats: 0, failures: 0 }
  const display = Effect.suspend(() => {
    const { beats, connected, failures } = seen
    return Console.log(`${connected} of ${size} connected, ${beats} heartbeats, ${failures} failures`)
  })
  yield* Effect.forkScoped(Effect.repeat(display, Schedule.spaced("1 second")))

  const count = (what: keyof typeof seen, by = 1) => Effect.sync(() => (seen[what] += by))
  const connect = (n: number) =>
    Client.make({
      endpoint,
      identity: `SIM-${n}`,
      password: "secret",
      protocols: [Ocpp16],
      handlers: [ChargePoint],
    }).pipe(
      Effect.tap(() => count("connected")),
      Effect.tapError(() => count("failures")),
      Effect.option,
    )
  const clients = yield* Effect.forEach(
    Array.from({ length: size }, (_, n) => n),
    connect,
    { concurrency: 50 },
  )

  const live = (client: Client.Client) =>
    client
      .call(Ocpp16.Heartbeat, {})
      .pipe(
        Effect.matchEffect({ onSuccess: () => count("beats"), onFailure: () => count("failures") }),
        Effect.repeat(Schedule.spaced(interval)),
      )
  const connected = clients.flatMap((client) => (client._tag === "Some" ? [client.value] : []))
  yield* Effect.forEach(connected, live, { concurrency: "unbounded", discard: true })
}, Effect.scoped)

main(import.meta.url, (endpoint = "ws://localhost:3000", size = "100") => run(endpoint, Number(size), "10 seconds"))

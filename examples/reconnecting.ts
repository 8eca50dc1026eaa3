/**
 * When a station connects again after a loss: four policies to choose from, and what is said of each attempt.
 * Run it: npx tsx examples/reconnecting.ts ws://localhost:3000 exponential
 */
import { Console, Effect, Schedule } from "effect"
import { Backoff, Client, Ocpp16 } from "effect-ocpp"
import { main } from "./main.ts"

export const policies = {
  /** As OCPP 2.x has it, and what a client does that is told nothing. */
  ocpp: Backoff.ocpp({ waitMinimum: "10 seconds", randomRange: "5 seconds", repeatTimes: 5 }),
  exponential: Backoff.exponential({ initialDelay: "1 second", maxDelay: "1 minute" }),
  /** Any Schedule will do. This one tries ten times, but not where the password is wrong. */
  own: Schedule.spaced("30 seconds").pipe(
    Schedule.setInputType<Client.ReconnectReason>(),
    Schedule.while(({ input }) => Effect.succeed(input._tag !== "UnexpectedHttpResponse" || input.code !== 401)),
    Schedule.upTo({ times: 10 }),
  ),
  never: false,
} as const

/** Tells what becomes of a client's connection. */
export const follow = (client: Client.Client) =>
  client.subscribeToLife((event) => {
    if (event._tag === "Open") console.log(`connected with ${event.protocol}`)
    if (event._tag === "Disconnect") console.log(`lost: ${event.code} ${event.reason}`)
    if (event._tag === "Connecting") console.log("connecting")
    if (event._tag === "Close") console.log(`closed for good: ${event.code} ${event.reason}`)
  })

const isPolicy = (name: string): name is keyof typeof policies => Object.hasOwn(policies, name)

main(import.meta.url, (endpoint = "ws://localhost:3000", policy = "ocpp") =>
  Effect.gen(function* () {
    if (!isPolicy(policy)) return yield* Console.error(`One of ${Object.keys(policies).join(", ")}, please`)
    const options = { endpoint, identity: "CP001", password: "secret", protocols: [Ocpp16] }
    const client = yield* Client.make({ ...options, reconnect: policies[policy] })
    console.log(`connected with ${client.protocol}`)
    follow(client)
    yield* client.closed
  }).pipe(Effect.scoped),
)

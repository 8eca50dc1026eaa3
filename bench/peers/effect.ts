/** The Effect face. A station's call is run as a promise, because that is what the benchmark waits for. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type * as Library from "../../src/index.ts"
import { command, measurement, type Peer } from "./Peer.ts"

export const peerOf = ({ Client, Handlers, Ocpp16, Ocpp201, Server }: typeof Library): Peer => {
  const protocols = { "ocpp1.6": Ocpp16, "ocpp2.0.1": Ocpp201 }
  return {
    serve: async ({ protocol, strict }) => {
      const handlers = [Handlers.wildcard(() => Effect.succeed(measurement[protocol].response), protocols[protocol])]
      const server = await Effect.runPromise(
        Scope.provide(
          Effect.tap(Server.make({ protocols: [protocols[protocol]], handlers, strictMode: strict }), (made) =>
            made.listen({ port: 0, host: "127.0.0.1" }),
          ),
          Scope.makeUnsafe(),
        ),
      )
      const { action, payload } = command[protocol]
      return {
        port: server.port as number,
        callStations: (goOn) =>
          Effect.runPromise(
            Effect.flatMap(server.stations, (stations) =>
              Effect.forEach(
                stations,
                (station) =>
                  Effect.whileLoop({ while: goOn, body: () => station.call(action, payload), step: () => {} }),
                { concurrency: "unbounded", discard: true },
              ),
            ),
          ),
      }
    },
    connect: async (port, identity, { concurrency, protocol, strict }) => {
      const handlers = [Handlers.wildcard(() => Effect.succeed(command[protocol].response), protocols[protocol])]
      const client = await Effect.runPromise(
        Scope.provide(
          Client.make({
            endpoint: `ws://127.0.0.1:${port}`,
            identity,
            protocols: [protocols[protocol]],
            handlers,
            strictMode: strict,
            callConcurrency: concurrency,
            reconnect: false,
          }),
          Scope.makeUnsafe(),
        ),
      )
      const { action, payload } = measurement[protocol]
      return {
        call: () => Effect.runPromise(client.call(action, payload)),
        close: () => void Effect.runFork(client.close({ force: true })),
      }
    },
  }
}

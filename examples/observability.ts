/**
 * A CSMS that can be watched: /metrics for Prometheus, and traces, logs and metrics by OTLP where that is configured.
 * Run it: OTLP_URL=http://localhost:4318 npx tsx examples/observability.ts 3000
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Config, Effect, Layer, Option } from "effect"
import { FetchHttpClient } from "effect/http"
import { Otlp, PrometheusMetrics } from "effect/observability"
import { Handlers, Ocpp16, Server } from "effect-ocpp"
import { main } from "./main.ts"

const CentralSystem = Handlers.make(Ocpp16, {
  Heartbeat: () => Effect.as(Effect.log("a heartbeat"), { currentTime: new Date().toISOString() }),
})

/** Stations and Prometheus share one port, which this gives; it listens until the Scope closes. */
export const listen = Effect.fnUntraced(function* (port: number) {
  const csms = yield* Server.make({ protocols: [Ocpp16], handlers: [CentralSystem], strictMode: true })
  const context = yield* Effect.context()
  const httpServer = createServer((request, response) => {
    if (request.url !== "/metrics") return response.writeHead(404).end()
    response.setHeader("content-type", "text/plain; version=0.0.4; charset=utf-8")
    return response.end(PrometheusMetrics.formatUnsafe(context))
  }).on("upgrade", csms.handleUpgrade)
  const listening = Effect.callback<void>((resume) => void httpServer.listen(port, () => resume(Effect.void)))
  yield* Effect.acquireRelease(listening, () => Effect.sync(() => httpServer.close().closeAllConnections()))
  return (httpServer.address() as AddressInfo).port
})

/** Where a tracer is provided, every call has a span. */
export const Telemetry = Effect.gen(function* () {
  const baseUrl = yield* Config.option(Config.String("OTLP_URL"))
  if (Option.isNone(baseUrl)) return Layer.empty
  const otlp = Otlp.layerJson({ baseUrl: baseUrl.value, resource: { serviceName: "csms" } })
  return otlp.pipe(Layer.provide(FetchHttpClient.layer))
}).pipe(Layer.unwrap)

main(import.meta.url, (port = "3000") =>
  listen(Number(port)).pipe(
    Effect.tap((bound) => Effect.log(`ws://localhost:${bound}/<identity>, http://localhost:${bound}/metrics`)),
    Effect.andThen(Effect.never),
    Effect.scoped,
    Effect.provide(Telemetry),
  ),
)

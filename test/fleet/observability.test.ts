/** What can be seen of a fleet: one trace across nodes, figures, and log lines that name the node. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { Echo, makeFleet, pass } from "./support/nodes.ts"

describe("a call between nodes", () => {
  it.effect("is one trace, from the caller's span to the station's", () => {
    const spans: Array<Tracer.Span> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      },
    })
    return Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      yield* a.connect("CP001")
      spans.length = 0
      const call = yield* Effect.forkChild(
        Effect.withSpan(b.fleet.call("CP001", Echo.Echo, { text: "hi" }), "press the button"),
      )
      yield* pass(100)
      yield* Fiber.join(call)
      const parentOf = ({ parent }: Tracer.Span) => (parent._tag === "Some" ? parent.value.spanId : undefined)
      const [button, client, server, ocpp] = spans.filter(
        ({ attributes, kind }) => !(kind === "server" && attributes.has("ocpp.message_id")),
      )
      expect(button?.name).toBe("press the button")
      expect([client, server, ocpp].map((span) => [span?.name, span?.kind])).toEqual([
        ["Echo", "client"],
        ["Echo", "server"],
        ["Echo", "client"],
      ])
      expect([client, server, ocpp].map((span) => span && parentOf(span))).toEqual([
        button?.spanId,
        client?.spanId,
        server?.spanId,
      ])
      expect(new Set([button, client, server, ocpp].map((span) => span?.traceId)).size).toBe(1)
      expect(server?.attributes.get("ocpp.fleet.node")).toBe(a.id)
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })
})

describe("figures", () => {
  it.effect("say how calls between nodes end, what nodes hold, and whether the engine is there", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      const call = yield* Effect.forkChild(b.fleet.call("CP001", Echo.Echo, { text: "hi" }))
      yield* pass(100)
      yield* Fiber.join(call)
      yield* Effect.flip(b.fleet.call("CP002", "Echo"))
      hub.cut(b.id)
      yield* Effect.flip(b.fleet.call("CP001", "Echo"))
      const figures = new Map<string, unknown>()
      for (const { attributes, id, state } of yield* Metric.snapshot) {
        if (!id.startsWith("ocpp_fleet")) continue
        const labels = Object.values(attributes ?? {})
          .toSorted()
          .join(" ")
        figures.set(`${id} ${labels}`, "count" in state ? Number(state.count) : "value" in state ? state.value : state)
      }
      expect(Object.fromEntries(figures)).toMatchObject({
        "ocpp_fleet_calls_total b ok out": 1,
        "ocpp_fleet_calls_total a in ok": 1,
        "ocpp_fleet_calls_total b notConnected out": 1,
        "ocpp_fleet_calls_total b out unreachable": 1,
        "ocpp_fleet_call_duration_ms b": 3,
        "ocpp_fleet_stations a": 1,
        "ocpp_fleet_nodes c": 3,
        "ocpp_fleet_engine_up a": 1,
        "ocpp_fleet_engine_up b": 0,
        "ocpp_fleet_engine_losses_total b": 1,
        "ocpp_fleet_claims_total a owned": 1,
      })
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())),
  )

  it.effect("of a node end with it", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(makeFleet)
      const gauges = (yield* Metric.snapshot).filter(({ id, type }) => type === "Gauge" && id.startsWith("ocpp_fleet"))
      expect(gauges).toEqual([])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())),
  )
})

describe("log lines", () => {
  it.effect("name the node", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ fiber, message }) => {
      const { identity, node } = fiber.getRef(References.CurrentLogAnnotations)
      lines.push(`${node}: ${[message].flat()[0]}${identity === undefined ? "" : ` (${identity})`}`)
    })
    return Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      yield* b.connect("CP001")
      hub.cut(b.id)
      yield* pass(100)
      hub.heal(b.id)
      yield* pass(100)
      expect(lines.filter((line) => !line.includes("has joined"))).toEqual([
        "a: closed: another node has a newer connection (CP001)",
        "b: the engine cannot be reached: stations of other nodes cannot be called",
        "b: the engine can be reached again",
      ])
      expect(lines.filter((line) => line.includes("has joined"))).toHaveLength(3)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
})

/** What metrics, traces and logs say of calls. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { TestClock } from "effect/testing"
import * as Connection from "../src/Connection.ts"
import * as Handlers from "../src/Handlers.ts"
import { RPCSecurityError } from "../src/RPCError.ts"
import { Ocpp16 } from "../src/schemas/ocpp16.ts"
import * as Transport from "../src/Transport.ts"

const CentralSystem = Handlers.make(Ocpp16, {
  Heartbeat: () => Effect.succeed({ currentTime: "2026-01-01T00:00:00Z" }),
  Authorize: () => new RPCSecurityError("no"),
  StatusNotification: () => Effect.as(Effect.logInfo("noted"), {}),
  MeterValues: () => Effect.never,
})

/** The same transport, which counts what it carries as a socket does. */
const counting = (transport: Transport.Transport) => {
  const counted = { bytesReceived: 0, bytesSent: 0 }
  return new Proxy(transport, {
    get: (target, key) => {
      if (key === "bytesReceived" || key === "bytesSent") return counted[key]
      if (key === "send") {
        return (text: string) => {
          counted.bytesSent += text.length
          target.send(text)
        }
      }
      if (key === "listen") {
        return (listener: Transport.Listener) =>
          target.listen({
            ...listenerOf(listener),
            onMessage: (text) => {
              counted.bytesReceived += text.length
              listener.onMessage(text)
            },
          })
      }
      const value: unknown = Reflect.get(target, key)
      return typeof value === "function" ? value.bind(target) : value
    },
  })
}

const listenerOf = (listener: Transport.Listener): Transport.Listener => ({
  onMessage: (text) => listener.onMessage(text),
  onPing: () => listener.onPing(),
  onPong: () => listener.onPong(),
  onError: (error) => listener.onError(error),
  onClose: (code, reason) => listener.onClose(code, reason),
})

/** A station and its CSMS, connected in memory. */
const connected = (options: Connection.Options = {}) =>
  Effect.gen(function* () {
    const [near, far] = Transport.makePair("ocpp1.6").map(counting)
    if (near === undefined || far === undefined) throw new Error("a pair has two ends")
    const common = { ...options, protocol: Ocpp16, identity: "CP001" }
    const station = yield* Connection.make(near, { ...common, side: "station" })
    const csms = yield* Connection.make(far, { ...common, side: "csms", handlers: [CentralSystem] })
    return { station, csms }
  })

/** The figures of one metric, by its labels. */
const figures = (name: string) =>
  Effect.map(Metric.snapshot, (all) =>
    Object.fromEntries(
      all
        .filter(({ id }) => id === name)
        .map(({ attributes, state }) => [Object.values(attributes ?? {}).join(" "), state]),
    ),
  )

const counts = (name: string) =>
  Effect.map(figures(name), (states) =>
    Object.fromEntries(Object.entries(states).map(([labels, state]) => [labels, Number(Object.values(state)[0])])),
  )

const withRegistry = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

describe("metrics", () => {
  it.effect("count calls by direction, action and outcome, on both sides", () =>
    withRegistry(
      Effect.gen(function* () {
        const { station } = yield* connected()
        yield* station.call(Ocpp16.Heartbeat, {})
        yield* station.call(Ocpp16.Heartbeat, {})
        yield* Effect.flip(station.call(Ocpp16.Authorize, { idTag: "x" }))
        yield* Effect.flip(station.call("Unheard", {}))
        expect(yield* counts("ocpp_calls_total")).toEqual({
          "out Heartbeat ok": 2,
          "in Heartbeat ok": 2,
          "out Authorize ok": 0,
          "out Authorize SecurityError": 1,
          "in Authorize ok": 0,
          "in Authorize SecurityError": 1,
          "out Unheard ok": 0,
          "out Unheard NotImplemented": 1,
          "in unknown ok": 0,
          "in unknown NotImplemented": 1,
        })
      }),
    ),
  )

  it.effect("measure how long calls take and wait", () =>
    withRegistry(
      Effect.gen(function* () {
        const { station } = yield* connected({ callTimeout: "300 millis", handlerTimeout: "1 hour" })
        const call = station.call(Ocpp16.MeterValues, { connectorId: 1, meterValue: [] })
        const calls = yield* Effect.forkChild(Effect.all([call, call].map(Effect.flip), { concurrency: "unbounded" }))
        yield* TestClock.adjust("300 millis")
        yield* Fiber.join(calls)
        expect(yield* counts("ocpp_calls_total")).toMatchObject({ "out MeterValues timeout": 2 })
        const durations = (yield* figures("ocpp_call_duration_ms"))["out MeterValues"] as Metric.HistogramState
        expect([durations.count, durations.sum, durations.min, durations.max]).toEqual([2, 600, 300, 300])
        expect(durations.buckets.find(([boundary]) => boundary === 200)).toEqual([200, 0])
        expect(durations.buckets.find(([boundary]) => boundary === 500)).toEqual([500, 2])
      }),
    ),
  )

  it.effect("tell connections, calls in flight and bytes as they are when they are read", () =>
    withRegistry(
      Effect.gen(function* () {
        const { csms, station } = yield* connected()
        const call = yield* Effect.forkChild(station.call(Ocpp16.MeterValues, { connectorId: 1, meterValue: [] }))
        yield* TestClock.adjust(1)
        expect(yield* counts("ocpp_connections")).toEqual({ station: 1, csms: 1 })
        expect(yield* counts("ocpp_calls_in_flight")).toEqual({ in: 1, out: 1 })
        const { in: received, out: sent } = yield* counts("ocpp_bytes_total")
        expect(received).toBeGreaterThan(80)
        expect(received).toBe(sent)
        yield* Fiber.interrupt(call)
        yield* station.close()
        yield* csms.closed
        expect(yield* counts("ocpp_connections")).toEqual({ station: 0, csms: 0 })
        expect(yield* counts("ocpp_calls_in_flight")).toEqual({ in: 0, out: 0 })
        expect(yield* counts("ocpp_bytes_total")).toEqual({ in: received, out: sent })
        expect(yield* counts("ocpp_calls_total")).toMatchObject({
          "out MeterValues interrupted": 1,
          "in MeterValues disconnected": 1,
        })
      }),
    ),
  )

  it.effect("count bad messages and payloads that are not valid", () =>
    withRegistry(
      Effect.gen(function* () {
        const { station } = yield* connected({ strictMode: true })
        yield* Effect.flip(station.call("Heartbeat", { no: 1 }))
        yield* station.sendRaw("not JSON")
        yield* station.sendRaw('[2,"1","Heartbeat",{"no":1}]')
        yield* TestClock.adjust(1)
        expect(yield* counts("ocpp_validation_failures_total")).toEqual({ us: 1, peer: 1 })
        // The text that is not JSON, and the two answers to what was no call of ours.
        expect(yield* counts("ocpp_bad_messages_total")).toEqual({ "": 3 })
      }),
    ),
  )

  it.effect("have a bounded number of series, whatever is called", () =>
    withRegistry(
      Effect.gen(function* () {
        const { station } = yield* connected()
        for (let i = 0; i < 300; i++) yield* Effect.flip(station.call(`Action${i}`, {}))
        const series = Object.keys(yield* counts("ocpp_calls_total"))
        expect(series.filter((labels) => labels.endsWith("NotImplemented"))).toHaveLength(258)
        expect((yield* counts("ocpp_calls_total"))["out other NotImplemented"]).toBe(44)
      }),
    ),
  )
})

/** A tracer that keeps its spans. */
const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    },
  })
  return { spans, layer: Layer.succeed(Tracer.Tracer, tracer) }
}

describe("traces", () => {
  it.effect("have one span for each call on both sides, that of the caller under the caller's own", () => {
    const { layer, spans } = recording()
    return Effect.gen(function* () {
      const { station } = yield* connected()
      yield* Effect.withSpan(station.call(Ocpp16.Heartbeat, {}), "evening round")
      const [round, outbound, inbound] = spans
      expect(spans.map(({ kind, name }) => [name, kind])).toEqual([
        ["evening round", "internal"],
        ["Heartbeat", "client"],
        ["Heartbeat", "server"],
      ])
      expect(outbound?.parent).toMatchObject({ _tag: "Some", value: { spanId: round?.spanId } })
      const attributes = Object.fromEntries(outbound?.attributes ?? [])
      expect(attributes).toMatchObject({ "ocpp.identity": "CP001", "ocpp.protocol": "ocpp1.6" })
      expect(attributes["ocpp.message_id"]).toBe(inbound?.attributes.get("ocpp.message_id"))
      expect(outbound?.status).toMatchObject({ _tag: "Ended" })
    }).pipe(Effect.provide(layer))
  })

  it.effect("are not made where nobody provides a tracer", () =>
    Effect.gen(function* () {
      const [near, far] = Transport.makePair("ocpp1.6")
      const span = yield* Deferred.make<string>()
      const Heartbeat = () =>
        Effect.exit(Effect.currentSpan).pipe(
          Effect.tap(({ _tag }) => Deferred.succeed(span, _tag)),
          Effect.as({ currentTime: "2026-01-01T00:00:00Z" }),
        )
      const handlers = [Handlers.make(Ocpp16, { Heartbeat })]
      const station = yield* Connection.make(near, { side: "station", protocol: Ocpp16 })
      yield* Connection.make(far, { side: "csms", protocol: Ocpp16, handlers })
      yield* station.call(Ocpp16.Heartbeat, {})
      expect(yield* Deferred.await(span)).toBe("Failure")
    }),
  )
})

describe("logs", () => {
  it.effect("of a handler say which station's which call it handles", () => {
    const lines: Array<Record<string, unknown>> = []
    const logger = Logger.make(({ fiber, message }) => {
      lines.push({ message: [message].flat().join(" "), ...fiber.getRef(References.CurrentLogAnnotations) })
    })
    return Effect.gen(function* () {
      const { station } = yield* connected()
      const payload = { connectorId: 1, errorCode: "NoError", status: "Available" } as const
      const handled = yield* Deferred.make<string>()
      station.subscribe((event) => {
        if (event._tag === "Call") Deferred.doneUnsafe(handled, Effect.succeed(event.messageId))
      })
      yield* station.call(Ocpp16.StatusNotification, payload)
      const messageId = yield* Deferred.await(handled)
      expect(lines).toEqual([
        { message: "noted", identity: "CP001", protocol: "ocpp1.6", action: "StatusNotification", messageId },
      ])
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
})

/**
 * A small CSMS for OCPP 1.6, 2.0.1 and 2.1: it accepts every station, knows some cards, and counts transactions.
 */
import { Context, DateTime, Effect, Layer, Ref } from "effect"
import { Handlers, Ocpp16, Ocpp21, Ocpp201, Server } from "effect-ocpp"

/** The cards that may charge. Handlers ask for services such as this one; whoever runs the server provides them. */
export class Cards extends Context.Service<Cards, { readonly knows: (idTag: string) => boolean }>()("examples/Cards") {
  static readonly layer = Layer.succeed(Cards, { knows: (idTag) => idTag === "04E3A2B1" })
}

/** Hands out transaction ids. */
export class Transactions extends Context.Service<Transactions, { readonly next: Effect.Effect<number> }>()(
  "examples/Transactions",
) {
  static readonly layer = Layer.effect(
    Transactions,
    Effect.map(Ref.make(0), (last) => ({ next: Ref.updateAndGet(last, (id) => id + 1) })),
  )
}

const currentTime = Effect.map(DateTime.now, DateTime.formatIso)
const booted = Effect.map(currentTime, (now) => ({ status: "Accepted" as const, currentTime: now, interval: 300 }))
const heartbeat = () => Effect.map(currentTime, (now) => ({ currentTime: now }))
const noted = () => Effect.succeed({})

const statusOf = Effect.fnUntraced(function* (idTag: string) {
  const cards = yield* Cards
  return { status: cards.knows(idTag) ? ("Accepted" as const) : ("Invalid" as const) }
})

const CentralSystem = Handlers.make(Ocpp16, {
  BootNotification: () => booted,
  Heartbeat: heartbeat,
  StatusNotification: noted,
  MeterValues: noted,
  Authorize: ({ idTag }) => Effect.map(statusOf(idTag), (idTagInfo) => ({ idTagInfo })),
  StartTransaction: Effect.fnUntraced(function* ({ idTag }) {
    const transactions = yield* Transactions
    return { transactionId: yield* transactions.next, idTagInfo: yield* statusOf(idTag) }
  }),
  StopTransaction: noted,
  DataTransfer: () => Effect.succeed({ status: "UnknownVendorId" }),
  DiagnosticsStatusNotification: noted,
  FirmwareStatusNotification: noted,
  SecurityEventNotification: noted,
})

const Csms201 = Handlers.make(Ocpp201, {
  BootNotification: () => booted,
  Heartbeat: heartbeat,
  StatusNotification: noted,
  MeterValues: noted,
  Authorize: ({ idToken }) => Effect.map(statusOf(idToken.idToken), (idTokenInfo) => ({ idTokenInfo })),
  TransactionEvent: noted,
  NotifyEvent: noted,
  NotifyReport: noted,
  SecurityEventNotification: noted,
  DataTransfer: () => Effect.succeed({ status: "UnknownVendorId" }),
})

const Csms21 = Handlers.make(Ocpp21, {
  BootNotification: () => booted,
  Heartbeat: heartbeat,
  StatusNotification: noted,
  MeterValues: noted,
  Authorize: ({ idToken }) => Effect.map(statusOf(idToken.idToken), (idTokenInfo) => ({ idTokenInfo })),
  TransactionEvent: noted,
  NotifyEvent: noted,
  NotifyReport: noted,
  NotifyPeriodicEventStream: () => Effect.void,
  SecurityEventNotification: noted,
  DataTransfer: () => Effect.succeed({ status: "UnknownVendorId" }),
})

/** The CSMS, listening as long as the Layer lives. */
export const layer = (port: number) =>
  Server.layer({
    port,
    protocols: [Ocpp21, Ocpp201, Ocpp16],
    handlers: [CentralSystem, Csms201, Csms21],
    strictMode: true,
  }).pipe(Layer.provide([Cards.layer, Transactions.layer]))

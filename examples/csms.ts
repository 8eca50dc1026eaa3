/**
 * A CSMS for OCPP 1.6, 2.0.1 and 2.1 on one endpoint: what the versions have in common is written once.
 * Run it: npx tsx examples/csms.ts 3000
 */
import { Context, DateTime, Effect, Layer, Ref } from "effect"
import { Handlers, Ocpp16, Ocpp21, Ocpp201, Server } from "effect-ocpp"
import { launch, main } from "./main.ts"

/** The cards that may charge. Handlers ask for services such as this one; whoever runs the server provides them. */
export class Cards extends Context.Service<Cards, (idTag: string) => boolean>()("examples/Cards") {
  static readonly layer = Layer.succeed(Cards, (idTag) => idTag === "04E3A2B1")
}

/** Hands out transaction ids. */
export class Transactions extends Context.Service<Transactions, Effect.Effect<number>>()("examples/Transactions") {
  static readonly layer = Layer.effect(
    Transactions,
    Effect.map(Ref.make(0), (last) => Ref.updateAndGet(last, (id) => id + 1)),
  )
}

const now = Effect.map(DateTime.now, DateTime.formatIso)
const noted = () => Effect.succeed({})
const statusOf = (idTag: string) =>
  Effect.map(Cards, (knows) => ({ status: knows(idTag) ? ("Accepted" as const) : ("Invalid" as const) }))

const Common = Handlers.makeCommon([Ocpp16, Ocpp201, Ocpp21], {
  BootNotification: () => Effect.map(now, (currentTime) => ({ status: "Accepted", currentTime, interval: 300 })),
  Heartbeat: () => Effect.map(now, (currentTime) => ({ currentTime })),
  StatusNotification: noted,
  MeterValues: noted,
  SecurityEventNotification: noted,
  DataTransfer: () => Effect.succeed({ status: "UnknownVendorId" }),
})

const Only16 = Handlers.make(Ocpp16, {
  Authorize: ({ idTag }) => Effect.map(statusOf(idTag), (idTagInfo) => ({ idTagInfo })),
  StartTransaction: ({ idTag }) =>
    Effect.all({ transactionId: Effect.flatten(Transactions), idTagInfo: statusOf(idTag) }),
  StopTransaction: noted,
})

const Both2x = Handlers.makeCommon([Ocpp201, Ocpp21], {
  Authorize: ({ idToken }) => Effect.map(statusOf(idToken.idToken), (idTokenInfo) => ({ idTokenInfo })),
  TransactionEvent: noted,
  NotifyEvent: noted,
  NotifyReport: noted,
})

const Only21 = Handlers.make(Ocpp21, { NotifyPeriodicEventStream: () => Effect.void })

const handlers = [Handlers.merge(Common, Only16, Both2x, Only21)]

/** The CSMS, listening as long as the Layer lives. */
export const layer = (port: number) =>
  Server.layer({ port, protocols: [Ocpp21, Ocpp201, Ocpp16], handlers, strictMode: true }).pipe(
    Layer.provide([Cards.layer, Transactions.layer]),
  )

main(import.meta.url, (port = "3000") => launch(layer(Number(port))))

import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import type * as Action from "../../src/Action.ts"
import { type ConfigurationStatus, Ocpp16, type StartTransactionRequest } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { type BootNotificationRequest, Ocpp201 } from "../../src/schemas/ocpp201.ts"
import { ajvFor, compile, generate, messages, mutations, randomFrom } from "./official.ts"

const schemaOf = (actions: ReadonlyMap<string, Action.Any>, name: string, part: "request" | "response") => {
  const action = actions.get(name)
  return part === "request" ? action?.request : action?.kind === "call" ? action.response : undefined
}

describe.each([
  { protocol: Ocpp16, station: 13, csms: 25, extendedFrames: false, spelling: "1.6" },
  { protocol: Ocpp201, station: 24, csms: 39, extendedFrames: false, spelling: "2.x" },
  { protocol: Ocpp21, station: 36, csms: 54, extendedFrames: true, spelling: "2.x" },
])("$protocol.name", ({ protocol, station, csms, extendedFrames, spelling }) => {
  const actions: ReadonlyArray<Action.Any> = [...protocol.actions.values()]
  const own = messages.filter(({ subprotocol }) => subprotocol === protocol.name)

  it("has its actions, each sent by the side that the specification says", () => {
    const sentBy = (sender: Action.Sender) =>
      actions.filter((action) => action.sender === sender).map(({ name }) => name)
    expect(sentBy("station")).toHaveLength(station)
    expect(sentBy("csms")).toHaveLength(csms)
    expect(sentBy("both")).toEqual(["DataTransfer"])
    expect(sentBy("station")).toContain("BootNotification")
    expect(sentBy("csms")).toContain("GetLog")
  })

  it("has its frame types and its spelling of errors", () => {
    expect(protocol).toMatchObject({ extendedFrames, spelling })
  })

  it("has a Schema for each message of the specification, and no other", () => {
    const expected = own.map(({ action, part }) => `${action} ${part}`)
    const parts = actions.flatMap(({ kind, name }) => [
      `${name} request`,
      ...(kind === "call" ? [`${name} response`] : []),
    ])
    expect(parts.toSorted()).toEqual(expected.toSorted())
  })

  it("has Schemas that give the official verdict to whoever uses them without the validator", () => {
    const ajv = ajvFor(protocol.name)
    const random = randomFrom(1)
    for (const { action, part, schema } of own) {
      const official = compile(ajv, schema)
      const accepts = Schema.is(schemaOf(protocol.actions, action, part) ?? Schema.Never)
      const payload = generate(schema, { random, values: "typical", optional: 1, lists: "one" })
      expect(accepts(payload), `${action} ${part}`).toBe(true)
      for (const mutation of [...mutations(schema, payload)].filter((_, index) => index % 17 === 0)) {
        expect(accepts(mutation.payload), `${action} ${part}, ${mutation.keyword}`).toBe(official(mutation.payload))
      }
    }
  }, 20_000)
})

describe("the three versions", () => {
  it("have 194 actions in 387 messages", () => {
    expect(messages).toHaveLength(387)
    expect(Ocpp16.actions.size + Ocpp201.actions.size + Ocpp21.actions.size).toBe(194)
  })

  it("have one action that is never answered", () => {
    const sends = [Ocpp16, Ocpp201, Ocpp21].flatMap(({ actions }) =>
      [...actions.values()].filter(({ kind }) => kind === "send"),
    )
    expect(sends).toEqual([Ocpp21.NotifyPeriodicEventStream])
  })

  it("have types that plain objects are of", () => {
    const status: ConfigurationStatus = "RebootRequired"
    const start: StartTransactionRequest = {
      connectorId: 1,
      idTag: "tag",
      meterStart: 0,
      timestamp: "2025-04-01T12:00:00Z",
    }
    const boot: BootNotificationRequest = {
      reason: "PowerUp",
      chargingStation: { model: "M", vendorName: "V", customData: { vendorId: "V", colour: "green" } },
    }
    // @ts-expect-error a value outside the enumeration
    const unknown: ConfigurationStatus = "Perhaps"
    // @ts-expect-error an unknown property
    const extra: StartTransactionRequest = { ...start, idtag: "tag" }
    // @ts-expect-error a missing property
    const missing: BootNotificationRequest = { reason: "PowerUp" }
    // @ts-expect-error a property that is undefined
    const absent: StartTransactionRequest = { ...start, reservationId: undefined }
    expect([status, start, boot, unknown, extra, missing, absent]).toHaveLength(7)
  })
})

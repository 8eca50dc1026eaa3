/** The roles of a library in the benchmarks: a CSMS in one process, and stations in another. */

/** The contestants: a hand-written loop, the original, and the two faces of this library. */
export const libraries = ["raw", "ocpp-rpc", "promise", "effect"] as const
export type LibraryName = (typeof libraries)[number]

/** The workload's payloads and settings, the same for every library. */
export interface Setup {
  readonly protocol: "ocpp1.6" | "ocpp2.0.1"
  readonly strict: boolean
  /** The number of calls that a station may have in flight. */
  readonly concurrency: number
}

export interface Station {
  /** Calls the CSMS with the setup's measurement. */
  readonly call: () => Promise<unknown>
  readonly close: () => void
}

export interface Csms {
  readonly port: number
  /** Calls every connected station, one call after the other, as long as it is told to go on. */
  readonly callStations: (goOn: () => boolean) => Promise<void>
}

export interface Peer {
  readonly serve: (setup: Setup) => Promise<Csms>
  readonly connect: (port: number, identity: string, setup: Setup) => Promise<Station>
}

const sampled = <M extends string, U extends string>(value: string, measurand: M, unit: U) =>
  ({ value, measurand, unit, context: "Sample.Periodic" }) as const

/** The report of a station every minute: a 1.6 MeterValues of six samples, or a 2.0.1 TransactionEvent. */
export const measurement = {
  "ocpp1.6": {
    action: "MeterValues",
    payload: {
      connectorId: 1,
      transactionId: 4711,
      meterValue: [
        {
          timestamp: "2026-01-01T12:00:00Z",
          sampledValue: [
            sampled("12345", "Energy.Active.Import.Register", "Wh"),
            sampled("11042", "Power.Active.Import", "W"),
            sampled("16.1", "Current.Import", "A"),
            sampled("230.4", "Voltage", "V"),
            sampled("41", "Temperature", "Celsius"),
            sampled("62", "SoC", "Percent"),
          ],
        },
      ],
    },
    response: {},
  },
  "ocpp2.0.1": {
    action: "TransactionEvent",
    payload: {
      eventType: "Updated",
      timestamp: "2026-01-01T12:00:00Z",
      triggerReason: "MeterValuePeriodic",
      seqNo: 17,
      transactionInfo: { transactionId: "4711", chargingState: "Charging" },
      evse: { id: 1, connectorId: 1 },
      meterValue: [
        {
          timestamp: "2026-01-01T12:00:00Z",
          sampledValue: [
            { value: 12345, measurand: "Energy.Active.Import.Register", unitOfMeasure: { unit: "Wh" } },
            { value: 11042, measurand: "Power.Active.Import", unitOfMeasure: { unit: "W" } },
          ],
        },
      ],
    },
    response: {},
  },
} as const

/** A question of a CSMS to a station. */
export const command = {
  "ocpp1.6": { action: "GetLocalListVersion", payload: {}, response: { listVersion: 7 } },
  "ocpp2.0.1": { action: "GetLocalListVersion", payload: {}, response: { versionNumber: 7 } },
} as const

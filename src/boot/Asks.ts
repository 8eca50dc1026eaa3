/** What stations were asked for: the calls of a CSMS that are answered with calls of the station. */
import type { Event } from "../connection/Event.ts"
import type { Station } from "../Server.ts"

/** Some certificates have several names. */
const triggered: ReadonlyMap<string, string> = new Map([
  ["SignChargePointCertificate", "SignCertificate"],
  ["SignChargingStationCertificate", "SignCertificate"],
  ["SignV2GCertificate", "SignCertificate"],
  ["SignV2G20Certificate", "SignCertificate"],
  ["SignCombinedCertificate", "SignCertificate"],
])

/** What a station calls after a call of the CSMS. */
const consequences: ReadonlyMap<string, string> = new Map([
  ["GetBaseReport", "NotifyReport"],
  ["GetReport", "NotifyReport"],
  ["GetMonitoringReport", "NotifyMonitoringReport"],
  ["CustomerInformation", "NotifyCustomerInformation"],
  ["GetLog", "LogStatusNotification"],
  ["GetDiagnostics", "DiagnosticsStatusNotification"],
  ["UpdateFirmware", "FirmwareStatusNotification"],
  ["SignedUpdateFirmware", "SignedFirmwareStatusNotification"],
])

/** The action that a station is asked to call by a call of the CSMS, if any. */
export const askedBy = (action: string, request: unknown): string | undefined => {
  if (action !== "TriggerMessage" && action !== "ExtendedTriggerMessage") return consequences.get(action)
  if (typeof request !== "object" || request === null || !("requestedMessage" in request)) return undefined
  const { requestedMessage } = request
  return typeof requestedMessage === "string" ? (triggered.get(requestedMessage) ?? requestedMessage) : undefined
}

/** Of how many stations it is kept what they were asked for. */
const maxStations = 10_000

/** How many actions of one station are kept: more than there are, unless somebody makes them up. */
const maxActions = 32

interface Hearing {
  readonly end: () => void
  /** Whether it goes on, whatever the store will say. */
  isMeant: boolean
}

/** What the stations were asked for that we listen to, by identity: it outlives their connections. */
export class Asks {
  readonly #byIdentity = new Map<string, Set<string>>()
  readonly #hearings = new WeakMap<Station, Hearing>()

  /** What a station was asked for. */
  of(identity: string): ReadonlySet<string> {
    return this.#byIdentity.get(identity) ?? none
  }

  /** Listens to what a station is asked for from now on; until it is ignored, unless that is `isMeant` otherwise. */
  hear(station: Station, isMeant = false): void {
    const hearing = this.#hearings.get(station)
    if (hearing !== undefined) {
      hearing.isMeant ||= isMeant
      return
    }
    const end = station.subscribe((event) => this.#onEvent(station.identity, event))
    this.#hearings.set(station, { end, isMeant })
  }

  #onEvent(identity: string, event: Event): void {
    const asked = event._tag === "Call" && event.outbound ? askedBy(event.action, event.request) : undefined
    if (asked === undefined) return
    const all = this.#byIdentity.get(identity) ?? new Set()
    if (all.size < maxActions) all.add(asked)
    this.#byIdentity.set(identity, all)
    if (this.#byIdentity.size <= maxStations) return
    for (const oldest of this.#byIdentity.keys()) {
      this.#byIdentity.delete(oldest)
      return
    }
  }

  /** Listens no longer, unless that is meant. */
  ignore(station: Station): void {
    if (this.#hearings.get(station)?.isMeant === false) this.forget(station)
  }

  /** Listens no longer, and forgets. */
  forget(station: Station): void {
    this.#hearings.get(station)?.end()
    this.#hearings.delete(station)
    this.#byIdentity.delete(station.identity)
  }
}

const none: ReadonlySet<string> = new Set()

const asks = new WeakMap<object, Asks>()

/** What is kept beside a store, for all that use it. */
export const asksOf = (store: object): Asks => {
  let known = asks.get(store)
  if (known === undefined) {
    known = new Asks()
    asks.set(store, known)
  }
  return known
}

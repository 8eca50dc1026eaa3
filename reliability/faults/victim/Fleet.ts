/** Many stations, whose identities are numbered. */
import type { CallSetup, FleetSetup, Options, Tally } from "../Program.ts"
import { EffectStation } from "./effectFace.ts"
import { PromiseStation } from "./promiseFace.ts"
import { count, payloadOf, Subject, settle, tally } from "./Subject.ts"

/** So many connect at a time. */
const together = 100

export class Fleet extends Subject {
  readonly #stations: Array<EffectStation | PromiseStation> = []

  async start({ count: size, identity = "FLEET", ...setup }: FleetSetup): Promise<Tally> {
    const tags: Record<string, number> = {}
    let next = 0
    const worker = async () => {
      while (next < size) {
        const n = next++
        const station = setup.face === "promise" ? new PromiseStation() : new EffectStation()
        station.passOn = (tag, text) => this.see(tag, `${identity}${n}`, text)
        this.#stations[n] = station
        count(tags, await settle(station.start({ ...setup, identity: `${identity}${n}` })))
      }
    }
    await Promise.all(Array.from({ length: together }, worker))
    return tags
  }

  get connected(): number {
    return this.#stations.reduce((sum, { connected }) => sum + connected, 0)
  }

  /** Who calls is chosen by the call's number. */
  call(setup: CallSetup): Promise<unknown> {
    const { n = 0 } = Object(setup.payload) as { readonly n?: number }
    return this.#stations[n % this.#stations.length]!.call(setup)
  }

  async callEach(setup: CallSetup & { readonly pause?: number }): Promise<Tally> {
    const { pause = 0, times = 1 } = setup
    const tags: Record<string, number> = {}
    const work = async (station: EffectStation | PromiseStation, of: number) => {
      // They do not all call at the same moment.
      if (pause > 0) await sleep((pause * of) / this.#stations.length)
      for (let n = 0; n < times; n++) {
        const payload = setup.numbered === true ? { ...(payloadOf(setup, n) as object), of } : setup.payload
        count(tags, await settle(station.call({ ...setup, payload })))
        if (pause > 0) await sleep(pause)
      }
    }
    await Promise.all(this.#stations.map(work))
    return tags
  }

  async close(options: Options): Promise<Tally> {
    return tally(await Promise.all(this.#stations.map((station) => settle(station.close(options)))))
  }

  shutdown(): Promise<Tally> {
    return this.close({})
  }
}

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

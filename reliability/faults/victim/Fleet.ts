/** Many stations, whose identities are numbered. */
import { inParallel } from "../../support/inParallel.ts"
import { pause as sleep } from "../../support/waiting.ts"
import type { CallSetup, FleetSetup, Options, Tally } from "./commands.ts"
import { count, payloadOf, Subject, settle } from "./Subject.ts"
import { makeStation } from "./table.ts"

type Station = ReturnType<typeof makeStation>

/** The number that connect or close at a time: ten thousand in one turn would be half a second of work for the other end. */
const together = 100

export class Fleet extends Subject {
  readonly #stations: Array<Station> = []

  async start({ count: size, identity = "FLEET", ...setup }: FleetSetup): Promise<Tally> {
    const tags: Record<string, number> = {}
    await inParallel(size, together, async (n) => {
      const station = makeStation(setup)
      station.passOn = (tag, text) => this.see(tag, `${identity}${n}`, text)
      this.#stations[n] = station
      count(tags, await settle(station.start({ ...setup, identity: `${identity}${n}` })))
    })
    return tags
  }

  get connected(): number {
    return this.#stations.reduce((sum, { connected }) => sum + connected, 0)
  }

  /** Calls from the station that the call's number chooses. */
  call(setup: CallSetup): Promise<unknown> {
    const { n = 0 } = Object(setup.payload) as { readonly n?: number }
    return this.#stations[n % this.#stations.length]!.call(setup)
  }

  async callEach(setup: CallSetup & { readonly pause?: number }): Promise<Tally> {
    const { pause = 0, times = 1 } = setup
    const tags: Record<string, number> = {}
    const work = async (station: Station, of: number) => {
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
    const tags: Record<string, number> = {}
    await inParallel(this.#stations.length, together, async (n) =>
      count(tags, await settle(this.#stations[n]!.close(options))),
    )
    return tags
  }

  shutdown(): Promise<Tally> {
    return this.close({})
  }
}

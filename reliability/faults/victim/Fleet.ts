/** Many stations, whose identities are numbered. */
import type { CallSetup, FleetSetup, Options, Tally } from "../Program.ts"
import { EffectStation } from "./effectFace.ts"
import { PromiseStation } from "./promiseFace.ts"
import { count, payloadOf, Subject, settle } from "./Subject.ts"

/** So many connect or close at a time: ten thousand in one turn would be half a second of work for who is at the other end. */
const together = 100

const inTurns = async (size: number, work: (n: number) => Promise<void>): Promise<void> => {
  let next = 0
  const worker = async () => {
    while (next < size) await work(next++)
  }
  await Promise.all(Array.from({ length: together }, worker))
}

export class Fleet extends Subject {
  readonly #stations: Array<EffectStation | PromiseStation> = []

  async start({ count: size, identity = "FLEET", ...setup }: FleetSetup): Promise<Tally> {
    const tags: Record<string, number> = {}
    await inTurns(size, async (n) => {
      const station = setup.face === "promise" ? new PromiseStation() : new EffectStation()
      station.passOn = (tag, text) => this.see(tag, `${identity}${n}`, text)
      this.#stations[n] = station
      count(tags, await settle(station.start({ ...setup, identity: `${identity}${n}` })))
    })
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
    const tags: Record<string, number> = {}
    await inTurns(this.#stations.length, async (n) => count(tags, await settle(this.#stations[n]!.close(options))))
    return tags
  }

  shutdown(): Promise<Tally> {
    return this.close({})
  }
}

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

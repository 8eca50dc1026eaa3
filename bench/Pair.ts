/** The two processes between which something is measured: a CSMS and its stations, made with one library. */
import { Child } from "../reliability/processes/Child.ts"
import type { Cpu, Measurement } from "./figures.ts"
import type { LibraryName } from "./peers/Peer.ts"
import type { ProcessCommands, Work } from "./process.ts"

type Process = Child<ProcessCommands>

const script = new URL("../build/bench/process.js", import.meta.url)

export class Pair {
  readonly csms: Process
  readonly stations: Process

  constructor(library: LibraryName) {
    const start = (role: string): Process =>
      new Child({ name: `${role}, ${library}`, script, args: [library], isJavaScript: true })
    this.csms = start("CSMS")
    this.stations = start("stations")
  }

  async #cpu(): Promise<Cpu> {
    const [server, client] = await Promise.all([this.csms.do("cpu", undefined), this.stations.do("cpu", undefined)])
    return { server, client }
  }

  /** Work, with the CPU time that both processes spend on it. */
  async during<W extends Work>(work: () => Promise<W>): Promise<{ readonly done: W; readonly measured: Measurement }> {
    const before = await this.#cpu()
    const done = await work()
    const after = await this.#cpu()
    const cpu = {
      server: (after.server - before.server) / done.count,
      client: (after.client - before.client) / done.count,
    }
    return { done, measured: { value: done.count / done.seconds, cpu } }
  }

  async measure(work: () => Promise<Work>): Promise<Measurement> {
    return (await this.during(work)).measured
  }

  async end(): Promise<void> {
    await Promise.all([this.csms.kill(), this.stations.kill()])
  }
}

/** The means of a case: servers with bystanders, stations, attackers; and what must hold after every case. */
import { readFileSync, writeFileSync } from "node:fs"
import { Child } from "../processes/Child.ts"
import type { Memory } from "../processes/parent.ts"
import { makeChaosProxy, type Weather } from "../support/chaosProxy.ts"
import { until, within } from "../support/waiting.ts"
import { excessOf, risen } from "./baseline.ts"
import { check, Skipped, same } from "./expect.ts"
import { type RawOptions, RawStation } from "./RawStation.ts"
import { type Answer, type RawServer, rawServer } from "./rawServers.ts"
import { FleetSubject, ServerSubject, StationSubject, type Subject, type Victim } from "./subjects.ts"
import type { Counters, FleetSetup, ServerSetup, StationSetup } from "./victim/commands.ts"
import type { Lap, commands as watcherCommands } from "./watcher.ts"

export type Watcher = Child<typeof watcherCommands>

/** A word that attackers write wherever they can: no event and no log may repeat it. */
export const canary = "c4n4ry"

export const startVictim = (): Victim =>
  new Child({ name: "victim", script: new URL("./victim/main.ts", import.meta.url), mayWriteErrors: true })

export const startWatcher = (): Watcher =>
  new Child({ name: "watcher", script: new URL("./watcher.ts", import.meta.url), mayWriteErrors: true })

/** `bystander: false` is for a server that would not let it in: it connects to a server of its own in the same process. */
export type Serving = ServerSetup & { readonly bystander?: boolean; readonly process?: Victim }

/** `bystander: false` is for a process that is a tool of the case, and not the victim. */
export type Dialling = StationSetup & { readonly bystander?: boolean; readonly process?: Victim }

/** Everything that it makes ends with the case. */
export class Context {
  /** Whether to run the case whole, and not scaled down. */
  readonly full: boolean
  /** The process of the servers and stations that are not told otherwise. */
  readonly victim: Victim
  /** Remarks beside the verdict. */
  readonly notes: Array<string> = []
  readonly #watcher: Watcher
  readonly #watches: Array<number> = []
  readonly #hasBystander = new Set<Victim>()
  /** The counters of each process before the attack: its servers, with their bystanders. */
  readonly #baselines = new Map<Victim, Counters>()
  readonly #subjects: Array<Subject> = []
  readonly #spawned: Array<Victim> = []
  readonly #attackers: Array<RawStation> = []
  readonly #finalizers: Array<() => unknown> = []
  readonly #faultsBefore: number
  readonly #outputBefore: number

  constructor(full: boolean, victim: Victim, watcher: Watcher) {
    this.full = full
    this.victim = victim
    this.#watcher = watcher
    this.#faultsBefore = victim.faults.length
    this.#outputBefore = victim.output.length
  }

  /** One of two sizes. */
  size(short: number, full: number): number {
    return this.full ? full : short
  }

  note(text: string): void {
    this.notes.push(text)
  }

  skip(reason: string): never {
    throw new Skipped(reason)
  }

  /** Runs when the attack is over, before its traces are looked for. */
  finally(finalizer: () => unknown): void {
    this.#finalizers.push(finalizer)
  }

  /** Starts a further process. */
  spawn(): Victim {
    const process = startVictim()
    this.#spawned.push(process)
    return process
  }

  /** Starts a server, and connects a bystander to it. */
  async serve({ bystander = true, process = this.victim, ...setup }: Serving = {}): Promise<ServerSubject> {
    const baseline = this.#baselines.get(process)
    // Connections that are about to end must not be counted as ended by the server that is about to come.
    if (baseline !== undefined) await this.#returns(process, baseline, 300).catch(() => {})
    const before = await this.counters(process)
    const { id, port } = await process.do("serve", setup)
    const isSecure = setup.tls !== undefined
    const server = new ServerSubject(process, id, port, isSecure)
    this.#subjects.push(server)
    if (bystander) {
      const watch = await this.#watcher.do("watch", { port, pid: process.pid, secure: isSecure })
      this.#watches.push(watch)
      this.#hasBystander.add(process)
    }
    const after = await this.counters(process)
    this.#baselines.set(process, baseline === undefined ? after : risen(baseline, before, after))
    if (!bystander) await this.#watchProcess(process)
    return server
  }

  /** Makes a station and lets it connect once; the end of that is its `outcome`. */
  async dial({ bystander = true, process = this.victim, ...setup }: Dialling): Promise<StationSubject> {
    if (bystander) await this.#watchProcess(process)
    const { id, outcome } = await process.do("dial", setup)
    const station = new StationSubject(process, id, outcome)
    this.#subjects.push(station)
    return station
  }

  /** Connects many stations from a process of their own, which is a tool of the case. */
  async fleet({ process = this.spawn(), ...setup }: FleetSetup & { readonly process?: Victim }): Promise<FleetSubject> {
    const { id, tags } = await process.do("fleet", setup)
    const fleet = new FleetSubject(process, id, tags)
    this.#subjects.push(fleet)
    return fleet
  }

  /** Connects a station that is written out by hand. */
  async attack(server: { readonly port: number }, options: RawOptions = {}): Promise<RawStation> {
    const station = await RawStation.connect(server.port, options)
    this.#attackers.push(station)
    return station
  }

  /** Starts a server that is written out by hand. */
  async answering(answer: Answer): Promise<RawServer> {
    const server = await rawServer(answer)
    this.finally(server.close)
    return server
  }

  /** Puts a proxy that treats its connections badly in front of a server. */
  async proxy(server: { readonly port: number }, weather: Partial<Weather> = {}) {
    const proxy = await makeChaosProxy(server.port, weather)
    this.finally(proxy.close)
    return { proxy, port: proxy.port, endpoint: `ws://127.0.0.1:${proxy.port}` }
  }

  /** Opens the gate of the victim's handlers and auth that are named `gated`. */
  release(process = this.victim): Promise<void> {
    return process.do("release", undefined)
  }

  /** Overlooks that bystanders were answered late, because the case has held up the victim on purpose. */
  async excuseSlowness(): Promise<void> {
    for (const watch of this.#watches) {
      const answers = async () => {
        const { answered, faults } = await this.#watcher.do("lap", watch)
        const others = faults.filter((fault) => !fault.startsWith("a Heartbeat was answered after"))
        check(others.length === 0, others.join("; "))
        return answered
      }
      await answers()
      // The first of them may still be the one that was held up.
      let answered = 0
      await until("the bystander is answered again", async () => {
        answered += await answers()
        return answered >= 2
      })
    }
  }

  /** Connects a bystander to a process that has none. */
  async #watchProcess(process: Victim): Promise<void> {
    if (this.#hasBystander.has(process)) return
    this.#hasBystander.add(process)
    await this.serve({ process })
  }

  /** Measures by how many bytes the process is larger at its largest, while something happens, than before. */
  async peak(work: () => Promise<unknown>, process = this.victim): Promise<number> {
    const file = `/proc/${process.pid}`
    await this.memory(process)
    try {
      writeFileSync(`${file}/clear_refs`, "5")
    } catch {
      return this.skip("this system does not tell how large a process has been")
    }
    const sizeOf = (name: string) =>
      1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`${file}/status`, "utf8"))?.[1])
    const before = sizeOf("VmRSS")
    await work()
    return sizeOf("VmHWM") - before
  }

  /** Collecting garbage holds up a process with many connections: that is the case's doing. */
  async memory(process = this.victim): Promise<Memory> {
    for (const watch of this.#watches) {
      const { faults } = await this.#watcher.do("lap", watch)
      check(faults.length === 0, faults.join("; "))
    }
    const memory = await process.do("memory", undefined)
    await this.excuseSlowness()
    return memory
  }

  /** The heap, and what lies outside of it, in bytes. */
  async heap(process = this.victim): Promise<number> {
    const { external, heap } = await this.memory(process)
    return external + heap
  }

  counters(process = this.victim): Promise<Counters> {
    return process.do("counters", undefined)
  }

  /** Waits until so many handlers run in the victim. */
  async handlersRun(count: number): Promise<void> {
    await until(`${count} handlers run`, async () => (await this.counters()).handlers === count)
  }

  /** Checks what holds after every case. */
  async verify(): Promise<void> {
    await this.#withdraw()
    for (const [process, baseline] of this.#baselines) await this.#returns(process, baseline)
    for (const watch of this.#watches) await this.#answers(watch)
    for (const subject of this.#subjects) await this.#repeatsNothing(subject)
    for (const process of this.#baselines.keys()) await this.#isUnharmed(process)
  }

  async #withdraw(): Promise<void> {
    for (const finalizer of this.#finalizers.splice(0)) await finalizer()
    for (const attacker of this.#attackers) attacker.socket.destroy()
  }

  /** Waits until connections, calls, handlers, fibers and timers are no more than they were. */
  async #returns(process: Victim, baseline: Counters, patience?: number): Promise<void> {
    let excess: ReadonlyArray<string> = []
    const isBack = async () => {
      excess = excessOf(baseline, await this.counters(process))
      return excess.length === 0
    }
    await until("back to the baseline", isBack, patience).catch((error: Error) => {
      throw new Error(`${error.message}: ${excess.join(", ")}`)
    })
  }

  async #answers(watch: number): Promise<void> {
    const answered: Array<Lap> = []
    await until("the bystander's heartbeats", async () => {
      const lap = await this.#watcher.do("lap", watch)
      answered.push(lap)
      check(lap.faults.length === 0, lap.faults.join("; "))
      return answered.reduce((sum, one) => sum + one.answered, 0) >= 3 && lap.answered >= 1
    })
    const worst = Math.max(...answered.map((lap) => lap.worst))
    if (worst > 250) this.note(`a Heartbeat took ${worst.toFixed()} ms on this busy machine`)
  }

  async #repeatsNothing(subject: Subject): Promise<void> {
    const events = subject.process.ended === undefined ? await subject.events() : []
    // A CALLERROR holds the words of whoever refused the call: they are data.
    for (const { tag, text } of events.filter(({ tag }) => tag !== "CallError")) {
      check(!text.includes(canary), `the event ${tag} repeats what the attacker wrote: ${text.slice(0, 200)}`)
      check(!hasControls(text), `the event ${tag} holds control characters`)
      check(text.length <= 400, `the event ${tag} is ${text.length} characters long`)
    }
  }

  async #isUnharmed(process: Victim): Promise<void> {
    check(process.ended === undefined, `the process has ended: ${process.ended}`)
    // An uncaught exception is reported in a turn of its own: a further answer comes after it.
    const { untyped } = await this.counters(process)
    const isShared = process === this.victim
    const output = process.output.slice(isShared ? this.#outputBefore : 0)
    same(process.faults.slice(isShared ? this.#faultsBefore : 0), [], "faults of the process")
    same(untyped, [], "errors of no class of the library")
    check(!output.includes(canary), "a log repeats what the attacker wrote")
  }

  /** Ends everything that the case has made. */
  async dispose(): Promise<void> {
    await this.#withdraw()
    for (const watch of this.#watches) await this.#watcher.do("unwatch", watch)
    for (const subject of this.#subjects.toReversed()) {
      if (subject.process.ended === undefined) await within(10_000, "closing", subject.close({ force: true }))
    }
    for (const process of this.#spawned) await process.kill()
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is them that are looked for
const hasControls = (text: string): boolean => /[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)

/** One case: a fault that is provoked, and the promise about it. */
import { readFileSync, writeFileSync } from "node:fs"
import { Process } from "./Process.ts"
import type {
  Abortion,
  CallSetup,
  Counters,
  FleetSetup,
  Lap,
  Memory,
  Options,
  Outcome,
  Seen,
  ServerSetup,
  StationSetup,
  Tally,
} from "./Program.ts"
import { type RawOptions, RawStation } from "./raw.ts"

export interface Case {
  /** Its row in the list of faults. */
  readonly id: string
  /** The promise, in words. */
  readonly name: string
  /** Whether it needs a victim that nothing has happened to: it measures memory, or uses it up. Default `false`. */
  readonly fresh?: boolean
  /** Milliseconds after which it has failed. Default 60,000; ten times that with `--full`. */
  readonly patience?: number
  readonly run: (context: Context) => Promise<void>
}

/** The machine cannot show it. */
export class Skipped extends Error {}

/** What an attacker writes wherever it can: no event and no log may repeat it. */
export const canary = "c4n4ry"

/** Fails the case unless the condition holds. */
export function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

export const same = (actual: unknown, expected: unknown, what: string): void => {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  check(got === wanted, `${what}: expected ${wanted}, got ${got?.slice(0, 500)}`)
}

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Asks until the answer is not `undefined` or `false`. Fails when that takes too long. */
export const until = async <A>(
  what: string,
  ask: () => A | Promise<A>,
  patience = 15_000,
): Promise<Exclude<A, undefined | false>> => {
  const deadline = Date.now() + patience
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer as Exclude<A, undefined | false>
    if (Date.now() > deadline) throw new Error(`${what}: not within ${patience} ms`)
    await pause(10)
  }
}

/** As the promise itself, but fails when it takes too long. */
export const within = async <A>(patience: number, what: string, promise: Promise<A>): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${patience} ms`)), patience)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A server or a station in a victim's process. */
export class Subject {
  readonly process: Process
  readonly id: number

  constructor(process: Process, id: number) {
    this.process = process
    this.id = id
  }

  events(identity?: string): Promise<ReadonlyArray<Seen>> {
    return this.process.ask("events", identity === undefined ? { on: this.id } : { on: this.id, identity })
  }

  /** Waits for an event whose tag and text match. */
  event(pattern: RegExp, identity?: string, patience?: number): Promise<Seen> {
    const ask = async () => (await this.events(identity)).find((seen) => pattern.test(`${seen.tag} ${seen.text}`))
    return until(`an event ${pattern}`, ask, patience)
  }

  counts(): Promise<Tally> {
    return this.process.ask("eventCounts", { on: this.id })
  }

  handled() {
    return this.process.ask("handled", { on: this.id })
  }

  handledCount(): Promise<number> {
    return this.process.ask("handledCount", { on: this.id })
  }

  authCount(): Promise<number> {
    return this.process.ask("authCount", { on: this.id })
  }

  call(setup: Omit<CallSetup, "on">): Promise<ReadonlyArray<Outcome>> {
    return this.process.ask("call", { on: this.id, ...setup })
  }

  callAborted(setup: Omit<CallSetup, "on"> & { readonly abortion: Abortion }) {
    return this.process.ask("callAborted", { on: this.id, ...setup })
  }

  callEach(setup: Omit<CallSetup, "on"> & { readonly pause?: number }): Promise<Tally> {
    return this.process.ask("callEach", { on: this.id, ...setup })
  }

  connectedAt(): Promise<ReadonlyArray<number>> {
    return this.process.ask("connectedAt", { on: this.id })
  }

  repeated(): Promise<number> {
    return this.process.ask("repeated", { on: this.id })
  }

  close(options: Options = {}): Promise<Outcome> {
    return this.process.ask("close", { on: this.id, options })
  }

  shutdown(): Promise<Outcome> {
    return this.process.ask("shutdown", { on: this.id })
  }
}

export class ServerSubject extends Subject {
  readonly port: number
  readonly endpoint: string

  constructor(process: Process, id: number, port: number, secure: boolean) {
    super(process, id)
    this.port = port
    this.endpoint = `${secure ? "wss" : "ws"}://127.0.0.1:${port}`
  }
}

export class StationSubject extends Subject {
  /** How `connect` has ended. */
  readonly outcome: Outcome

  constructor(process: Process, id: number, outcome: Outcome) {
    super(process, id)
    this.outcome = outcome
  }
}

export class FleetSubject extends Subject {
  /** How the stations have connected. */
  readonly tags: Tally

  constructor(process: Process, id: number, tags: Tally) {
    super(process, id)
    this.tags = tags
  }
}

/** What a case has at hand. Everything that it makes ends with it. */
export class Context {
  /** Whether to run the case as the list of faults has it, and not scaled down. */
  readonly full: boolean
  /** The process of the servers and stations that are not told otherwise. */
  readonly victim: Process
  /** What is said about the case beside its verdict. */
  readonly notes: Array<string> = []
  readonly #watcher: Process<"watcher">
  readonly #watches: Array<number> = []
  readonly #hasBystander = new Set<Process>()
  /** What each process had before the attack: its servers, with their bystanders. */
  readonly #baselines = new Map<Process, Counters>()
  readonly #subjects: Array<Subject> = []
  readonly #spawned: Array<Process> = []
  readonly #attackers: Array<RawStation> = []
  readonly #finalizers: Array<() => unknown> = []
  readonly #problemsBefore: number
  readonly #outputBefore: number

  constructor(full: boolean, victim: Process, watcher: Process<"watcher">) {
    this.full = full
    this.victim = victim
    this.#watcher = watcher
    this.#problemsBefore = victim.problems.length
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

  /** Runs when the case has ended, before anything is looked at. */
  finally(finalizer: () => unknown): void {
    this.#finalizers.push(finalizer)
  }

  /** A further process, which ends with the case. */
  async spawn(): Promise<Process> {
    const process = await Process.start("victim")
    this.#spawned.push(process)
    return process
  }

  /**
   * A server with a bystander. `bystander: false` lets that be connected to a server of its own in the same process:
   * for servers that would not let it in.
   */
  async serve(
    setup: ServerSetup & { readonly bystander?: boolean; readonly process?: Process } = {},
  ): Promise<ServerSubject> {
    const { bystander = true, process = this.victim, ...rest } = setup
    const baseline = this.#baselines.get(process)
    // What is about to end must not be counted as ended by the server that is about to come.
    if (baseline !== undefined) await this.#returns(process, baseline, 300).catch(() => {})
    const before = await this.counters(process)
    const { id, port } = await process.ask("serve", rest)
    const isSecure = rest.tls !== undefined
    const server = new ServerSubject(process, id, port, isSecure)
    this.#subjects.push(server)
    if (bystander) {
      const watch = await this.#watcher.ask("watch", { port, pid: process.pid, secure: isSecure })
      this.#watches.push(watch)
      this.#hasBystander.add(process)
    }
    const after = await this.counters(process)
    this.#baselines.set(process, baseline === undefined ? after : risen(baseline, before, after))
    if (!bystander) await this.#watchProcess(process)
    return server
  }

  /**
   * A station; whether it has connected is in its `outcome`. `bystander: false` is for a process that is a tool of the
   * case, and not the victim.
   */
  async dial(
    setup: StationSetup & { readonly bystander?: boolean; readonly process?: Process },
  ): Promise<StationSubject> {
    const { bystander = true, process = this.victim, ...rest } = setup
    if (bystander) await this.#watchProcess(process)
    const { id, outcome } = await process.ask("dial", rest)
    const station = new StationSubject(process, id, outcome)
    this.#subjects.push(station)
    return station
  }

  /** Many stations in a process of their own, which is a tool of the case. */
  async fleet(setup: FleetSetup & { readonly process?: Process }): Promise<FleetSubject> {
    const { process = await this.spawn(), ...rest } = setup
    const { id, tags } = await process.ask("fleet", rest)
    const fleet = new FleetSubject(process, id, tags)
    this.#subjects.push(fleet)
    return fleet
  }

  /** The case has held up the victim on purpose: that the bystanders were answered late is no fault. */
  async excuseSlowness(): Promise<void> {
    for (const watch of this.#watches) {
      const answers = async () => {
        const { answered, faults } = await this.#watcher.ask("lap", { watch })
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

  /** A bystander in a process that has none. */
  async #watchProcess(process: Process): Promise<void> {
    if (this.#hasBystander.has(process)) return
    this.#hasBystander.add(process)
    await this.serve({ process })
  }

  /** A station written out by hand, connected. */
  async attack(server: { readonly port: number }, options: RawOptions = {}): Promise<RawStation> {
    const station = await RawStation.connect(server.port, options)
    this.#attackers.push(station)
    return station
  }

  /** By how many bytes the process is larger at its largest, while something happens, than before. */
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
      const { faults } = await this.#watcher.ask("lap", { watch })
      check(faults.length === 0, faults.join("; "))
    }
    const memory = await process.ask("memory", null)
    await this.excuseSlowness()
    return memory
  }

  counters(process = this.victim): Promise<Counters> {
    return process.ask("counters", null)
  }

  /** The attack is over: what holds after every case. */
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

  /** Connections, calls, handlers, fibers and timers are no more than they were. */
  async #returns(process: Process, baseline: Counters, patience?: number): Promise<void> {
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
      const lap = await this.#watcher.ask("lap", { watch })
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

  async #isUnharmed(process: Process): Promise<void> {
    check(process.ended === undefined, `the process has ended: ${process.ended}`)
    // What nobody caught is told in a turn of its own.
    const { untyped } = await this.counters(process)
    const before = process === this.victim ? this.#problemsBefore : 0
    const output = process === this.victim ? process.output.slice(this.#outputBefore) : process.output
    same(process.problems.slice(before), [], "problems of the process")
    same(untyped, [], "errors of no class of the library")
    check(!output.includes(canary), "a log repeats what the attacker wrote")
  }

  /** Ends what the case has made. */
  async dispose(): Promise<void> {
    await this.#withdraw()
    for (const watch of this.#watches) await this.#watcher.ask("unwatch", { watch })
    for (const subject of this.#subjects.toReversed()) {
      if (subject.process.ended === undefined) await within(10_000, "closing", subject.close({ force: true }))
    }
    for (const process of this.#spawned) await process.kill()
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is them that are looked for
const hasControls = (text: string): boolean => /[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)

/** A baseline, raised by what a further server has brought. */
const risen = (baseline: Counters, before: Counters, after: Counters): Counters => {
  const rise = (name: "stations" | "handlers" | "auths" | "calls" | "fibers") =>
    baseline[name] + after[name] - before[name]
  const resources = Object.fromEntries(
    Object.entries(after.resources).map(([kind, count]) => [
      kind,
      (baseline.resources[kind] ?? 0) + count - (before.resources[kind] ?? 0),
    ]),
  )
  return {
    stations: rise("stations"),
    handlers: rise("handlers"),
    auths: rise("auths"),
    calls: rise("calls"),
    fibers: rise("fibers"),
    untyped: [],
    resources: { ...baseline.resources, ...resources },
  }
}

const excessOf = (baseline: Counters, now: Counters): ReadonlyArray<string> => {
  const rows = (["stations", "handlers", "auths", "calls", "fibers"] as const).map(
    (name) => [name, baseline[name], now[name]] as const,
  )
  const kinds = Object.keys(now.resources).filter((kind) => kind !== "Immediate" && kind !== "WriteWrap")
  const resources = kinds.map((kind) => [kind, baseline.resources[kind] ?? 0, now.resources[kind] ?? 0] as const)
  return [...rows, ...resources].filter(([, was, is]) => is > was).map(([name, was, is]) => `${name} ${was} -> ${is}`)
}

/** One engine's trial: its processes, what is done to them, and what becomes of the calls meanwhile. */
import { Daemon } from "../../test/fleet/support/Daemon.ts"
import { type EngineProxy, makeProxy } from "../../test/fleet/support/Proxy.ts"
import { Child } from "../processes/Child.ts"
import { Account } from "./Account.ts"
import type { commands as nodeCommands } from "./node.ts"
import { now, stationCount } from "./plan.ts"
import type { commands as stationCommands } from "./stations.ts"

type NodeProcess = Child<typeof nodeCommands>

interface Node {
  readonly name: string
  readonly proxy: EngineProxy
  process: NodeProcess
  port: number
  /** Whether it can be asked: it is neither stopped nor dead. */
  responsive: boolean
}

interface Settings {
  readonly seed: number
  /** Calls a second of each node. */
  readonly rate: number
  /** How long everything lasts, in parts of what it lasts in a long trial. */
  readonly pace: number
}

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

const spawn = (name: string): NodeProcess =>
  new Child<typeof nodeCommands>({ name: name, script: new URL("./node.ts", import.meta.url) })

export class Trial {
  readonly account = new Account()
  readonly problems: Array<string> = []
  readonly #kind: "redis" | "nats"
  readonly #settings: Settings
  readonly #stations = new Child<typeof stationCommands>({
    name: "stations",
    script: new URL("./stations.ts", import.meta.url),
  })
  readonly #nodes: Array<Node> = []
  readonly #dead: Array<NodeProcess> = []
  #daemon: Daemon | undefined
  #collector: NodeJS.Timeout | undefined

  constructor(kind: "redis" | "nats", settings: Settings) {
    this.#kind = kind
    this.#settings = settings
  }

  get #engine(): Daemon {
    if (this.#daemon === undefined) throw new Error("the engine has not been started")
    return this.#daemon
  }

  async prepare(): Promise<void> {
    this.#daemon = await Daemon.start(this.#kind)
    for (const name of ["a", "b", "c"]) {
      const proxy = await makeProxy(this.#engine.port)
      const node: Node = { name, proxy, process: spawn(name), port: 0, responsive: true }
      this.#nodes.push(node)
      await this.#enter(node)
    }
    const ports = this.#nodes.map(({ port }) => port)
    await this.#stations.do("prepare", { ports, seed: this.#settings.seed })
    await this.#until(
      "all stations are connected",
      async () => (await this.#stations.do("connected", undefined)) === stationCount,
    )
    await this.#until("all stations are known", async () => {
      const known = await Promise.all(this.#nodes.map(({ process }) => process.do("stations", undefined)))
      return known.every((count) => count === stationCount)
    })
    for (const { process } of this.#nodes) await process.do("start", this.#settings.rate)
    this.#collector = setInterval(() => void this.#collect(), 250)
  }

  async #enter(node: Node): Promise<void> {
    const { name, port, process, proxy } = node
    const engine = { kind: this.#kind, port: proxy.port }
    node.port = await process.do("prepare", { name, port, engine, seed: this.#settings.seed + name.charCodeAt(0) })
  }

  async #collect(): Promise<void> {
    const some = this.#nodes.filter(({ responsive }) => responsive).map(({ process }) => process)
    // A process that was killed takes with it what it had not told.
    const taken = await Promise.allSettled(some.map((process) => process.do("take", undefined)))
    for (const one of taken) {
      if (one.status !== "fulfilled") continue
      this.account.ended(one.value.calls)
      this.account.written(one.value.written)
    }
    this.account.handled(await this.#stations.do("take", undefined))
  }

  async #until(what: string, holds: () => Promise<boolean>, millis = 20_000): Promise<void> {
    for (const end = now() + millis; now() < end; await sleep(100)) {
      if (await holds().catch(() => false)) return
    }
    this.problems.push(`not within ${millis / 1_000} s: ${what}`)
  }

  /** Lets something last for so many milliseconds of a long trial. */
  #last(millis: number): Promise<unknown> {
    return sleep(millis * this.#settings.pace)
  }

  /** One fault: what begins it, how long it lasts, what ends it; then how long it takes until calls find their stations again. */
  async #fault(name: string, millis: number, begin: () => unknown, end: () => unknown): Promise<void> {
    const began = now()
    await begin()
    await this.#last(millis)
    await end()
    const healed = now()
    await this.#last(4_000)
    await this.#collect()
    const last = this.account.lastLost(healed)
    const right = last === undefined ? "at once" : `after ${((last - healed) / 1_000).toFixed(2)} s`
    const outcomes = [...this.account.between(began, healed)].map(([outcome, calls]) => `${calls} ${outcome}`)
    console.log(`  ${name}: right ${right}; meanwhile ${outcomes.join(", ") || "no calls"}`)
  }

  #moved = async (count: number, zombies: boolean) => {
    await this.#stations.do("move", { count, zombies })
  }

  async round(): Promise<void> {
    const [, b, c] = this.#nodes as [Node, Node, Node]
    const nothing = () => {}
    await this.#fault("nothing", 2_000, nothing, nothing)
    await this.#fault("60 stations move", 200, () => this.#moved(60, false), nothing)
    await this.#fault("60 stations move, their old sockets stay", 200, () => this.#moved(60, true), nothing)
    await this.#fault(
      "a node is cut off from the engine, 30 stations move",
      4_000,
      async () => {
        b.proxy.cut()
        await this.#moved(30, true)
      },
      () => b.proxy.heal(),
    )
    await this.#fault(
      "nothing gets through between a node and the engine, 30 stations move",
      4_000,
      async () => {
        b.proxy.stall()
        await this.#moved(30, true)
      },
      () => b.proxy.heal(),
    )
    await this.#fault(
      "a node's process is stopped, 30 stations move",
      5_000,
      () => this.#stop(b),
      () => this.#go(b),
    )
    await this.#fault(
      "the engine's process is stopped",
      3_000,
      () => this.#engine.signal("SIGSTOP"),
      () => this.#engine.signal("SIGCONT"),
    )
    await this.#fault(
      "the engine is killed, and comes back empty",
      1_000,
      () => this.#engine.stop(),
      () => this.#engine.start(),
    )
    await this.#fault(
      "a node is killed",
      4_000,
      () => this.#kill(c),
      () => this.#revive(c),
    )
    await this.#fault(
      "all stations lose their sockets at once",
      200,
      () => this.#stations.do("storm", undefined),
      nothing,
    )
  }

  async #stop(node: Node): Promise<void> {
    node.responsive = false
    node.process.signal("SIGSTOP")
    await this.#stations.do("use", this.#others(node))
    await this.#moved(30, true)
  }

  async #go(node: Node): Promise<void> {
    node.process.signal("SIGCONT")
    node.responsive = true
    await this.#stations.do("use", this.#others())
  }

  async #kill(node: Node): Promise<void> {
    node.responsive = false
    node.process.kill()
    this.#dead.push(node.process)
    await this.#stations.do("use", this.#others(node))
  }

  async #revive(node: Node): Promise<void> {
    node.process = spawn(node.name)
    await this.#enter(node)
    await node.process.do("start", this.#settings.rate)
    node.responsive = true
    await this.#stations.do("use", this.#others())
  }

  #others(node?: Node): ReadonlyArray<number> {
    return this.#nodes.filter((one) => one !== node).map(({ port }) => port)
  }

  /** Calls end; then every station can be called from every node. */
  async end(): Promise<void> {
    for (const { process } of this.#nodes) await process.do("pause", undefined)
    await sleep(3_500)
    await this.#until(
      "all stations are connected",
      async () => (await this.#stations.do("connected", undefined)) === stationCount,
    )
    for (const { name, process } of this.#nodes) {
      const unreached = await process.do("reach", undefined)
      if (unreached.length > 0)
        this.problems.push(`${name} does not reach ${unreached.length}: ${unreached.slice(0, 3).join("; ")}`)
    }
    const left = await this.#stations.do("zombies", undefined)
    if (left > 0) this.problems.push(`${left} old sockets are still open`)
    clearInterval(this.#collector)
    await this.#collect()
    await this.#stations.do("finish", undefined)
    await Promise.all(this.#nodes.map(({ process }) => process.do("finish", undefined)))
    await Promise.all([...this.#nodes.map(({ process }) => process.end(3_000)), this.#stations.end(3_000)])
  }

  async destroy(): Promise<void> {
    clearInterval(this.#collector)
    const processes = [...this.#nodes.map(({ process }) => process), ...this.#dead, this.#stations]
    for (const process of processes) {
      this.problems.push(...process.faults)
      process.kill()
    }
    for (const { proxy } of this.#nodes) await proxy.close()
    await this.#daemon?.end()
  }
}

/**
 * A bystander for each server under attack, in a process that does nothing else: it calls Heartbeat again and again and
 * wants to be answered within 250 ms.
 *
 * A machine that is busy with other things is not the victim's fault. So each heartbeat also knows how much CPU the
 * victim has used meanwhile, for how long something in the machine had to wait for a CPU, and how late the timers of this idle
 * process were. A victim that answered too late fails when it has itself computed for longer than the limit, or when the
 * time that neither its own work nor the machine explains is longer than that.
 */
import { readFileSync } from "node:fs"
import { performance } from "node:perf_hooks"
import { WebSocket } from "ws"
import { perform } from "../processes/parent.ts"

const limit = 250
/** A heartbeat that takes longer is not waited for. */
const patience = 10_000
const interval = 20

/** The heartbeats of a bystander since the last lap. */
export interface Lap {
  /** The number of those that were answered. */
  readonly answered: number
  /** The longest, in milliseconds. */
  readonly worst: number
  readonly faults: ReadonlyArray<string>
}

/** The CPU time of a process's main thread in milliseconds; 0 where the system does not tell. */
const cpuMillis = (pid: number): number => {
  try {
    const fields = readFileSync(`/proc/${pid}/task/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
    return 10 * (Number(fields[11]) + Number(fields[12]))
  } catch {
    return 0
  }
}

/** The milliseconds since its start in which something in the machine had to wait for a CPU; 0 where it does not tell. */
const contendedMillis = (): number => {
  try {
    return Number(/^some .*total=(\d+)/.exec(readFileSync("/proc/pressure/cpu", "utf8"))?.[1] ?? 0) / 1000
  } catch {
    return 0
  }
}

/** The recent delays of timers in this idle process: the machine's part of any delay. */
let lateness: Array<{ readonly at: number; readonly late: number }> = []
let due = performance.now() + interval
const beat = () => {
  const at = performance.now()
  lateness = [...lateness.filter((one) => at - one.at < patience), { at, late: Math.max(0, at - due) }]
  due = at + interval
  setTimeout(beat, interval)
}
setTimeout(beat, interval)

const latenessSince = (start: number): number =>
  lateness.reduce((worst, { at, late }) => (at >= start ? Math.max(worst, late) : worst), 0)

class Watch {
  readonly #socket: WebSocket
  readonly #pid: number
  #sent = 0
  #pending:
    | {
        readonly id: string
        readonly at: number
        readonly cpu: number
        readonly contended: number
        readonly giveUp: NodeJS.Timeout
      }
    | undefined
  #answered = 0
  #worst = 0
  #faults: Array<string> = []
  #stopped = false

  constructor(socket: WebSocket, pid: number) {
    this.#socket = socket
    this.#pid = pid
    socket.on("message", (data) => this.#hear(data.toString()))
    socket.on("close", (code) => {
      if (!this.#stopped) this.#faults.push(`the bystander was disconnected (${code})`)
    })
    this.#beat()
  }

  #beat(): void {
    if (this.#stopped || this.#socket.readyState !== WebSocket.OPEN) return
    const id = `bystander-${this.#sent++}`
    const giveUp = setTimeout(() => this.#faults.push(`a Heartbeat was not answered in ${patience} ms`), patience)
    this.#pending = { id, at: performance.now(), cpu: cpuMillis(this.#pid), contended: contendedMillis(), giveUp }
    this.#socket.send(JSON.stringify([2, id, "Heartbeat", {}]))
  }

  #hear(text: string): void {
    const [type, id] = JSON.parse(text) as [number, string]
    if (type !== 3 || id !== this.#pending?.id) {
      this.#faults.push("the bystander got what it had not asked for")
      return
    }
    const { at, contended, cpu, giveUp } = this.#pending
    clearTimeout(giveUp)
    const taken = Math.max(contendedMillis() - contended, latenessSince(at))
    this.#judge(performance.now() - at, cpuMillis(this.#pid) - cpu, taken)
    setTimeout(() => this.#beat(), interval)
  }

  #judge(wall: number, busy: number, taken: number): void {
    this.#answered++
    this.#worst = Math.max(this.#worst, wall)
    if (wall <= limit) return
    // The clock of CPU time ticks every 10 ms.
    if (busy - 10 > limit || wall - taken - busy > limit) {
      const parts = `the victim computed for ${busy} ms of it, others kept CPUs from it for ${taken.toFixed()} ms`
      this.#faults.push(`a Heartbeat was answered after ${wall.toFixed()} ms; ${parts}`)
    }
  }

  lap(): Lap {
    const lap = { answered: this.#answered, worst: this.#worst, faults: this.#faults }
    this.#answered = 0
    this.#worst = 0
    this.#faults = []
    return lap
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#pending?.giveUp)
    this.#socket.terminate()
  }
}

const watches = new Map<number, Watch>()
let made = 0

export const commands = {
  /** Connects a bystander to a server in a process. Gives the number of the watch. */
  watch: async ({ pid, port, secure }: { readonly port: number; readonly pid: number; readonly secure: boolean }) => {
    const url = `${secure ? "wss" : "ws"}://127.0.0.1:${port}/BYSTANDER`
    const socket = new WebSocket(url, ["ocpp1.6"], { rejectUnauthorized: false, perMessageDeflate: false })
    socket.on("error", () => {})
    await new Promise((resolve, reject) => {
      socket.once("open", resolve)
      socket.once("close", () => reject(new Error("the bystander cannot connect")))
    })
    const id = ++made
    watches.set(id, new Watch(socket, pid))
    return id
  },
  lap: (watch: number): Lap => watches.get(watch)?.lap() ?? { answered: 0, worst: 0, faults: ["nobody watches"] },
  unwatch: (watch: number): void => {
    watches.get(watch)?.stop()
    watches.delete(watch)
  },
}

perform(commands)

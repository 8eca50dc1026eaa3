/** A child process as its parent sees it. */
import { type ChildProcess, fork } from "node:child_process"
import type { Answer, Argument, Question, Reply, VictimCommands, WatcherCommands } from "./Program.ts"

interface Programs {
  readonly victim: VictimCommands
  readonly watcher: WatcherCommands
}

/** Those that run: a frozen one does not see that its parent has gone. */
const children = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

export class Process<Name extends keyof Programs = "victim"> {
  /** What nobody caught in it. */
  readonly problems: Array<string> = []
  /** What it wrote. */
  output = ""
  /** How it ended, when it has. */
  ended: string | undefined
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #asked = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    children.add(child)
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => this.#write(String(data)))
    child.on("message", (reply: Reply) => this.#hear(reply))
    child.on("error", () => {})
    child.on("exit", (code, signal) => {
      children.delete(child)
      this.ended = `exit ${code ?? signal}`
      for (const { reject } of this.#waiting.values()) reject(new Error(`the process has ended: ${this.ended}`))
      this.#waiting.clear()
    })
  }

  static async start<Name extends keyof Programs>(name: Name): Promise<Process<Name>> {
    const child = fork(new URL(`./${name}.ts`, import.meta.url), [], {
      execArgv: ["--import", "tsx", "--expose-gc"],
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    })
    const started = new Process<Name>(child)
    await new Promise<void>((resolve, reject) => {
      child.once("message", () => resolve())
      child.once("exit", () => reject(new Error(`${name} did not start: ${started.output}`)))
    })
    return started
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  #write(text: string): void {
    this.output = (this.output + text).slice(-1_000_000)
  }

  #hear(reply: Reply): void {
    if ("problem" in reply) this.problems.push(reply.problem)
    if (!("id" in reply)) return
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ("error" in reply) waiting?.reject(new Error(reply.error))
    else waiting?.resolve(reply.value)
  }

  ask<K extends keyof Programs[Name] & string>(
    command: K,
    what: Argument<Programs[Name], K>,
  ): Promise<Answer<Programs[Name], K>> {
    const id = this.#asked++
    return new Promise<unknown>((resolve, reject) => {
      if (this.ended !== undefined) return reject(new Error(`the process has ended: ${this.ended}`))
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, command, what } satisfies Question)
    }) as Promise<Answer<Programs[Name], K>>
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async kill(): Promise<void> {
    if (this.ended !== undefined) return
    const gone = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()))
    this.#child.kill("SIGKILL")
    await gone
  }
}

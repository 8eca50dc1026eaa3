/** A process of its own, as its driver sees it: commands out, answers in, and everything that goes wrong in it. */
import { type ChildProcess, fork } from "node:child_process"
import type { Answer, Argument, Commands, Question, Reply } from "./commands.ts"

export interface ChildOptions {
  /** Its name in faults and errors. */
  readonly name: string
  readonly script: URL
  readonly args?: ReadonlyArray<string>
  /** Whether Node runs the script as it is, and not through a loader of TypeScript. Default `false`. */
  readonly isJavaScript?: boolean
  /** Whether it may write to its standard error; otherwise that is a fault. Default `false`. */
  readonly mayWriteErrors?: boolean
}

/** The first faults say what is wrong; a flood of them must not fill the driver. */
const maxFaults = 20
/** In characters. */
const maxOutput = 1_000_000

/** The processes that end with this one, their driver: a frozen one does not notice by itself that it has gone. */
const running = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

export class Child<C extends Commands> {
  readonly name: string
  /** Unhandled rejections, uncaught exceptions, warnings, errors that it wrote, an end that nobody asked for. */
  readonly faults: Array<string> = []
  /** The end of what it has written. */
  output = ""
  /** Its exit code or signal, as `exit 0`, once it has ended. */
  ended: string | undefined
  readonly exited: Promise<void>
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #asked = 0
  #mayEnd = false

  constructor({ args = [], isJavaScript = false, mayWriteErrors = false, name, script }: ChildOptions) {
    this.name = name
    this.#child = fork(script, args, {
      execArgv: [...(isJavaScript ? [] : ["--import", "tsx"]), "--expose-gc", "--no-warnings"],
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    })
    running.add(this.#child)
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#write(text))
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#write(text)
      if (!mayWriteErrors) this.#fault(`wrote ${text.trim()}`)
    })
    this.#child.on("message", (reply: Reply) => this.#hear(reply))
    this.#child.on("error", () => {})
    this.exited = new Promise((resolve) =>
      this.#child.once("exit", (code, signal) => {
        this.#end(code, signal)
        resolve()
      }),
    )
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Performs a command. Fails when the process says so, or ends. */
  async do<Name extends keyof C & string>(name: Name, argument: Argument<C[Name]>): Promise<Answer<C[Name]>> {
    const id = this.#asked++
    const answered = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      if (this.#child.connected) this.#child.send({ id, name, argument } satisfies Question)
      else this.#hear({ id, error: this.#endedText })
    })
    try {
      // The table of commands is the only one to know what its answers are.
      return (await answered) as Answer<C[Name]>
    } catch (error) {
      throw new Error(`${this.name}, ${name}: ${error instanceof Error ? error.message : error}`)
    }
  }

  /** Lets the process end by itself. What keeps it alive for longer than so many milliseconds is a fault. */
  async end(milliseconds: number): Promise<void> {
    this.#mayEnd = true
    const late = setTimeout(() => {
      this.#fault(`had not ended by itself ${milliseconds} ms after its last work`)
      this.signal("SIGKILL")
    }, milliseconds)
    if (this.#child.connected) this.#child.send({ leave: true } satisfies Question)
    await this.exited
    clearTimeout(late)
  }

  /** Ends it at once, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#mayEnd = true
    this.signal("SIGKILL")
    await this.exited
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  #write(text: string): void {
    this.output = (this.output + text).slice(-maxOutput)
  }

  #hear(reply: Reply): void {
    if ("fault" in reply) return this.#fault(reply.fault)
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ("error" in reply) waiting?.reject(new Error(reply.error))
    else waiting?.resolve(reply.value)
  }

  get #endedText(): string {
    return `the process has ended: ${this.ended ?? "it is disconnected"}`
  }

  #end(code: number | null, signal: NodeJS.Signals | null): void {
    running.delete(this.#child)
    this.ended = `exit ${code ?? signal}`
    const isKilled = this.#mayEnd && signal === "SIGKILL"
    if (code !== 0 && !isKilled) this.#fault(`ended with ${code ?? signal}`)
    else if (!this.#mayEnd) this.#fault("ended before it was told to")
    for (const id of this.#waiting.keys()) this.#hear({ id, error: this.#endedText })
  }

  #fault(text: string): void {
    if (this.faults.length < maxFaults) this.faults.push(`${this.name}: ${text}`)
  }
}

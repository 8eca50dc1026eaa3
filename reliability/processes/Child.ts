/** A process of its own, as seen by whoever drives it: commands out, answers in, and everything that went wrong in it. */
import { type ChildProcess, fork } from "node:child_process"

interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}

/** What a process reports unasked. */
interface Fault {
  readonly fault: string
}

/** A map of commands: what each takes and answers. */
export type Commands = { readonly [name: string]: (argument: never) => unknown }

type Answered<C> = C extends (argument: never) => infer A ? Awaited<A> : never
type Argument<C> = C extends (argument: infer A) => unknown ? A : never

export class Child<C extends Commands> {
  readonly name: string
  /** Unhandled rejections, uncaught exceptions, warnings, output on stderr, an end that nobody asked for. */
  readonly faults: Array<string> = []
  readonly exited: Promise<number | null>
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #next = 0
  #mayEnd = false

  /** @param loader what lets Node run the script; none for JavaScript */
  constructor(name: string, script: URL, args: ReadonlyArray<string> = [], loader = ["--import", "tsx"]) {
    this.name = name
    const execArgv = [...loader, "--expose-gc", "--no-warnings"]
    this.#child = fork(script, args, { execArgv, stdio: ["ignore", "ignore", "pipe", "ipc"] })
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#fault(`wrote ${text.trim()}`))
    this.#child.on("message", (message: Answer | Fault) => {
      if ("fault" in message) this.#fault(message.fault)
      else this.#answered(message)
    })
    this.exited = new Promise((resolve) =>
      this.#child.once("exit", (code, signal) => resolve(this.#ended(code, signal))),
    )
  }

  /** Performs a command; fails when the process says so or has ended. */
  async do<Name extends keyof C & string>(name: Name, argument: Argument<C[Name]>): Promise<Answered<C[Name]>> {
    const id = this.#next++
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve)
      if (this.#child.connected) this.#child.send({ id, name, argument })
      else this.#answered({ id, error: "the process has ended" })
    })
    if (answer.error !== undefined) throw new Error(`${this.name}, ${name}: ${answer.error}`)
    return answer.value as Answered<C[Name]>
  }

  /** Lets the process end by itself; what keeps it alive longer than so many milliseconds is a fault. */
  async end(milliseconds: number): Promise<void> {
    this.#mayEnd = true
    const late = setTimeout(() => {
      this.#fault(`had not ended by itself ${milliseconds} ms after its last work`)
      this.kill()
    }, milliseconds)
    if (this.#child.connected) this.#child.disconnect()
    await this.exited
    clearTimeout(late)
  }

  /** For `SIGSTOP` and `SIGCONT`. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  kill(): void {
    this.#mayEnd = true
    this.#child.kill("SIGKILL")
  }

  #answered(answer: Answer): void {
    const resolve = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    resolve?.(answer)
  }

  #ended(code: number | null, signal: string | null): number | null {
    if (code !== 0 && !(this.#mayEnd && signal === "SIGKILL")) this.#fault(`ended with ${code ?? signal}`)
    else if (!this.#mayEnd) this.#fault("ended before it was told to")
    for (const id of this.#waiting.keys()) this.#answered({ id, error: "the process has ended" })
    return code
  }

  /** The first few say what is wrong; a flood of them must not fill the driver. */
  #fault(text: string): void {
    if (this.faults.length < 20) this.faults.push(`${this.name}: ${text}`)
  }
}

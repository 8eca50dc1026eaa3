/** The process under attack, for its parent. */
import { type ChildProcess, fork } from "node:child_process"
import type { Condition, Setup } from "./server.ts"

export class ServerProcess {
  readonly #child: ChildProcess
  #exit: string | undefined

  constructor() {
    this.#child = fork(new URL("./server.ts", import.meta.url), { execArgv: ["--import", "tsx"], stdio: "inherit" })
    this.#child.once("exit", (code, signal) => {
      this.#exit = `the server's process has ended with ${code ?? signal}`
    })
  }

  start(setup: Setup): Promise<Condition> {
    return this.#ask(setup)
  }

  condition(): Promise<Condition> {
    return this.#ask("condition")
  }

  /** Its condition, once it is as it should be; the last one when that does not happen in time. */
  async settledCondition(isRight: (condition: Condition) => boolean, millis: number): Promise<Condition> {
    const deadline = Date.now() + millis
    for (;;) {
      const condition = await this.condition()
      if (isRight(condition) || Date.now() > deadline) return condition
    }
  }

  #ask(question: Setup | "condition"): Promise<Condition> {
    return new Promise((resolve, reject) => {
      if (this.#exit !== undefined) return reject(new Error(this.#exit))
      const onExit = () => reject(new Error(this.#exit))
      this.#child.once("exit", onExit)
      this.#child.once("message", (condition: Condition) => {
        this.#child.off("exit", onExit)
        resolve(condition)
      })
      this.#child.send(question)
    })
  }

  stop(): void {
    this.#child.removeAllListeners()
    this.#child.kill("SIGKILL")
  }
}

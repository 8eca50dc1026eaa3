/** An engine's server as a process of its own, on a free port: it can be stopped, and comes back empty. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Whether a program is on the PATH. */
export const isInstalled = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = Net.createServer()
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as Net.AddressInfo
      server.close(() => resolve(port))
    })
  })

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = Net.connect({ port, host: "127.0.0.1" })
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })

type Kind = "redis" | "nats"

const commandLines: Record<Kind, (port: number, dir: string) => ReadonlyArray<string>> = {
  redis: (port, dir) => ["redis-server", "--port", `${port}`, "--save", "", "--dir", dir, "--bind", "127.0.0.1"],
  nats: (port, dir) => ["nats-server", "-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", dir],
}

/** The program that a kind of engine needs. */
export const programOf = (kind: Kind): string => commandLines[kind](0, "")[0] as string

export class Daemon {
  readonly port: number
  readonly #kind: Kind
  readonly #args: ReadonlyArray<string>
  readonly #dir = mkdtempSync(join(tmpdir(), "effect-ocpp-engine-"))
  #child: ChildProcess | undefined

  private constructor(kind: Kind, port: number, args: ReadonlyArray<string>) {
    this.#kind = kind
    this.port = port
    this.#args = args
  }

  static async start(kind: Kind, args: ReadonlyArray<string> = []): Promise<Daemon> {
    const daemon = new Daemon(kind, await freePort(), args)
    await daemon.start()
    return daemon
  }

  /** Starts it, with nothing of what it had before. */
  async start(): Promise<void> {
    const [program, ...args] = commandLines[this.#kind](this.port, this.#dir)
    rmSync(this.#dir, { recursive: true, force: true })
    mkdirSync(this.#dir, { recursive: true })
    const child = spawn(program as string, [...args, ...this.#args], { stdio: "ignore" })
    this.#child = child
    for (let i = 0; i < 200; i++) {
      if (child.exitCode !== null) throw new Error(`${program} has ended with ${child.exitCode}`)
      if (await listens(this.port)) return
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error(`${program} does not listen`)
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Kills it. */
  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once("exit", resolve))
    child.kill("SIGKILL")
    await gone
  }

  /** Kills it, and removes its files. */
  async end(): Promise<void> {
    await this.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

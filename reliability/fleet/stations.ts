/**
 * The stations of a trial, as bare sockets: each connects to some node, answers as it is told, connects again when it is cut off. One that moves
 * may leave its old socket behind, open and silent.
 */
import { WebSocket } from "ws"
import { randomFrom } from "../../test/schemas/official.ts"
import { perform } from "../processes/parent.ts"
import { type HandledRecord, identities, type Manner, now, Trial } from "./plan.ts"

let ports: ReadonlyArray<number> = []
let random: () => number = Math.random
let handled: Array<HandledRecord> = []
let closing = false
const zombies = new Set<WebSocket>()

class Station {
  readonly identity: string
  #socket: WebSocket | undefined
  #port = 0
  #retry: NodeJS.Timeout | undefined

  constructor(identity: string) {
    this.identity = identity
  }

  get isConnected(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  connect(): void {
    clearTimeout(this.#retry)
    this.#port = ports[Math.floor(random() * ports.length)] as number
    const socket = new WebSocket(`ws://127.0.0.1:${this.#port}/${this.identity}`, [Trial.name])
    this.#socket = socket
    socket.on("error", () => {})
    socket.on("message", (data) => this.#got(socket, data.toString()))
    socket.on("close", () => {
      zombies.delete(socket)
      if (this.#socket === socket && !closing) this.#retry = setTimeout(() => this.connect(), 50 + 250 * random())
    })
  }

  #got(socket: WebSocket, text: string): void {
    // A zombie is not there: nobody hears what comes.
    if (this.#socket !== socket) return
    const [type, messageId, , request] = JSON.parse(text) as [
      number,
      string,
      string,
      { readonly id: string; readonly manner: Manner; readonly delay: number },
    ]
    if (type !== 2) return
    const { delay, id, manner } = request
    if (id !== "") handled.push({ id, by: this.identity, at: now() })
    if (manner === "ignore") return
    const answer = manner === "refuse" ? [4, messageId, "GenericError", "", {}] : [3, messageId, { id }]
    const send = () => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(answer))
    }
    if (delay === 0) send()
    else setTimeout(send, delay)
  }

  /** Connects elsewhere; the old socket closes, or stays as a zombie. */
  move(asZombie: boolean): void {
    const old = this.#socket
    this.#socket = undefined
    if (old !== undefined && asZombie) zombies.add(old)
    else old?.close()
    this.connect()
  }

  drop(): void {
    this.#socket?.terminate()
  }
}

const stations = identities.map((identity) => new Station(identity))

export const commands = {
  prepare: (plan: { readonly ports: ReadonlyArray<number>; readonly seed: number }): void => {
    ports = plan.ports
    random = randomFrom(plan.seed)
    for (const station of stations) station.connect()
  },
  /** To which nodes stations connect from now on. */
  use: (some: ReadonlyArray<number>): void => {
    ports = some
  },
  connected: (): number => stations.filter(({ isConnected }) => isConnected).length,
  move: ({ count, zombies: asZombies }: { readonly count: number; readonly zombies: boolean }): void => {
    for (let i = 0; i < count; i++) stations[Math.floor(random() * stations.length)]?.move(asZombies)
  },
  /** All sockets are lost at once. */
  storm: (): void => {
    for (const station of stations) station.drop()
  },
  zombies: (): number => zombies.size,
  take: (): ReadonlyArray<HandledRecord> => {
    const taken = handled
    handled = []
    return taken
  },
  finish: (): void => {
    closing = true
    for (const station of stations) station.drop()
    for (const zombie of zombies) zombie.terminate()
  },
}

perform(commands)

/** Servers and stations made with the promise face. */
import type { AddressInfo } from "node:net"
import type * as Library from "../../../src/index.ts"
import type { Handler } from "../../../src/promise/RPCClient.ts"
import type { AuthCallback } from "../../../src/promise/RPCServer.ts"
import { library } from "../../processes/library.ts"
import { type Auth, authNamed, behaviourNamed } from "./behaviours.ts"
import type { CallSetup, Options, ServerSetup, StationSetup } from "./commands.ts"
import { defaultHandlers, everyProtocol, jammed, Subject, timeoutSignal } from "./Subject.ts"

const { createRPCError, RPCClient, RPCServer } = library

type Client = Library.RPCClient

const handle = (subject: Subject, client: Client, names: Readonly<Record<string, string>>): void => {
  for (const [action, name] of Object.entries(names)) {
    const behaviour = behaviourNamed(name)
    const handler: Handler = ({ messageId, method, params, signal }) => {
      const done = subject.arrive(method, params, messageId)
      const call = (called: string, request?: unknown) => client.call(called, request)
      let isLate = false
      try {
        const value = behaviour(params, {
          action: method,
          messageId,
          signal,
          call,
          error: createRPCError,
          identity: `${client.identity}`,
        })
        isLate = value instanceof Promise
        return isLate ? (value as Promise<unknown>).finally(done) : value
      } finally {
        if (!isLate) done()
      }
    }
    if (action === "*") client.handle(handler)
    else client.handle(action, handler)
  }
}

const observe = (subject: Subject, client: Client): void => {
  const { identity } = client
  client.on("badMessage", ({ error }) => subject.see("BadMessage", identity, error.code, error.message))
  client.on("callError", ({ error }) => subject.see("CallError", identity, error.code, error.message))
  client.on("strictValidationFailure", ({ error }) => {
    subject.see("ValidationFailure", identity, error.code, error.message)
  })
  client.on("socketError", (error) => subject.see("SocketError", identity, error.message))
  client.on("disconnect", ({ code, reason }) => subject.see("Disconnect", identity, code, reason))
  client.on("close", ({ code, reason }) => subject.see("Close", identity, code, reason))
  client.on("connecting", () => subject.see("Connecting", identity))
  client.on("open", () => subject.see("Open", identity))
}

const authCallback =
  (subject: Subject, auth: Auth): AuthCallback =>
  async (accept, reject, handshake, signal) => {
    if (handshake.identity === "BYSTANDER") return accept({})
    const done = subject.ask(signal)
    const decide = async () => auth(handshake, { security: library.Security, signal })
    const verdict = await decide().finally(done)
    if (verdict.accept !== undefined) accept(verdict.accept)
    if (verdict.reject !== undefined) reject(verdict.reject, verdict.message)
  }

const callOptions = (
  { abortAfter, noReply = false, timeout }: CallSetup,
  signal: AbortSignal | undefined = timeoutSignal(abortAfter),
) => ({
  noReply,
  ...(timeout === undefined ? undefined : { callTimeoutMs: timeout }),
  ...(signal === undefined ? undefined : { signal }),
})

export class PromiseServer extends Subject {
  override readonly face = "promise"
  #server: Library.RPCServer | undefined
  readonly #clients = new Set<Client>()

  async start(setup: ServerSetup): Promise<number> {
    const { auth, handlers = defaultHandlers, observed, options, port = 0, protocols = everyProtocol } = setup
    const server = new RPCServer({ protocols, ...options })
    this.#server = server
    server.on("client", (client) => {
      this.#clients.add(client)
      client.on("close", () => this.#clients.delete(client))
      handle(this, client, handlers)
      if (observed === false) return
      this.see("Connected", client.identity, "")
      observe(this, client)
    })
    if (observed !== false)
      server.on("upgradeAborted", ({ error, identity }) => {
        this.see("UpgradeAborted", identity, "code" in error ? error.code : "", error.message)
      })
    if (auth !== undefined) server.auth(authCallback(this, authNamed(auth)))
    const httpServer = await server.listen(port, "127.0.0.1")
    return (httpServer.address() as AddressInfo).port
  }

  get connected(): number {
    return this.#clients.size
  }

  async call(setup: CallSetup, signal?: AbortSignal): Promise<unknown> {
    const { action, identity, payload } = setup
    const client = [...this.#clients].findLast((one) => one.identity === identity)
    if (client === undefined) throw new Error(`${identity} is not connected`)
    return client.call(action, payload, callOptions(setup, signal))
  }

  close(options: Options): Promise<unknown> {
    return this.#server?.close(options) ?? Promise.resolve()
  }

  shutdown(): Promise<unknown> {
    return this.close({ code: 1001, awaitPending: true })
  }
}

export class PromiseStation extends Subject {
  override readonly face = "promise"
  #client: Client | undefined

  async start(setup: StationSetup): Promise<unknown> {
    const { endpoint, handlers = {}, identity = "CP001", observed, options, protocols = ["ocpp1.6"] } = setup
    const { jams } = setup
    const wsOpts = jams === undefined ? undefined : { wsOpts: jammed(jams) }
    const client = new RPCClient({ endpoint, identity, protocols, reconnect: false, ...options, ...wsOpts })
    this.#client = client
    if (observed !== false) observe(this, client)
    handle(this, client, handlers)
    await client.connect()
    return undefined
  }

  get connected(): number {
    return this.#client?.state === RPCClient.OPEN ? 1 : 0
  }

  call(setup: CallSetup, signal?: AbortSignal): Promise<unknown> {
    const { action, payload } = setup
    return this.#client!.call(action, payload, callOptions(setup, signal))
  }

  close(options: Options): Promise<unknown> {
    return this.#client?.close(options) ?? Promise.resolve()
  }

  shutdown(): Promise<unknown> {
    return this.close({})
  }
}

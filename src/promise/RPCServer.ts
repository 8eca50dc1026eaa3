/**
 * The server for plain Node programs: callbacks and events over the same core as `Server`.
 *
 * It translates, as `RPCClient` does; who is accepted with which subprotocol, and how everything closes, is decided in
 * `Server`.
 */

import { EventEmitter } from "node:events"
import type { Server as HttpServer, IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import {
  type AcceptedStation,
  accept as accepted,
  type CloseOptions,
  changedBy,
  checkOptions,
  ListenError,
  Rejected,
  reject as rejected,
  type ServerEvent,
  type ServerOptions,
  StationServer,
} from "../core.ts"
import type { Handshake } from "../Handshake.ts"
import { emitSafely } from "./events.ts"
import {
  context,
  environment,
  protocolNamed,
  protocolsOf,
  type RPCServerOptions,
  type SharedOptions,
  serverOptions,
  toCoreWithDefaults,
} from "./options.ts"
import { documented, RPCServerClient } from "./RPCServerClient.ts"

/** The events of an `RPCServer`, each with its arguments. */
export interface RPCServerEvents<P extends string = string> {
  /** A client was accepted. */
  client: [client: RPCServerClient<P>]
  /** The HTTP server has a fault. */
  error: [error: Error]
  /** The server has begun to close: no more clients are accepted. */
  closing: []
  /** The server has closed, and every client with it. */
  close: []
  /** An upgrade request came to nothing. */
  upgradeAborted: [event: UpgradeAborted]
}

/** Why an upgrade request came to nothing. */
export interface UpgradeAborted {
  error: Error
  socket: Duplex
  request: IncomingMessage
  identity: string | undefined
}

/** Why a client was refused: the HTTP status and the response body. */
export class WebsocketUpgradeError extends Error {
  override readonly name = "WebsocketUpgradeError"
  /** The HTTP status. */
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** Decides about a client by calling `accept` or `reject`, now or later; the first call counts. */
export type AuthCallback = (
  accept: (session?: unknown, protocol?: string) => void,
  reject: (code?: number, message?: string, headers?: Readonly<Record<string, string>>) => void,
  handshake: Handshake,
  signal: AbortSignal,
) => unknown

/**
 * A server, as documented.
 *
 * `new RPCServer<"ocpp1.6">(…)` types `call` and `handle` of its clients by action; without a type argument they take anything.
 */
export class RPCServer<P extends string = string> extends EventEmitter<RPCServerEvents<P>> {
  #options: RPCServerOptions
  readonly #server: StationServer
  /** The options of every client. */
  #clientOptions: SharedOptions
  /** Why an upgrade has come to nothing, where the core has only the HTTP status. */
  readonly #aborts = new WeakMap<IncomingMessage, Error>()

  /** @throws {Error} naming the option that makes no sense. */
  constructor(options: RPCServerOptions = {}) {
    super()
    checkOptions(options, serverOptions)
    this.#options = options
    this.#clientOptions = clientOptionsOf(options)
    const handlers: ServerOptions<never, AcceptedStation>["handlers"] = ({ client }) =>
      client instanceof RPCServerClient ? [client.handlers()] : []
    const core = { ...toCoreServer(options), duplicateIdentity: "allow" as const, handlers }
    this.#server = new StationServer(core, environment, context, () => context)
    this.#server.subscribe((event) => this.#tell(event))
  }

  #tell(event: ServerEvent<AcceptedStation>): void {
    switch (event._tag) {
      case "Connected": {
        const { station } = event
        const client = new RPCServerClient<P>(this.#clientOptions, station)
        station.client = client
        return emitSafely(this, "client", [client])
      }
      case "UpgradeAborted": {
        const { identity, request, socket } = event
        const error = this.#aborts.get(request) ?? event.error
        const reason = error instanceof Rejected ? new WebsocketUpgradeError(error.code, error.message) : error
        return emitSafely(this, "upgradeAborted", [{ error: reason, socket, request, identity }])
      }
      case "ServerError":
        if (this.listenerCount("error") > 0) emitSafely(this, "error", [event.error])
        return
      case "Closing":
        return emitSafely(this, "closing", [])
      case "Close":
        return emitSafely(this, "close", [])
    }
  }

  /** Changes any option, for the clients that connect from now on. */
  reconfigure(options: RPCServerOptions): void {
    const changed = changedBy(this.#options, options)
    checkOptions(changed, serverOptions)
    this.#server.reconfigure(toCoreServer(changed))
    this.#options = changed
    this.#clientOptions = clientOptionsOf(changed)
  }

  /** Sets the callback that decides who may connect. Without one, everybody may. */
  auth(callback: AuthCallback): void {
    this.#server.reconfigure({ auth: (handshake) => this.#authenticate(callback, handshake) })
  }

  #authenticate(callback: AuthCallback, handshake: Handshake): Effect.Effect<unknown, Rejected> {
    const { protocols, request } = handshake
    const controller = new AbortController()
    const abort = (reason: Error) => {
      this.#aborts.set(request, reason)
      controller.abort(reason)
    }
    return Effect.callback((resume) => {
      let decided = false
      const refuse = (code: number, error: Error, headers: Readonly<Record<string, string>> = {}) => {
        if (decided) return
        decided = true
        abort(error)
        const isError = Number.isInteger(code) && code >= 400 && code <= 599
        resume(rejected(isError ? code : 500, error instanceof WebsocketUpgradeError ? error.message : "", headers))
      }
      const reject: Parameters<AuthCallback>[1] = (code = 400, message = "", headers) =>
        refuse(code, new WebsocketUpgradeError(code, message), headers)
      const accept = (session: unknown = {}, protocol?: string) => {
        if (decided) return
        if (protocol !== undefined && !protocols.has(protocol)) {
          return reject(400, "the client does not support the chosen subprotocol")
        }
        decided = true
        const { strictModeValidators } = this.#options
        resume(
          Exit.succeed(
            protocol === undefined ? session : accepted(session, protocolNamed(protocol, strictModeValidators)),
          ),
        )
      }
      const fail = (reason: unknown) => {
        if (decided) return
        decided = true
        const error = reason instanceof Error ? reason : new Error(String(reason))
        abort(error)
        resume(Exit.die(error))
      }
      try {
        const { signal } = controller
        const returned = callback(accept, reject, documented(handshake), signal)
        Promise.resolve(returned).catch(fail)
      } catch (error) {
        fail(error)
      }
      return Effect.sync(() =>
        abort(new WebsocketUpgradeError(503, "authentication took too long, or has lost its connection")),
      )
    })
  }

  /** For the `upgrade` event of an HTTP server of your own. Bound to this server. */
  readonly handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Uint8Array): void =>
    this.#server.handleUpgrade(request, socket, head)

  /**
   * Listens with an HTTP server of its own, which answers anything but upgrades with 404.
   *
   * @param port default: any free one
   * @param host default: all interfaces
   */
  async listen(port?: number, host?: string, options: { signal?: AbortSignal } = {}): Promise<HttpServer> {
    const { signal } = options
    signal?.throwIfAborted()
    const where = {
      ...(port === undefined ? undefined : { port: toPort(port) }),
      ...(host === undefined ? undefined : { host }),
    }
    const exit = await Effect.runPromiseExit(this.#server.listen(where), signal === undefined ? undefined : { signal })
    if (Exit.isFailure(exit)) {
      signal?.throwIfAborted()
      const error = Cause.squash(exit.cause)
      throw error instanceof ListenError ? error.cause : error
    }
    const httpServer = exit.value
    const stop = () => httpServer.close()
    if (signal?.aborted === true) stop()
    signal?.throwIfAborted()
    signal?.addEventListener("abort", stop, { once: true })
    httpServer.once("close", () => signal?.removeEventListener("abort", stop))
    return httpServer
  }

  /** Accepts no more clients, closes those that are connected, then the HTTP servers of `listen()`. */
  async close(options: CloseOptions = {}): Promise<void> {
    await Effect.runPromise(this.#server.close(options))
  }
}

/** Environment variables are strings. */
const toPort = (port: unknown): number =>
  (typeof port === "string" && port.trim() !== "" ? Number(port) : port) as number

const clientOptionsOf = ({
  defaultProtocol,
  protocolRequired,
  wssOptions,
  ...options
}: RPCServerOptions): SharedOptions => options

/** Who offers no subprotocol must not come around strict mode: he is judged by the first that is served, unless another is named. */
const defaultProtocolOf = (options: RPCServerOptions): Pick<ServerOptions, "defaultProtocol"> => {
  const { defaultProtocol, protocolRequired, strictMode, strictModeValidators } = options
  const [first] = options.protocols ?? []
  const name = defaultProtocol ?? (strictMode === true && protocolRequired !== true ? first : undefined)
  return name === undefined ? {} : { defaultProtocol: protocolNamed(name, strictModeValidators) }
}

const toCoreServer = (options: RPCServerOptions): ServerOptions<never, AcceptedStation> => ({
  ...toCoreWithDefaults(options),
  protocols: protocolsOf(options),
  allowNoProtocol: options.protocolRequired !== true,
  allowSlash: true,
  ...defaultProtocolOf(options),
  ...(options.wssOptions === undefined ? undefined : { webSocket: options.wssOptions }),
})

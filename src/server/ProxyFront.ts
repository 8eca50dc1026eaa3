/**
 * Has an HTTP or HTTPS server take the client's address from the PROXY protocol, which comes before anything else.
 */
import { isIPv4, type Server, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { guarded } from "../Transport.ts"
import { plain, type Trust } from "./addresses.ts"
import { type Header, ProxyProtocolError, read } from "./proxyProtocol.ts"

/** Who has to send headers, and how soon. */
export interface FrontOptions {
  /** From which addresses a header is expected; every other connection is served as it is. */
  readonly trusts: Trust
  /** How long a header may take; then the connection is dropped. */
  readonly timeout: Duration.Input
  /** Told of each connection that is dropped, and of the address of the proxy that it came from. */
  readonly onDropped?: (error: ProxyProtocolError, proxy: string) => void
}

/**
 * Has the connections of an HTTP or HTTPS server begin with a header, as long as the Scope lives. With TLS the header comes before it.
 *
 * Their sockets, those of TLS as well, then give the client's address and port as `remoteAddress` and `remotePort`, and go on
 * doing so when they have closed; {@link headerOf} has the rest.
 *
 * What listens for the server's `connection` events already hears of a connection once its header has been read. Whoever wants
 * to hear of all connections listens later.
 */
export const inFrontOf = (server: Server, options: FrontOptions): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const front = new Front(server, options, yield* FiberSet.makeRuntime<never>())
    yield* Effect.acquireRelease(
      Effect.sync(() => front.begin()),
      () => Effect.sync(() => front.end()),
    )
  })

class Front {
  readonly #server: Server
  readonly #options: FrontOptions
  readonly #run: (effect: Effect.Effect<void>) => void
  /** What is behind us. */
  readonly #listeners: ReadonlyArray<(socket: Socket) => void>
  readonly #waiting = new Set<Socket>()
  /** By the ends of the connection with the proxy: a socket of TLS knows no other thing of that below it. */
  readonly #open = new Map<string, Header>()

  constructor(server: Server, options: FrontOptions, run: (effect: Effect.Effect<void>) => void) {
    this.#server = server
    this.#options = options
    this.#run = run
    this.#listeners = server
      .rawListeners("connection")
      .map((listener) => (socket: Socket) => void listener.call(server, socket))
  }

  begin(): void {
    this.#server.removeAllListeners("connection")
    this.#server.on("connection", this.#onConnection)
    this.#server.prependListener("secureConnection", this.#onSecure)
    this.#server.prependListener("tlsClientError", this.#onInsecure)
  }

  end(): void {
    this.#server.off("connection", this.#onConnection)
    this.#server.off("secureConnection", this.#onSecure)
    this.#server.off("tlsClientError", this.#onInsecure)
    for (const listener of this.#listeners) this.#server.on("connection", listener)
    for (const socket of this.#waiting) {
      this.#waiting.delete(socket)
      socket.destroy()
    }
  }

  readonly #onConnection = (socket: Socket): void => {
    const proxy = plain(socket.remoteAddress)
    if (proxy === undefined || !this.#options.trusts(proxy)) return this.#goOn(socket)
    this.#waiting.add(socket)
    // Until somebody behind us listens for it.
    socket.on("error", ignore)
    this.#run(
      read(socket).pipe(
        Effect.timeoutOrElse({ duration: this.#options.timeout, orElse: () => late }),
        Effect.match({
          onSuccess: (header) => this.#admit(socket, header),
          onFailure: (error) => this.#drop(socket, error, proxy),
        }),
      ),
    )
  }

  #admit(socket: Socket, header: Header): void {
    if (!this.#waiting.delete(socket)) return
    const ends = endsOf(socket)
    this.#open.set(ends, header)
    socket.once("close", () => {
      if (this.#open.get(ends) === header) this.#open.delete(ends)
    })
    tell(socket, header)
    this.#goOn(socket)
    socket.off("error", ignore)
  }

  #drop(socket: Socket, error: ProxyProtocolError, proxy: string): void {
    if (!this.#waiting.delete(socket)) return
    socket.destroy()
    guarded(() => this.#options.onDropped?.(error, proxy))
  }

  #goOn(socket: Socket): void {
    for (const listener of this.#listeners) guarded(() => listener(socket))
  }

  readonly #onSecure = (socket: Socket): void => {
    const header = this.#open.get(endsOf(socket))
    if (header !== undefined) tell(socket, header)
  }

  readonly #onInsecure = (_: Error, socket: Socket): void => this.#onSecure(socket)
}

const late = new ProxyProtocolError({ message: "the header of the proxy has not come in time" })

const ignore = () => {}

const endsOf = ({ localAddress, localPort, remoteAddress, remotePort }: Socket): string =>
  [remoteAddress, remotePort, localAddress, localPort].join(" ")

const headers = new WeakMap<Duplex, Header>()

/** What a proxy has said of the connection of this socket, if it was asked: where the client has connected to, and TLVs. */
export const headerOf = (socket: Duplex): Header | undefined => headers.get(socket)

/** Makes a socket say what the proxy has said. */
const tell = (socket: Socket, header: Header): void => {
  headers.set(socket, header)
  if (header.source === undefined) return
  const { address, port } = header.source
  Object.defineProperties(socket, {
    remoteAddress: { value: address, configurable: true },
    remotePort: { value: port, configurable: true },
    remoteFamily: { value: isIPv4(address) ? "IPv4" : "IPv6", configurable: true },
  })
}

/** The HTTP servers that we make: what they bound, how they listen and how they end. */
import type { Buffer } from "node:buffer"
import * as Http from "node:http"
import * as Https from "node:https"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import type { TlsOptions } from "node:tls"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { must } from "../connection/OptionChecks.ts"

/** The server could not listen. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly message: string
  readonly cause: unknown
}> {}

/** Where a server listens. */
export interface ListenOptions {
  /** Default: any free port. */
  readonly port?: number
  /** Default: all interfaces. */
  readonly host?: string
  /** Certificates and keys; makes it `wss://` (security profiles 2 and 3). TLS 1.2 and AEAD suites are the floor. */
  readonly tls?: TlsOptions
}

/** Of TLS 1.2 only what authenticates as it encrypts. The last two are among those that OCPP security profile 2 demands. */
const cipherSuites = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "AES256-GCM-SHA384",
  "AES128-GCM-SHA256",
]

const tlsDefaults: TlsOptions = {
  minVersion: "TLSv1.2",
  ciphers: cipherSuites.join(":"),
  handshakeTimeout: 10_000,
}

/** The limits keep slow or oversized requests from holding sockets. */
const make = (tls: TlsOptions | undefined): Http.Server => {
  const limits = {
    headersTimeout: 10_000,
    requestTimeout: 10_000,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 8 * 1024,
  }
  const notFound: Http.RequestListener = (_, response) => {
    response.writeHead(404, { connection: "close" }).end()
  }
  return tls === undefined
    ? Http.createServer(limits, notFound)
    : Https.createServer({ ...tlsDefaults, ...limits, ...tls }, notFound)
}

/** The sockets below TLS. A server closes those only whose TLS handshake is done. */
const tcpSockets = new WeakMap<Http.Server, Set<Socket>>()

const rememberSockets = (httpServer: Http.Server): void => {
  const sockets = new Set<Socket>()
  tcpSockets.set(httpServer, sockets)
  httpServer.on("connection", (socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
}

/** Ends a server and what is connected to it. */
export const close = (httpServer: Http.Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    for (const socket of tcpSockets.get(httpServer) ?? []) socket.destroy()
    httpServer.closeAllConnections()
    httpServer.close(() => resume(Exit.void))
  })

const isPort = (port: unknown) => Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535

/** The failure to listen. */
export const cannotListen = ({ port = 0 }: ListenOptions, cause: unknown): Effect.Effect<never, ListenError> => {
  const why = cause instanceof Error ? cause.message : String(cause)
  return Effect.fail(new ListenError({ message: `cannot listen on port ${port}: ${why}`, cause }))
}

/** A server that listens. Interrupting the Effect abandons the attempt. */
export const listen = (
  options: ListenOptions,
  onUpgrade: (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => void,
): Effect.Effect<Http.Server, ListenError> =>
  Effect.callback((resume) => {
    const onError = (cause: unknown) => resume(cannotListen(options, cause))
    let httpServer: Http.Server
    try {
      // Of a string Node would make the name of a pipe.
      must("an integer from 0 to 65535", isPort)("port", options.port ?? 0)
      httpServer = make(options.tls)
      if (options.tls !== undefined) rememberSockets(httpServer)
      httpServer.on("upgrade", onUpgrade)
      httpServer.once("error", onError)
      httpServer.listen(options.port ?? 0, options.host)
    } catch (cause) {
      return onError(cause)
    }
    httpServer.once("listening", () => {
      httpServer.off("error", onError)
      resume(Exit.succeed(httpServer))
    })
    return Effect.sync(() => {
      httpServer.close()
    })
  })

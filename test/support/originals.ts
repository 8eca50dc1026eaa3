/** The published `ocpp-rpc`, typed by its README: it is plain JavaScript, and the types that exist for it are wrong. */
import type { EventEmitter } from "node:events"
import type { Server } from "node:http"
import { createRequire } from "node:module"

export interface OriginalClient extends EventEmitter {
  readonly identity: string
  readonly protocol: string
  readonly state: number
  connect(): Promise<unknown>
  call(method: string, params?: unknown, options?: object): Promise<any>
  handle(method: string, handler: (call: any) => unknown): void
  handle(handler: (call: any) => unknown): void
  close(options?: object): Promise<{ readonly code: number; readonly reason: string }>
  sendRaw(message: string): void
}

export interface OriginalServer extends EventEmitter {
  auth(callback: (accept: any, reject: any, handshake: any) => void): void
  listen(port: number, host?: string): Promise<Server>
  close(options?: object): Promise<void>
}

/** `ocpp-rpc`. */
export const original = createRequire(import.meta.url)("ocpp-rpc") as {
  readonly RPCClient: new (options: object) => OriginalClient
  readonly RPCServer: new (options?: object) => OriginalServer
  readonly createRPCError: (type: string, message?: string, details?: object) => Error
  readonly NOREPLY: symbol
  readonly TimeoutError: new () => Error
  readonly RPCError: new () => Error
}

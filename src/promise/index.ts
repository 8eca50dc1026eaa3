/**
 * The promise face by itself: everything that plain Node programs need, without the Schemas and Streams of the Effect face, so that
 * a program starts in a fraction of the time.
 */
export { ConnectError, UnexpectedHttpResponse } from "../ConnectError.ts"
export { CallQueueFullError, DisconnectedError, TimeoutError } from "../ConnectionError.ts"
export * from "../RPCError.ts"
export { createValidator, standardValidators } from "./createValidator.ts"
export type { RPCClientEvents } from "./events.ts"
export type { RPCClientOptions, RPCServerOptions } from "./options.ts"
export { NOREPLY, RPCClient } from "./RPCClient.ts"
export { RPCServer, type RPCServerEvents, WebsocketUpgradeError } from "./RPCServer.ts"
export { RPCServerClient } from "./RPCServerClient.ts"

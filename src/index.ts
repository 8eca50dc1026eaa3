/**
 * OCPP-J for both ends: charging station and CSMS, OCPP 1.6, 2.0.1 and 2.1.
 *
 * Every module is also its own entry point (`effect-ocpp/Client`, …); importing one of those loads nothing else.
 */
export * as Action from "./Action.ts"
export * as Backoff from "./Backoff.ts"
export * as Client from "./Client.ts"
export * as Codec from "./Codec.ts"
// The promise face: flat, under the names that are documented.
export { ConnectError, UnexpectedHttpResponse } from "./ConnectError.ts"
export * as Connection from "./Connection.ts"
export { CallQueueFullError, DisconnectedError, TimeoutError } from "./ConnectionError.ts"
export * as Handlers from "./Handlers.ts"
export * as Protocol from "./Protocol.ts"
export { createValidator, standardValidators } from "./promise/createValidator.ts"
export type { RPCClientEvents } from "./promise/events.ts"
export type { RPCClientOptions, RPCServerOptions } from "./promise/options.ts"
export { NOREPLY, RPCClient } from "./promise/RPCClient.ts"
export { RPCServer, type RPCServerEvents, WebsocketUpgradeError } from "./promise/RPCServer.ts"
export { RPCServerClient } from "./promise/RPCServerClient.ts"
export * from "./RPCError.ts"
export * as Security from "./Security.ts"
export * as Server from "./Server.ts"
export { Ocpp16 } from "./schemas/ocpp16.ts"
export { Ocpp21 } from "./schemas/ocpp21.ts"
export { Ocpp201 } from "./schemas/ocpp201.ts"
export * as Transport from "./Transport.ts"
export * as Validator from "./Validator.ts"

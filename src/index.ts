/**
 * OCPP-J for both ends: charging station and CSMS, OCPP 1.6, 2.0.1 and 2.1.
 *
 * Every module is also its own entry point (`effect-ocpp/Client`, …); importing one of those loads nothing else. So does
 * `effect-ocpp/promise`, the promise face by itself.
 */
export * as Action from "./Action.ts"
export * as Backoff from "./Backoff.ts"
export * as BootStore from "./BootStore.ts"
export * as Client from "./Client.ts"
export * as Codec from "./Codec.ts"
export * as Connection from "./Connection.ts"
export * as Handlers from "./Handlers.ts"
export * as Middleware from "./Middleware.ts"
export * as Protocol from "./Protocol.ts"
// The promise face: flat, under the names that are documented.
export * from "./promise/index.ts"
export * as Repair from "./Repair.ts"
export * as Security from "./Security.ts"
export * as Server from "./Server.ts"
export * as Signing from "./Signing.ts"
export { Ocpp16 } from "./schemas/ocpp16.ts"
export { Ocpp21 } from "./schemas/ocpp21.ts"
export { Ocpp201 } from "./schemas/ocpp201.ts"
export * as Transport from "./Transport.ts"
export * as Validator from "./Validator.ts"
export * as Vendor from "./Vendor.ts"

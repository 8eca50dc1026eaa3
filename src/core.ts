/**
 * The door to the core for the promise face: clients and servers without Schemas and Streams, their events and options.
 *
 * The Effect face has doors of its own: `Client`, `Server`, `Connection`.
 */
export { connectionUrl, type Dial, dialler } from "./client/dial.ts"
export { ReconnectingClient } from "./client/ReconnectingClient.ts"
export type { ReconnectSchedule } from "./client/ReconnectPolicy.ts"
export type { CloseInfo, CloseOptions } from "./connection/Closing.ts"
export type { Side } from "./connection/Connection.ts"
export * as Environment from "./connection/Environment.ts"
export { type Event, isLife } from "./connection/Event.ts"
export { State } from "./connection/Lifecycle.ts"
export {
  type Checks,
  callback,
  changedBy,
  checkOptions,
  flag,
  list,
  query,
  record,
  shown,
  text,
  whenRead,
} from "./connection/OptionChecks.ts"
export { type Peer, rawRequest } from "./connection/Peer.ts"
export { type ConnectionOptions, count, settings } from "./connection/Settings.ts"
export type { AcceptedStation } from "./server/AcceptedStation.ts"
export { ListenError } from "./server/HttpServer.ts"
export type { ServerOptions } from "./server/options.ts"
export { type ServerEvent, StationServer } from "./server/StationServer.ts"
export { accept, Rejected, reject } from "./server/Upgrade.ts"

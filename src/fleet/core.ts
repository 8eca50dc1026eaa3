/** What the fleet takes of the core beside its public modules, in one place. */
export { State } from "../connection/Lifecycle.ts"
export { type Checks, checkOptions, flag, whenRead } from "../connection/OptionChecks.ts"
export { detachable } from "../connection/Peer.ts"
export { count, millis } from "../connection/Settings.ts"
export { isTraced } from "../connection/Tracing.ts"
export { NotConnectedError } from "../server/StationServer.ts"

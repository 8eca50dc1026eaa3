/** What a call through the fleet can fail with. */
import type { CallFailure as LocalFailure } from "../Connection.ts"
import type { NotConnectedError } from "./core.ts"
import type { UnreachableError } from "./UnreachableError.ts"

export { CallQueueFullError, DisconnectedError, TimeoutError } from "../ConnectionError.ts"

/** What a call of a connected station can fail with. */
export type CallFailure = LocalFailure

/** What a call through the fleet can fail with. */
export type FleetFailure = CallFailure | NotConnectedError | UnreachableError

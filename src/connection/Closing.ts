/** How a connection ends. */
import { isSendableCode } from "../Transport.ts"
import { type Checks, checkOptions, flag } from "./OptionChecks.ts"

/** How a connection ended. */
export interface CloseInfo {
  /** The WebSocket close code; 1006 when the connection was lost without one. */
  readonly code: number
  readonly reason: string
}

/** How a connection is to end. */
export interface CloseOptions {
  /** The WebSocket close code. One that may not be sent becomes 1000. Default 1000. */
  readonly code?: number
  /** The close reason, at most 123 bytes of UTF-8; the rest is cut off. Default empty. */
  readonly reason?: string
  /** Whether calls in both directions may end first; new ones are refused meanwhile. Default `false`. */
  readonly awaitPending?: boolean
  /** Whether to drop the socket without a closing handshake. Default `false`. */
  readonly force?: boolean
}

const given = () => {}

const closeOptions: Checks<CloseOptions> = { code: given, reason: given, awaitPending: flag, force: flag }

/**
 * The same with a code and a reason that can be sent, whatever a program has given.
 *
 * @throws {RangeError} when there is no such option.
 */
export const sendable = (options: CloseOptions): CloseOptions => {
  checkOptions(options, closeOptions)
  const { code = 1000, reason } = options
  const isSendable = Number.isInteger(code) && isSendableCode(code)
  return { ...options, code: isSendable ? code : 1000, reason: String(reason ?? "") }
}

/** The options of a close, and how a connection ended. */
import { isSendableCode } from "../Transport.ts"
import { type Checks, checkOptions, flag } from "./OptionChecks.ts"

/** The end of a connection. */
export interface CloseInfo {
  /** The WebSocket close code; 1006 when the connection was lost without one. */
  readonly code: number
  readonly reason: string
}

/** The options of a close. */
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

/** A close whose code and reason can be sent. */
export interface Close extends CloseInfo {
  readonly awaitPending: boolean
  readonly force: boolean
}

const given = () => {}

const closeOptions: Checks<CloseOptions> = { code: given, reason: given, awaitPending: flag, force: flag }

/**
 * Makes a close of options that a program has given.
 *
 * @throws {RangeError} when there is no such option.
 */
export const closeOf = (options: CloseOptions): Close => {
  checkOptions(options, closeOptions)
  const { awaitPending = false, code = 1000, force = false, reason } = options
  const isSendable = Number.isInteger(code) && isSendableCode(code)
  return { code: isSendable ? code : 1000, reason: String(reason ?? ""), awaitPending, force }
}

/** Why a connection could not be opened. */
import type { ClientRequest, IncomingMessage } from "node:http"
import * as Data from "effect/Data"

/** The server could not be reached, or did not speak as a WebSocket server of the subprotocol should. */
export class ConnectError extends Data.TaggedError("ConnectError")<{
  readonly message: string
  readonly cause?: unknown
  /** `false` when trying again cannot help: the server speaks, but no subprotocol of ours, or no WebSocket at all. */
  readonly retryable: boolean
}> {}

/** The server answered the upgrade request with an ordinary HTTP response, for instance 401. */
export class UnexpectedHttpResponse extends Data.TaggedError("UnexpectedHttpResponse")<{
  readonly message: string
  /** The HTTP status code. */
  readonly code: number
}> {
  declare readonly request: ClientRequest
  /** Its body can be read, where it came whole within half a second. */
  declare readonly response: IncomingMessage

  /** @param body the beginning of the response's body */
  constructor(address: string, request: ClientRequest, response: IncomingMessage, body = "") {
    const code = response.statusCode ?? 0
    const status = `${address}: the server answered ${code} ${response.statusMessage ?? ""}`.trimEnd()
    super({ message: body === "" ? status : `${status}: ${body}`, code })
    // Not enumerable: the request holds the password, and whoever logs the error must not log that.
    Object.defineProperties(this, { request: { value: request }, response: { value: response } })
  }
}

/** A URL without what may be secret in it. */
export const addressOf = (url: string): string =>
  URL.canParse(url) ? `${new URL(url).origin}${new URL(url).pathname}` : url

/** Why a URL could not be dialled with an offer of subprotocols. */
export const connectError = (
  url: string,
  protocols: ReadonlyArray<string>,
  cause: unknown,
  retryable: boolean,
): ConnectError => {
  const reason = (cause instanceof Error ? cause.message : String(cause)).trim()
  const offer = reason.includes("subprotocol") ? ` (offered: ${protocols.join(", ") || "none"})` : ""
  return new ConnectError({ message: `${addressOf(url)}: ${reason}${offer}`, cause, retryable })
}

/** What the cause of a ConnectError says when the opening handshake failed; the first is in the words of `ws`. */
export const handshakeFailure = {
  noProtocol: "Server sent no subprotocol",
  timeout: "the opening handshake timed out",
} as const

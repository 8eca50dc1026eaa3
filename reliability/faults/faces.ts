/** Options in the words of either face. */
import type { Face, Options } from "./victim/commands.ts"

/** In milliseconds. */
export interface Durations {
  readonly callTimeout?: number
  readonly pingInterval?: number
  readonly handshakeTimeout?: number
  /** Reconnects about so long after a loss, again and again. Default: not at all. */
  readonly reconnect?: number
}

const effectWords = ({ reconnect, ...durations }: Durations): Options => ({
  ...durations,
  ...(reconnect === undefined ? undefined : { reconnect: { minimum: reconnect, range: 0 } }),
})

const promiseWords = ({ callTimeout, handshakeTimeout, pingInterval, reconnect }: Durations): Options => ({
  ...(callTimeout === undefined ? undefined : { callTimeoutMs: callTimeout }),
  ...(pingInterval === undefined ? undefined : { pingIntervalMs: pingInterval }),
  ...(handshakeTimeout === undefined ? undefined : { wsOpts: { handshakeTimeout } }),
  ...(reconnect === undefined
    ? undefined
    : { reconnect: true, backoff: { initialDelay: reconnect, maxDelay: reconnect, randomisationFactor: 0 } }),
})

/** The same options in the words of a face. */
export const wordsOf = (face: Face, durations: Durations): Options =>
  face === "effect" ? effectWords(durations) : promiseWords(durations)

/** A server or a station in the victim's process, and what is written down of it. */
import type * as Library from "../../../src/index.ts"
import type { CallSetup, Options, Outcome, Seen } from "../Program.ts"

export const library: typeof Library = await import(new URL("../../../dist/index.js", import.meta.url).href)

/** So much is kept of each kind; of what is over it is known how much it was. */
const kept = 1_000

/** What holds for all that is in this process. */
export const totals = {
  /** Handlers that run. */
  handlers: 0,
  /** Callers that wait. */
  calls: 0,
  fibers: 0,
  /** Errors of no class of the library. */
  untyped: [] as Array<string>,
}

export abstract class Subject {
  readonly seen: Array<Seen> = []
  readonly counts = new Map<string, number>()
  readonly handled: Array<{ readonly action: string; readonly payload: unknown; readonly messageId: string }> = []
  handledCount = 0
  authCount = 0

  /** How many connections there are. */
  abstract readonly connected: number
  abstract call(setup: CallSetup): Promise<unknown>
  abstract close(options: Options): Promise<unknown>
  abstract shutdown(): Promise<unknown>

  /** An event was told; `texts` is what an operator would log. */
  see(tag: string, identity: string | undefined, ...texts: ReadonlyArray<unknown>): void {
    const count = (this.counts.get(tag) ?? 0) + 1
    this.counts.set(tag, count)
    if (count > kept || texts.length === 0) return
    this.seen.push({ tag, identity, text: texts.join(" ") })
  }

  /** A handler begins; what is returned is called when it has ended, however often. */
  arrive(action: string, payload: unknown, messageId: string): () => void {
    totals.handlers++
    if (action !== "Heartbeat") {
      this.handledCount++
      if (this.handled.length < kept) this.handled.push({ action, payload, messageId })
    }
    let isRunning = true
    return () => {
      if (isRunning) totals.handlers--
      isRunning = false
    }
  }
}

const typedTags = new Set([
  "TimeoutError",
  "DisconnectedError",
  "CallQueueFullError",
  "ConnectError",
  "UnexpectedHttpResponse",
  "NotConnectedError",
  "ListenError",
])

export const messageOf = (error: unknown): string => {
  try {
    return error instanceof Error ? error.message : String(error)
  } catch {
    return ""
  }
}

const failure = (error: unknown, isTyped: (error: unknown) => boolean): Outcome => {
  const { _tag, code, receivedCode } = Object(error) as {
    readonly _tag?: string
    readonly code?: string | number
    readonly receivedCode?: string
  }
  const message = messageOf(error)
  const tag = library.isRPCError(error) ? "RPCError" : typedTags.has(_tag ?? "") ? `${_tag}` : ""
  if (tag === "" && !isTyped(error)) totals.untyped.push(message)
  return { ok: false, tag, code, receivedCode, message }
}

/** How something has ended; until then its caller counts as waiting. */
export const settle = async (
  promise: Promise<unknown>,
  isTyped: (error: unknown) => boolean = () => false,
): Promise<Outcome> => {
  totals.calls++
  try {
    return { ok: true, value: await promise }
  } catch (error) {
    return failure(error, isTyped)
  } finally {
    totals.calls--
  }
}

export const defaultHandlers = { Heartbeat: "heartbeat", BootNotification: "boot", DataTransfer: "accepted" }

export const everyProtocol = ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]

/** A server or a station in the victim's process, with a record of what has happened to it. */
import { library } from "../../processes/library.ts"
import type { CallSetup, Face, Handled, Options, Outcome, Seen } from "./commands.ts"

/** The record holds so many of each kind, and the number of all. */
const kept = 1_000

/** Counts of everything in this process. */
export const totals = {
  /** Handlers that run. */
  handlers: 0,
  /** Decisions of `auth` that are awaited. */
  auths: 0,
  /** Callers that wait. */
  calls: 0,
  fibers: 0,
  /** Errors of no class of the library. */
  untyped: [] as Array<string>,
}

export abstract class Subject {
  readonly face: Face = "effect"
  readonly seen: Array<Seen> = []
  readonly counts = new Map<string, number>()
  readonly handled: Array<Handled> = []
  handledCount = 0
  authCount = 0
  readonly connectedAt: Array<number> = []
  readonly #numbers = new Set<string>()
  /** The number of numbered calls that came twice. */
  repeated = 0

  /** Is told of every event, too. */
  passOn: ((tag: string, text: string) => void) | undefined

  /** The number of its connections. */
  abstract readonly connected: number
  abstract call(setup: CallSetup, signal?: AbortSignal): Promise<unknown>
  abstract close(options: Options): Promise<unknown>
  abstract shutdown(): Promise<unknown>

  /** Records an event; `texts` are those that an operator would log. */
  see(tag: string, identity: string | undefined, ...texts: ReadonlyArray<unknown>): void {
    const count = (this.counts.get(tag) ?? 0) + 1
    this.counts.set(tag, count)
    this.passOn?.(tag, texts.join(" "))
    if (tag === "Connected") this.connectedAt.push(Date.now())
    if (count > kept || texts.length === 0) return
    this.seen.push({ tag, identity, text: texts.join(" ") })
  }

  /** Records that a handler begins. The returned function says that it has ended; only its first call counts. */
  arrive(action: string, payload: unknown, messageId: string): () => void {
    totals.handlers++
    if (action !== "Heartbeat") {
      this.handledCount++
      if (this.handled.length < kept) this.handled.push({ action, payload, messageId })
    }
    this.#number(payload)
    let isRunning = true
    return () => {
      if (isRunning) totals.handlers--
      isRunning = false
    }
  }

  #number(payload: unknown): void {
    const { n, of } = Object(payload) as { readonly n?: unknown; readonly of?: unknown }
    if (typeof n !== "number") return
    const number = `${of} ${n}`
    if (this.#numbers.has(number)) this.repeated++
    this.#numbers.add(number)
  }

  /** Records that `auth` is asked. The returned function says that it has decided; the signal, that it need not any more. */
  ask(signal: AbortSignal): () => void {
    this.authCount++
    totals.auths++
    let isRunning = true
    const done = () => {
      if (isRunning) totals.auths--
      isRunning = false
    }
    signal.addEventListener("abort", done, { once: true })
    return done
  }
}

/** Counts outcomes by tag, `ok` for success. */
export const tally = (outcomes: ReadonlyArray<Outcome>): Record<string, number> => {
  const tags: Record<string, number> = {}
  for (const outcome of outcomes) count(tags, outcome)
  return tags
}

export const count = (tags: Record<string, number>, outcome: Outcome): void => {
  const tag = outcome.ok ? "ok" : outcome.tag
  tags[tag] = (tags[tag] ?? 0) + 1
}

/** Options of a socket that cannot send its first frames. */
export const jammed = (frames: number) => {
  let left = frames
  return {
    generateMask: () => {
      if (left-- > 0) throw new Error("no mask")
    },
  }
}

export const timeoutSignal = (millis: number | undefined): AbortSignal | undefined =>
  millis === undefined ? undefined : AbortSignal.timeout(millis)

/** The payload of the n-th of many calls. */
export const payloadOf = ({ numbered = false, payload }: CallSetup, n: number): unknown =>
  numbered ? { ...(payload as object | undefined), n } : payload

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

/** Waits for the end of something; until then its caller counts as waiting. */
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

/** One end of a connection over a link: its messages are subject to the link's faults. */

import type { Side } from "../../connection/Connection.ts"
import type { Deadlines } from "../../connection/Deadlines.ts"
import { millis } from "../../connection/Settings.ts"
import type { Listener, Transport } from "../../Transport.ts"
import type { Verdict } from "../Faults.ts"
import { Lane } from "./Lane.ts"

/** A link, as the ends of its connections see it. */
export interface Line {
  readonly state: "up" | "cut" | "halfOpen"
  readonly deadlines: Deadlines
  readonly judge: (from: Side, text: string) => Verdict
  readonly become: (verdict: "reset" | "cut" | "halfOpen") => void
  readonly remove: (end: LinkEnd) => void
}

export class LinkEnd implements Transport {
  readonly bufferedAmount = 0
  readonly side: Side
  readonly #line: Line
  readonly #inner: Transport
  readonly #lane: Lane
  #listener: Listener | undefined
  /** Messages that wait for the next one, to arrive behind it. */
  #swapped: Array<string> = []
  #state: "open" | "closing" | "closed" = "open"
  /** Whether it was dropped while the link was half-open, so that the other end does not know. */
  #isLost = false

  constructor(line: Line, inner: Transport, side: Side) {
    this.#line = line
    this.#inner = inner
    this.side = side
    this.#lane = new Lane(line.deadlines)
  }

  get protocol(): string {
    return this.#inner.protocol
  }

  get writable(): boolean {
    return this.#state === "open" && this.#inner.writable
  }

  listen(listener: Listener): void {
    this.#listener = listener
    if (this.#isLost) return queueMicrotask(() => this.#end(1006, ""))
    this.#inner.listen({
      onMessage: (text) => this.#state !== "closed" && listener.onMessage(text),
      onPing: () => this.#state !== "closed" && listener.onPing(),
      onPong: () => this.#state !== "closed" && listener.onPong(),
      onError: (error) => listener.onError(error),
      onClose: (code, reason) => this.#end(code, reason),
    })
  }

  send(message: string | Uint8Array): void {
    if (!this.writable) return
    const text = typeof message === "string" ? message : new TextDecoder().decode(message)
    const verdict = this.#line.judge(this.side, text)
    if (typeof verdict === "object") {
      if ("replace" in verdict) return this.#put(0, verdict.replace)
      return this.#put(millis("delay", verdict.delay), text)
    }
    switch (verdict) {
      case "deliver":
        return this.#put(0, text)
      case "drop":
        return
      case "duplicate":
        return this.#put(0, text, text)
      case "swap":
        this.#swapped.push(text)
        return
      default:
        return this.#line.become(verdict)
    }
  }

  #put(delay: number, ...texts: ReadonlyArray<string>): void {
    const all = [...texts, ...this.#swapped.splice(0)]
    this.#push(delay, () => {
      for (const text of all) this.#inner.send(text)
    })
  }

  #push(delay: number, deliver: () => void): void {
    this.#lane.push(delay, () => {
      if (this.#line.state !== "halfOpen") deliver()
    })
  }

  ping(): void {
    if (this.writable) this.#push(0, () => this.#inner.ping())
  }

  close(code: number, reason: string): void {
    if (!this.writable) return
    this.#state = "closing"
    this.#push(0, () => this.#inner.close(code, reason))
  }

  terminate(): void {
    if (this.#state === "closed") return
    this.#lane.clear()
    if (this.#state === "open") this.#state = "closing"
    if (this.#line.state !== "halfOpen") return this.#inner.terminate()
    this.#isLost = true
    queueMicrotask(() => this.#end(1006, ""))
  }

  /** Ends the connection with 1006 at both ends. */
  drop(): void {
    if (this.#state === "closed") this.#line.remove(this)
    this.#lane.clear()
    this.#inner.terminate()
  }

  /** Delivers now what is on its way. */
  flush(): void {
    this.#lane.flush()
  }

  /** Tells the other end, now that the link carries again, if this one is gone. */
  healed(): void {
    if (this.#isLost) this.drop()
  }

  #end(code: number, reason: string): void {
    // An end that is not listened to tells later.
    if (this.#state === "closed" || this.#listener === undefined) return
    this.#state = "closed"
    this.#lane.clear()
    // The link needs a lost end until it heals, to tell the other.
    if (!this.#isLost) this.#line.remove(this)
    this.#listener.onClose(code, reason)
  }
}

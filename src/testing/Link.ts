/**
 * The line between a station and its CSMS. It outlives the connections that it carries: it can be cut, go half-open and
 * heal, and messages over it can be lost, delayed, doubled and swapped.
 *
 * {@link Network} has a link for every identity. {@link make} makes one for connections of your own:
 *
 * ```ts
 * const link = yield* Link.make({ csms: ["drop"] }) // the first message of the CSMS is lost
 * const { station, csms } = yield* link.connect("ocpp1.6")
 * ```
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { ConnectError } from "../ConnectError.ts"
import type { Side } from "../connection/Connection.ts"
import * as Deadlines from "../connection/Deadlines.ts"
import { guarded, makePair, type Transport } from "../Transport.ts"
import * as Faults from "./Faults.ts"
import { type Line, LinkEnd } from "./link/LinkEnd.ts"

/** The two ends of a connection. */
export interface Ends {
  readonly station: Transport
  readonly csms: Transport
}

/** The line between a station and its CSMS. */
export interface Link {
  readonly state: "up" | "cut" | "halfOpen"
  /** Opens a connection and gives its two ends. Fails while the link is cut; waits while it is half-open. */
  readonly connect: (protocol?: string) => Effect.Effect<Ends, ConnectError>
  /**
   * Puts the link in front of a transport of any kind, a WebSocket for instance. `side` is the side that will use the
   * resulting transport. Pings are answered by the link, not by the other end.
   */
  readonly through: (transport: Transport, side: Side) => Effect.Effect<Transport, ConnectError>
  /** Sets the policy for messages from now on. */
  readonly setFaults: (policy: Faults.Policy) => Effect.Effect<void>
  /** Drops the connections: both ends close with 1006. The next `connect` succeeds. */
  readonly reset: Effect.Effect<void>
  /** Drops the connections, and lets nobody connect until it heals. */
  readonly cut: Effect.Effect<void>
  /**
   * Lets nothing through any more, and tells nobody: messages, pings and closing handshakes are lost, and who connects
   * waits. Heal it before the test ends: a close takes its whole `closeTimeout` otherwise.
   */
  readonly halfOpen: Effect.Effect<void>
  /** Carries again. Lost messages stay lost; where one end has given up, the other is dropped now. */
  readonly heal: Effect.Effect<void>
}

/** Makes a link that is up. */
export const make = (faults: Faults.Policy = Faults.none): Effect.Effect<Link> =>
  Effect.map(Clock.Clock, (clock) => new MemoryLink(faults, Deadlines.of(clock)))

type Change = Link["state"] | "reset"

/** A {@link Link}, with what {@link Network} and the ends of its connections need beside it. */
export class MemoryLink implements Link, Line {
  readonly deadlines: Deadlines.Deadlines
  state: Link["state"] = "up"
  #policy: Faults.Policy
  readonly #ends = new Set<LinkEnd>()
  readonly #sent = { station: 0, csms: 0 }
  /** Functions that are called after each change. */
  readonly #watchers = new Set<(change: Change) => void>()

  constructor(faults: Faults.Policy, deadlines: Deadlines.Deadlines) {
    this.#policy = faults
    this.deadlines = deadlines
  }

  connect(protocol = ""): Effect.Effect<Ends, ConnectError> {
    return Effect.map(this.reached, () => this.pair(protocol))
  }

  through(transport: Transport, side: Side): Effect.Effect<Transport, ConnectError> {
    return Effect.map(this.connect(transport.protocol), (ends) => {
      join(transport, ends[side === "station" ? "csms" : "station"])
      return ends[side]
    })
  }

  /** Succeeds when the other side can be reached. */
  get reached(): Effect.Effect<void, ConnectError> {
    return Effect.callback((resume) => {
      const look = () => {
        if (this.state === "halfOpen") return
        this.#watchers.delete(look)
        if (this.state === "up") resume(Effect.void)
        else resume(new ConnectError({ message: "the link is cut", retryable: true }))
      }
      this.#watchers.add(look)
      look()
      return Effect.sync(() => this.#watchers.delete(look))
    })
  }

  /** Calls `onLost` when connections are dropped. The returned function ends that. */
  watch(onLost: () => void): () => void {
    const look = (change: Change) => (change === "reset" || change === "cut") && onLost()
    this.#watchers.add(look)
    return () => this.#watchers.delete(look)
  }

  pair(protocol: string): Ends {
    const [a, b] = makePair(protocol)
    const station = new LinkEnd(this, a, "station")
    const csms = new LinkEnd(this, b, "csms")
    this.#ends.add(station).add(csms)
    return { station, csms }
  }

  judge(from: Side, text: string): Faults.Verdict {
    const index = this.#sent[from]++
    let verdict: Faults.Verdict = "deliver"
    guarded(() => {
      verdict = Faults.judge(this.#policy, from, index, text)
    })
    return verdict
  }

  remove(end: LinkEnd): void {
    this.#ends.delete(end)
  }

  become(change: Change): void {
    this.state = change === "reset" ? "up" : change
    for (const end of this.#ends) {
      if (change === "up") end.healed()
      else if (change !== "halfOpen") end.drop()
    }
    for (const tell of this.#watchers) tell(change)
  }

  setFaults(policy: Faults.Policy): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#policy = policy
    })
  }

  readonly reset = Effect.sync(() => this.become("reset"))
  readonly cut = Effect.sync(() => this.become("cut"))
  readonly halfOpen = Effect.sync(() => this.become("halfOpen"))
  readonly heal = Effect.sync(() => this.become("up"))

  /**
   * Lets the ends of these sides close without time passing: what they have sent arrives now, and over a half-open link they
   * give up.
   */
  leave(...sides: ReadonlyArray<Side>): void {
    for (const end of this.#ends) {
      if (!sides.includes(end.side)) continue
      if (this.state === "halfOpen") end.terminate()
      else end.flush()
    }
  }
}

/** Sends everything that comes out of one transport into the other. */
const join = (a: Transport, b: Transport): void => {
  const ignore = () => {}
  const into = (other: Transport) => ({
    onMessage: (text: string) => other.send(text),
    onPing: ignore,
    onPong: ignore,
    onError: ignore,
    onClose: (code: number, reason: string) => (code === 1006 ? other.terminate() : other.close(code, reason)),
  })
  a.listen(into(b))
  b.listen(into(a))
}

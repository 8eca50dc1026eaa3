import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Action from "../../src/Action.ts"
import * as Connection from "../../src/Connection.ts"
import type * as Handlers from "../../src/Handlers.ts"
import * as Protocol from "../../src/Protocol.ts"
import * as Transport from "../../src/Transport.ts"
import { settled } from "../../src/testing/settled.ts"

export { settled }

const text = Schema.Struct({ text: Schema.String })

/** A small subprotocol with everything in it: calls of both sides, and SENDs. */
export const Echo = Protocol.make(
  "echo1.0",
  [
    Action.make("Echo", { request: text, response: text }),
    Action.make("Slow", { request: text, response: text }),
    Action.makeSend("Note", { request: text }),
  ],
  { extendedFrames: true },
)

/** The other end of a connection, written out by hand: it keeps what it gets, and sends what the test says. */
export class RawPeer {
  readonly transport: Transport.Transport
  readonly received: Array<string> = []
  readonly closes: Array<{ readonly code: number; readonly reason: string }> = []
  pings = 0

  constructor(transport: Transport.Transport) {
    this.transport = transport
    transport.listen({
      onMessage: (message) => this.received.push(message),
      onPing: () => this.pings++,
      onPong: () => {},
      onError: () => {},
      onClose: (code, reason) => this.closes.push({ code, reason }),
    })
  }

  /** Sends a frame given as its array, or any text. */
  send(frame: ReadonlyArray<unknown> | string): Effect.Effect<void> {
    return Effect.andThen(
      Effect.sync(() => this.transport.send(typeof frame === "string" ? frame : JSON.stringify(frame))),
      settled,
    )
  }

  /** Takes the frames that were received since the last time, parsed. */
  take(): ReadonlyArray<ReadonlyArray<any>> {
    return this.received.splice(0).map((message) => JSON.parse(message))
  }
}

/** Dials in memory, at once. The peers that it has reached are there to be looked at. */
export const dialling = () => {
  const peers: Array<RawPeer> = []
  const dial = () =>
    Effect.sync(() => {
      const [ours, theirs] = Transport.makePair(Echo.name)
      peers.push(new RawPeer(theirs))
      return ours
    })
  return { dial, peers }
}

/** A transport with some members of the test's in place of its own. */
export const altered = (transport: Transport.Transport, own: Partial<Transport.Transport>): Transport.Transport =>
  new Proxy(transport, {
    get: (target, key) => {
      if (key in own) return Reflect.get(own, key)
      const value = Reflect.get(target, key, target)
      return typeof value === "function" ? value.bind(target) : value
    },
  })

/** Connects: the CSMS is ours, the peer at the other end is written out by hand. */
export const connect = Effect.fnUntraced(function* <R = never>(
  options: Connection.Options & {
    readonly handlers?: ReadonlyArray<Handlers.Handlers<"station", R>>
    readonly protocol?: Protocol.Protocol
    readonly wrap?: (transport: Transport.Transport) => Transport.Transport
  } = {},
) {
  const { protocol = Echo, wrap = (transport: Transport.Transport) => transport, ...others } = options
  const [ours, theirs] = Transport.makePair(protocol.name)
  const peer = new RawPeer(theirs)
  const events: Array<Connection.Event> = []
  const connection = yield* Connection.make(wrap(ours), { ...others, side: "csms", protocol })
  connection.subscribe((event) => events.push(event))
  return { connection, peer, events }
})

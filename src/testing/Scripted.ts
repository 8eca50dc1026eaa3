/**
 * One side of a connection, written out by the test: expect this, answer that, break here.
 *
 * {@link csms} is a CSMS to test a station against, {@link Network.scripted} a station to test a CSMS against, {@link peer}
 * either, over a transport of your own. An expectation looks at the next thing that comes. It fails with
 * {@link ExpectationError} when that is something else; or when nothing comes, after a second of real time, whatever the
 * Effect `Clock` says.
 *
 * ```ts
 * const csms = yield* Scripted.csms(Ocpp16)
 * const client = yield* Client.makeWith(csms.dial, { identity: "CP001", protocols: [Ocpp16] })
 * const peer = yield* csms.accept
 * const boot = yield* Effect.forkChild(client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" }))
 * const call = yield* peer.expectCall(Ocpp16.BootNotification)
 * yield* peer.answer(call, { status: "Pending", currentTime: "2026-01-01T00:00:00Z", interval: 60 })
 * ```
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Dial } from "../Client.ts"
import { connectError, handshakeFailure } from "../ConnectError.ts"
import type { Side } from "../connection/Connection.ts"
import type { Subprotocol } from "../Subprotocol.ts"
import type { Transport } from "../Transport.ts"
import * as Link from "./Link.ts"
import { defaultPatience, type ExpectationError, Inbox } from "./scripted/Inbox.ts"
import type { Options, Peer } from "./scripted/Peer.ts"
import { makeUnsafe } from "./scripted/ScriptedPeer.ts"

export { ExpectationError } from "./scripted/Inbox.ts"
export type { Options, Peer, Received } from "./scripted/Peer.ts"

/** A scripted peer at one end of a transport, which it listens to from now on. */
export const peer = <Self extends Side>(transport: Transport, options: Options<Self>): Effect.Effect<Peer<Self>> =>
  Effect.sync(() => makeUnsafe(transport, options))

/** A CSMS that is nothing but its script. */
export interface Csms {
  /** Connects a station: for `Client.makeWith` and `Client.makeUnconnected`. */
  readonly dial: Dial
  /** The next connection that a station has opened, in order. */
  readonly accept: Effect.Effect<Peer<"csms">, ExpectationError>
  /** The line to it: cut, a station cannot connect. */
  readonly link: Link.Link
}

/** A CSMS that is nothing but its script, and speaks one subprotocol. */
export const csms = (protocol: Subprotocol, options: Pick<Options<"csms">, "patience"> = {}): Effect.Effect<Csms> =>
  Effect.gen(function* () {
    const link = yield* Link.make()
    const accepted = yield* Queue.unbounded<Peer<"csms">>()
    const dial: Dial = Effect.fnUntraced(function* (offered) {
      const ends = yield* link.connect(protocol.name)
      if (protocol.name !== "" && !offered.includes(protocol.name)) {
        return yield* connectError("ws://csms", offered, new Error(handshakeFailure.noProtocol), false)
      }
      Queue.offerUnsafe(accepted, makeUnsafe(ends.csms, { ...options, side: "csms", protocol }))
      return ends.station
    })
    const inbox = new Inbox(options.patience ?? defaultPatience)
    return { dial, link, accept: inbox.patiently("a connection", Queue.take(accepted)) }
  })

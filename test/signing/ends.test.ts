/** Two ends of a connection in memory that sign and verify, as a connection is to do it. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { RPCNotSupportedError } from "../../src/RPCError.ts"
import * as Signing from "../../src/Signing.ts"
import type { Subprotocol } from "../../src/Subprotocol.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import * as Transport from "../../src/Transport.ts"
import { settled } from "../../src/testing/settled.ts"
import { End, type Handle } from "./support/End.ts"
import { believed, keys, signerOf } from "./support/vectors.ts"

const station = signerOf("station")
const csms = signerOf("rsa")

interface Options {
  readonly subprotocol?: Subprotocol
  readonly station?: Signing.MakeOptions
  readonly csms?: Signing.MakeOptions
  readonly handle?: Handle
  readonly limits?: { readonly maxMessages: number }
  readonly fork?: typeof Effect.runFork
}

/** A station, a CSMS, and the Transport of the station, by which a test can say what it likes. */
const connect = ({ subprotocol = Ocpp21, station, csms, ...options }: Options) => {
  const [a, b] = Transport.makePair(subprotocol.name)
  return {
    line: a,
    station: new End(a, { subprotocol, signing: Signing.make(station), ...(options.fork && { fork: options.fork }) }),
    csms: new End(b, { subprotocol, signing: Signing.make(csms), ...options }),
  }
}

const actionsOf = (texts: ReadonlyArray<string>) => texts.map((text) => JSON.parse(text)[2])

/** A handler that notes what it is given, and by whom it was signed. */
const noting = () => {
  const notes: Array<string> = []
  const handle: Handle = (request) =>
    Effect.map(Signing.Signed, (signed) => {
      const by = signed === undefined ? "" : ` by ${signed.key?.subject ?? "someone"}`
      notes.push(`${request.action}${by}`)
      return { status: "Accepted" }
    })
  return { handle, notes }
}

/** Waits for what the threads of the cryptography are to bring, turn by turn. */
const until = (holds: () => boolean) =>
  Effect.promise(async () => {
    while (!holds()) await new Promise(setImmediate)
  })

/** Signs only once it is told to. */
const slow = (signer: Signing.Signer) => {
  const go = Deferred.makeUnsafe<void>()
  return {
    go,
    signer: { ...signer, sign: (input: Uint8Array) => Effect.andThen(Deferred.await(go), signer.sign(input)) },
  }
}

describe("two ends that sign", () => {
  it.effect("understand each other, and know by whom they are spoken to", () =>
    Effect.gen(function* () {
      const { handle, notes } = noting()
      const ends = connect({
        station: { signer: station, sign: "everything", verify: "required", keys: believed },
        csms: { signer: csms, verify: "required", keys: believed },
        handle,
      })
      const answer = yield* ends.station.call("BootNotification", { reason: "PowerUp" })
      expect(answer.payload).toEqual({ status: "Accepted" })
      expect(answer.signed?.key?.subject).toBe("CN=rsa")
      ends.station.send("NotifyPeriodicEventStream", { id: 1 })
      yield* until(() => notes.length === 2)
      expect(notes).toEqual(["BootNotification by CN=station", "NotifyPeriodicEventStream by CN=station"])
      expect(actionsOf(ends.csms.received)).toEqual(["BootNotification-Signed", "NotifyPeriodicEventStream-Signed"])
      expect(ends.csms.received.join()).not.toContain("PowerUp")
    }),
  )

  it.effect("answer what is signed signed, and what is not plainly", () =>
    Effect.gen(function* () {
      const ends = connect({ station: { signer: station, sign: ["BootNotification"] }, csms: { signer: csms } })
      expect((yield* ends.station.call("BootNotification", {})).signed).toMatchObject({ verified: false })
      expect((yield* ends.station.call("Heartbeat", {})).signed).toBeUndefined()
    }),
  )

  it.effect("understand what is signed where they have no key, and answer it plainly", () =>
    Effect.gen(function* () {
      const { handle, notes } = noting()
      const ends = connect({ station: { signer: station, sign: "everything" }, handle })
      expect((yield* ends.station.call("Heartbeat", {})).signed).toBeUndefined()
      expect(notes).toEqual(["Heartbeat by someone"])
    }),
  )

  it.effect("sign nothing where the subprotocol is 1.6, whatever is asked of them", () =>
    Effect.gen(function* () {
      const { handle, notes } = noting()
      const options: Signing.MakeOptions = { signer: station, sign: "everything", verify: "required", keys: believed }
      const ends = connect({ subprotocol: Ocpp16, station: options, csms: options, handle })
      expect((yield* ends.station.call("Heartbeat", {})).signed).toBeUndefined()
      yield* ends.station.call("Heartbeat-Signed", {})
      expect(notes).toEqual(["Heartbeat", "Heartbeat-Signed"])
    }),
  )

  it.effect("say no in plain words: errors are not signed", () =>
    Effect.gen(function* () {
      const ends = connect({
        station: { signer: station, sign: "everything", verify: "required", keys: believed },
        csms: { signer: csms, sign: "everything", verify: "required", keys: believed },
        handle: () => new RPCNotSupportedError("not here"),
      })
      const error = yield* Effect.flip(ends.station.call("Reset", {}))
      expect(error).toMatchObject({ code: "NotSupported", message: "not here" })
      expect(ends.station.received).toEqual(['[4,"1","NotSupported","not here",{}]'])
    }),
  )
})

describe("what is refused", () => {
  it.effect("is answered with its error, and no handler sees it", () =>
    Effect.gen(function* () {
      const { handle, notes } = noting()
      const ends = connect({ csms: { verify: "required", keys: believed }, handle })
      expect(yield* Effect.flip(ends.station.call("Reset", {}))).toMatchObject({ code: "SecurityError" })
      ends.station.send("NotifyPeriodicEventStream", {})
      const formless = ends.station.call("Reset-Signed", { type: "Immediate" })
      expect(yield* Effect.flip(formless)).toMatchObject({ code: "FormatViolation" })
      expect(notes).toEqual([])
    }),
  )

  it.effect("is a result that is not signed as it must be: the call fails", () =>
    Effect.gen(function* () {
      const ends = connect({ station: { signer: station, sign: "everything", verify: "required", keys: believed } })
      const error = yield* Effect.flip(ends.station.call("Reset", {}))
      expect(error).toMatchObject({ code: "SecurityError", message: "the message must be signed" })
    }),
  )

  it.effect("is an old result that is sent again as that of another action", () =>
    Effect.gen(function* () {
      const signing: Signing.MakeOptions = { signer: station, sign: "everything", verify: "required", keys: believed }
      const first = connect({
        station: signing,
        csms: { signer: csms, sign: "everything", verify: "ifPresent", keys: believed },
      })
      yield* first.station.call("Reset", {})
      const [old] = first.station.received
      if (old === undefined) throw new Error("no result")
      const [line, other] = Transport.makePair()
      const victim = new End(line, { subprotocol: Ocpp21, signing: Signing.make(signing) })
      const fiber = yield* Effect.forkChild(Effect.flip(victim.call("GetLog", {})), { startImmediately: true })
      other.send(old)
      expect(yield* Fiber.join(fiber)).toMatchObject({
        message: "the signature is refused: it was made for another action",
      })
    }),
  )

  it.effect("is the message of a signer that fails: the call fails, the request is answered with InternalError", () =>
    Effect.gen(function* () {
      const broken = Signing.signer({ algorithm: "ES256", sign: () => Effect.fail("broken") })
      const fork = Effect.runForkWith(yield* Effect.provide(Effect.context<never>(), Logger.layer([])))
      const ours = connect({ station: { signer: broken, sign: "everything" }, fork })
      const error = yield* Effect.flip(ours.station.call("Reset", {}))
      expect(error).toMatchObject({ code: "InternalError", message: "Reset could not be signed" })
      expect(ours.csms.received).toEqual([])
      const theirs = connect({ csms: { signer: broken, sign: "everything" }, fork })
      expect(yield* Effect.flip(theirs.station.call("Reset", {}))).toMatchObject({ code: "InternalError" })
    }),
  )

  it.effect("is what comes while too much waits", () =>
    Effect.gen(function* () {
      const never = { find: () => Effect.never }
      const ends = connect({
        station: { signer: station, sign: ["Reset"] },
        csms: { verify: "ifPresent", keys: never },
        limits: { maxMessages: 1 },
      })
      yield* Effect.forkChild(ends.station.call("Reset", {}), { startImmediately: true })
      yield* until(() => ends.csms.received.length === 1)
      expect(yield* Effect.flip(ends.station.call("Heartbeat", {}))).toMatchObject({ code: "GenericError" })
    }),
  )
})

describe("the order of messages", () => {
  it.effect("is kept on the way out: what is not signed waits for what is being signed", () =>
    Effect.gen(function* () {
      const { go, signer } = slow(station)
      const ends = connect({ station: { signer, sign: ["Reset", "GetLog"] } })
      const calls = yield* Effect.forkChild(
        Effect.forEach(["Reset", "Heartbeat", "GetLog", "Authorize"], (action) => ends.station.call(action, {}), {
          concurrency: "unbounded",
        }),
        { startImmediately: true },
      )
      yield* settled
      expect(ends.csms.received).toEqual([])
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(calls)
      expect(actionsOf(ends.csms.received)).toEqual(["Reset-Signed", "Heartbeat", "GetLog-Signed", "Authorize"])
    }),
  )

  it.effect("is kept on the way in: what is not signed waits for what is being verified", () =>
    Effect.gen(function* () {
      const found = Deferred.makeUnsafe<void>()
      const { handle, notes } = noting()
      const keysOf = (pem: string) => Option.some(Signing.verificationKey(pem))
      const slowly = { find: () => Effect.as(Deferred.await(found), keysOf(keys.station.certificate)) }
      const ends = connect({
        station: { signer: station, sign: ["Reset"] },
        csms: { verify: "ifPresent", keys: slowly },
        handle,
      })
      ends.station.send("Before", {})
      const reset = yield* Effect.forkChild(ends.station.call("Reset", {}), { startImmediately: true })
      ends.station.send("Behind", {})
      yield* until(() => ends.csms.received.length === 3)
      expect(notes).toEqual(["Before"])
      yield* Deferred.succeed(found, undefined)
      yield* Fiber.join(reset)
      expect(notes).toEqual(["Before", "Reset by CN=station", "Behind"])
    }),
  )

  it.effect("holds between a result and the request behind it", () =>
    Effect.gen(function* () {
      const { go, signer } = slow(csms)
      const ends = connect({ station: { signer: station, sign: "everything" }, csms: { signer } })
      const boot = yield* Effect.forkChild(ends.station.call("BootNotification", {}), { startImmediately: true })
      yield* until(() => ends.csms.received.length === 1)
      yield* settled
      const reset = yield* Effect.forkChild(ends.csms.call("Reset", {}), { startImmediately: true })
      yield* settled
      expect(ends.station.received).toEqual([])
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(boot)
      yield* Fiber.join(reset)
      expect(ends.station.received.map((text) => JSON.parse(text)[0])).toEqual([3, 2])
    }),
  )

  it.effect("lets nothing wait that follows nothing signed: it is written and handled in the same tick", () =>
    Effect.gen(function* () {
      const { handle, notes } = noting()
      const [line, other] = Transport.makePair()
      const written: Array<string> = []
      const tapped: Transport.Transport = {
        ...{ protocol: "", bufferedAmount: 0, writable: true },
        listen: (listener) => line.listen(listener),
        send: (text) => written.push(String(text)),
        ping: () => {},
        close: () => {},
        terminate: () => {},
      }
      const end = new End(tapped, {
        subprotocol: Ocpp21,
        signing: Signing.make({ signer: station, sign: ["Reset"], verify: "ifPresent", keys: believed }),
        handle,
      })
      end.send("Note", {})
      expect(written).toEqual(['[6,"1","Note",{}]'])
      end.onMessage('[2,"9","Heartbeat",{}]')
      expect(notes).toEqual(["Heartbeat"])
      expect(written[1]).toBe('[3,"9",{"status":"Accepted"}]')
      other.terminate()
    }),
  )

  it.effect("is that of those who stay: a call that is taken back while it is being signed is never sent", () =>
    Effect.gen(function* () {
      const { go, signer } = slow(station)
      const ends = connect({ station: { signer, sign: ["Reset"] } })
      const first = yield* Effect.forkChild(ends.station.call("Reset", {}), { startImmediately: true })
      const second = yield* Effect.forkChild(ends.station.call("Heartbeat", {}), { startImmediately: true })
      const third = yield* Effect.forkChild(ends.station.call("Authorize", {}), { startImmediately: true })
      yield* Fiber.interrupt(second)
      yield* Fiber.interrupt(first)
      yield* Fiber.join(third)
      yield* Deferred.succeed(go, undefined)
      yield* settled
      expect(actionsOf(ends.csms.received)).toEqual(["Authorize"])
      expect(Exit.hasInterrupts(yield* Fiber.await(first))).toBe(true)
    }),
  )

  it.effect("ends with the connection: what is being signed is interrupted", () =>
    Effect.gen(function* () {
      const { go, signer } = slow(station)
      const ends = connect({ station: { signer, sign: "everything" } })
      ends.station.send("Note", {})
      ends.line.close(1000, "")
      yield* settled
      yield* Deferred.succeed(go, undefined)
      yield* settled
      expect(ends.csms.received).toEqual([])
    }),
  )
})

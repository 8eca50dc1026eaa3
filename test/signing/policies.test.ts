/** What is signed, what is asked for, and what is done where neither is anybody's business. */
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Frame from "../../src/Frame.ts"
import * as Signing from "../../src/Signing.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../../src/schemas/ocpp201.ts"
import { frame, open, receive, sessionOf, sign } from "./support/session.ts"
import { believed, frameOf, keys, published, signerOf, vectors } from "./support/vectors.ts"

const signer = signerOf("station")

const call = (action = "BootNotification"): Frame.Call => ({ _tag: "Call", messageId: "1", action, payload: {} })

const signedCall = (action: string) =>
  Effect.map(sign(sessionOf({ signer, sign: "everything" }), { kind: "Call", action }, "{}"), (jws) =>
    frame({ kind: "Call", action }, jws),
  )

describe("what is signed", () => {
  it("is nothing without a signer, and nothing where nothing is asked for", () => {
    for (const session of [sessionOf(), sessionOf({ signer }), sessionOf({ signer, sign: "nothing" })]) {
      expect(session.request("Call", "Reset")).toBeUndefined()
      expect(session.request("Send", "NotifyPeriodicEventStream")).toBeUndefined()
      expect(session.result(call())).toBeUndefined()
    }
  })

  it("is everything: requests, SENDs and results", () => {
    const session = sessionOf({ signer, sign: "everything" })
    expect(session.request("Call", "Reset")).toBeTypeOf("function")
    expect(session.request("Send", "NotifyPeriodicEventStream")).toBeTypeOf("function")
    expect(session.result(call())).toBeTypeOf("function")
  })

  it("are messages of some actions, their results among them", () => {
    const session = sessionOf({ signer, sign: ["Reset"] })
    expect(session.request("Call", "Reset")).toBeTypeOf("function")
    expect(session.result(call("Reset"))).toBeTypeOf("function")
    expect(session.request("Call", "GetLog")).toBeUndefined()
    expect(session.result(call("GetLog"))).toBeUndefined()
  })

  it("are messages that a function says yes to, which is told kind, action and station", () => {
    const asked: Array<Signing.Message> = []
    const session = sessionOf({ signer, sign: (message) => (asked.push(message), message.kind === "CallResult") })
    expect(session.request("Call", "Reset")).toBeUndefined()
    expect(session.result(call("GetLog"))).toBeTypeOf("function")
    expect(asked).toEqual([
      { kind: "Call", action: "Reset", identity: "CP001" },
      { kind: "CallResult", action: "GetLog", identity: "CP001" },
    ])
  })

  it.effect("is not sent unsigned when that function throws: the message fails", () =>
    Effect.gen(function* () {
      const session = sessionOf({
        signer,
        sign: () => {
          throw new Error("undecided")
        },
      })
      const exit = yield* Effect.exit(sign(session, { kind: "Call", action: "Reset" }, "{}"))
      expect(exit).toEqual(Exit.die(new Error("undecided")))
    }),
  )

  it.effect("is the answer to a signed request, in any case where there is a signer", () =>
    Effect.gen(function* () {
      for (const options of [{ signer }, { signer, sign: ["Reset"] }, { signer, sign: () => false }]) {
        const session = sessionOf(options)
        const request = yield* open(session, yield* signedCall("GetLog"), "GetLog")
        if (request._tag !== "Call") throw new Error("no call")
        expect(session.result(request)).toBeTypeOf("function")
        expect(session.result(call("GetLog"))).toBeUndefined()
      }
      const without = sessionOf()
      const request = yield* open(without, yield* signedCall("GetLog"), "GetLog")
      if (request._tag !== "Call") throw new Error("no call")
      expect(without.result(request)).toBeUndefined()
    }),
  )
})

describe("what is asked for", () => {
  it.effect("may depend on kind, action and station", () =>
    Effect.gen(function* () {
      const asked: Array<Signing.Message> = []
      const verify: Signing.Verify = (message) => {
        asked.push(message)
        return message.action === "Reset" ? "required" : message.action === "GetLog" ? "ignore" : "ifPresent"
      }
      const session = sessionOf({ verify, keys: believed })
      expect(yield* Effect.flip(open(session, call("Reset"), "Reset"))).toMatchObject({ code: "SecurityError" })
      expect(receive(session, call("GetLog"), "GetLog")).toBeUndefined()
      expect(receive(session, call("Heartbeat"), "Heartbeat")).toBeUndefined()
      expect((yield* open(session, yield* signedCall("GetLog"), "GetLog")).signed.verified).toBe(false)
      expect((yield* open(session, yield* signedCall("Heartbeat"), "Heartbeat")).signed.verified).toBe(true)
      expect(asked.map(({ action, identity, kind }) => `${kind} ${action} ${identity}`)).toEqual([
        "Call Reset CP001",
        "Call GetLog CP001",
        "Call Heartbeat CP001",
        "Call GetLog CP001",
        "Call Heartbeat CP001",
      ])
    }),
  )

  it.effect("is not waived when the function throws, or returns something else", () =>
    Effect.gen(function* () {
      const throwing = sessionOf({
        verify: () => {
          throw new Error("undecided")
        },
        keys: believed,
      })
      // As a program in JavaScript may.
      const misspelt = sessionOf({ verify: () => "require" as "required", keys: believed })
      for (const session of [throwing, misspelt]) {
        for (const message of [call("Reset"), yield* signedCall("Reset")]) {
          const exit = yield* Effect.exit(open(session, message, "Reset"))
          expect(Exit.hasDies(exit)).toBe(true)
        }
      }
    }),
  )

  it.effect("is the key of whoever the header names", () =>
    Effect.gen(function* () {
      const asked: Array<Signing.Claim> = []
      const key = { ...Signing.verificationKey(keys.station.certificate), owner: "the operator" }
      const session = sessionOf({
        verify: "required",
        keys: { find: (claim) => Effect.sync(() => (asked.push(claim), Option.some(key))) },
      })
      const opened = yield* open(session, yield* signedCall("Reset"), "Reset")
      expect(opened.signed.key).toBe(key)
      expect(asked).toEqual([
        {
          algorithm: "ES256",
          certificateHash: Signing.certificateHash(keys.station.certificate),
          header: opened.signed.header,
          message: { kind: "Call", action: "Reset", identity: "CP001" },
        },
      ])
    }),
  )

  it.effect("may be found by a function, now or later", () =>
    Effect.gen(function* () {
      const key = Signing.verificationKey(keys.station.certificate)
      const message = yield* signedCall("Reset")
      for (const find of [() => key, async () => key]) {
        const opened = yield* open(sessionOf({ verify: "required", keys: find }), message, "Reset")
        expect(opened.signed.key).toBe(key)
      }
      for (const find of [() => undefined, async () => undefined]) {
        const error = yield* Effect.flip(open(sessionOf({ verify: "required", keys: find }), message, "Reset"))
        expect(error).toMatchObject({ code: "SecurityError" })
      }
      const rejecting = sessionOf({ verify: "required", keys: () => Promise.reject(new Error("no database")) })
      expect(Exit.hasDies(yield* Effect.exit(open(rejecting, message, "Reset")))).toBe(true)
    }),
  )

  it.effect("dies of keys that die", () =>
    Effect.gen(function* () {
      const finds: ReadonlyArray<Signing.Keys["Service"]["find"]> = [
        () => Effect.die("no database"),
        () => {
          throw "no database"
        },
      ]
      for (const find of finds) {
        const session = sessionOf({ verify: "required", keys: { find } })
        const exit = yield* Effect.exit(open(session, yield* signedCall("Reset"), "Reset"))
        expect(exit).toEqual(Exit.die("no database"))
      }
    }),
  )
})

describe("a session that is asked for nothing", () => {
  it("opens what is signed in the same tick, with neither key nor cryptography", () => {
    for (const vector of [...vectors, published]) {
      const opening = open(sessionOf(), frameOf(vector), vector.action)
      if (!Exit.isExit(opening) || Exit.isFailure(opening)) throw new Error("it is not open yet")
      const { payload, signed } = opening.value as Signing.SignedRequest
      expect(payload).toEqual(JSON.parse(vector.payload))
      expect(signed).toMatchObject({ verified: false, key: undefined, text: vector.payload })
    }
  })

  it("has nothing to do with what is not signed", () => {
    const session = sessionOf()
    expect(session.openRequest(call())).toBeUndefined()
    expect(session.openRequest({ ...call(), payload: { protected: "", payload: "", signature: "" } })).toBeUndefined()
    for (const payload of [undefined, null, 1, "text", [], {}, { protected: "", signature: "" }]) {
      expect(session.openResult({ _tag: "CallResult", messageId: "1", payload }, "Reset")).toBeUndefined()
    }
  })

  it("leaves an action alone that is called so by its subprotocol", () => {
    const subprotocol = { ...Ocpp21, actions: new Map([["Meter-Signed", { kind: "call" as const }]]) }
    const session = Signing.make().connect({ identity: "CP001", subprotocol })
    expect(session?.openRequest(call("Meter-Signed"))).toBeUndefined()
    expect(session?.openRequest(call("BootNotification-Signed"))).toBeDefined()
  })
})

describe("a subprotocol", () => {
  it("has signed messages in 2.0.1, 2.1 and one of the program's own, not in 1.6", () => {
    const { connect } = Signing.make({ signer, sign: "everything", verify: "required", keys: believed })
    expect(connect({ identity: "CP001", subprotocol: Ocpp16 })).toBeUndefined()
    for (const subprotocol of [Ocpp201, Ocpp21, { actions: new Map(), spelling: "2.x" as const }]) {
      expect(connect({ identity: "CP001", subprotocol })).toBeDefined()
    }
  })
})

describe("options", () => {
  const wrong: ReadonlyArray<readonly [options: object, why: string]> = [
    [{ sign: "everything" }, "sign needs a signer"],
    [{ sign: ["Reset"] }, "sign needs a signer"],
    [{ signer, sign: "all" }, 'sign must be "nothing", "everything", actions or a function; got "all"'],
    [{ verify: "required" }, "verify needs keys"],
    [{ verify: () => "ignore" }, "verify needs keys"],
    [
      { verify: "require", keys: believed },
      'verify must be "ignore", "ifPresent", "required" or a function; got "require"',
    ],
    [{ keys: "believed" }, 'keys must be Keys or a function; got "believed"'],
    [{ keys: {} }, "keys must be Keys or a function; got an object"],
    [{ singer: signer }, 'unknown option "singer": the options are signer, sign, verify, keys; did you mean "signer"?'],
  ]
  it.each(wrong)("%o are refused", (options, why) => {
    expect(() => Signing.make(options as Signing.MakeOptions)).toThrow(new RangeError(why))
  })
})

describe("the Layer", () => {
  const connect = Effect.map(Signing.Signing, ({ connect }) => connect({ identity: "CP001", subprotocol: Ocpp21 }))

  it.effect("is not needed: then nothing is signed, and nothing asked for", () =>
    Effect.gen(function* () {
      const session = yield* connect
      expect(session?.request("Call", "Reset")).toBeUndefined()
      expect(session?.openRequest(call())).toBeUndefined()
      expect(Exit.isExit(open(sessionOf(), yield* signedCall("Reset"), "Reset"))).toBe(true)
    }),
  )

  it.effect("signs", () =>
    Effect.gen(function* () {
      const session = yield* connect
      expect(session?.request("Call", "Reset")).toBeTypeOf("function")
    }).pipe(Effect.provide(Signing.layer({ signer, sign: "everything" }))),
  )

  it.effect("verifies with the keys of the program", () =>
    Effect.gen(function* () {
      const session = yield* connect
      if (session === undefined) throw new Error("no session")
      expect((yield* open(session, yield* signedCall("Reset"), "Reset")).signed.verified).toBe(true)
      expect(yield* Effect.flip(open(session, call(), "Reset"))).toMatchObject({ code: "SecurityError" })
    }).pipe(
      Effect.provide(
        Signing.layer({ verify: "required" }).pipe(Layer.provide(Signing.layerKeys([keys.station.certificate]))),
      ),
    ),
  )
})

describe("the types", () => {
  it("ask for Keys where signatures are looked at, and for nothing otherwise", () => {
    expectTypeOf(Signing.layer({ signer, sign: "everything" })).toEqualTypeOf<Layer.Layer<never>>()
    expectTypeOf(Signing.layer({ verify: "ignore" })).toEqualTypeOf<Layer.Layer<never>>()
    expectTypeOf(Signing.layer({ verify: "required" })).toEqualTypeOf<Layer.Layer<never, never, Signing.Keys>>()
    expectTypeOf(Signing.layer({ verify: () => "ignore" })).toEqualTypeOf<Layer.Layer<never, never, Signing.Keys>>()
  })

  it("know three algorithms", () => {
    expectTypeOf<Signing.Algorithm>().toEqualTypeOf<"ES256" | "RS256" | "RS384">()
    // @ts-expect-error no other
    expect(() => Signing.signer({ algorithm: "PS256", sign: () => new Uint8Array() })).toThrow(RangeError)
  })
})

describe("Signed", () => {
  it("is nothing for a message that was not signed", () => {
    expect(Context.get(Context.empty(), Signing.Signed)).toBeUndefined()
  })

  it.effect("tells a handler by whom its message was signed", () =>
    Effect.gen(function* () {
      const session = sessionOf({ verify: "required", keys: believed })
      const { signed } = yield* open(session, yield* signedCall("Reset"), "Reset")
      const handler = Effect.map(Signing.Signed, (signature) => signature?.verified && signature.key?.subject)
      expect(yield* Effect.provideService(handler, Signing.Signed, signed)).toBe("CN=station")
    }),
  )
})

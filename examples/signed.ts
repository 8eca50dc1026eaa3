/**
 * A message that is signed by the CSMS and opened by the station, as both would do it on a connection.
 * Run it: npx tsx examples/signed.ts
 */
import { generateKeyPairSync } from "node:crypto"
import { Effect, Layer } from "effect"
import { Codec, Ocpp21, RPCInternalError } from "effect-ocpp"
import * as Signing from "effect-ocpp/Signing"
import { main } from "./main.ts"

/** The key of the CSMS. Yours comes from a file or a chip, with a certificate by which others find it. */
const csms = generateKeyPairSync("ec", { namedCurve: "P-256" })

const Csms = Signing.layer({ signer: Signing.signer({ key: csms.privateKey }), sign: ["Reset"] })

/** Whom a station believes. Yours asks for the key by `certificateHash`: a database, or a store of certificates. */
const Believed = Layer.succeed(Signing.Keys, {
  find: () => Effect.succeedSome(Signing.verificationKey(csms.publicKey)),
})

const Station = Signing.layer({ verify: ({ action }) => (action === "Reset" ? "required" : "ifPresent") }).pipe(
  Layer.provide(Believed),
)

const session = Effect.flatMap(Signing.Signing, ({ connect }) =>
  Effect.fromNullishOr(connect({ identity: "CP001", subprotocol: Ocpp21 })),
)

/** The text of a Reset on the wire. */
export const reset = Effect.gen(function* () {
  const sign = (yield* session).request("Call", "Reset")
  const payload = { type: "Immediate" }
  const signed = sign === undefined ? undefined : yield* sign(JSON.stringify(payload))
  const action = signed === undefined ? "Reset" : Signing.signedAction("Reset")
  return Codec.encode({ _tag: "Call", messageId: "1", action, payload: signed ?? payload }, Ocpp21.spelling)
}).pipe(Effect.provide(Csms))

/** What a station makes of a text from the wire. */
export const open = Effect.fnUntraced(function* (text: string) {
  const frame = Codec.decode(text, Ocpp21.extendedFrames)
  if (frame._tag !== "Call") return yield* new RPCInternalError("this is no CALL")
  const opened = yield* (yield* session).openRequest(frame) ?? Effect.succeed(frame)
  return { action: opened.action, payload: opened.payload, isSigned: "signed" in opened && opened.signed.verified }
}, Effect.provide(Station))

main(import.meta.url, () =>
  Effect.gen(function* () {
    const text = yield* reset
    yield* Effect.log(text)
    yield* Effect.log(yield* open(text))
    const error = yield* Effect.flip(open('[2,"2","Reset",{"type":"Immediate"}]'))
    yield* Effect.log(error)
  }),
)

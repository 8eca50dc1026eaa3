/**
 * A CSMS that keeps hashes of passwords and changes one: then the old one is refused at once.
 * Run it: npx tsx examples/passwords.ts 3000
 */
import { Context, Effect, Layer } from "effect"
import { type Connection, Ocpp16, Security, Server } from "effect-ocpp"
import { launch, main } from "./main.ts"

/** The hashes of a station's passwords; `next` as long as it is not known whether the station uses it. */
export interface Credentials {
  readonly current: string
  readonly next?: string
}

/** Stands for a table of your database. */
export class Passwords extends Context.Service<Passwords, Map<string, Credentials>>()("examples/Passwords") {
  static readonly layer = (identity: string, password: string) =>
    Layer.effect(
      Passwords,
      Effect.map(Security.hashPassword(password), (current) => new Map([[identity, { current }]])),
    )
}

export const auth = Effect.fnUntraced(function* (handshake: Server.Handshake) {
  const passwords = yield* Passwords
  const { current, next } = passwords.get(handshake.identity) ?? {}
  if (next !== undefined && (yield* Security.verifyPassword(handshake.password, next))) {
    passwords.set(handshake.identity, { current: next })
    return
  }
  yield* Security.requirePassword(handshake, { hash: current })
})

const isLost = (error: Connection.CallFailure) => error._tag !== "RPCError" && "sent" in error && error.sent

/** Gives a station of OCPP 1.6 another password, and succeeds with the status of its answer. */
export const changePassword = Effect.fn("changePassword")(function* (station: Server.Station) {
  const passwords = yield* Passwords
  const { current } = passwords.get(station.identity) ?? {}
  if (current === undefined) return yield* Effect.die("the station has come in without a password")
  const password = Security.generatePassword("ocpp1.6")
  const next = yield* Security.hashPassword(password)
  // Before the call: its answer may be lost, and then either password is right until the new one has been used.
  passwords.set(station.identity, { current, next })
  const keep = Effect.sync(() => passwords.set(station.identity, { current }))
  const { status } = yield* station
    .call(Ocpp16.ChangeConfiguration, { key: "AuthorizationKey", value: password.hex })
    .pipe(Effect.tapError((error) => (isLost(error) ? Effect.void : keep)))
  if (status === "Accepted") passwords.set(station.identity, { current: next })
  // A station that wants to be rebooted first may come back with either.
  else if (status !== "RebootRequired") yield* keep
  return status
})

export const layer = (port: number) =>
  Server.layer({ port, protocols: [Ocpp16], auth }).pipe(Layer.provide(Passwords.layer("CP001", "0123456789abcdef")))

main(import.meta.url, (port = "3000") => launch(layer(Number(port))))

/** The recipe of docs/security-profiles.md for changing a password, as examples/passwords.ts has it. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { Handlers, Ocpp16, type RPCError, RPCInternalError, Security } from "effect-ocpp"
import { Network, settled } from "effect-ocpp/testing"
import { auth, changePassword, Passwords } from "../../examples/passwords.ts"

const first = "the first password"

type Answer = Effect.Effect<"Accepted" | "Rejected" | "RebootRequired" | "NotSupported", RPCError>

/** A CSMS, and a station that has come in with its first password and answers so to the change of it. */
const changing = Effect.fnUntraced(function* (answer: Answer) {
  const network = yield* Network.make({ protocols: [Ocpp16], auth, duplicateIdentity: "allow" })
  const told = yield* Deferred.make<Security.AuthorizationKey>()
  const handlers = Handlers.make(Ocpp16, {
    ChangeConfiguration: ({ key, value }) =>
      Effect.gen(function* () {
        expect(key).toBe("AuthorizationKey")
        yield* Deferred.succeed(told, Security.fromAuthorizationKey(value))
        return { status: yield* answer }
      }),
  })
  const station = { identity: "CP001", protocols: [Ocpp16], reconnect: false } as const
  yield* network.station({ ...station, password: first, handlers: [handlers] })
  /** With which status a station with this password is let in, or not. */
  const knock = (password: string | Uint8Array) =>
    network
      .station({ ...station, password })
      .pipe(
        Effect.match({ onSuccess: () => 101, onFailure: (error) => ("code" in error ? error.code : error.message) }),
        Effect.scoped,
      )
  const change = changePassword(yield* network.csms.station("CP001"))
  return { change, knock, told: Deferred.await(told) }
})

const provided = Effect.provide(Passwords.layer("CP001", first))

describe("changing a password", () => {
  it.effect("that the station accepts: the old one is refused at once", () =>
    Effect.gen(function* () {
      const { change, knock, told } = yield* changing(Effect.succeed("Accepted"))
      expect(yield* knock(first)).toBe(101)
      expect(yield* change).toBe("Accepted")
      expect(yield* knock(first)).toBe(401)
      const next = yield* told
      expect([yield* knock(next), yield* knock(next.hex), yield* knock(first)]).toEqual([101, 101, 401])
    }).pipe(provided),
  )

  it.effect.each([
    ["with a status", Effect.succeed("Rejected")],
    ["with another", Effect.succeed("NotSupported")],
    ["with an error", Effect.fail(new RPCInternalError("no"))],
  ] satisfies ReadonlyArray<readonly [string, Answer]>)(
    "that the station refuses %s: the old one stays",
    ([, answer]) =>
      Effect.gen(function* () {
        const { change, knock, told } = yield* changing(answer)
        yield* Effect.exit(change)
        expect([yield* knock(yield* told), yield* knock(first)]).toEqual([401, 101])
      }).pipe(provided),
  )

  it.effect("whose answer is lost: both are right, until the new one has been used", () =>
    Effect.gen(function* () {
      const { change, knock, told } = yield* changing(Effect.never)
      const changed = yield* Effect.forkChild(Effect.flip(change))
      const next = yield* told
      expect(yield* knock(first)).toBe(101)
      yield* Effect.andThen(settled, TestClock.adjust("30 seconds"))
      expect(yield* Fiber.join(changed)).toMatchObject({ _tag: "TimeoutError", sent: true })
      expect([yield* knock(first), yield* knock("neither")]).toEqual([101, 401])
      expect([yield* knock(next), yield* knock(first), yield* knock(next)]).toEqual([101, 401, 101])
    }).pipe(provided),
  )

  it.effect("that the station uses after its next boot only: both are right until then", () =>
    Effect.gen(function* () {
      const { change, knock, told } = yield* changing(Effect.succeed("RebootRequired"))
      expect(yield* change).toBe("RebootRequired")
      expect([yield* knock(first), yield* knock(yield* told), yield* knock(first)]).toEqual([101, 101, 401])
    }).pipe(provided),
  )
})

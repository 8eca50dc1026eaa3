/** Benches over a real server: each test has a prefix of its own, all of a file share the server. */
import { afterAll, beforeAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { Engine } from "../../../src/fleet/Engine.ts"
import { engineConformance } from "../engineConformance.ts"
import { Daemon, isInstalled, programOf } from "./Daemon.ts"
import { makeProxy } from "./Proxy.ts"

/** The suite over an engine of a kind; without its program nothing runs, and the output says so. */
export const conformanceOf = (kind: "redis" | "nats", engineAt: (port: number, prefix: string) => Engine) => {
  const isMissing = !isInstalled(programOf(kind))
  if (isMissing)
    console.warn(`skipped: the engine over ${kind} is not tested, because ${programOf(kind)} is not installed`)
  let daemon: Daemon
  let tests = 0
  beforeAll(async () => {
    if (!isMissing) daemon = await Daemon.start(kind)
  })
  afterAll(async () => {
    if (!isMissing) await daemon.end()
  })
  engineConformance(
    kind,
    (test) => () =>
      Effect.scoped(
        Effect.gen(function* () {
          const prefix = `test${++tests}`
          const scope = yield* Effect.scope
          yield* test({
            engine: engineAt(daemon.port, prefix),
            link: () =>
              Effect.map(
                Effect.acquireRelease(
                  Effect.promise(() => makeProxy(daemon.port)),
                  (proxy) => Effect.promise(() => proxy.close()),
                ),
                ({ cut, heal, port, stall }) => ({
                  engine: engineAt(port, prefix),
                  cut: Effect.sync(cut),
                  stall: Effect.sync(stall),
                  heal: Effect.sync(heal),
                }),
              ).pipe(Scope.provide(scope)),
            restart: Effect.promise(async () => {
              await daemon.stop()
              await daemon.start()
            }),
            wait: (millis) => Effect.sleep(millis),
          })
        }),
      ),
    { live: true, skip: isMissing },
  )
}

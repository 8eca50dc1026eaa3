import * as Effect from "effect/Effect"
import { MemoryHub } from "../../src/fleet/memory.ts"
import { engineConformance } from "./engineConformance.ts"
import { pass } from "./support/nodes.ts"

engineConformance(
  "memory",
  (test) => () =>
    Effect.scoped(
      Effect.gen(function* () {
        const hub = yield* MemoryHub.make
        yield* test({
          engine: hub,
          link: (node) =>
            Effect.succeed({
              engine: hub,
              cut: Effect.sync(() => hub.cut(node)),
              stall: Effect.sync(() => hub.stall(node)),
              heal: Effect.sync(() => hub.heal(node)),
            }),
          restart: Effect.sync(() => {
            hub.stop()
            hub.start({ empty: true })
          }),
          wait: (millis) => pass(millis, 50),
        })
      }),
    ),
  { live: false, skip: false },
)

import { describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as WebSocket from "../../src/WebSocket.ts"
import { http } from "../support/Servers.ts"
import { collectUncaught } from "../support/uncaught.ts"

describe("a transport", () => {
  it.live("onClose comes whatever happens, also after a listener has thrown", () =>
    Effect.gen(function* () {
      yield* collectUncaught(1)
      const acceptor = WebSocket.makeAcceptor()
      const { url } = yield* http((request, socket, head) => {
        acceptor.accept(request, socket, head, undefined)?.send("hi")
      })
      const transport = yield* WebSocket.dial(url, { protocols: [], handshakeTimeout: 1000 })
      const thrown = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<void>()
      transport.listen({
        onMessage: () => {
          Deferred.doneUnsafe(thrown, Exit.void)
          throw new Error("boom")
        },
        onPing: () => {},
        onPong: () => {},
        onError: () => {},
        onClose: () => void Deferred.doneUnsafe(closed, Exit.void),
      })
      yield* Deferred.await(thrown)
      transport.terminate()
      yield* Deferred.await(closed)
    }),
  )
})

import { once } from "node:events"
import * as Net from "node:net"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Transport } from "../../src/Transport.ts"
import * as WebSocket from "../../src/WebSocket.ts"
import { fakeTime } from "../support/fakeTime.ts"
import { http, tcp } from "../support/Servers.ts"
import { upgradeOf } from "../support/serve.ts"
import { collectUncaught } from "../support/uncaught.ts"

describe("a transport", () => {
  for (const act of ["send", "ping", "close"] as const) {
    it.live(`ends when an option of the user's makes ${act} throw, and does not throw itself`, () =>
      Effect.gen(function* () {
        const acceptor = WebSocket.makeAcceptor()
        const { url } = yield* http((request, socket, head) => {
          acceptor.accept(request, socket, head, undefined)
        })
        const generateMask = () => {
          throw new Error("no mask")
        }
        const options = { protocols: [], handshakeTimeout: 1000, webSocket: { generateMask } }
        const transport = yield* WebSocket.dial(url, options)
        const closed = yield* Deferred.make<string>()
        const errors: Array<string> = []
        transport.listen({
          onMessage: () => {},
          onPing: () => {},
          onPong: () => {},
          onError: ({ message }) => errors.push(message),
          onClose: (code, reason) => void Deferred.doneUnsafe(closed, Exit.succeed(`${code} ${reason}`)),
        })
        if (act === "send") transport.send("text")
        else if (act === "ping") transport.ping()
        else transport.close(1000, "")
        expect(yield* Deferred.await(closed)).toBe("1006 no mask")
        expect(errors).toEqual(["no mask"])
      }),
    )
  }

  it.live("onClose comes whatever happens, also after a listener has thrown", () =>
    Effect.gen(function* () {
      yield* collectUncaught(1)
      const acceptor = WebSocket.makeAcceptor()
      const { url } = yield* http((request, socket, head) => {
        const transport = acceptor.accept(request, socket, head, undefined)
        if (WebSocket.isTransport(transport)) transport.send("hi")
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

  it.live("waits for the closing handshake as long as closeTimeout says, which may be longer than ws would", () =>
    Effect.gen(function* () {
      const time = fakeTime()
      const acceptor = WebSocket.makeAcceptor({ closeTimeout: "20 seconds" })
      const accepted = yield* Deferred.make<Transport>()
      const { port } = yield* http((request, socket, head) => {
        const transport = acceptor.accept(request, socket, head, undefined)
        if (WebSocket.isTransport(transport)) Deferred.doneUnsafe(accepted, Exit.succeed(transport))
      })
      const peer = Net.connect(port, "127.0.0.1")
      peer.on("error", () => {}).resume()
      const closed = once(peer, "close")
      peer.write(upgradeOf("/"))
      const transport = yield* Deferred.await(accepted)
      transport.close(1000, "")
      yield* Effect.promise(() => time.pass(15_000))
      expect(peer.readyState).toBe("open")
      yield* Effect.promise(() => time.pass(6_000))
      yield* Effect.promise(() => closed)
    }),
  )

  it.live.each([
    [
      "breaks off",
      (socket: Net.Socket) => socket.write("Content-Length: 50\r\n\r\nwhy", () => socket.resetAndDestroy()),
    ],
    ["never ends", (socket: Net.Socket) => socket.write("Content-Length: 50\r\n\r\nwhy")],
    ["is longer than it says", (socket: Net.Socket) => socket.write("Content-Length: 3\r\n\r\nwhy-and-more")],
    ["is badly chunked", (socket: Net.Socket) => socket.write("Transfer-Encoding: chunked\r\n\r\nzz\r\n")],
    ["is huge", (socket: Net.Socket) => socket.write(`Content-Length: 9999999\r\n\r\n${"x".repeat(100_000)}`)],
  ] as const)("that is refused with an answer whose body %s has been refused, not lost", ([, answer]) =>
    Effect.gen(function* () {
      const { url } = yield* tcp((socket) => {
        socket.once("data", () => {
          socket.write("HTTP/1.1 401 Unauthorized\r\n")
          answer(socket)
        })
      })
      const failure = yield* Effect.flip(WebSocket.dial(url, { protocols: [], handshakeTimeout: 30_000 }))
      expect(failure).toMatchObject({ _tag: "UnexpectedHttpResponse", code: 401 })
    }),
  )
})

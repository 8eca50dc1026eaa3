import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Ws from "ws"
import { type Abilities, takeOffer } from "../../src/server/deflateOffer.ts"
import type * as WebSocket from "../../src/WebSocket.ts"
import { exchange, frame, Opcode } from "../support/RawClient.ts"
import { serve, upgradeOf } from "../support/serve.ts"

const deflate = "permessage-deflate"

describe("an offer", () => {
  it.each([
    [deflate],
    [`${deflate}; client_max_window_bits`],
    [`${deflate}; server_no_context_takeover; client_no_context_takeover`],
    [`${deflate}; server_max_window_bits=8; client_max_window_bits=15`],
  ])("that is understood is taken: %s", (header) => {
    expect(takeOffer(header, {})).toBe(header)
  })

  it.each([
    ["an unknown parameter", `${deflate}; unheard=of`],
    ["an unknown parameter without a value", `${deflate}; unheard_of`],
    ["one that an object has", `${deflate}; constructor=1`],
    ["another", `${deflate}; __proto__`],
    ["the parameter of another extension", `${deflate}; mux`],
    ["a parameter that comes twice", `${deflate}; server_no_context_takeover; server_no_context_takeover`],
    ["a flag with a value", `${deflate}; server_no_context_takeover=true`],
    ["a window of no size", `${deflate}; server_max_window_bits`],
    ["a window that is too small", `${deflate}; client_max_window_bits=7`],
    ["a window that is too large", `${deflate}; server_max_window_bits=16`],
    ["a window with a leading zero", `${deflate}; server_max_window_bits=08`],
    ["a window in another base", `${deflate}; server_max_window_bits=0xA`],
    ["a window that is no number", `${deflate}; server_max_window_bits=x`],
    ["another name", "x-webkit-deflate-frame"],
    ["a name in another case", "Permessage-Deflate"],
  ])("with %s is declined, and the next taken", (_, offer) => {
    expect(takeOffer(offer, {})).toBeUndefined()
    expect(takeOffer(`${offer}, ${deflate}; client_max_window_bits`, {})).toBe(`${deflate}; client_max_window_bits`)
    expect(takeOffer(`${deflate}; server_max_window_bits=9, ${offer}`, {})).toBe(`${deflate}; server_max_window_bits=9`)
    expect(takeOffer(`${offer}, ${offer}, ${deflate}`, {})).toBe(deflate)
  })

  it.each([
    [`${deflate};client_max_window_bits="10"`, `${deflate}; client_max_window_bits=10`],
    [`${deflate};client_max_window_bits="1\\0"`, `${deflate}; client_max_window_bits=10`],
    [`${deflate} ;\tclient_max_window_bits = 10`, `${deflate}; client_max_window_bits=10`],
    [` , ,\t${deflate} ,`, deflate],
    [`foo; bar="a", ${deflate}`, deflate],
  ])("that is written otherwise is the same: %j", (header, taken) => {
    expect(takeOffer(header, {})).toBe(taken)
  })

  it.each([
    "",
    " ",
    ",",
    ";;",
    `${deflate};`,
    `${deflate}; ;`,
    `${deflate}; =1`,
    `${deflate}; client_max_window_bits=`,
    `${deflate}; client_max_window_bits="10`,
    `${deflate}; client_max_window_bits=""`,
    `${deflate}; client_max_window_bits="1 0"`,
    `${deflate} client_max_window_bits`,
    `${deflate}, "quoted"`,
    `${deflate}, a/b`,
  ])("that is malformed is left to fail: %j", (header) => {
    expect(takeOffer(header, {})).toBe(header)
  })

  it("is declined where the server cannot keep it", () => {
    const small = `${deflate}; server_max_window_bits=9`
    expect(takeOffer(`${deflate}; server_no_context_takeover`, { serverNoContextTakeover: false })).toBeUndefined()
    expect(takeOffer(small, { serverMaxWindowBits: false })).toBeUndefined()
    expect(takeOffer(small, { serverMaxWindowBits: 10 })).toBeUndefined()
    expect(takeOffer(small, { serverMaxWindowBits: 9 })).toBe(small)
    expect(takeOffer(`${small}, ${deflate}`, { serverMaxWindowBits: 10 })).toBe(deflate)
  })

  it("is declined where the client cannot keep what the server asks for", () => {
    expect(takeOffer(deflate, { clientMaxWindowBits: 10 })).toBeUndefined()
    expect(takeOffer(`${deflate}; client_max_window_bits=9`, { clientMaxWindowBits: 10 })).toBeUndefined()
    for (const offer of [`${deflate}; client_max_window_bits`, `${deflate}; client_max_window_bits=10`]) {
      expect(takeOffer(offer, { clientMaxWindowBits: 10 })).toBe(offer)
      expect(takeOffer(`${deflate}, ${offer}`, { clientMaxWindowBits: 10 })).toBe(offer)
    }
  })
})

describe("whatever is offered", () => {
  // `ws` exports them, but has no types of them.
  const { extension, PerMessageDeflate } = Ws as unknown as {
    readonly extension: { readonly parse: (header: string) => Record<string, ReadonlyArray<unknown>> }
    readonly PerMessageDeflate: new (
      options: object,
    ) => { readonly accept: (offers: ReadonlyArray<unknown>) => unknown }
  }

  /** What `ws` makes of a header; fails as its handshake would. */
  const acceptedBy = (header: string, abilities: Abilities) => {
    const offers = extension.parse(header)[deflate]
    return offers && new PerMessageDeflate({ ...abilities, isServer: true }).accept(offers)
  }

  const bits = fc.constantFrom("", "=8", "=10", "=15", "=7", "=016", '="12"', "=x")
  const parameters = fc.constantFrom(
    ...[
      "server_no_context_takeover",
      "client_no_context_takeover",
      "server_max_window_bits",
      "client_max_window_bits",
      "foo",
    ],
  )
  const offer = fc
    .tuple(fc.constantFrom(deflate, deflate, "foo"), fc.array(fc.tuple(parameters, bits), { maxLength: 3 }))
    .map(([name, others]) => [name, ...others.map(([key, value]) => key + value)].join("; "))
  const header = fc.array(offer, { minLength: 1, maxLength: 4 }).map((offers) => offers.join(", "))
  const maybeBits = fc.constantFrom(undefined, false, 8, 10, 15)
  const abilities = fc.record({
    serverNoContextTakeover: fc.constantFrom(undefined, true, false),
    serverMaxWindowBits: maybeBits,
    clientMaxWindowBits: maybeBits,
  })

  it("`ws` accepts what is taken; and what `ws` would accept of it all is taken as well", () => {
    let both = 0
    fc.assert(
      fc.property(header, abilities, (header, abilities) => {
        const taken = takeOffer(header, abilities)
        const accepted = taken === undefined ? undefined : acceptedBy(taken, abilities)
        let direct: unknown
        try {
          direct = acceptedBy(header, abilities)
        } catch {
          return
        }
        both++
        expect(accepted).toEqual(direct)
      }),
      { numRuns: 3_000 },
    )
    expect(both).toBeGreaterThan(100)
  })

  it("costs time in proportion, and nothing throws", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => void takeOffer(text, {})))
    for (const attack of [",", ";", " ", "a", "a;", 'a;b="', '"', "\\", "a;b=c,", `${deflate},`, `${deflate}; x,`]) {
      const startedAt = performance.now()
      takeOffer(attack.repeat(2 ** 16 / attack.length), {})
      expect([attack, performance.now() - startedAt < 500]).toEqual([attack, true])
    }
  })
})

describe("a station", () => {
  /** The status and the extensions of the answer to an upgrade request. */
  const answer = Effect.fnUntraced(function* (
    offered: ReadonlyArray<string>,
    perMessageDeflate?: WebSocket.SocketOptions["perMessageDeflate"],
  ) {
    const { server } = yield* serve({ protocols: [], ...(perMessageDeflate !== undefined && { perMessageDeflate }) })
    const headers = offered.map((offer) => `Sec-WebSocket-Extensions: ${offer}`)
    const close = frame(Opcode.Close)
    const received = yield* exchange(server.port as number, Buffer.from(upgradeOf("/CP001", headers)), close)
    const [, status] = /^HTTP\/1.1 (\d+) /.exec(String(received)) ?? []
    return [Number(status), /^Sec-WebSocket-Extensions: (.*)\r$/m.exec(String(received))?.[1]]
  })

  const agreed = `${deflate}; server_no_context_takeover; client_no_context_takeover`

  it.live("that offers an unknown parameter gets its next offer, or no compression", () =>
    Effect.gen(function* () {
      expect(yield* answer([`${deflate}; unheard=of`])).toEqual([101, undefined])
      expect(yield* answer([`${deflate}; unheard=of, ${deflate}`])).toEqual([101, agreed])
      expect(yield* answer([`${deflate}; unheard=of`, deflate])).toEqual([101, agreed])
      expect(yield* answer([`${deflate}; server_max_window_bits=99`])).toEqual([101, undefined])
      expect(yield* answer([`${deflate}; server_max_window_bits=99, ${deflate}; server_max_window_bits=9`])).toEqual([
        101,
        `${deflate}; server_max_window_bits=9; server_no_context_takeover; client_no_context_takeover`,
      ])
    }),
  )

  it.live("that asks for what the server is told never to do gets no compression", () =>
    Effect.gen(function* () {
      const never = { serverNoContextTakeover: false }
      expect(yield* answer([`${deflate}; server_no_context_takeover`], never)).toEqual([101, undefined])
      expect(yield* answer([deflate], { clientMaxWindowBits: 10 })).toEqual([101, undefined])
      expect(yield* answer([deflate], false)).toEqual([101, undefined])
    }),
  )

  it.live("whose header is malformed is refused", () =>
    Effect.gen(function* () {
      expect(yield* answer([`${deflate}; ;`])).toEqual([400, undefined])
    }),
  )

  it.live("has its headers seen as it sent them", () =>
    Effect.gen(function* () {
      const seen: Array<string | undefined> = []
      const { server } = yield* serve({ protocols: [] })
      server.subscribe((event) => {
        if (event._tag === "Connected") seen.push(event.station.handshake.headers["sec-websocket-extensions"])
      })
      const request = upgradeOf("/CP001", [`Sec-WebSocket-Extensions: ${deflate}; unheard=of`])
      yield* exchange(server.port as number, Buffer.from(request), frame(Opcode.Close))
      expect(seen).toEqual([`${deflate}; unheard=of`])
    }),
  )
})

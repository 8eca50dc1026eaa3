import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Client, Connection, Ocpp16, RPCClient, RPCServer, Server, Transport } from "effect-ocpp"

describe("options that make no sense", () => {
  for (const [option, message] of [
    [{ callTimeoutMs: Number.NaN }, "callTimeoutMs must be a number of milliseconds; got null"],
    [{ pingIntervalMs: "5" }, 'pingIntervalMs must be a number of milliseconds; got "5"'],
    [{ strictMode: "yes" }, 'strictMode must be true, false or an array of subprotocols; got "yes"'],
    [{ protocols: "ocpp1.6" }, 'protocols must be an array; got "ocpp1.6"'],
  ] as const) {
    it(`are refused with a reason: ${JSON.stringify(option)}`, () => {
      expect(() => new RPCServer(option as never)).toThrow(message)
      expect(() => new RPCClient({ identity: "CP001", ...option } as never)).toThrow(message)
    })
  }
})

const identity = "CP001"
const endpoint = "ws://localhost"

/** Whatever takes options. */
const takers: Readonly<Record<string, (options: object) => unknown>> = {
  RPCServer: (options) => new RPCServer(options),
  RPCClient: (options) => new RPCClient({ identity, ...options }),
  "RPCClient.reconfigure": (options) => new RPCClient({ identity }).reconfigure(options),
  "Server.make": (options) => Effect.runSync(Effect.scoped(Server.make(options))),
  "Client.make": (options) => Effect.runSync(Effect.scoped(Client.make({ endpoint, identity, ...options }))),
  "Client.makeUnconnected": (options) =>
    Effect.runSync(Effect.scoped(Client.makeUnconnected(() => Effect.never, { identity, ...options }))),
  "Connection.make": (options) => {
    const [transport] = Transport.makePair()
    return Effect.runSync(Effect.scoped(Connection.make(transport, { side: "csms", protocol: Ocpp16, ...options })))
  },
}

describe("an option that does not exist is refused, with its name, by", () => {
  const evil = ['{"__proto__":{"strictMode":true}}', '{"constructor":1}', '{"toString":1}', '{"strictmode":true}']
  for (const [name, take] of Object.entries(takers)) {
    it(name, () => {
      for (const json of evil) {
        const options = JSON.parse(json)
        expect(() => take(options), json).toThrow(`unknown option "${Object.keys(options)[0]}"`)
      }
    })
  }

  it("RPCClient, inside of backoff", () => {
    expect(() => new RPCClient({ identity, backoff: { minDelay: 1 } as never })).toThrow(
      'unknown option "backoff.minDelay"',
    )
  })
})

describe("a value of the wrong kind is refused, with the option's name, by", () => {
  const both = { callConcurrency: "5", strictMode: null, respondWithDetailedErrors: "no", protocols: "ocpp1.6" }
  const core = { ...both, callTimeout: true, pingInterval: {}, maxQueuedCalls: 1.5, validateInbound: 1, handlers: [1] }
  const client = { headers: "x", query: 5, password: 5, maxPayload: "1", perMessageDeflate: 1 }
  const server = { auth: {}, maxConnections: 0, allowNoProtocol: 1, webSocket: [], duplicateIdentity: "none" }
  const promised = { callTimeoutMs: null, pingIntervalMs: "5", maxBadMessages: -1, strictModeValidators: {} }
  const wrong: Readonly<Record<string, object>> = {
    RPCServer: { ...both, ...promised, wssOptions: 5, protocolRequired: 0 },
    RPCClient: {
      ...both,
      ...promised,
      endpoint: 5,
      reconnect: "no",
      maxReconnects: null,
      backoff: 5,
      wsOpts: 5,
      password: {},
    },
    "Server.make": { ...core, ...server, protocols: ["ocpp1.6"] },
    "Client.make": { ...core, ...client, protocols: ["ocpp1.6"], identity: 5, endpoint: 5, reconnect: 5 },
  }
  for (const [name, options] of Object.entries(wrong)) {
    it(name, () => {
      for (const [option, value] of Object.entries(options)) {
        expect(() => takers[name]?.({ [option]: value }), option).toThrow(option)
      }
    })
  }
})

it("an option that is undefined is not given", () => {
  for (const take of Object.values(takers)) expect(() => take({ callConcurrency: undefined })).not.toThrow(RangeError)
})

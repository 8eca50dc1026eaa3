import { describe, expect, it } from "@effect/vitest"
import { RPCClient, RPCServer } from "effect-ocpp"

describe("options that make no sense", () => {
  for (const [option, message] of [
    [{ callTimeoutMs: Number.NaN }, "a time must be a number of milliseconds; got null"],
    [{ pingIntervalMs: "5" }, 'a time must be a number of milliseconds; got "5"'],
    [{ strictMode: "yes" }, 'strictMode must be true, false or an array of subprotocols; got "yes"'],
    [{ protocols: "ocpp1.6" }, 'protocols must be an array; got "ocpp1.6"'],
  ] as const) {
    it(`are refused with a reason: ${JSON.stringify(option)}`, () => {
      expect(() => new RPCServer(option as never)).toThrow(message)
      expect(() => new RPCClient({ identity: "CP001", ...option } as never)).toThrow(message)
    })
  }
})

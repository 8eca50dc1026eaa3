/** The handlers and the auth of a victim, by name; the same for both faces. */
import { Buffer } from "node:buffer"
import { performance } from "node:perf_hooks"
import type { Handshake } from "../../../src/Handshake.ts"
import type { Code, createRPCError, LegacyCode } from "../../../src/RPCError.ts"
import type * as Security from "../../../src/Security.ts"

/** Tools of a handler. */
export interface Tools {
  readonly action: string
  readonly messageId: string
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** The station that is calling. */
  readonly identity: string
  /** An error of OCPP. */
  readonly error: typeof createRPCError
  /** Calls the station that is calling. */
  readonly call: (action: string, payload?: unknown) => Promise<unknown>
}

/** Answers with what it returns; throws to refuse. */
export type Behaviour = (payload: unknown, tools: Tools) => unknown

let open = () => {}
let gate = Promise.resolve()

/** Opens the gate for everybody who waits at it, and for nobody who comes later. */
export const release = (): void => {
  open()
  gate = new Promise((resolve) => {
    open = resolve
  })
}
release()

/** Settles as the promise does, or rejects when the signal aborts. */
const until = <A>(promise: Promise<A>, signal: AbortSignal): Promise<A> =>
  new Promise((resolve, reject) => {
    promise.then(resolve, reject)
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  })

const heartbeat = () => ({ currentTime: new Date().toISOString() })

const booted = new Set<string>()

/** A word that the error `secretive` holds, and that must not leave the process. */
export const secret = "s3cr3t"

const unreadable = (): never => {
  throw new Error("a trap")
}

const raise = (error: unknown): never => {
  throw error
}

const cyclic = (): unknown => {
  const self: Record<string, unknown> = {}
  self.self = self
  return self
}

const thrown = {
  null: () => null,
  undefined: () => undefined,
  string: () => "a string",
  symbol: () => Symbol("a symbol"),
  proxy: () => new Proxy({}, { get: unreadable, has: unreadable, ownKeys: unreadable, getPrototypeOf: unreadable }),
  getter: () => Object.defineProperty(new Error(), "message", { get: unreadable }),
  cyclic: () => Object.assign(new Error("cyclic"), { cyclic: cyclic() }),
  secretive: () => Object.assign(new Error("of an error"), { password: secret, cause: new Error(secret) }),
}

const returned = {
  cyclic,
  bigint: () => ({ n: 1n }),
  undefined: () => undefined,
  null: () => null,
  huge: () => ({ text: "x".repeat(10_000_000) }),
  toJSON: () => ({ toJSON: unreadable }),
  getter: () => Object.defineProperty({}, "a", { get: unreadable, enumerable: true }),
  proxy: () => new Proxy({}, { get: unreadable, has: unreadable, ownKeys: unreadable, getPrototypeOf: unreadable }),
}

export const behaviours = {
  heartbeat,
  boot: (_, { identity }) => {
    booted.add(identity)
    return { ...heartbeat(), interval: 300, status: "Accepted" }
  },
  /** Refuses stations that have not booted, as a middleware does. */
  afterBoot: (payload, { error, identity }) => {
    if (!booted.has(identity)) throw error("SecurityError", "BootNotification comes first")
    return payload
  },
  /** Refuses with the code that it is asked for, and 400 characters that are two code units each. */
  refuse: (payload, { error }) => {
    const { code } = payload as { readonly code: Code | LegacyCode }
    throw error(code, "😀".repeat(400), { why: "asked for" })
  },
  accepted: () => ({ status: "Accepted" }),
  empty: () => ({}),
  echo: (payload) => payload,
  fail: () => {
    throw new Error("the handler has a fault")
  },
  /** Throws things that no handler should throw. */
  throws: (payload) => {
    const { what, when } = payload as { readonly what: keyof typeof thrown; readonly when?: string }
    if (when === "later") return Promise.resolve().then(() => raise(thrown[what]()))
    throw thrown[what]()
  },
  returns: (payload) => returned[(payload as { readonly what: keyof typeof returned }).what](),
  /** Asks its caller something before it answers. */
  callsBack: async (payload, { call }) => {
    await call("ClearCache", {})
    return payload
  },
  /** Answers when the gate opens, and does not listen to the signal. */
  late: async (payload) => {
    await gate
    return payload
  },
  /** Computes for so long that nothing else happens meanwhile. */
  block: (payload) => {
    const end = performance.now() + (payload as { readonly millis: number }).millis
    while (performance.now() < end);
    return {}
  },
  never: (_, { signal }) => until(new Promise(() => {}), signal),
  gated: async (payload, { signal }) => {
    await until(gate, signal)
    return payload
  },
} satisfies Record<string, Behaviour>

/** The decision of an auth: with both, it accepts and then rejects. */
export interface Verdict {
  readonly accept?: unknown
  readonly reject?: number
  readonly message?: string
}

/** Decides about a station, with the tools that the library offers. One that throws decides nothing. */
export type Auth = (
  handshake: Handshake,
  tools: { readonly security: typeof Security; readonly signal: AbortSignal },
) => Verdict | Promise<Verdict>

const passwordIs =
  (expected: string | Uint8Array): Auth =>
  (handshake, { security }) =>
    security.passwordMatches(handshake, expected) ? { accept: {} } : { reject: 401 }

export const auths = {
  everybody: () => ({ accept: {} }),
  secret: passwordIs("secret"),
  /** No UTF-8, and with a colon in it. */
  binary: passwordIs(Buffer.from([0xff, 0x00, 0x3a, 0x80, 0xfe])),
  emptyPassword: passwordIs(""),
  ownCertificate: (handshake, { security }) =>
    security.certificateMatches(handshake) ? { accept: {} } : { reject: 401 },
  never: () => new Promise<Verdict>(() => {}),
  gated: async (_, { signal }) => {
    await until(gate, signal)
    return { accept: {} }
  },
  throws: () => {
    throw new Error("auth has thrown")
  },
  /** Takes its time over a wrong password. */
  slowSecret: async (handshake, { security, signal }) => {
    await until(gate, signal)
    return security.passwordMatches(handshake, "secret") ? { accept: {} } : { reject: 401 }
  },
  both: () => ({ accept: {}, reject: 403 }),
  rejects: async () => {
    throw new Error("auth has rejected")
  },
  split: () => ({ reject: 403, message: "no\r\nSet-Cookie: evil=1\r\n\r\n<b>body</b>" }),
  noRefusal: () => ({ reject: 200, message: "a refusal is no success" }),
} satisfies Record<string, Auth>

export const behaviourNamed = (name: string): Behaviour => {
  if (!Object.hasOwn(behaviours, name)) throw new Error(`no behaviour is named ${name}`)
  return behaviours[name as keyof typeof behaviours]
}

export const authNamed = (name: string): Auth => {
  if (!Object.hasOwn(auths, name)) throw new Error(`no auth is named ${name}`)
  return auths[name as keyof typeof auths]
}

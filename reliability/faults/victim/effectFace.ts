/** Servers and stations made with the Effect face. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import type * as Library from "../../../src/index.ts"
import { library } from "../../processes/library.ts"
import { type Auth, authNamed, behaviourNamed, type Verdict } from "./behaviours.ts"
import type { CallSetup, Options, ServerSetup, StationSetup } from "./commands.ts"
import { defaultHandlers, everyProtocol, jammed, messageOf, Subject, timeoutSignal, totals } from "./Subject.ts"

const { Backoff, Client, createRPCError, Handlers, isRPCError, Ocpp16, Ocpp201, Ocpp21, Server } = library

const metrics: Metric.FiberRuntimeMetricsService = {
  recordFiberStart: () => void totals.fibers++,
  recordFiberEnd: () => void totals.fibers--,
}

const runTyped = async <A>(effect: Effect.Effect<A, unknown>, signal?: AbortSignal): Promise<A> => {
  const exit = await Effect.runPromiseExit(effect, signal === undefined ? {} : { signal })
  if (Exit.isSuccess(exit)) return exit.value
  throw Cause.squash(exit.cause)
}

/** Runs in a Scope, and counts the fibers that come of it. */
const runIn = <A>(scope: Scope.Scope, effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  runTyped(Effect.provideService(Scope.provide(effect, scope), Metric.FiberRuntimeMetrics, metrics))

const protocolsNamed = (names: ReadonlyArray<string> = everyProtocol) =>
  names.map((name) => [Ocpp16, Ocpp201, Ocpp21].find((known) => known.name === name) ?? library.Protocol.make(name, []))

/** The station that is calling. */
type Caller = Effect.Effect<{
  readonly identity: string
  readonly call: (action: string, payload?: unknown) => Effect.Effect<unknown, unknown>
}>

const handlerNamed = (subject: Subject, name: string, caller: Caller): Library.Handlers.AnyHandler => {
  const behaviour = behaviourNamed(name)
  return (payload, { action, messageId }) =>
    Effect.flatMap(caller, (peer) =>
      Effect.callback((resume, signal) => {
        const done = subject.arrive(action, payload, messageId)
        const finish = (exit: Exit.Exit<unknown, Library.RPCError>) => {
          done()
          resume(exit)
        }
        const answer = (value: unknown) => finish(Exit.succeed(value))
        const refuse = (error: unknown) => finish(isRPCError(error) ? Exit.fail(error) : Exit.die(error))
        const call = (called: string, request?: unknown) => runTyped(peer.call(called, request))
        try {
          const value = behaviour(payload, {
            action,
            messageId,
            signal,
            call,
            error: createRPCError,
            identity: peer.identity,
          })
          if (value instanceof Promise) value.then(answer, refuse)
          else answer(value)
        } catch (error) {
          refuse(error)
        }
        return Effect.sync(done)
      }),
    )
}

const handlersOf = (
  subject: Subject,
  { "*": wildcard, ...actions }: Readonly<Record<string, string>>,
  caller: Caller,
): ReadonlyArray<Library.Handlers.Handlers> => {
  const byAction = new Map(
    Object.entries(actions).map(([action, name]) => [action, handlerNamed(subject, name, caller)]),
  )
  const last = wildcard === undefined ? [] : [Handlers.wildcard(handlerNamed(subject, wildcard, caller))]
  return [Handlers.dynamic((action) => byAction.get(action)), ...last]
}

const see = (subject: Subject, identity: string | undefined, event: Library.Connection.Event): void => {
  switch (event._tag) {
    case "Disconnect":
    case "Close":
      return subject.see(event._tag, identity, event.code, event.reason)
    case "BadMessage":
    case "CallError":
    case "CallResultError":
    case "ValidationFailure":
      return subject.see(event._tag, identity, event.error.code, event.error.message)
    case "SocketError":
      return subject.see(event._tag, identity, event.error.message)
    case "ConnectFailure":
      return subject.see(event._tag, identity, messageOf(event.error))
    default:
      return subject.see(event._tag, identity)
  }
}

const decide = async (auth: Auth, handshake: Library.Server.Handshake, signal: AbortSignal): Promise<Verdict> =>
  auth(handshake, { security: library.Security, signal })

const authEffect =
  (subject: Subject, auth: Auth) =>
  (handshake: Library.Server.Handshake): Effect.Effect<unknown, Library.Server.Rejected> => {
    if (handshake.identity === "BYSTANDER") return Effect.succeed({})
    return Effect.flatMap(
      Effect.promise(async (signal) => {
        const done = subject.ask(signal)
        return decide(auth, handshake, signal).finally(done)
      }),
      ({ accept, message, reject }) =>
        accept === undefined ? Effect.suspend(() => Server.reject(reject, message)) : Effect.succeed(accept),
    )
  }

export class EffectServer extends Subject {
  readonly #scope = Scope.makeUnsafe()
  #server: Library.Server.Server | undefined

  async start({
    auth,
    handlers = defaultHandlers,
    observed,
    options,
    port = 0,
    protocols,
    tls,
  }: ServerSetup): Promise<number> {
    const made = Server.make({
      protocols: protocolsNamed(protocols),
      handlers: handlersOf(this, handlers, Server.Station as unknown as Caller),
      ...(auth === undefined ? undefined : { auth: authEffect(this, authNamed(auth)) }),
      ...options,
    })
    const where = { host: "127.0.0.1", port, ...(tls === undefined ? undefined : { tls }) }
    const listening = Effect.tap(made, (server) => server.listen(where))
    this.#server = await runIn(this.#scope, listening as Effect.Effect<Library.Server.Server, unknown, Scope.Scope>)
    if (observed !== false) this.#observe(this.#server)
    return this.#server.port ?? 0
  }

  #observe(server: Library.Server.Server): void {
    server.subscribe((event) => {
      if (event._tag === "Connected") {
        event.station.subscribe((told) => see(this, event.station.identity, told))
        this.see("Connected", event.station.identity, "")
      } else if (event._tag === "UpgradeAborted") {
        const { error, identity } = event
        this.see(event._tag, identity, "code" in error ? error.code : "", error.message)
      } else if (event._tag === "ServerError") {
        this.see(event._tag, undefined, event.error.message)
      }
    })
  }

  get connected(): number {
    return this.#server === undefined ? 0 : Effect.runSync(this.#server.stations).length
  }

  call({ abortAfter, action, identity = "", noReply = false, payload, timeout }: CallSetup, signal?: AbortSignal) {
    const options = { noReply, ...(timeout === undefined ? undefined : { timeout }) }
    const server = this.#server!
    const call = Effect.flatMap(server.station(identity), (station) => station.call(action, payload, options))
    return runTyped(call, signal ?? timeoutSignal(abortAfter))
  }

  close(options: Options): Promise<unknown> {
    return runTyped(this.#server?.close(options) ?? Effect.void)
  }

  shutdown(): Promise<unknown> {
    return runTyped(Scope.close(this.#scope, Exit.void))
  }
}

export class EffectStation extends Subject {
  readonly #scope = Scope.makeUnsafe()
  #client: Library.Client.Client | undefined

  async start(setup: StationSetup): Promise<unknown> {
    const { endpoint, handlers = {}, identity = "CP001", observed, protocols = ["ocpp1.6"] } = setup
    const { reconnect, ...others } = (setup.options ?? {}) as {
      readonly reconnect?: { minimum: number; range: number }
    }
    const options: Library.Client.WebSocketOptions = {
      endpoint,
      identity,
      protocols: protocolsNamed(protocols),
      handlers: handlersOf(this, handlers, Client.Client as unknown as Caller),
      reconnect:
        reconnect === undefined
          ? false
          : Backoff.ocpp({ waitMinimum: reconnect.minimum, randomRange: reconnect.range, repeatTimes: 3 }),
      ...others,
      ...(setup.jams === undefined ? undefined : { webSocket: jammed(setup.jams) }),
    }
    const client = await runIn(this.#scope, Client.makeUnconnected(Client.dialler(options), options))
    this.#client = client
    if (observed !== false) client.subscribe((event) => see(this, identity, event))
    return runTyped(client.connect)
  }

  get connected(): number {
    return this.#client?.state === 1 ? 1 : 0
  }

  call({ abortAfter, action, noReply = false, payload, timeout }: CallSetup, signal?: AbortSignal) {
    const options = { noReply, ...(timeout === undefined ? undefined : { timeout }) }
    return runTyped(this.#client!.call(action, payload, options), signal ?? timeoutSignal(abortAfter))
  }

  close(options: Options): Promise<unknown> {
    return runTyped(this.#client?.close(options) ?? Effect.void)
  }

  shutdown(): Promise<unknown> {
    return runTyped(Scope.close(this.#scope, Exit.void))
  }
}

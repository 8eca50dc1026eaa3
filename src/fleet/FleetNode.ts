/**
 * One node of a fleet, without the Streams of the Effect face: what it holds, what it calls elsewhere, what others call here, who is
 * alive. One fiber ticks, one renews the lease, one claims and releases; nothing waits per station.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import type * as Action from "../Action.ts"
import type { NotConnectedError } from "./core.ts"
import type { Engine, Entry, Listener, Member } from "./Engine.ts"
import { EngineClock } from "./EngineClock.ts"
import type { EngineError } from "./EngineError.ts"
import type { FleetFailure } from "./failures.ts"
import { Guard, tickInterval } from "./Guard.ts"
import { Holdings } from "./Holdings.ts"
import type { Host, HostStation } from "./Host.ts"
import { Incoming } from "./Incoming.ts"
import { Liveness } from "./Liveness.ts"
import * as Message from "./Message.ts"
import { Meters } from "./Meters.ts"
import { nameOf, newId } from "./nodeIds.ts"
import { notConnected, Outgoing, type Request } from "./Outgoing.ts"
import type { Settings } from "./Settings.ts"
import { tracedCall } from "./tracing.ts"
import type { UnreachableError } from "./UnreachableError.ts"

/** How long the engine must be away before calls of others are taken back, in milliseconds: shorter than `Liveness.silence`. */
const takeBackAfter = 1_000

/** How a call of a station that is connected here is made. */
export type CallLocally<S> = (station: S, request: Request) => Effect.Effect<unknown, FleetFailure>

/** What is to be called, before anybody knows where. */
export interface Call {
  readonly identity: string
  readonly kind: "Call" | "Send"
  readonly action: Action.Any | string
  readonly payload: unknown
  /** In milliseconds; `undefined` for the default. */
  readonly timeout?: number | undefined
  readonly noReply?: boolean | undefined
}

export class FleetNode<S extends HostStation> implements Listener {
  /** Unique to this run of the process. */
  readonly id: string
  readonly clock: EngineClock
  readonly meters: Meters
  readonly holdings: Holdings<S>
  readonly outgoing: Outgoing
  readonly incoming: Incoming
  readonly liveness: Liveness
  readonly #host: Host<S>
  readonly #settings: Settings
  readonly #guard: Guard
  readonly #callLocally: CallLocally<S>
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  #member: Member | undefined
  #up = true
  #leaving = false
  #downSince = 0
  #inboxAt = 0
  #failedBeats = 0
  readonly #onUp = new Set<() => void>()

  constructor(host: Host<S>, settings: Settings, parts: Parts<S>) {
    this.#host = host
    this.#settings = settings
    this.#callLocally = parts.callLocally
    this.run = parts.run
    this.id = newId(settings.node)
    this.clock = new EngineClock(Context.get(parts.context, Clock.Clock))
    this.meters = new Meters(parts.context, settings.node)
    this.#guard = new Guard(
      { monotonic: () => this.clock.monotonic(), wall: () => this.clock.wall() },
      (id) => void this.run(Effect.ignore(Effect.suspend(() => this.member.send(this.id, marker(id))))),
    )
    this.holdings = new Holdings(this)
    this.outgoing = new Outgoing(this)
    this.incoming = new Incoming(this)
    this.liveness = new Liveness(this)
  }

  get name(): string {
    return this.#settings.node
  }

  /** Whether the engine can be reached. */
  get isUp(): boolean {
    return this.#up
  }

  get member(): Member {
    if (this.#member === undefined) throw new Error("the node has not joined yet")
    return this.#member
  }

  get protocols() {
    return this.#host.protocols
  }

  get callTimeout(): number {
    return this.#settings.callTimeout
  }

  get maxCalls(): number {
    return this.#settings.maxCalls
  }

  get maxMessageBytes(): number {
    return Math.min(this.#settings.maxMessageBytes, this.member.maxMessageBytes)
  }

  get serves(): boolean {
    return !this.#leaving && this.#guard.awake
  }

  readonly nameOf = nameOf

  readonly station = (identity: string): S | undefined => this.holdings.station(identity)

  readonly disown = (identity: string, epoch: number): void => {
    if (this.holdings.station(identity) === undefined) this.holdings.disown(identity, epoch)
  }

  readonly suspect = (node: string): void => this.liveness.suspect(node)

  readonly silentFor = (millis: number): ReadonlySet<string> => this.outgoing.silentFor(millis)

  readonly callHere = (request: Request): Effect.Effect<unknown, FleetFailure> | undefined => {
    const station = this.holdings.station(request.identity)
    return station && this.#callLocally(station, request)
  }

  readonly tellReplaced = (node: string, stations: ReadonlyArray<Message.Superseded>): Effect.Effect<void> =>
    Effect.ignore(Effect.suspend(() => this.member.send(node, Message.encode({ type: "replaced", stations }))))

  readonly onGone = (node: string): void => {
    this.outgoing.gone(node)
    this.run(Effect.logWarning(`the node ${node} is gone`))
  }

  /** Calls a station, wherever it is. */
  call({ action, identity, kind, noReply, payload, timeout }: Call): Effect.Effect<unknown, FleetFailure> {
    const isName = typeof action === "string"
    const request: Request = {
      identity,
      kind,
      action: isName ? action : action.name,
      declaration: isName ? undefined : action,
      payload: payload === undefined ? {} : payload,
      timeout,
      noReply: noReply === true,
      trace: undefined,
    }
    return Effect.suspend(() => this.callHere(request) ?? tracedCall(request, (traced) => this.outgoing.call(traced)))
  }

  /** Where a station is. */
  entry(identity: string): Effect.Effect<Entry, NotConnectedError | UnreachableError> {
    return Effect.suspend((): Effect.Effect<Entry, NotConnectedError | UnreachableError> => {
      const here = this.station(identity)
      if (here !== undefined) return Effect.succeed({ identity, protocol: here.protocol, node: this.id, epoch: 0 })
      return Effect.flatMap(this.outgoing.owner(identity), (owner) =>
        owner === undefined || owner.node === this.id ? notConnected(identity) : Effect.succeed({ identity, ...owner }),
      )
    })
  }

  /** Everybody who is connected, as far as the directory knows, and who is connected here. */
  get entries(): Effect.Effect<ReadonlyArray<Entry>, EngineError> {
    return Effect.map(
      Effect.andThen(
        this.#renew,
        Effect.suspend(() => this.member.entries),
      ),
      (entries) => {
        const all = new Map<string, Entry>()
        for (const entry of entries) {
          const isHere = entry.node === this.id
          if (isHere ? this.station(entry.identity) !== undefined : this.liveness.nodes.has(entry.node)) {
            all.set(entry.identity, entry)
          }
        }
        for (const { identity, protocol } of this.holdings.stations) {
          if (this.station(identity) === undefined || all.get(identity)?.node === this.id) continue
          all.set(identity, { identity, protocol, node: this.id, epoch: 0 })
        }
        return [...all.values()]
      },
    )
  }

  /** Calls the observer whenever the engine can be reached again, until the returned function is called. */
  whenUp(observer: () => void): () => void {
    this.#onUp.add(observer)
    return () => this.#onUp.delete(observer)
  }

  onMessage(text: string): void {
    if (this.#member === undefined) return
    this.#inboxAt = this.clock.monotonic()
    const message = Message.decode(text)
    switch (message?.type) {
      case undefined:
        return this.meters.refused("invalid")
      case "call":
        return this.incoming.called(message)
      case "answer":
        return this.outgoing.answered(message)
      case "cancel":
        return this.incoming.cancelled(message)
      case "replaced":
        for (const { epoch, identity } of message.stations) this.holdings.replaced(identity, epoch)
        return
      case "marker":
        return this.#guard.returned(message.id)
    }
  }

  onStatus(status: "up" | "down"): void {
    const isUp = status === "up"
    if (isUp === this.#up) return
    this.#up = isUp
    if (!isUp) {
      this.#downSince = this.clock.monotonic()
      this.meters.engineLost()
      this.liveness.reset()
      this.run(Effect.logWarning("the engine cannot be reached: stations of other nodes cannot be called"))
      return
    }
    this.run(Effect.andThen(Effect.logInfo("the engine can be reached again"), this.#resume))
  }

  /** The engine may have forgotten everything, and messages may have been lost. */
  get #resume(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.#inboxAt = this.clock.monotonic()
      this.outgoing.forgetNodes(() => true)
      yield* this.#renew
      this.holdings.claimAll()
      this.holdings.resume()
      this.outgoing.resumed()
      this.incoming.retry()
      for (const observer of this.#onUp) observer()
    }).pipe(Effect.ignore)
  }

  /** Renews the lease, and takes what the engine says of time, of this node and of the others. */
  get #renew(): Effect.Effect<void, EngineError> {
    return Effect.suspend(() => {
      const asked = this.clock.monotonic()
      return Effect.flatMap(this.member.beat, ({ lapsed, nodes, now }) => {
        this.clock.read(asked, now)
        if (this.liveness.beat(nodes)) this.outgoing.forgetNodes((node) => !this.liveness.nodes.has(node))
        if (!lapsed || this.#leaving) return Effect.void
        this.holdings.claimAll()
        return Effect.logWarning("the lease of this node had lapsed: its stations are claimed again")
      })
    })
  }

  /** What is to be done every few seconds. */
  get #beat(): Effect.Effect<void, EngineError> {
    return Effect.gen({ self: this }, function* () {
      yield* this.#renew
      yield* this.#lookAfterTheDead
      if (!this.#leaving) yield* this.holdings.audit
      yield* this.#checkInbox
    })
  }

  /** One node finds nodes that nobody calls and that are dead, and deletes what they have left; the others look after that one. */
  get #lookAfterTheDead(): Effect.Effect<void, EngineError> {
    return Effect.gen({ self: this }, function* () {
      const { isLeader, leader, nodes } = this.liveness
      for (const node of isLeader ? nodes : [leader]) {
        if (node !== this.id && !(yield* this.member.presence(node)).listening) this.suspect(node)
      }
      if (!isLeader || !this.liveness.isSweepDue) return
      const swept = yield* this.member.sweep
      this.liveness.swept()
      if (swept > 0) yield* Effect.logInfo(`the directory has forgotten ${swept} stations of nodes that are gone`)
    })
  }

  /** A marker goes round with each beat: an inbox through which nothing comes any more is opened anew. */
  get #checkInbox(): Effect.Effect<void, EngineError> {
    return Effect.gen({ self: this }, function* () {
      const isDeaf = this.clock.monotonic() - this.#inboxAt > this.#settings.lease
      const handed = yield* this.member.send(this.id, marker(0))
      if (!this.#up || (!isDeaf && handed === "handed")) return
      this.#inboxAt = this.clock.monotonic()
      yield* Effect.logWarning("nothing comes through the engine: connecting again")
      yield* this.member.reconnect
    })
  }

  get #beating(): Effect.Effect<never> {
    const failed = Effect.suspend(() => {
      if (!this.#up || ++this.#failedBeats < 2) return Effect.void
      this.#failedBeats = 0
      return this.member.reconnect
    })
    const beat = Effect.matchEffect(
      Effect.suspend(() => (this.#up ? this.#beat : Effect.void)),
      {
        onFailure: () => failed,
        onSuccess: () =>
          Effect.sync(() => {
            this.#failedBeats = 0
          }),
      },
    )
    const { lease } = this.#settings
    const pause = Effect.flatMap(Random.next, (random) => Effect.sleep((lease / 3) * (0.9 + 0.2 * random)))
    return Effect.forever(Effect.andThen(pause, beat))
  }

  get #ticking(): Effect.Effect<never> {
    const tick = Effect.sync(() => {
      if (this.#guard.tick()) this.#woke()
      const isLost = !this.#up && this.clock.monotonic() - this.#downSince >= takeBackAfter
      if (isLost && this.incoming.size > 0) this.incoming.takeBackAll(`the node ${this.name} has lost the engine`)
      this.outgoing.tick()
      this.incoming.tick()
      this.liveness.tick()
    })
    return Effect.forever(Effect.andThen(Effect.sleep(tickInterval), tick))
  }

  /** The node has slept: its lease may have lapsed, and what it knows of the engine's time may be wrong. */
  #woke(): void {
    if (this.#up) this.run(Effect.ignore(Effect.andThen(Effect.logWarning("this node has slept"), this.#beat)))
  }

  /** Enters the fleet; what follows goes on until the Scope closes. */
  join(engine: Engine): Effect.Effect<void, EngineError, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      this.#member = yield* engine.join({ node: this.id, lease: this.#settings.lease }, this)
      this.#inboxAt = this.clock.monotonic()
      yield* this.#renew
      for (const forever of [this.#ticking, this.#beating, this.holdings.worker]) yield* Effect.forkScoped(forever)
      const unsubscribe = this.#host.subscribe((event) => {
        if (event._tag === "Connected") this.holdings.add(event.station)
        else if (event._tag === "Disconnected") this.holdings.remove(event.station)
      })
      for (const station of yield* this.#host.stations) this.holdings.add(station)
      yield* Effect.addFinalizer(() => Effect.andThen(Effect.sync(unsubscribe), this.#leave))
      const gauges = this.#registerGauges()
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          for (const remove of gauges) remove()
        }),
      )
      yield* Effect.logInfo(`this node has joined the fleet on ${engine.name} as ${this.id}`)
    })
  }

  #registerGauges(): ReadonlyArray<() => void> {
    const { meters } = this
    return [
      meters.gauge("ocpp_fleet_stations", "Stations that this node holds", () => this.holdings.size),
      meters.gauge("ocpp_fleet_nodes", "Nodes whose lease is valid", () => this.liveness.nodes.size),
      meters.gauge("ocpp_fleet_engine_up", "Whether the engine can be reached", () => (this.#up ? 1 : 0)),
      meters.gauge(
        "ocpp_fleet_calls_running",
        "Calls of other nodes for stations of this one",
        () => this.incoming.size,
      ),
      meters.gauge("ocpp_fleet_calls_waiting", "Calls for stations of other nodes", () => this.outgoing.size),
    ]
  }

  /** Serves no more calls of others, lets those that run end, and is forgotten by the directory. */
  get #leave(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.#leaving = true
      const idle = Effect.repeat(Effect.sleep(20), { until: () => this.incoming.size === 0 })
      if (this.incoming.size > 0) yield* Effect.timeoutOption(idle, this.#settings.shutdownGrace)
      this.incoming.takeBackAll(`the node ${this.name} is shutting down`)
      if (this.#up) yield* Effect.timeoutOption(Effect.ignore(this.holdings.releaseAll), 2_000)
    })
  }
}

/** What a node is made of beside its server. */
interface Parts<S> {
  readonly callLocally: CallLocally<S>
  readonly run: FleetNode<HostStation>["run"]
  readonly context: Context.Context<never>
}

const marker = (id: number): string => Message.encode({ type: "marker", id })

/** A node that has entered the fleet of an engine, until the Scope closes. */
export const make = Effect.fnUntraced(function* <S extends HostStation>(
  host: Host<S>,
  engine: Engine,
  settings: Settings,
  callLocally: CallLocally<S>,
): Effect.fn.Return<FleetNode<S>, EngineError, Scope.Scope> {
  const context = yield* Effect.context()
  const annotations = Context.get(context, References.CurrentLogAnnotations)
  const named = Context.add(context, References.CurrentLogAnnotations, { ...annotations, node: settings.node })
  const run = yield* Effect.provideContext(FiberSet.makeRuntime(), named)
  const node = new FleetNode(host, settings, { callLocally, run, context: named })
  yield* Effect.annotateLogs(node.join(engine), { node: settings.node })
  return node
})

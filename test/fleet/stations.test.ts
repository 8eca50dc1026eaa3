/** Who is connected in the whole fleet, calls to all of them, and a node that is taken out of service. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Fleet from "../../src/Fleet.ts"
import * as Server from "../../src/Server.ts"
import * as Network from "../../src/testing/Network.ts"
import { settled } from "../../src/testing/settled.ts"
import { answering, Echo, makeFleet, makeNode, Other, pass } from "./support/nodes.ts"

const seenBy = (fleet: Fleet.Fleet) =>
  Effect.map(fleet.stations, (stations) =>
    stations.map(({ identity, isLocal, node }) => `${identity}@${node}${isLocal ? " (here)" : ""}`).toSorted(),
  )

describe("stations", () => {
  it.effect("are those of all nodes, with the node and the subprotocol of each", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      yield* a.connect("CP001")
      yield* b.connect("CP002")
      expect(yield* seenBy(a.fleet)).toEqual(["CP001@a (here)", "CP002@b"])
      expect(yield* seenBy(c.fleet)).toEqual(["CP001@a", "CP002@b"])
      expect((yield* c.fleet.stations).map(({ protocol }) => protocol)).toEqual(["echo1.0", "echo1.0"])
    }),
  )

  it.effect("include who has just connected here, and leave out who has just gone", () =>
    Effect.gen(function* () {
      const { a, hub } = yield* makeFleet
      const station = yield* a.connect("CP001")
      yield* a.network.station({ identity: "CP002", protocols: [Echo] })
      yield* station.close()
      expect(yield* seenBy(a.fleet)).toEqual(["CP002@a (here)"])
      expect(hub.directory.entries().map(({ identity }) => identity)).toEqual(["CP001"])
    }),
  )

  it.effect("are not those of a node that is dead", () =>
    Effect.gen(function* () {
      const { a, b, hub } = yield* makeFleet
      yield* a.connect("CP001")
      hub.crash(a.id)
      yield* pass(5_000, 50)
      expect(yield* seenBy(b.fleet)).toEqual([])
    }),
  )

  it.effect("can be called one by one, wherever each is when it is called", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      yield* a.connect("CP001", { handlers: answering("old") })
      const station = yield* c.fleet.station("CP001")
      expect(station).toMatchObject({ identity: "CP001", node: "a", protocol: "echo1.0", isLocal: false })
      yield* b.connect("CP001", { handlers: answering("new") })
      const { call } = station
      const fiber = yield* Effect.forkChild(call(Echo.Echo, { text: "hi" }))
      yield* pass(300)
      expect(yield* Fiber.join(fiber)).toEqual({ text: "new: hi" })
      expect(yield* Effect.flip(c.fleet.station("CP002"))).toMatchObject({ _tag: "NotConnectedError" })
    }),
  )

  it.effect("that were connected before the fleet was made are of it", () =>
    Effect.gen(function* () {
      const hub = yield* Fleet.MemoryHub.make
      const network = yield* Network.make({ protocols: [Echo] })
      yield* network.station({ identity: "CP001", protocols: [Echo] })
      const late = yield* Fleet.make({ node: "late" }).pipe(
        Effect.provideService(Server.Server, network.csms),
        Effect.provideService(Fleet.Engine.Engine, hub),
      )
      yield* pass(50)
      expect(yield* seenBy(late)).toEqual(["CP001@late (here)"])
      const other = yield* makeNode(hub, "other")
      expect(yield* seenBy(other.fleet)).toEqual(["CP001@late"])
    }),
  )
})

describe("changes", () => {
  const follow = Effect.fnUntraced(function* (fleet: Fleet.Fleet) {
    const seen: Array<string> = []
    const note = ({ _tag, station }: Fleet.Change) =>
      Effect.sync(() => void seen.push(`${_tag === "Connected" ? "+" : "-"}${station.identity}@${station.node}`))
    yield* Effect.forkScoped(Stream.runForEach(fleet.changes, note), { startImmediately: true })
    yield* pass(50)
    return () => seen.splice(0)
  })

  it.effect("are first who is connected, then who comes, moves and goes", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      const first = yield* a.connect("CP001")
      const take = yield* follow(c.fleet)
      expect(take()).toEqual(["+CP001@a"])
      yield* b.connect("CP002")
      yield* pass(50)
      expect(take()).toEqual(["+CP002@b"])
      yield* b.connect("CP001")
      yield* pass(50)
      expect(take()).toEqual(["+CP001@b"])
      expect((yield* first.closed).code).toBe(1008)
      yield* (yield* a.connect("CP003")).close()
      yield* pass(50)
      expect(take()).toEqual(["+CP003@a", "-CP003@a"])
    }),
  )

  it.effect("tell after the engine was away what is different, and nothing else", () =>
    Effect.gen(function* () {
      const { a, b, c, hub } = yield* makeFleet
      const gone = yield* a.connect("CP001")
      yield* b.connect("CP002")
      const take = yield* follow(c.fleet)
      expect(take()).toEqual(["+CP001@a", "+CP002@b"])
      hub.cut(c.id)
      yield* gone.close()
      yield* b.connect("CP003")
      yield* pass(500)
      expect(take()).toEqual([])
      hub.heal(c.id)
      yield* pass(500)
      expect(take().toSorted()).toEqual(["+CP003@b", "-CP001@a"])
    }),
  )

  it.effect("tell that the stations of a dead node are gone", () =>
    Effect.gen(function* () {
      const { a, c, hub } = yield* makeFleet
      yield* a.connect("CP001")
      const take = yield* follow(c.fleet)
      hub.crash(a.id)
      yield* pass(12_000, 50)
      expect(take()).toEqual(["+CP001@a", "-CP001@a"])
    }),
  )

  it.effect("are of each station the latest only, for a reader that is slow", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      const gate = Latch.makeUnsafe(false)
      const seen: Array<string> = []
      yield* a.connect("CP000")
      const read = Stream.runForEach(b.fleet.changes, ({ _tag, station }) =>
        Effect.andThen(
          Effect.sync(() => seen.push(`${_tag} ${station.identity}`)),
          gate.await,
        ),
      )
      yield* Effect.forkScoped(read, { startImmediately: true })
      yield* pass(50)
      for (let i = 0; i < 20; i++) yield* (yield* a.connect("CP001")).close()
      yield* a.connect("CP001")
      yield* pass(50)
      yield* gate.open
      yield* pass(50)
      expect(seen).toEqual(["Connected CP000", "Connected CP001"])
    }),
  )
})

describe("broadcast", () => {
  it.effect("calls every station of every node, and tells what came of each call", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* makeFleet
      yield* a.connect("CP001")
      yield* b.connect("CP002")
      const call = yield* Effect.forkChild(c.fleet.broadcast(Echo.Echo, { text: "hi" }))
      yield* pass(200)
      const results = (yield* Fiber.join(call)).map(([{ identity, node }, exit]) => [identity, node, exit])
      expect(results).toEqual([
        ["CP001", "a", Exit.succeed({ text: "CP001: hi" })],
        ["CP002", "b", Exit.succeed({ text: "CP002: hi" })],
      ])
    }),
  )

  it.effect("calls neither who speaks another subprotocol, nor whom `where` leaves out", () =>
    Effect.gen(function* () {
      const hub = yield* Fleet.MemoryHub.make
      const a = yield* makeNode(hub, "a", {}, { protocols: [Echo, Other] })
      const b = yield* makeNode(hub, "b", {}, { protocols: [Echo, Other] })
      yield* a.connect("CP001")
      yield* a.connect("CP002", { protocols: [Other], handlers: [] })
      yield* a.connect("CP003")
      const where = ({ identity }: Fleet.Station) => identity !== "CP003"
      const call = yield* Effect.forkChild(b.fleet.broadcast(Echo.Echo, { text: "hi" }, { where }))
      yield* pass(200)
      expect((yield* Fiber.join(call)).map(([{ identity }]) => identity)).toEqual(["CP001"])
    }),
  )
})

describe("drain", () => {
  it.effect("closes the stations of the node one after the other, over the time that is given", () =>
    Effect.gen(function* () {
      const { a, b } = yield* makeFleet
      const stations = yield* Effect.forEach(["CP001", "CP002", "CP003", "CP004"], (identity) => a.connect(identity))
      yield* b.connect("CP005")
      const open = () => stations.filter(({ state }) => state === 1).length
      const draining = yield* Effect.forkChild(a.fleet.drain({ over: "8 seconds" }), { startImmediately: true })
      const counts: Array<number> = []
      for (let i = 0; i < 4; i++) {
        yield* settled
        yield* pass(100)
        counts.push(open())
        yield* pass(1_900, 50)
      }
      expect(counts).toEqual([3, 2, 1, 0])
      yield* Fiber.join(draining)
      for (const station of stations) expect(yield* station.closed).toMatchObject({ code: 1001 })
      expect(yield* seenBy(b.fleet)).toEqual(["CP005@b (here)"])
    }),
  )
})

describe("a fleet of one node", () => {
  it.effect("needs no more than the engine inside the process", () =>
    Effect.gen(function* () {
      const fleet = yield* Fleet.Fleet
      expect(fleet.node).toBe("only")
      expect(yield* fleet.stations).toEqual([])
      expect(yield* Effect.flip(fleet.call("CP001", "Echo"))).toMatchObject({ _tag: "NotConnectedError" })
    }).pipe(
      Effect.provide(
        Fleet.layer({ node: "only" }).pipe(
          Layer.provide(Layer.effect(Server.Server, Server.make({ protocols: [Echo] }))),
          Layer.provide(Fleet.Engine.layerMemory),
        ),
      ),
    ),
  )

  for (const [name, options] of [
    ["node", { node: "a b" }],
    ["lease", { lease: 10 }],
    ["maxCalls", { maxCalls: 0 }],
    ["callTimeout", { callTimeout: -1 }],
    ["nodes", { nodes: 3 }],
  ] as const) {
    it.effect(`refuses a value of ${name} that makes no sense`, () =>
      Effect.gen(function* () {
        const hub = yield* Fleet.MemoryHub.make
        const exit = yield* Effect.exit(Effect.suspend(() => makeNode(hub, "a", options as Fleet.Options)))
        expect(String(exit)).toContain(name)
      }),
    )
  }
})

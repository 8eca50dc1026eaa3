/**
 * What every engine must do: an engine is right when it passes this. `Bench` is how a test gets at one.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Change, Claim, Engine, EngineError, Member } from "../../src/fleet/Engine.ts"

/** An engine whose connection can be hurt. */
export interface Link {
  readonly engine: Engine
  readonly cut: Effect.Effect<void>
  readonly stall: Effect.Effect<void>
  readonly heal: Effect.Effect<void>
}

/** One test's engine, empty. */
export interface Bench {
  readonly engine: Engine
  /** An engine for one node, over a connection of its own. */
  readonly link: (node: string) => Effect.Effect<Link>
  /** The engine's server stops, and starts again with nothing in it. */
  readonly restart: Effect.Effect<void>
  /** Lets so many milliseconds pass. */
  readonly wait: (millis: number) => Effect.Effect<void>
}

interface Joined {
  readonly node: string
  readonly member: Member
  readonly messages: Array<string>
  readonly statuses: Array<"up" | "down">
  /** Leaves. */
  readonly leave: Effect.Effect<void>
}

const lease = 2_000

const join = (engine: Engine, node: string): Effect.Effect<Joined, EngineError, Scope.Scope> =>
  Effect.gen(function* () {
    const messages: Array<string> = []
    const statuses: Array<"up" | "down"> = []
    const scope = yield* Scope.fork(yield* Effect.scope)
    const member = yield* Scope.provide(
      engine.join(
        { node, lease },
        { onMessage: (message) => messages.push(message), onStatus: (status) => statuses.push(status) },
      ),
      scope,
    )
    return { node, member, messages, statuses, leave: Scope.close(scope, Exit.void) }
  })

const claimOf = (identity: string, age = 0): Claim => ({ identity, protocol: "ocpp1.6", age })

/** What a verb fails with. */
const failure = (verb: Effect.Effect<unknown, EngineError>): Effect.Effect<EngineError | undefined> =>
  Effect.match(verb, { onFailure: (error) => error, onSuccess: () => undefined })

const strange = ["a b", "a.b.>", "*", "ä€😀", "a:b/c", "__proto__", "x".repeat(255), "-", '"', "a\\", "%00", "="]

/** @param run runs a test with a bench of its own */
export const engineConformance = (
  name: string,
  run: (test: (bench: Bench) => Effect.Effect<void, EngineError, Scope.Scope>) => () => Effect.Effect<void, unknown>,
  only: { readonly live: boolean; readonly skip: boolean },
) => {
  const test = (promise: string, body: (bench: Bench) => Effect.Effect<void, EngineError, Scope.Scope>) =>
    only.skip
      ? it.skip(promise, () => {})
      : only.live
        ? it.live(promise, run(body), 30_000)
        : it.effect(promise, run(body), 30_000)

  /** Two nodes. */
  const two = (
    promise: string,
    body: (a: Joined, b: Joined, bench: Bench) => Effect.Effect<void, EngineError, Scope.Scope>,
  ) =>
    test(promise, (bench) =>
      Effect.gen(function* () {
        const a = yield* join(bench.engine, "a~1")
        const b = yield* join(bench.engine, "b~1")
        yield* body(a, b, bench)
      }),
    )

  /** Waits until something holds; the assertion that follows says what does not. */
  const until = (bench: Bench, holds: () => boolean, millis = 8_000) =>
    Effect.gen(function* () {
      for (let waited = 0; waited < millis && !holds(); waited += 50) yield* bench.wait(50)
    })

  describe(`${name}: the directory`, () => {
    two("names the node whose claim was won, to every node", (a, b) =>
      Effect.gen(function* () {
        expect(yield* b.member.lookup(["CP001"])).toEqual([undefined])
        const [claimed] = yield* a.member.claim([claimOf("CP001")])
        expect(claimed).toMatchObject({ _tag: "Owned", identity: "CP001", previous: undefined })
        if (claimed?._tag !== "Owned") return
        const owner = { node: a.node, epoch: claimed.epoch, protocol: "ocpp1.6" }
        expect(yield* b.member.lookup(["nobody", "CP001"])).toEqual([undefined, owner])
        expect(yield* b.member.entries).toEqual([{ identity: "CP001", ...owner }])
      }),
    )

    two("is won by the newest connection, whoever claims first", (a, b) =>
      Effect.gen(function* () {
        const [first] = yield* a.member.claim([claimOf("CP001", 10_000)])
        const [second] = yield* b.member.claim([claimOf("CP001", 5_000)])
        if (first?._tag !== "Owned") return expect(first).toMatchObject({ _tag: "Owned" })
        expect(second).toMatchObject({ _tag: "Owned", previous: { node: a.node, epoch: first.epoch } })
        const [third] = yield* a.member.claim([claimOf("CP001", 10_000)])
        expect(third).toMatchObject({ _tag: "Newer", owner: { node: b.node } })
        expect(yield* a.member.lookup(["CP001"])).toMatchObject([{ node: b.node }])
      }),
    )

    two("lets a node replace its own entry, older or newer, and tells of no other node", (a, b) =>
      Effect.gen(function* () {
        const epochs: Array<number> = []
        for (const age of [100, 5_000, 0]) {
          const [claimed] = yield* a.member.claim([claimOf("CP001", age)])
          expect(claimed).toMatchObject({ _tag: "Owned", previous: undefined })
          if (claimed?._tag === "Owned") epochs.push(claimed.epoch)
        }
        expect([...new Set(epochs)].toSorted((x, y) => x - y)).toEqual(epochs)
        expect(yield* b.member.lookup(["CP001"])).toMatchObject([{ node: a.node, epoch: epochs[2] }])
      }),
    )

    two("takes the epoch that a claim had before", (a) =>
      Effect.gen(function* () {
        const [first] = yield* a.member.claim([claimOf("CP001")])
        if (first?._tag !== "Owned") return expect(first).toMatchObject({ _tag: "Owned" })
        const [again] = yield* a.member.claim([{ ...claimOf("CP001"), epoch: first.epoch }])
        const [stale] = yield* a.member.claim([{ ...claimOf("CP001"), epoch: first.epoch }])
        expect([again, stale]).toMatchObject([{ _tag: "Owned" }, { _tag: "Owned" }])
        expect(yield* a.member.lookup(["CP001"])).toMatchObject([{ node: a.node }])
      }),
    )

    two("says when a station has connected, on the engine's clock", (a, _, bench) =>
      Effect.gen(function* () {
        const { now } = yield* a.member.beat
        const [claimed] = yield* a.member.claim([claimOf("CP001", 60_000)])
        if (claimed?._tag !== "Owned") return expect(claimed).toMatchObject({ _tag: "Owned" })
        expect(Math.abs(claimed.since - (now - 60_000))).toBeLessThan(1_000)
        yield* bench.wait(300)
        const later = (yield* a.member.beat).now - now
        expect(later).toBeGreaterThan(250)
        expect(later).toBeLessThan(5_000)
      }),
    )

    two("takes a thousand claims, and answers each in its place", (a, b) =>
      Effect.gen(function* () {
        const identities = Array.from({ length: 1_000 }, (_, i) => `CP${i}`)
        for (const half of [identities.slice(0, 500), identities.slice(500)]) {
          const claimed = yield* a.member.claim(half.map((identity) => claimOf(identity)))
          expect(claimed.map(({ identity }) => identity)).toEqual(half)
        }
        const owners = yield* b.member.lookup(identities)
        expect(owners.every((owner) => owner?.node === a.node)).toBe(true)
        expect(new Set(owners.map((owner) => owner?.epoch)).size).toBe(1_000)
        expect((yield* b.member.entries).map(({ identity }) => identity).toSorted()).toEqual(identities.toSorted())
      }),
    )

    two("takes identities of any characters", (a, b) =>
      Effect.gen(function* () {
        yield* a.member.claim(strange.map((identity) => claimOf(identity)))
        expect((yield* b.member.lookup(strange)).map((owner) => owner?.node)).toEqual(strange.map(() => a.node))
        expect((yield* b.member.entries).map(({ identity }) => identity).toSorted()).toEqual(strange.toSorted())
      }),
    )

    two("forgets what is released with its epoch, and nothing else", (a, b) =>
      Effect.gen(function* () {
        const claimed = yield* a.member.claim([claimOf("CP001"), claimOf("CP002")])
        const epochs = claimed.map((one) => (one._tag === "Owned" ? one.epoch : 0))
        yield* a.member.release([
          { identity: "CP001", epoch: (epochs[0] as number) - 1 },
          { identity: "CP002", epoch: epochs[1] },
          { identity: "CP003", epoch: 1 },
        ])
        expect(yield* b.member.lookup(["CP001", "CP002"])).toMatchObject([{ node: a.node }, undefined])
        yield* b.member.release([{ identity: "CP001", epoch: undefined }])
        expect(yield* b.member.lookup(["CP001"])).toMatchObject([{ node: a.node }])
        yield* a.member.release([{ identity: "CP001", epoch: undefined }])
        expect(yield* b.member.lookup(["CP001"])).toEqual([undefined])
      }),
    )

    two("is claimed anew after a release, with a higher epoch", (a, b) =>
      Effect.gen(function* () {
        const [first] = yield* a.member.claim([claimOf("CP001")])
        if (first?._tag !== "Owned") return expect(first).toMatchObject({ _tag: "Owned" })
        yield* a.member.release([{ identity: "CP001", epoch: first.epoch }])
        const [second] = yield* b.member.claim([claimOf("CP001", 60_000)])
        expect(second).toMatchObject({ _tag: "Owned", previous: undefined })
        expect(second?._tag === "Owned" && second.epoch > first.epoch).toBe(true)
      }),
    )

    two("tells whoever watches of every change, and nobody else", (a, b, bench) =>
      Effect.gen(function* () {
        const told: Array<Change> = []
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* b.member.watch((changes) => told.push(...changes))
            const [claimed] = yield* a.member.claim([claimOf("CP001")])
            if (claimed?._tag !== "Owned") return expect(claimed).toMatchObject({ _tag: "Owned" })
            const { epoch } = claimed
            yield* a.member.release([{ identity: "CP001", epoch }])
            yield* until(bench, () => told.length === 2)
            expect(told).toEqual([
              { _tag: "Claimed", identity: "CP001", node: a.node, epoch, protocol: "ocpp1.6" },
              { _tag: "Released", identity: "CP001", epoch: expect.any(Number) },
            ])
            expect(told[1]?.epoch).toBeGreaterThanOrEqual(epoch)
          }),
        )
        yield* a.member.claim([claimOf("CP002")])
        yield* bench.wait(200)
        expect(told).toHaveLength(2)
      }),
    )
  })

  describe(`${name}: messages`, () => {
    two("arrive in the order in which a node has sent them, and only where they belong", (a, b, bench) =>
      Effect.gen(function* () {
        const texts = Array.from({ length: 300 }, (_, i) => `${i} ä€😀`)
        const handed = yield* Effect.forEach(texts, (text) => a.member.send(b.node, text))
        expect(new Set(handed)).toEqual(new Set(["handed"]))
        yield* until(bench, () => b.messages.length === texts.length)
        expect(b.messages).toEqual(texts)
        expect(a.messages).toEqual([])
      }),
    )

    two("arrive in order when they are not waited for", (a, b, bench) =>
      Effect.gen(function* () {
        const texts = Array.from({ length: 300 }, (_, i) => `${i}`)
        yield* Effect.forEach(texts, (text) => a.member.send(b.node, text), { concurrency: "unbounded" })
        yield* until(bench, () => b.messages.length === texts.length)
        expect(b.messages).toEqual(texts)
      }),
    )

    two("may go to the sender itself, behind everything that was sent to it before", (a, b, bench) =>
      Effect.gen(function* () {
        yield* b.member.send(a.node, "1")
        yield* a.member.send(a.node, "2")
        yield* until(bench, () => a.messages.length === 2)
        expect(a.messages).toEqual(["1", "2"])
      }),
    )

    two("may be half a mebibyte long", (a, b, bench) =>
      Effect.gen(function* () {
        const text = "ä".repeat(256 * 1024)
        expect(a.member.maxMessageBytes).toBeGreaterThan(2 * text.length)
        expect(yield* a.member.send(b.node, text)).toBe("handed")
        yield* until(bench, () => b.messages.length === 1)
        expect(b.messages[0] === text).toBe(true)
      }),
    )

    two("for a node that was never there, or has left, reach nobody, and the sender is told", (a, b) =>
      Effect.gen(function* () {
        expect(yield* a.member.send("c~1", "hello?")).toBe("nobody")
        expect(yield* a.member.send(b.node, "hello?")).toBe("handed")
        yield* b.leave
        expect(yield* a.member.send(b.node, "hello?")).toBe("nobody")
      }),
    )
  })

  describe(`${name}: leases`, () => {
    two("are valid from the start, and tell who else is alive", (a, b) =>
      Effect.gen(function* () {
        const { lapsed, nodes } = yield* a.member.beat
        expect(lapsed).toBe(false)
        expect(nodes.toSorted()).toEqual([a.node, b.node])
        expect(yield* a.member.presence(b.node)).toEqual({ leased: true, listening: true })
        expect(yield* a.member.presence("c~1")).toEqual({ leased: false, listening: false })
      }),
    )

    two("lapse without beats, and are renewed by one that says so", (a, b, bench) =>
      Effect.gen(function* () {
        for (let i = 0; i < 4; i++) {
          yield* bench.wait(lease / 3)
          yield* a.member.beat
        }
        yield* bench.wait(lease / 3)
        expect((yield* a.member.beat).nodes).toEqual([a.node])
        expect(yield* a.member.presence(b.node)).toEqual({ leased: false, listening: true })
        expect((yield* b.member.beat).lapsed).toBe(true)
        expect((yield* b.member.beat).lapsed).toBe(false)
        expect((yield* a.member.beat).nodes.toSorted()).toEqual([a.node, b.node])
      }),
    )

    two("end when a node leaves", (a, b) =>
      Effect.gen(function* () {
        yield* b.leave
        expect((yield* a.member.beat).nodes).toEqual([a.node])
        expect(yield* a.member.presence(b.node)).toEqual({ leased: false, listening: false })
      }),
    )

    two("protect entries: without one, an older connection elsewhere wins", (a, b, bench) =>
      Effect.gen(function* () {
        yield* b.member.claim([claimOf("CP001", 100)])
        for (let i = 0; i < 4; i++) {
          yield* bench.wait(lease / 3)
          yield* a.member.beat
        }
        const [claimed] = yield* a.member.claim([claimOf("CP001", 60_000)])
        expect(claimed).toMatchObject({ _tag: "Owned", previous: { node: b.node } })
      }),
    )

    two("that have lapsed let the entries of their node be swept, and no others", (a, b, bench) =>
      Effect.gen(function* () {
        const gone = Array.from({ length: 30 }, (_, i) => `gone${i}`)
        yield* b.member.claim(gone.map((identity) => claimOf(identity)))
        yield* a.member.claim([claimOf("CP001")])
        expect(yield* a.member.sweep).toBe(0)
        for (let i = 0; i < 4; i++) {
          yield* bench.wait(lease / 3)
          yield* a.member.beat
        }
        expect(yield* a.member.sweep).toBe(30)
        expect((yield* a.member.entries).map(({ identity }) => identity)).toEqual(["CP001"])
        expect(yield* a.member.sweep).toBe(0)
        yield* b.member.beat
        expect(yield* b.member.claim([claimOf("gone1")])).toMatchObject([{ _tag: "Owned" }])
      }),
    )
  })

  describe(`${name}: a connection that is lost`, () => {
    const withLink = (
      promise: string,
      body: (a: Joined, b: Joined, link: Link, bench: Bench) => Effect.Effect<void, EngineError, Scope.Scope>,
    ) =>
      test(promise, (bench) =>
        Effect.gen(function* () {
          const a = yield* join(bench.engine, "a~1")
          const link = yield* bench.link("b~1")
          const b = yield* join(link.engine, "b~1")
          yield* body(a, b, link, bench)
          yield* link.heal
        }),
      )

    withLink("is told, and nothing is sent meanwhile", (a, b, link, bench) =>
      Effect.gen(function* () {
        yield* link.cut
        yield* until(bench, () => b.statuses.length === 1)
        expect(b.statuses).toEqual(["down"])
        const failed = [
          yield* failure(b.member.send(a.node, "lost")),
          yield* failure(b.member.lookup(["CP001"])),
          yield* failure(b.member.claim([claimOf("CP001")])),
          yield* failure(b.member.beat),
        ]
        for (const error of failed) expect(error).toMatchObject({ _tag: "EngineError", sent: false })
        expect(yield* a.member.send(b.node, "lost")).toBe("nobody")
        expect((yield* a.member.presence(b.node)).listening).toBe(false)
        yield* link.heal
        yield* until(bench, () => b.statuses.length === 2)
        yield* bench.wait(300)
        expect(a.messages).toEqual([])
        expect(b.messages).toEqual([])
      }),
    )

    withLink("comes back by itself, with its inbox and what it watches", (a, b, link, bench) =>
      Effect.gen(function* () {
        const told: Array<Change> = []
        yield* b.member.watch((changes) => told.push(...changes))
        yield* link.cut
        yield* until(bench, () => b.statuses.length === 1)
        yield* link.heal
        yield* until(bench, () => b.statuses.length === 2)
        expect(b.statuses).toEqual(["down", "up"])
        expect(yield* a.member.send(b.node, "hello")).toBe("handed")
        yield* a.member.claim([claimOf("CP001")])
        yield* until(bench, () => b.messages.length === 1 && told.length === 1)
        expect(b.messages).toEqual(["hello"])
        expect(told).toMatchObject([{ _tag: "Claimed", identity: "CP001" }])
        yield* b.member.beat
        expect((yield* a.member.beat).nodes.toSorted()).toEqual([a.node, b.node])
      }),
    )

    withLink("by choice comes back as well", (a, b, _, bench) =>
      Effect.gen(function* () {
        yield* b.member.reconnect
        yield* until(bench, () => b.statuses.length === 2)
        expect(b.statuses).toEqual(["down", "up"])
        expect(yield* a.member.send(b.node, "hello")).toBe("handed")
      }),
    )

    withLink("lets the node be buried, which one that listens cannot be", (a, b, link, bench) =>
      Effect.gen(function* () {
        expect(yield* a.member.bury(b.node)).toBe(false)
        expect(yield* a.member.presence(b.node)).toEqual({ leased: true, listening: true })
        yield* b.member.claim([claimOf("CP001")])
        yield* link.cut
        yield* until(bench, () => b.statuses.length === 1)
        yield* bench.wait(100)
        expect(yield* a.member.bury(b.node)).toBe(true)
        expect(yield* a.member.presence(b.node)).toEqual({ leased: false, listening: false })
        expect(yield* a.member.sweep).toBe(1)
        yield* link.heal
        yield* until(bench, () => b.statuses.length === 2)
        expect((yield* b.member.beat).lapsed).toBe(true)
      }),
    )

    withLink("without anybody noticing ends every request, which counts as sent", (a, b, link, bench) =>
      Effect.gen(function* () {
        yield* link.stall
        let error: EngineError | undefined
        const sending = Effect.map(failure(b.member.send(a.node, "late")), (failed) => {
          error = failed
        })
        yield* Effect.forkChild(sending, { startImmediately: true })
        yield* bench.wait(4_000)
        expect(error).toMatchObject({ _tag: "EngineError", sent: true })
      }),
    )
  })

  describe(`${name}: an engine that comes back empty`, () => {
    two("is joined again by itself, and knows of higher epochs only", (a, b, bench) =>
      Effect.gen(function* () {
        const [before] = yield* a.member.claim([claimOf("CP001")])
        if (before?._tag !== "Owned") return expect(before).toMatchObject({ _tag: "Owned" })
        yield* bench.restart
        yield* until(bench, () => [a, b].every(({ statuses }) => statuses.length >= 2), 15_000)
        for (const { statuses } of [a, b]) {
          expect(statuses[0]).toBe("down")
          expect(statuses.at(-1)).toBe("up")
        }
        expect(yield* b.member.lookup(["CP001"])).toEqual([undefined])
        expect((yield* a.member.beat).lapsed).toBe(true)
        const [after] = yield* a.member.claim([{ ...claimOf("CP001", 500), epoch: before.epoch }])
        expect(after?._tag === "Owned" && after.epoch > before.epoch).toBe(true)
        expect(yield* a.member.send(b.node, "hello")).toBe("handed")
        yield* until(bench, () => b.messages.length === 1)
        expect(b.messages).toEqual(["hello"])
      }),
    )
  })
}

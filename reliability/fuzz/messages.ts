/**
 * Messages: valid ones of every action, and mutated ones. Structure is changed first (payloads, elements of the array), then
 * text and bytes.
 */
import { Buffer } from "node:buffer"
import type * as Action from "../../src/Action.ts"
import type { Protocol } from "../../src/Protocol.ts"
import { request, response, sample } from "../../src/testing/arbitraries.ts"
import { generate, messages, randomFrom } from "../../test/schemas/official.ts"
import type { Random } from "../support/Random.ts"

/** Stands for the id of the receiver's n-th call, which nobody knows before it is made. */
export const callToken = (index: number) => `@call${index}@`

/** Valid payloads of every action of a subprotocol. */
export interface Corpus {
  readonly actions: ReadonlyArray<Action.Any>
  readonly requests: ReadonlyMap<string, ReadonlyArray<unknown>>
  readonly responses: ReadonlyMap<string, ReadonlyArray<unknown>>
}

const perAction = 3

export const corpusOf = (protocol: Protocol, seed: number): Corpus => {
  const actions = [...protocol.actions.values()]
  const random = randomFrom(seed)
  const official = (action: string, part: "request" | "response") =>
    messages
      .filter((message) => message.subprotocol === protocol.name && message.action === action && message.part === part)
      .flatMap(({ schema }) => [
        generate(schema, { random, values: "typical", optional: 0.5, lists: "one" }),
        generate(schema, { random, values: "extreme", optional: 1, lists: "any" }),
      ])
  const requests = actions.map(
    (action) =>
      [
        action.name,
        [...sample(request(action), { seed, count: perAction }), ...official(action.name, "request")],
      ] as const,
  )
  const responses = actions
    .filter((action) => action.kind === "call")
    .map(
      (action) =>
        [
          action.name,
          [...sample(response(action), { seed, count: perAction }), ...official(action.name, "response")],
        ] as const,
    )
  return { actions, requests: new Map(requests), responses: new Map(responses) }
}

/** The things that a generated message may refer to. */
export interface Scene {
  readonly corpus: Corpus
  /** The side that sends the messages. */
  readonly sender: "station" | "csms"
  /** Actions of the receiver's calls, in the order of their tokens. */
  readonly calls: ReadonlyArray<string>
}

type Frame = ReadonlyArray<unknown>

/** As many messages as asked for; later ones may repeat the ids of earlier ones. */
export const generateTexts = (random: Random, scene: Scene, count: number): ReadonlyArray<string> => {
  const ids: Array<string> = []
  const texts: Array<string> = []
  while (texts.length < count) {
    const frame = changed(random, frameOf(random, scene, ids))
    const text = random.chance(0.03) ? random.pick(random.chance(0.03) ? hugeTexts : oddTexts) : textOf(random, frame)
    texts.push(random.chance(0.08) ? broken(random, text, random.pick([text, ...texts.slice(-5)])) : text)
  }
  return texts
}

const frameOf = (random: Random, scene: Scene, ids: Array<string>): Frame => {
  const type = random.weighted<(random: Random, scene: Scene, ids: Array<string>) => Frame>([
    [50, call],
    [8, foreignCall],
    [8, send],
    [scene.calls.length > 0 ? 30 : 6, result],
    [scene.calls.length > 0 ? 12 : 5, error],
    [3, resultError],
  ])
  return type(random, scene, ids)
}

const idOf = (random: Random, ids: Array<string>): unknown => {
  if (ids.length > 0 && random.chance(0.06)) return random.pick(ids)
  if (random.chance(0.03)) return random.pick(oddIds)
  const id = `m${ids.length}-${random.below(1e9).toString(36)}`
  ids.push(id)
  return id
}

const call = (random: Random, { corpus, sender }: Scene, ids: Array<string>): Frame => {
  const own = corpus.actions.filter((action) => action.sender !== other(sender))
  const action = random.chance(0.1) ? "DataTransfer" : random.pick(own).name
  return [2, idOf(random, ids), action, random.pick(corpus.requests.get(action) ?? [{}])]
}

const foreignCall = (random: Random, { corpus }: Scene, ids: Array<string>): Frame => {
  const { name } = random.pick(corpus.actions)
  return [
    2,
    idOf(random, ids),
    random.chance(0.3) ? random.pick(oddNames) : name,
    random.pick(corpus.requests.get(name) ?? [{}]),
  ]
}

const send = (random: Random, { corpus }: Scene, ids: Array<string>): Frame => {
  const sends = corpus.actions.filter(({ kind }) => kind === "send")
  const { name } = random.pick(sends.length > 0 && random.chance(0.8) ? sends : corpus.actions)
  return [6, idOf(random, ids), name, random.pick(corpus.requests.get(name) ?? [{}])]
}

/** The action and the id of a call of the receiver's; now and then of none. */
const answered = (random: Random, { calls, corpus }: Scene): readonly [string, unknown] => {
  const index = random.below(calls.length)
  const action = calls[index]
  if (action === undefined || random.chance(0.1)) return [random.pick(corpus.actions).name, random.pick(oddIds)]
  return [action, callToken(index)]
}

const result = (random: Random, scene: Scene): Frame => {
  const [action, id] = answered(random, scene)
  return [3, id, random.pick(scene.corpus.responses.get(action) ?? [{}])]
}

const error = (random: Random, scene: Scene): Frame => [
  4,
  answered(random, scene)[1],
  random.pick(errorCodes),
  random.pick(["", "no", "é".repeat(300)]),
  random.pick([{}, { a: 1 }]),
]

const resultError = (random: Random, _scene: Scene, ids: Array<string>): Frame => [
  5,
  random.pick(["none", ...ids]),
  random.pick(errorCodes),
  "",
  {},
]

const other = (side: "station" | "csms") => (side === "station" ? "csms" : "station")

const errorCodes = [
  "NotImplemented",
  "InternalError",
  "FormationViolation",
  "FormatViolation",
  "OccurenceConstraintViolation",
  "OccurrenceConstraintViolation",
  "Toast",
  "__proto__",
  "toString",
  "constructor",
]

const oddNames = [
  "",
  "heartbeat",
  "Heartbeat ",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "x".repeat(5_000),
]

const oddIds: ReadonlyArray<unknown> = [
  "",
  "-1",
  "__proto__",
  "constructor",
  "i".repeat(36),
  "i".repeat(37),
  "😀".repeat(36),
  "\ud800",
  "i".repeat(20_000),
  0,
  -1,
  1.5,
  true,
  null,
  [],
  ["a"],
  {},
  { toString: "x" },
]

const deep = (levels: number, asObject: boolean): unknown => {
  let value: unknown = 1
  for (let level = 0; level < levels; level++) value = asObject ? { a: value } : [value]
  return value
}

const oddValues: ReadonlyArray<unknown> = [
  null,
  true,
  false,
  0,
  -0,
  -1,
  1.5,
  1e21,
  2 ** 53 + 2,
  "",
  "text",
  "2025-13-01T00:00:00Z",
  "x".repeat(3_000),
  "\u0000",
  "\ud800",
  [],
  [[]],
  {},
  { __proto__: null, a: { b: [1] } },
  deep(10, true),
  deep(64, false),
  deep(66, true),
  deep(300, false),
]

const oddKeys = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "toJSON",
  "extra",
  "",
  "customData",
  "é",
  "k".repeat(500),
]

const changed = (random: Random, frame: Frame): Frame => {
  let result = frame
  for (
    let left = random.weighted([
      [35, 0],
      [45, 1],
      [15, 2],
      [5, 4],
    ]);
    left > 0;
    left--
  ) {
    result = random.chance(0.75) ? withChangedPayload(random, result) : withChangedElement(random, result)
  }
  return result
}

const withChangedPayload = (random: Random, frame: Frame): Frame => {
  const at = frame[0] === 3 ? 2 : frame[0] === 4 || frame[0] === 5 ? 4 : 3
  return at < frame.length ? frame.with(at, changedValue(random, frame[at])) : frame
}

const withChangedElement = (random: Random, frame: Frame): Frame => {
  if (frame.length === 0) return [random.pick(oddValues)]
  const at = random.below(frame.length)
  const to = random.below(frame.length)
  return random.pick<() => Frame>([
    () => frame.toSpliced(at, 1),
    () => frame.with(at, frame[to]).with(to, frame[at]),
    () => frame.with(at, random.pick(oddValues)),
    () => frame.toSpliced(at, 0, random.pick(oddValues)),
    () => [...frame, random.pick(oddValues)],
    () => frame.slice(0, at),
    () => frame.with(0, random.pick([2, 3, 4, 5, 6, 7, 0, -2, 2.5, 99, 1e300, "2", null, [2]])),
    () => [frame],
  ])()
}

/** A value with one change somewhere in it. */
const changedValue = (random: Random, value: unknown): unknown => {
  if (typeof value !== "object" || value === null || random.chance(0.05)) return replaced(random, value)
  if (Array.isArray(value)) return changedList(random, value)
  const entries = Object.entries(value)
  if (entries.length > 0 && random.chance(0.6)) return withChangedMember(random, entries)
  return Object.fromEntries(changedEntries(random, entries))
}

type Entries = ReadonlyArray<readonly [string, unknown]>

const withChangedMember = (random: Random, entries: Entries): unknown => {
  const at = random.below(entries.length)
  return Object.fromEntries(entries.map(([key, value], i) => [key, i === at ? changedValue(random, value) : value]))
}

const changedEntries = (random: Random, entries: Entries): Entries => {
  const at = random.below(entries.length)
  return random.pick<() => Entries>([
    () => entries.toSpliced(at, 1),
    () => [...entries, [random.pick(oddKeys), random.pick(oddValues)]],
    () => entries.map(([key, value], i) => [i === at ? `${key}x` : key, value]),
    () => entries.map(([key, value], i) => [key, i === at ? null : value]),
  ])()
}

const changedList = (random: Random, list: ReadonlyArray<unknown>): unknown => {
  if (list.length > 0 && random.chance(0.6)) {
    const at = random.below(list.length)
    return list.with(at, changedValue(random, list[at]))
  }
  return random.pick<() => unknown>([
    () => [],
    () => [...list, ...list.slice(0, 20)],
    () => Array.from({ length: 60 }, () => list[0] ?? 0),
    () => list[0],
    () => [...list, random.pick(oddValues)],
  ])()
}

const replaced = (random: Random, value: unknown): unknown => {
  if (typeof value === "string" && random.chance(0.4)) {
    const some = value.slice(0, 500)
    return random.pick([some.toLowerCase(), `${value} `, some.repeat(10), value.slice(1), some.toUpperCase()])
  }
  if (typeof value === "number" && random.chance(0.4))
    return random.pick([value + 0.05, -value, `${value}`, value * 1e9])
  return random.chance(0.1) ? [value] : random.pick(oddValues)
}

const oddTexts = [
  "",
  " ",
  "null",
  "[]",
  "[[]]",
  "{}",
  "2",
  '"2"',
  "[2]",
  "[3]",
  "[4]",
  "[2,",
  '[2,"a","Heartbeat",{}',
  '[2,"a","Heartbeat",{}]]',
  '[2,"a","Heartbeat",{"a":1e400}]',
  '[1e400,"a","Heartbeat",{}]',
  '[2,"a","Heartbeat",{"a":1,"a":2}]',
  '[2,"a","a","Heartbeat",{}]',
  "\ufeff[]",
]

const hugeTexts = [
  `${"[".repeat(50_000)}${"]".repeat(50_000)}`,
  `[2,"deep","Heartbeat",${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}]`,
  `[2,"long","${"x".repeat(100_000)}",{}]`,
  `[2,"${"i".repeat(100_000)}","Heartbeat",{}]`,
  `[2,"wide","Heartbeat",{${Array.from({ length: 5_000 }, (_, i) => `"k${i}":${i}`).join()}}]`,
  "x".repeat(100_000),
]

const textOf = (random: Random, frame: Frame): string => {
  const text = JSON.stringify(frame)
  return random.chance(0.02) ? random.pick([` ${text}\r\n`, text.replaceAll(",", " ,\t"), JSON.stringify(text)]) : text
}

/** Damages the bytes of a message. Bytes that are no UTF-8 become U+FFFD. */
const broken = (random: Random, text: string, another: string): string =>
  brokenBytes(random, Buffer.from(text), Buffer.from(another)).toString()

/** Flips, cuts, splices and inserts bytes. */
export const brokenBytes = (random: Random, bytes: Buffer, another: Buffer): Buffer => {
  const at = random.below(bytes.length + 1)
  return random.pick<() => Buffer>([
    () => flipped(bytes, Math.min(at, bytes.length - 1), 1 << random.below(8)),
    () => bytes.subarray(0, at),
    () => bytes.subarray(at),
    () => Buffer.concat([bytes.subarray(0, at), another.subarray(random.below(another.length + 1))]),
    () => Buffer.concat([bytes.subarray(0, at), Buffer.from([random.below(256)]), bytes.subarray(at)]),
    () => Buffer.concat([bytes.subarray(0, at), bytes]),
  ])()
}

const flipped = (bytes: Buffer, at: number, mask: number): Buffer => {
  const copy = Buffer.from(bytes)
  if (at >= 0) copy[at] = (copy[at] as number) ^ mask
  return copy
}

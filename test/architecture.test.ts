/** The rules of docs/architecture.md: who may import whom, no circles, nothing of Node's where a browser is to follow. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { State, table } from "../src/connection/Lifecycle.ts"
import { circlesOf, type Module, parseModule, reachedFrom, readModules } from "./support/modules.ts"

/** From the bottom to the top: a room imports from its own line or from those above it in this list. */
const rooms: ReadonlyArray<RegExp> = [
  /^(RPCError|Transport|Action)$/,
  /^(Frame|ConnectionError|ConnectError|Repair)$/,
  /^(Validator|validator\/.*|schemas\/payload)$/,
  /^(Codec|Subprotocol|signing\/(Algorithm|Jws|Keys|Policy|Signed|Signer))$/,
  /^(Protocol|Handlers)$/,
  /^(schemas\/.*|connection\/.*|signing\/.*)$/,
  /^server\/(target|addresses|deflateOffer)$/,
  /^(Connection|Signing|Backoff|WebSocket|Handshake|Vendor|vendor\/.*)$/,
  /^(client|server|security)\/.*$/,
  /^(Client|Server|Security|Configurable|core)$/,
  /^(fleet\/.*|BootStore|boot\/Asks)$/,
  /^Fleet$/,
  /^(Middleware|boot\/Gate)$/,
  /^(testing|promise)\/.*$/,
  /^index$/,
]

/** What the promise face may reach beside its own room: the door to the core, and the vocabulary. */
const doors =
  /^(promise\/.*|core|Action|Backoff|ConnectError|ConnectionError|Frame|Handlers|Handshake|Protocol|RPCError|Subprotocol|schemas\/.*|Transport|Validator|validator\/.*|WebSocket)$/

/** Modules that are to run in a browser, with everything that they load. */
const isForBrowsers = (name: string): boolean =>
  /^((connection|client|schemas|validator)\/.*|Connection|Codec|Frame|Protocol|Handlers|Transport|RPCError|Action)$/.test(
    name,
  )

/** The modules that open sockets: a browser has others in their place. */
const isForNode = (name: string): boolean => /^(client\/dial|WebSocket|ws|node:.*)$/.test(name)

/** Names that only Node gives a meaning to. A local variable of such a name would mislead. */
const nodeGlobals = ["setImmediate", "clearImmediate", "process", "Buffer", "require", "global", "NodeJS", "__dirname"]

/** Uses of Node that are left in modules for browsers. None may be added; each leaves the list when it is gone. */
const knownUses: ReadonlyArray<string> = [
  // Its options include those of the dialler, whose table of checks stands there.
  "client/ReconnectingClient loads client/dial",
  // The only place that asks whether there is a `setImmediate`.
  "connection/nextTurn uses setImmediate",
]

const root = new URL("../src/", import.meta.url).pathname

const modules = readModules(root)

const roomOf = (name: string): number => rooms.findIndex((room) => room.test(name))

const wrongDirections = (modules: ReadonlyArray<Module>): ReadonlyArray<string> =>
  modules.flatMap(({ imports, name }) =>
    imports
      .filter(({ isOurs, target }) => isOurs && roomOf(target) > roomOf(name))
      .map(({ target }) => `${name} imports ${target}`),
  )

const usesOfNode = (modules: ReadonlyArray<Module>): ReadonlyArray<string> =>
  reachedFrom(modules, (name) => isForBrowsers(name) && !isForNode(name), isForNode).flatMap((module) => [
    ...nodeGlobals.filter((global) => module.names.has(global)).map((global) => `${module.name} uses ${global}`),
    ...module.imports
      .filter(({ isTypeOnly, target }) => !isTypeOnly && isForNode(target))
      .map(({ target }) => `${module.name} loads ${target}`),
  ])

describe("the rooms", () => {
  it("are all known", () => {
    expect(modules.filter(({ name }) => roomOf(name) === -1).map(({ name }) => name)).toEqual([])
  })

  it("import in one direction", () => {
    expect(wrongDirections(modules)).toEqual([])
  })

  it("leave `ws` to WebSocket, and `node:http` to the server and its testing kit", () => {
    const users = (library: RegExp, withTypes: boolean) =>
      modules
        .filter(({ imports }) =>
          imports.some(({ isTypeOnly, target }) => library.test(target) && (withTypes || !isTypeOnly)),
        )
        .map(({ name }) => name)
        .sort()
    expect(users(/^ws$/, true)).toEqual(["WebSocket"])
    expect(users(/^node:https?$/, false)).toEqual([
      "server/HttpServer",
      "server/Upgrade",
      "testing/network/MemoryUpgrade",
    ])
  })

  it("let the promise face reach the core by its door only", () => {
    const reached = modules
      .filter(({ name }) => name.startsWith("promise/"))
      .flatMap(({ imports }) => imports.filter(({ isOurs }) => isOurs).map(({ target }) => target))
    expect(reached.filter((target) => !doors.test(target) && !target.endsWith(".cjs"))).toEqual([])
  })

  it("start fibers in one place, where each is given a Scope", () => {
    const codeOf = (name: string) => readFileSync(`${root}${name}.ts`, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")
    const starters = modules.filter(({ name }) => /\brunFork(With)?\(/.test(codeOf(name))).map(({ name }) => name)
    expect(starters).toEqual(["connection/supervised"])
  })

  it("keep the schemas and the core away from Node and `ws`, types included", () => {
    const core = modules.filter(({ name }) =>
      /^(schemas|validator|connection)\/|^(Codec|Frame|Subprotocol|Connection|Protocol)$/.test(name),
    )
    expect(
      core.flatMap(({ imports, name }) => imports.filter(({ target }) => /^(node:|ws$)/.test(target)).map(() => name)),
    ).toEqual([])
  })

  it("keep Schemas and Streams away from what the promise face loads", () => {
    // In the package `promise/messages` holds only text.
    const loaded = reachedFrom(
      modules,
      (name) => name === "promise/index",
      (name) => name === "promise/messages",
    )
    const heavy = /^effect\/(Schema.*|Stream|Queue|PubSub)$/
    expect(loaded.length).toBeGreaterThan(30)
    expect(
      loaded
        .filter(({ imports }) => imports.some(({ isTypeOnly, target }) => heavy.test(target) && !isTypeOnly))
        .map(({ name }) => name),
    ).toEqual([])
  })

  it("import the parts of Effect that they use, not all of it", () => {
    expect(
      modules.filter(({ imports }) => imports.some(({ target }) => target === "effect")).map(({ name }) => name),
    ).toEqual([])
  })
})

describe("the modules", () => {
  it("import each other in no circle, types included", () => {
    expect(circlesOf(modules).map((circle) => [...circle].sort())).toEqual([])
  })

  it("that are for browsers use no global of Node's, and load nothing of it", () => {
    expect([...usesOfNode(modules)].sort()).toEqual([...knownUses].sort())
  })
})

describe("the checks of the rules", () => {
  const parsed = (sources: Readonly<Record<string, string>>) =>
    Object.entries(sources).map(([name, text]) => parseModule(name, text))

  it.each([
    ["values", `import { b } from "./b.ts"`],
    ["types", `import type { B } from "./b.ts"`],
    ["types beside values", `import { type B, b } from "./b.ts"`],
    ["an export of another's", `export { b } from "./b.ts"`],
    ["an export of all", `export * as B from "./b.ts"`],
    ["a type in place", `export type A = import("./b.ts").B`],
    ["a later import", `export const b = () => import("./b.ts")`],
    ["effects only", `import "./b.ts"`],
  ])("find a circle that is closed by %s", (_, text) => {
    const other = { "x/b": `import { c } from "./c.ts"`, "x/c": `import type { A } from "../x/a.ts"`, "x/d": text }
    expect(circlesOf(parsed({ "x/a": text, ...other }))).toEqual([["x/a", "x/b", "x/c"]])
  })

  it("find each of two circles, and none where there is none", () => {
    const sources = { a: `import "./b.ts"`, b: `import "./a.ts"`, c: `import "./d.ts"`, d: `import "./c.ts"` }
    expect(circlesOf(parsed(sources))).toEqual([
      ["a", "b"],
      ["c", "d"],
    ])
    expect(circlesOf(parsed({ a: `import "./b.ts"; import "./c.ts"`, b: `import "./c.ts"`, c: "" }))).toEqual([])
  })

  it("find imports that lead upwards, also of types", () => {
    const sources = { Codec: `import type { Client } from "./Client.ts"`, Client: `import { c } from "./Codec.ts"` }
    expect(wrongDirections(parsed(sources))).toEqual(["Codec imports Client"])
  })

  it.each([
    ["a call", "setImmediate(() => {})", "setImmediate"],
    ["a value", "export const later = { later: setImmediate }", "setImmediate"],
    ["a shorthand", "export const all = { process }", "process"],
    ["a member of globalThis", "globalThis.setImmediate(() => {})", "setImmediate"],
    ["a type", "export type Bytes = Buffer | undefined", "Buffer"],
    ["a type's namespace", "export let timer: NodeJS.Timeout", "NodeJS"],
    ["a template", `export const text = \`\${process.pid}\``, "process"],
    ["a loader", `const net = require("net")`, "require"],
    ["a global object", "global.x = 1", "global"],
  ])("find a global of Node's in %s", (_, text, name) => {
    expect(usesOfNode(parsed({ "connection/New": text }))).toEqual([`connection/New uses ${name}`])
  })

  it("find Node in what is only loaded by a module for browsers", () => {
    const sources = {
      Codec: `import { helper } from "./helper.ts"\nimport type { Y } from "./typed.ts"`,
      helper: `import { x } from "node:fs"\nBuffer.from("")`,
      typed: "process.exit()",
    }
    expect(usesOfNode(parsed(sources))).toEqual(["helper uses Buffer", "helper loads node:fs"])
  })

  it("overlook comments, strings, and members of that name", () => {
    const text = [
      "// setImmediate(() => {})",
      "/* process.exit() */",
      `export const words = ["process", 'Buffer', \`require("x")\`]`,
      "export class Machine { process(): void {} global = 1 }",
      "export const run = (machine: Machine) => machine.process()",
      "export interface Options { readonly Buffer: string; require(): void }",
      "export const options = { process: 1, Buffer: 2 }",
    ]
    expect(usesOfNode(parsed({ "connection/New": text.join("\n") }))).toEqual([])
  })
})

it("docs/architecture.md shows the table of states that the code runs", () => {
  const text = readFileSync(`${root}../docs/architecture.md`, "utf8")
  const [, shown = ""] = text.split(/<!-- lifecycle: .* -->/)
  const rows = shown
    .split("\n## ", 1)[0]!
    .split("\n")
    .filter((line) => /^\| [a-z]+ \| [A-Z]/.test(line))
  const states = Object.entries(State)
  const expected = Object.entries(table).map(([phase, { calls, handles, state, steps }]) => {
    const name = states.find(([, number]) => number === state)?.[0]
    const ways = Object.entries(steps).map(([step, next]) => `${step}: ${next}`)
    return `| ${phase} | ${name} | ${calls} | ${handles ? "handled" : "refused"} | ${ways.join(", ")} |`
  })
  expect(rows).toEqual(expected)
})

it("docs/architecture.md explains at most 25 words", () => {
  const text = readFileSync(`${root}../docs/architecture.md`, "utf8")
  const glossary = text.slice(text.indexOf("## The words"), text.indexOf("## Where does"))
  const words = glossary.split("\n").filter((line) => line.startsWith("| ") && !/^\| (word|---)/.test(line))
  expect(words.length).toBeGreaterThan(15)
  expect(words.length).toBeLessThanOrEqual(25)
})

/** The arrows of docs/architecture.md: who may import whom. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { describe, expect, it } from "@effect/vitest"

const src = new URL("../src", import.meta.url).pathname

/** From the bottom to the top: a room imports from its own line or from those above it in this list. */
const rooms: ReadonlyArray<RegExp> = [
  /^(RPCError|Transport|Frame|Action)$/,
  /^(Wire|ConnectionError|ConnectError)$/,
  /^(Validator|validator\/.*|schemas\/payload)$/,
  /^(Codec|Dialect)$/,
  /^(Protocol|Handlers)$/,
  /^(schemas\/.*|connection\/.*)$/,
  /^(Connection|Backoff|WebSocket|Handshake)$/,
  /^(client|server)\/.*$/,
  /^(Client|Server|Security|Configurable)$/,
  /^fleet\/.*$/,
  /^Fleet$/,
  /^Middleware$/,
  /^(testing|promise)\/.*$/,
  /^index$/,
]

const roomOf = (module: string) => rooms.findIndex((room) => room.test(module))

const modules = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => {
    const text = readFileSync(join(src, path), "utf8")
    const imports = [...text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^"]*?\sfrom\s+)?"([^"]+)"/gm)].map(
      ([, type, from]) => ({ typeOnly: type !== undefined, from: from as string }),
    )
    return { name: path.replace(/\.ts$/, ""), dir: dirname(join(src, path)), imports }
  })

describe("the rooms", () => {
  it("are all known", () => {
    expect(modules.filter(({ name }) => roomOf(name) === -1).map(({ name }) => name)).toEqual([])
  })

  it("import in one direction", () => {
    const wrong = modules.flatMap(({ dir, imports, name }) =>
      imports
        .filter(({ from }) => from.startsWith("."))
        .map(({ from }) => relative(src, join(dir, from)).replace(/\.ts$/, ""))
        .filter((target) => roomOf(target) > roomOf(name))
        .map((target) => `${name} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  it("leave `ws` to WebSocket, the engines' clients to their modules, and `node:http` to the server and its testing kit", () => {
    const users = (library: RegExp, withTypes: boolean) =>
      modules
        .filter(({ imports }) => imports.some(({ from, typeOnly }) => library.test(from) && (withTypes || !typeOnly)))
        .map(({ name }) => name)
    expect(users(/^ws$/, true)).toEqual(["WebSocket"])
    expect(users(/^ioredis$/, true)).toEqual(["fleet/redis"])
    expect(users(/^@nats-io\//, true).toSorted()).toEqual(["fleet/nats", "fleet/natsDirectory"])
    expect(users(/^node:https?$/, false)).toEqual(["server/HttpServer", "server/Upgrade", "testing/MemoryUpgrade"])
  })

  it("keep the schemas away from sockets, and the core away from Node", () => {
    const reach = modules.filter(({ name }) =>
      /^(schemas|validator|connection)\/|^(Codec|Wire|Dialect|Connection|Protocol)$/.test(name),
    )
    expect(
      reach.flatMap(({ imports, name }) => imports.filter(({ from }) => /^(node:|ws$)/.test(from)).map(() => name)),
    ).toEqual([])
  })

  it("keep Schemas and Streams away from what the promise face loads", () => {
    const byName = new Map(modules.map((module) => [module.name, module]))
    const reached = new Set<string>()
    const visit = (name: string) => {
      // In the package this module holds only text.
      if (reached.has(name) || name === "promise/messages") return
      reached.add(name)
      const { dir, imports } = byName.get(name) as (typeof modules)[number]
      for (const { from, typeOnly } of imports) {
        if (from.startsWith(".") && !typeOnly) visit(relative(src, join(dir, from)).replace(/\.ts$/, ""))
      }
    }
    visit("promise/index")
    const heavy = /^effect\/(Schema.*|Stream|Queue|PubSub)$/
    const users = [...reached].filter((name) =>
      byName.get(name)?.imports.some(({ from, typeOnly }) => heavy.test(from) && !typeOnly),
    )
    expect(reached.size).toBeGreaterThan(30)
    expect(users).toEqual([])
  })

  it("import the parts of Effect that they use, not all of it", () => {
    expect(
      modules.filter(({ imports }) => imports.some(({ from }) => from === "effect")).map(({ name }) => name),
    ).toEqual([])
  })
})

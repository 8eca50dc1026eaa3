/**
 * Makes the package out of what the compiler wrote to `build/`: one file for each entry point and a few that they share, because
 * loading a file costs a program's start more than reading it.
 *
 * The promise face reads the messages of the versions as text. Here `promise/messages.js`, which makes that text of the Schemas,
 * is replaced by what it evaluates to; so the promise face loads no Schemas. CommonJS stays a file of its own: in it bundlers of
 * users find what it requires.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename } from "node:path"
import { rolldown } from "rolldown"

const root = new URL("../", import.meta.url)
const fromRoot = (path) => new URL(path, root).pathname

const module = fromRoot("build/promise/messages.js")
const { messages } = await import(module)
const members = Object.entries(messages).map(([name, text]) => `  "${name}": () => ${JSON.stringify(text())},`)
writeFileSync(module, `export const messages = {\n${members.join("\n")}\n}\n`)

const { exports } = JSON.parse(readFileSync(fromRoot("package.json"), "utf8"))
const entries = Object.values(exports)
  .map((path) => /^\.\/dist\/(.+)\.js$/.exec(path)?.[1])
  .filter((name) => name !== undefined)

const bundle = await rolldown({
  input: Object.fromEntries(entries.map((name) => [name, fromRoot(`build/${name}.js`)])),
  external: (id) => !id.startsWith(".") && !id.startsWith("/"),
  plugins: [
    {
      name: "keep-commonjs",
      resolveId: {
        filter: { id: /\.cjs$/ },
        handler: (id) => ({ id: fromRoot(`dist/internal/${basename(id)}`), external: "relative" }),
      },
    },
  ],
})
mkdirSync(fromRoot("dist/internal"), { recursive: true })
copyFileSync(fromRoot("src/promise/ajv.cjs"), fromRoot("dist/internal/ajv.cjs"))
await bundle.write({
  dir: fromRoot("dist"),
  format: "esm",
  chunkFileNames: "internal/[name].js",
  codeSplitting: {
    groups: [
      // What needs neither sockets nor Schemas, and what needs sockets.
      {
        name: "core",
        test: /build\/(connection\/(?!Streams)|validator\/(?!fromSchema|Issues)|(RPCError|Frame|Wire|Subprotocol|Validator|Transport|ConnectionError|ConnectError|Handlers|Backoff)\.js)/,
        priority: 2,
      },
      { name: "sockets", test: /build\/(promise\/|client\/|server\/|(WebSocket|Handshake)\.js)/, priority: 1 },
    ],
  },
})

/**
 * Checks the package as users get it: packs it, lets publint and are-the-types-wrong look at it, installs it beside
 * `effect` in a folder of its own, and uses it from an ES module, from CommonJS and from TypeScript, as the documents show.
 */
import { execFileSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"

const root = new URL("..", import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), "effect-ocpp-package-"))

const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): string => {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
  } catch (error) {
    const { stderr, stdout } = error as { readonly stdout: string; readonly stderr: string }
    throw new Error(`${command} ${args.join(" ")}\n${stdout}${stderr}`)
  }
}

/** The README and the guides. */
const documents = [
  "README.md",
  ...readdirSync(join(root, "docs")).flatMap((name) => (name.endsWith(".md") ? [`docs/${name}`] : [])),
]

/** The TypeScript that a document shows; not that of a block that is marked `no-check`. */
const blocksOf = (file: string): ReadonlyArray<string> =>
  [...readFileSync(join(root, file), "utf8").matchAll(/```(?:ts|js)\n([\s\S]*?)```/g)].map(
    ([, block]) => block as string,
  )

const check = (what: string, holds: boolean) => {
  if (!holds) throw new Error(`the package is wrong: ${what}`)
  console.log(`ok  ${what}`)
}

try {
  const [packed] = JSON.parse(run(root, "npm", "pack", "--json", "--ignore-scripts", "--pack-destination", folder)) as [
    { readonly filename: string; readonly files: ReadonlyArray<{ readonly path: string }> },
  ]
  const tarball = join(folder, packed.filename)
  const unexpected = packed.files
    .map(({ path }) => path)
    .filter(
      (path) =>
        !/^(dist\/.*\.(c?js|d\.ts)|docs\/[\w-]+\.(md|svg)|README\.md|CHANGELOG\.md|SECURITY\.md|LICENSE|package\.json)$/.test(
          path,
        ),
    )
  check(`holds only what users need${unexpected.map((path) => ` (not ${path})`)}`, unexpected.length === 0)

  run(root, "npx", "publint", "run", tarball, "--strict")
  check("publint has nothing to say", true)
  run(root, "npx", "attw", tarball, "--profile", "esm-only")
  check("are-the-types-wrong has nothing to say", true)

  const user = join(folder, "user")
  mkdirSync(join(user, "node_modules"), { recursive: true })
  run(folder, "tar", "-xzf", tarball)
  cpSync(join(folder, "package"), join(user, "node_modules/effect-ocpp"), { recursive: true })
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly exports: Readonly<Record<string, string>>
    readonly dependencies: Readonly<Record<string, string>>
    readonly peerDependencies: Readonly<Record<string, string>>
  }
  // What npm would install with it, from where it is installed already.
  for (const name of [
    ...Object.keys(manifest.dependencies),
    ...Object.keys(manifest.peerDependencies),
    "@types/node",
  ]) {
    const link = join(user, "node_modules", name)
    mkdirSync(join(link, ".."), { recursive: true })
    symlinkSync(join(root, "node_modules", name), link)
  }

  const entries = Object.keys(manifest.exports)
    .filter((entry) => entry !== "./package.json")
    .map((entry) => entry.replace(/^\./, "effect-ocpp"))
  for (const path of Object.values(manifest.exports)) check(`has ${path}`, existsSync(join(folder, "package", path)))
  writeFileSync(
    join(user, "imports.mjs"),
    `for (const entry of ${JSON.stringify(entries)}) await import(entry)
     const { Ocpp16, Codec } = await import("effect-ocpp")
     if (Ocpp16.actions.size !== 39) throw new Error("Ocpp16 is incomplete")
     console.log(Codec.decode('[2,"1","Heartbeat",{}]', false)._tag)`,
  )
  check("every entry point can be imported", run(user, "node", "imports.mjs").trim() === "Call")
  writeFileSync(
    join(user, "requires.cjs"),
    `for (const entry of ${JSON.stringify(entries)}) require(entry)
     const { Ocpp21, Server } = require("effect-ocpp")
     console.log(Ocpp21.actions.size, typeof Server.layer)`,
  )
  check("every entry point can be required", run(user, "node", "requires.cjs").trim() === "91 function")

  const consumer = `import { Effect } from "effect"
import { Client, Ocpp16, Server } from "effect-ocpp"
import { reject } from "effect-ocpp/Server"
import { IdTagInfo } from "effect-ocpp/schemas/ocpp16"
export const program = Effect.gen(function* () {
  const client = yield* Client.make({ endpoint: "ws://localhost", identity: "CP001", protocols: [Ocpp16] })
  const { interval } = yield* client.call(Ocpp16.BootNotification, { chargePointVendor: "V", chargePointModel: "M" })
  interval satisfies number
  // @ts-expect-error no such action of a station
  yield* client.call(Ocpp16.Reset, { type: "Hard" })
})
export const layer = Server.layer({ port: 3000, auth: () => reject(401) })
export const info: IdTagInfo = { status: "Accepted" }
`
  writeFileSync(join(user, "consumer.mts"), consumer)
  writeFileSync(join(user, "consumer.cts"), consumer)
  // Whatever the README shows, a reader can paste.
  const blocks = blocksOf("README.md")
  for (const [index, block] of blocks.entries()) writeFileSync(join(user, `readme${index}.mts`), block)
  const options = {
    module: "NodeNext",
    target: "ES2022",
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    types: ["node"],
  }
  writeFileSync(join(user, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["*"] }))
  run(user, join(root, "node_modules/.bin/tsc"), "-p", ".")
  check(`its types check in ES modules, in CommonJS, and in ${blocks.length} blocks of the README`, true)

  // The guides beside it. Those of docs/testing.md are tests: they are run, too.
  const guides = join(user, "guides")
  mkdirSync(guides)
  for (const name of ["vitest", "@effect/vitest", "fast-check"]) {
    mkdirSync(join(user, "node_modules", name, ".."), { recursive: true })
    symlinkSync(join(root, "node_modules", name), join(user, "node_modules", name))
  }
  let count = 0
  for (const file of documents.filter((file) => file !== "README.md")) {
    for (const [index, block] of blocksOf(file).entries()) {
      const isTest = block.includes('from "@effect/vitest"')
      writeFileSync(join(guides, `${basename(file, ".md")}${index}${isTest ? ".test" : ""}.mts`), block)
      count++
    }
  }
  // The types of the test runner are not ours to check.
  writeFileSync(join(guides, "tsconfig.json"), JSON.stringify({ compilerOptions: { ...options, skipLibCheck: true } }))
  run(guides, join(root, "node_modules/.bin/tsc"), "-p", ".")
  check(`its types check in ${count} blocks of docs/`, true)
  if (readdirSync(guides).some((name) => name.endsWith(".test.mts"))) {
    writeFileSync(join(guides, "vitest.config.mjs"), 'export default { test: { include: ["*.test.mts"] } }')
    run(guides, join(root, "node_modules/.bin/vitest"), "run")
    check("the tests that docs/testing.md shows pass", true)
  }
  const unchecked = documents.flatMap((file) => readFileSync(join(root, file), "utf8").match(/```ts no-check\n/g) ?? [])
  check(`at most 3 blocks are fragments that cannot be checked (${unchecked.length} are)`, unchecked.length <= 3)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

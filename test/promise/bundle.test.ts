/** Programs that make validators work as one file, and those that make none do not load ajv. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { rolldown } from "rolldown"

const source = fileURLToPath(new URL("../../src/promise/index.ts", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "effect-ocpp-bundle-"))

afterAll(() => rmSync(folder, { recursive: true }))

const node = (...args: ReadonlyArray<string>) => execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" })

describe("createValidator", () => {
  it.each(["esm", "cjs"] as const)(
    "works in a bundle (%s) where no package is installed",
    async (format) => {
      const program = join(folder, `program.${format}.mjs`)
      writeFileSync(
        program,
        `import { createValidator } from ${JSON.stringify(source)}
         const schema = { $id: "urn:Echo.req", properties: { at: { format: "date-time" }, set: { uniqueItems: true } } }
         const validator = createValidator("echo1.0", [schema])
         const said = (payload) => validator.check("Echo", "request", payload)?.message
         console.log(JSON.stringify([said({ at: "2025-04-01T12:00:00Z" }), said({ at: "today" }), said({ set: [1, 1] })]))`,
      )
      const bundle = await rolldown({ input: program, platform: "node" })
      const file = join(folder, format === "esm" ? "bundle.mjs" : "bundle.cjs")
      await bundle.write({ file, format, codeSplitting: false })
      expect(JSON.parse(node(file))).toEqual([
        null,
        '/at: expected date-time; got "today"',
        "/set: expected must NOT have duplicate items (items ## 0 and 1 are identical); got array",
      ])
    },
    30_000,
  )

  it("is what loads ajv", () => {
    const script = join(folder, "loads.mjs")
    writeFileSync(
      script,
      `import { createRequire } from "node:module"
       const { cache } = createRequire(import.meta.url)
       const count = () => Object.keys(cache).filter((path) => path.includes("/node_modules/ajv/")).length
       const { createValidator, standardValidators } = await import(${JSON.stringify(source)})
       standardValidators[0].check("Heartbeat", "request", {})
       const before = count()
       createValidator("echo1.0", [])
       console.log(before, count() > 0)`,
    )
    expect(node("--import", import.meta.resolve("tsx"), script).trim()).toBe("0 true")
  }, 30_000)
})

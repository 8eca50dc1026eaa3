/**
 * Writes `src/schemas/ocpp16.ts`, `ocpp201.ts` and `ocpp21.ts` from the official JSON Schemas, which ocpp-rpc carries.
 *
 *     npx tsx scripts/generate-schemas.ts            writes the files
 *     npx tsx scripts/generate-schemas.ts --check    fails when a file is not what it would write
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { names16 } from "./schemas/names16.ts"
import { print, type Version } from "./schemas/print.ts"
import { senders16, senders21, senders201 } from "./schemas/senders.ts"

const modules: ReadonlyArray<{ readonly file: string; readonly source: string; readonly version: Version }> = [
  {
    file: "ocpp16.ts",
    source: "ocpp1_6.json",
    version: {
      title: "The messages of OCPP 1.6 and its security whitepaper; chapter 7 of the specification names the types.",
      protocol: "Ocpp16",
      subprotocol: "ocpp1.6",
      options: ['{ spelling: "1.6" }'],
      dateTime: "isoDateTime",
      senders: senders16,
      nameOf: (holder, property) => names16[`${holder}.${property}`] ?? names16[`*.${property}`],
    },
  },
  {
    file: "ocpp201.ts",
    source: "ocpp2_0_1.json",
    version: {
      title: "The messages of OCPP 2.0.1.",
      protocol: "Ocpp201",
      subprotocol: "ocpp2.0.1",
      dateTime: "dateTime",
      senders: senders201,
      nameOf: () => undefined,
    },
  },
  {
    file: "ocpp21.ts",
    source: "ocpp2_1.json",
    version: {
      title: "The messages of OCPP 2.1.",
      protocol: "Ocpp21",
      subprotocol: "ocpp2.1",
      options: ["{ extendedFrames: true }"],
      dateTime: "dateTime",
      senders: senders21,
      nameOf: () => undefined,
    },
  },
]

const resolve = createRequire(import.meta.url).resolve

for (const { file, source, version } of modules) {
  const path = fileURLToPath(new URL(`../src/schemas/${file}`, import.meta.url))
  const text = print(version, JSON.parse(readFileSync(resolve(`ocpp-rpc/lib/schemas/${source}`), "utf8")))
  if (!process.argv.includes("--check")) {
    writeFileSync(path, text)
  } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`src/schemas/${file} is not what scripts/generate-schemas.ts writes: run it and commit the result.`)
    process.exitCode = 1
  }
}

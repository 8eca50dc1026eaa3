/** The tools of others: found, installed where that is allowed, run, and their output read. */
import { execFile, execFileSync, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify, stripVTControlCharacters } from "node:util"

/** Another version may check other things. */
const ocppCliVersion = "1.1.12"

const installTimeout = 180_000

/** The path of the command-line tool of ocpp-ws-cli, installed into a folder; `undefined` when npm cannot. */
export const installOcppCli = async (folder: string): Promise<string | undefined> => {
  const args = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
  try {
    await promisify(execFile)("npm", [...args, `ocpp-ws-cli@${ocppCliVersion}`], {
      cwd: folder,
      timeout: installTimeout,
    })
  } catch {
    return undefined
  }
  const path = join(folder, "node_modules", "ocpp-ws-cli", "dist", "index.js")
  return existsSync(path) ? path : undefined
}

const onPath = (command: string): boolean =>
  (process.env.PATH ?? "").split(":").some((folder) => existsSync(join(folder, command)))

/** Whether a command of a Debian package of the same name is there, or has been installed. */
export const findDebian = (command: string, mayInstall: boolean): boolean => {
  if (onPath(command) || !mayInstall) return onPath(command)
  try {
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", command], {
      stdio: "ignore",
      timeout: installTimeout,
    })
  } catch {
    return false
  }
  return onPath(command)
}

/** Runs a command for so many milliseconds at most, and returns what it has written. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  { milliseconds, signal = "SIGKILL" }: { readonly milliseconds: number; readonly signal?: "SIGINT" | "SIGKILL" },
): Promise<string> =>
  new Promise((resolve, reject) => {
    // Some of these tools write files to where they are.
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: tmpdir() })
    let output = ""
    const read = (text: string) => {
      output += text
    }
    child.stdout.setEncoding("utf8").on("data", read)
    child.stderr.setEncoding("utf8").on("data", read)
    const end = setTimeout(() => child.kill(signal), milliseconds)
    const kill = setTimeout(() => child.kill("SIGKILL"), milliseconds + 10_000)
    child.on("error", reject)
    child.on("close", () => {
      clearTimeout(end)
      clearTimeout(kill)
      resolve(stripVTControlCharacters(output))
    })
  })

/** A folder that is removed after its use. */
export const withFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "effect-ocpp-suites-"))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The report that ocpp-ws-cli has written into a folder; `undefined` when it has not. */
const readReport = (folder: string): OcppReport | undefined => {
  const file = readdirSync(folder).find((name) => name.endsWith(".json"))
  return file === undefined ? undefined : JSON.parse(readFileSync(join(folder, file), "utf8"))
}

interface OcppReport {
  readonly metrics: Readonly<Record<string, number>>
  readonly testResults?: ReadonlyArray<{ readonly name: string; readonly passed: boolean }>
}

/** Runs ocpp-ws-cli and returns its report. */
export const runOcppCli = (
  path: string,
  args: ReadonlyArray<string>,
  limit: { readonly milliseconds: number; readonly signal?: "SIGINT" },
): Promise<OcppReport | undefined> =>
  withFolder(async (folder) => {
    await run(process.execPath, [path, ...args, "--report", "json", "--report-dir", folder], limit)
    return readReport(folder)
  })

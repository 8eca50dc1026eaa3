/** Certificates that live as long as the tests that ask for them, made with the openssl of the machine. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** A certificate and its key, in PEM. */
export interface Certified {
  readonly cert: string
  readonly key: string
}

/** The content of a certificate. */
export interface Wish {
  /** The common name. */
  readonly name: string
  readonly algorithm?: "rsa" | "ecdsa"
  /** Whether it was valid for one day of the past. Default `false`: it is valid for two days from now. */
  readonly expired?: boolean
}

/** An authority that issues certificates for 127.0.0.1. */
export interface Authority {
  /** Its own certificate, in PEM, for those who trust it. */
  readonly cert: string
  readonly issue: (wish: Wish) => Certified
}

const keyOptions = {
  rsa: ["-newkey", "rsa:2048"],
  ecdsa: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
}

const config = `
[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
[issued]
subjectAltName = IP:127.0.0.1, DNS:localhost
`

/** Makes an authority; `remove` deletes its files. */
export const makeAuthority = (name: string): Authority & { readonly remove: () => void } => {
  const dir = mkdtempSync(join(tmpdir(), "effect-ocpp-ca-"))
  const path = (file: string) => join(dir, file)
  const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" })
  writeFileSync(path("index.txt"), "")
  writeFileSync(path("config"), config)
  const request = ["req", "-nodes", ...keyOptions.ecdsa, "-subj", `/CN=${name}`]
  openssl(...request, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.crt")
  let issued = 0
  return {
    cert: readFileSync(path("ca.crt"), "utf8"),
    issue: ({ algorithm = "ecdsa", expired = false, name: subject }) => {
      const file = `${++issued}`
      const dates = expired ? ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"] : ["-days", "2"]
      const subjectOptions = ["-subj", `/CN=${subject}`]
      openssl(
        "req",
        "-nodes",
        ...keyOptions[algorithm],
        ...subjectOptions,
        "-keyout",
        `${file}.key`,
        "-out",
        `${file}.csr`,
      )
      const signing = ["ca", "-batch", "-config", "config", "-cert", "ca.crt", "-keyfile", "ca.key", "-notext"]
      openssl(...signing, "-extensions", "issued", ...dates, "-in", `${file}.csr`, "-out", `${file}.crt`)
      return { cert: readFileSync(path(`${file}.crt`), "utf8"), key: readFileSync(path(`${file}.key`), "utf8") }
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  }
}

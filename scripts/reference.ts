/**
 * The API reference, made of what the compiler wrote to `dist/`: the exports of every entry point, each with its docstring and its
 * declaration. It fails when something public has no docstring.
 *
 *     npm run docs                          builds, and writes docs/api/
 *     npx tsx scripts/reference.ts --check  looks for missing docstrings only
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { parseArgs } from "node:util"
import { type ESTree, parseSync } from "rolldown/utils"

const root = new URL("..", import.meta.url).pathname
const dist = join(root, "dist")

/** One declaration of a name; a name may have several, a type and a value for instance. */
interface Declaration {
  readonly file: string
  readonly doc: string | undefined
  /** The declaration as it stands in the file. */
  readonly text: string
}

/** A name that a module exports: what it declares, or all of another module. */
type Export = ReadonlyArray<Declaration> | { readonly namespace: string; readonly doc: string | undefined }

interface Module {
  readonly file: string
  readonly doc: string | undefined
  readonly program: ESTree.Program
  readonly docBefore: (node: ESTree.Span) => string | undefined
  readonly textOf: (node: ESTree.Span) => string
}

const modules = new Map<string, Module>()

const moduleOf = (file: string): Module => {
  let module = modules.get(file)
  if (module === undefined) {
    module = read(file)
    modules.set(file, module)
  }
  return module
}

const read = (file: string): Module => {
  const text = readFileSync(file, "utf8")
  const { comments, errors, program } = parseSync(file, text)
  if (errors.length > 0) throw new Error(`${file}: ${errors.map(({ message }) => message).join("; ")}`)
  const docs = comments.filter(({ type, value }) => type === "Block" && value.startsWith("*"))
  const docBefore = ({ start }: ESTree.Span) => {
    const before = docs.findLast(({ end }) => end <= start && text.slice(end, start).trim() === "")
    return before === undefined ? undefined : proseOf(before.value)
  }
  return {
    file,
    doc: headOf(file.replace(dist, join(root, "src")).replace(/\.d\.ts$/, ".ts")),
    program,
    docBefore,
    textOf: ({ end, start }) => text.slice(start, end),
  }
}

/** What a source file says of itself at its head. The compiler drops it where the import behind it is not needed. */
const headOf = (source: string): string | undefined => {
  const head = /^\/\*\*([\s\S]*?)\*\/\n+(?:import|export (?:\*|\{|type \{)|\/\*\*)/.exec(
    readFileSync(source, "utf8"),
  )?.[1]
  return head === undefined ? undefined : proseOf(`*${head}`)
}

const proseOf = (comment: string): string =>
  comment
    .replace(/^\*/, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .trim()

const resolve = (from: string, source: string): string =>
  join(dirname(from), source.replace(/\.ts$/, ".d.ts").replace(/\.js$/, ".d.ts"))

const nameOf = (node: ESTree.ModuleExportName): string => (node.type === "Literal" ? node.value : node.name)

/** Everything that a module exports. */
const exportsOf = (file: string): ReadonlyMap<string, Export> => {
  const found = new Map<string, Export>()
  const add = (name: string, added: Export) => {
    const known = found.get(name)
    found.set(name, isDeclared(known) && isDeclared(added) ? [...known, ...added] : added)
  }
  const module = moduleOf(file)
  for (const node of module.program.body) {
    if (node.type === "ExportAllDeclaration") {
      const source = resolve(file, node.source.value)
      if (node.exported !== null) {
        add(nameOf(node.exported), { namespace: source, doc: moduleOf(source).doc })
      } else {
        for (const [name, all] of exportsOf(source)) add(name, all)
      }
    } else if (node.type === "ExportNamedDeclaration" && node.declaration !== null) {
      const doc = module.docBefore(node)
      for (const name of declared(node.declaration)) add(name, [{ file, doc, text: module.textOf(node) }])
    } else if (node.type === "ExportNamedDeclaration") {
      for (const { exported, local } of node.specifiers) {
        for (const original of originals(module, node, nameOf(local))) add(nameOf(exported), [original])
      }
    }
  }
  return found
}

const isDeclared = (one: Export | undefined): one is ReadonlyArray<Declaration> => Array.isArray(one)

/** The declarations behind a name of `export { … }`, whether it comes from another module or from this one. */
const originals = (module: Module, node: ESTree.ExportNamedDeclaration, name: string): ReadonlyArray<Declaration> => {
  const { file } = module
  if (node.source === null) {
    const own = exportsOfOwn(module).get(name) ?? []
    return own.map((one) => ({ ...one, doc: module.docBefore(node) ?? one.doc }))
  }
  const source = node.source.value
  if (!source.startsWith(".")) {
    return [{ file, doc: `\`${name}\` of \`${source}\`.`, text: `export type { ${name} } from "${source}"` }]
  }
  const found = exportsOf(resolve(file, source)).get(name)
  if (!isDeclared(found)) throw new Error(`${file}: there is no ${name} in ${source}`)
  return found
}

/** What a module declares at its top, exported or not. */
const exportsOfOwn = (module: Module): ReadonlyMap<string, ReadonlyArray<Declaration>> => {
  const found = new Map<string, ReadonlyArray<Declaration>>()
  for (const node of module.program.body) {
    const declaration = node.type === "ExportNamedDeclaration" ? node.declaration : node
    if (declaration === null) continue
    for (const name of declared(declaration)) {
      const one = { file: module.file, doc: module.docBefore(node), text: module.textOf(node) }
      found.set(name, [...(found.get(name) ?? []), one])
    }
  }
  return found
}

/** The names that a statement declares. */
const declared = (node: ESTree.Statement | ESTree.Declaration): ReadonlyArray<string> => {
  switch (node.type) {
    case "VariableDeclaration":
      return node.declarations.map(({ id }) => (id.type === "Identifier" ? id.name : ""))
    case "TSInterfaceDeclaration":
    case "TSTypeAliasDeclaration":
      return [node.id.name]
    case "ClassDeclaration":
    case "FunctionDeclaration":
    case "TSDeclareFunction":
      return node.id === null ? [] : [node.id.name]
    default:
      return []
  }
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly name: string
  readonly exports: Readonly<Record<string, string>>
}
const entries = Object.entries(manifest.exports)
  .filter(([, path]) => path.endsWith(".js"))
  .map(([entry, path]) => ({
    name: entry.replace(/^\./, manifest.name),
    file: join(root, path.replace(/\.js$/, ".d.ts")),
  }))

/** What the payloads of a version are made of is generated, and explained by OCPP itself. */
const isGenerated = ({ file }: Declaration): boolean => /schemas\/ocpp\d+\.d\.ts$/.test(file)

const missingDocs = (): ReadonlyArray<string> => {
  const missing = new Set<string>()
  const look = (file: string) => {
    for (const [exported, found] of exportsOf(file)) {
      if (!isDeclared(found)) {
        if (found.doc === undefined) missing.add(`${exported} (the module)`)
        if (entryOf(found.namespace) === undefined) look(found.namespace)
      } else if (!found.every(isGenerated) && found.every(({ doc }) => doc === undefined)) {
        missing.add(`${exported} (${relative(dist, (found[0] as Declaration).file)})`)
      }
    }
  }
  for (const { file, name } of entries) {
    if (moduleOf(file).doc === undefined) missing.add(`${name} (the module)`)
    look(file)
  }
  return [...missing]
}

const linked = (doc: string): string =>
  doc.replace(/\{@link (\S+?)(?:\s([^}]*))?\}/g, (_, name, text) => `\`${text ?? name}\``)

const fileOf = (entry: string): string =>
  entry === manifest.name ? "index.md" : `${entry.slice(manifest.name.length + 1).replaceAll("/", "-")}.md`

/** The entry point that is a module by itself, if it is one. */
const entryOf = (file: string) => entries.find((entry) => entry.file === file)

const sectionOf = (name: string, found: Export): string => {
  if (!isDeclared(found)) {
    const entry = entryOf(found.namespace)
    if (entry === undefined) {
      const members = [...exportsOf(found.namespace)].map(([member, one]) => sectionOf(`${name}.${member}`, one))
      return [`## ${name}`, linked(found.doc ?? ""), ...members].join("\n\n")
    }
    const [first] = linked(found.doc ?? "").split("\n\n")
    return `## ${name}\n\n${first}\n\nAll of it: [${entry.name}](${fileOf(entry.name)})`
  }
  const docs = [...new Set(found.flatMap(({ doc }) => (doc === undefined ? [] : [linked(doc)])))]
  const code = found.map(({ text }) => text.replace(/^export (declare )?/, "")).join("\n")
  return `## ${name}\n\n${docs.join("\n\n")}\n\n\`\`\`ts\n${code}\n\`\`\``
}

const pageOf = (entry: (typeof entries)[number]): string => {
  const sections = [...exportsOf(entry.file)].map(([name, found]) => sectionOf(name, found))
  return `${[`# ${entry.name}`, linked(moduleOf(entry.file).doc ?? ""), ...sections].join("\n\n")}\n`
}

const { check } = parseArgs({ options: { check: { type: "boolean", default: false } } }).values
if (!existsSync(join(dist, "index.d.ts"))) throw new Error("there is no dist/: npm run build makes it")
const missing = missingDocs()
if (missing.length > 0) throw new Error(`these have no docstring:\n  ${missing.join("\n  ")}`)
if (!check) {
  const folder = join(root, "docs/api")
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const entry of entries) writeFileSync(join(folder, fileOf(entry.name)), pageOf(entry))
  const list = entries.map(({ file, name }) => {
    const [first = ""] = linked(moduleOf(file).doc ?? "").split("\n\n")
    return `- [${name}](${fileOf(name)}): ${first.replaceAll("\n", " ")}`
  })
  writeFileSync(join(folder, "README.md"), `# API\n\n${list.join("\n")}\n`)
  console.log(`docs/api: ${entries.length} entry points`)
}

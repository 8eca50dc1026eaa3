/** The modules of a source tree, as a parser reads them: what they import, and which names they use. */
import { readdirSync, readFileSync } from "node:fs"
import { join, posix } from "node:path"
import { parseAst } from "rolldown/parseAst"
import { type ESTree, Visitor } from "rolldown/utils"

export interface Import {
  /** The module's path from the root of the tree, without extension; for others' modules their specifier. */
  readonly target: string
  readonly isOurs: boolean
  /** Whether it imports types only. */
  readonly isTypeOnly: boolean
}

export interface Module {
  /** Its path from the root of the tree, without extension. */
  readonly name: string
  readonly imports: ReadonlyArray<Import>
  /** The names of values and types in it: its own, imported ones, globals. */
  readonly names: ReadonlySet<string>
}

/** Reads one module from its text. */
export const parseModule = (name: string, text: string): Module => {
  const program = parseAst(text, { lang: "ts" }, `${name}.ts`)
  return { name, imports: importsOf(name, program), names: namesOf(program) }
}

/** Reads every module below a folder. */
export const readModules = (root: string): ReadonlyArray<Module> =>
  readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .sort()
    .map((path) => parseModule(path.replace(/\.ts$/, ""), readFileSync(join(root, path), "utf8")))

const importsOf = (name: string, program: ESTree.Program): ReadonlyArray<Import> => {
  const imports: Array<Import> = []
  const add = (source: ESTree.Expression | null, isTypeOnly: boolean) => {
    if (source?.type !== "Literal" || typeof source.value !== "string") return
    const isOurs = source.value.startsWith(".")
    const target = isOurs ? posix.join(posix.dirname(name), source.value).replace(/\.ts$/, "") : source.value
    imports.push({ target, isOurs, isTypeOnly })
  }
  new Visitor({
    ImportDeclaration: ({ importKind, source }) => add(source, importKind === "type"),
    ExportAllDeclaration: ({ exportKind, source }) => add(source, exportKind === "type"),
    ExportNamedDeclaration: ({ exportKind, source }) => add(source, exportKind === "type"),
    ImportExpression: ({ source }) => add(source, false),
    TSImportType: ({ source }) => add(source, true),
  }).visit(program)
  return imports
}

/** Leaves out the names of members, but for those of `globalThis`. */
const namesOf = (program: ESTree.Program): ReadonlySet<string> => {
  const names = new Set<string>()
  const members = new Set<unknown>()
  const member = ({ computed, key }: { readonly computed: boolean; readonly key: unknown }) => {
    if (!computed) members.add(key)
  }
  new Visitor({
    Property: member,
    PropertyDefinition: member,
    MethodDefinition: member,
    AccessorProperty: member,
    TSPropertySignature: member,
    TSMethodSignature: member,
    MemberExpression: ({ computed, object, property }) => {
      const isGlobal = object.type === "Identifier" && object.name === "globalThis"
      if (!computed && !isGlobal) members.add(property)
    },
    TSQualifiedName: ({ right }) => members.add(right),
    Identifier: (node) => {
      if (!members.has(node)) names.add(node.name)
    },
  }).visit(program)
  return names
}

/** One circle of imports, types included, for each knot of modules that import each other: the shortest. */
export const circlesOf = (modules: ReadonlyArray<Module>): ReadonlyArray<ReadonlyArray<string>> => {
  const found: Array<ReadonlyArray<string>> = []
  const targets = new Map(modules.map(({ imports, name }) => [name, oursOf(imports)]))
  const known = new Set<string>()
  for (const { name } of modules) {
    if (known.has(name)) continue
    const circle = shortestWayBack(name, targets)
    if (circle === undefined) continue
    for (const one of circle) known.add(one)
    found.push(circle)
  }
  return found
}

const oursOf = (imports: ReadonlyArray<Import>) => imports.filter(({ isOurs }) => isOurs).map(({ target }) => target)

/** The modules on the shortest way from a module back to itself; `undefined` when there is none. */
const shortestWayBack = (
  start: string,
  targets: ReadonlyMap<string, ReadonlyArray<string>>,
): ReadonlyArray<string> | undefined => {
  const ways: Array<ReadonlyArray<string>> = [[start]]
  const seen = new Set<string>()
  for (const way of ways) {
    for (const target of targets.get(way.at(-1) as string) ?? []) {
      if (target === start) return way
      if (seen.has(target)) continue
      seen.add(target)
      ways.push([...way, target])
    }
  }
  return undefined
}

/** The modules that some modules load when they run, themselves included. Imports of types load nothing. */
export const reachedFrom = (
  modules: ReadonlyArray<Module>,
  isRoot: (name: string) => boolean,
  isOmitted: (name: string) => boolean = () => false,
): ReadonlyArray<Module> => {
  const byName = new Map(modules.map((module) => [module.name, module]))
  const reached = new Set<Module>()
  const visit = (name: string): void => {
    const module = byName.get(name)
    if (module === undefined || reached.has(module) || isOmitted(name)) return
    reached.add(module)
    for (const { isOurs, isTypeOnly, target } of module.imports) if (isOurs && !isTypeOnly) visit(target)
  }
  for (const { name } of modules) if (isRoot(name)) visit(name)
  return [...reached]
}

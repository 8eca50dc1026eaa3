/** Prints the JSON Schemas of one OCPP version as a TypeScript module, formatted as `biome format` would format it. */
import { isDeepStrictEqual } from "node:util"
import { type Senders, sends } from "./senders.ts"

/** The part of JSON Schema that OCPP uses. */
export interface JsonSchema {
  readonly $id?: string
  readonly $ref?: string
  readonly type?: string
  readonly enum?: ReadonlyArray<string>
  readonly format?: string
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly multipleOf?: number
  readonly items?: JsonSchema
  readonly minItems?: number
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: ReadonlyArray<string>
  readonly additionalProperties?: boolean
  readonly definitions?: Readonly<Record<string, JsonSchema>>
}

/** What the JSON Schemas of a version do not say. */
export interface Version {
  /** What the module is about. */
  readonly title: string
  /** The name of the exported protocol. */
  readonly protocol: string
  /** The subprotocol's name on the wire. */
  readonly subprotocol: string
  /** Further arguments of `Protocol.make`. */
  readonly options?: readonly [string]
  /** The Schema of a date-time. */
  readonly dateTime: string
  readonly senders: Senders
  /** What a type that is written inline is called, by the type that holds it and the property. */
  readonly nameOf: (holder: string, property: string) => string | undefined
}

/** Keywords that the printer understands, by type; what is not here and not silent would be lost, so it stops. */
const understood: Readonly<Record<string, ReadonlyArray<string>>> = {
  object: ["properties", "required", "additionalProperties", "definitions"],
  // `additionalItems` says nothing beside `items` that is one schema.
  array: ["items", "minItems", "maxItems", "additionalItems"],
  // `additionalProperties` says nothing about a string.
  string: ["enum", "format", "maxLength", "additionalProperties"],
  integer: ["minimum", "maximum"],
  number: ["minimum", "maximum", "multipleOf"],
  boolean: [],
  any: [],
}

const silent = ["$id", "$schema", "comment", "default", "description", "javaType", "title", "type"]

/** The module's text. */
export const print = (version: Version, schemas: ReadonlyArray<JsonSchema>): string => {
  const words = new Set<string>()
  const word = (name: string): string => {
    words.add(name)
    return name
  }
  const sources = new Map<string, JsonSchema>()
  const simpleTypes = new Map<string, string>()
  const objectTypes: Array<string> = []
  const messages: Array<string> = []

  const fail = (where: string, why: string): never => {
    throw new Error(`${version.subprotocol}: ${where}: ${why}`)
  }

  /** Prints schemas that may refer to `definitions`. */
  const printerFor = (definitions: Readonly<Record<string, JsonSchema>>) => {
    const object = (name: string, schema: JsonSchema): string => {
      const properties = Object.entries(schema.properties ?? {}).map(([property, value]) => {
        const type = expression(value, name, property)
        return `  ${property}: ${schema.required?.includes(property) ? type : `${word("optional")}(${type})`},\n`
      })
      const maker = word(schema.additionalProperties === false ? "closed" : "open")
      const fields = properties.length === 0 ? "{}" : `{\n${properties.join("")}}`
      return `export class ${name} extends ${maker}<${name}>()(${fields}) {}\n`
    }

    /** Declares a type where its name is met first; elsewhere makes sure that the name means the same. */
    const named = (name: string, schema: JsonSchema): string => {
      const binding = bindingOf(schema)
      const known = sources.get(name)
      if (known === undefined) {
        sources.set(name, binding)
        if (schema.type === "object") objectTypes.push(object(name, schema))
        else if (schema.enum !== undefined) simpleTypes.set(name, enumeration(name, schema.enum))
        else simpleTypes.set(name, `export const ${name} = ${simple(schema, name)}\n${typeOf(name)}`)
      } else if (!isDeepStrictEqual(known, binding)) {
        fail(name, "two types have this name")
      }
      return name
    }

    const simple = (schema: JsonSchema, where: string): string => {
      const bounds = numbers({ minimum: schema.minimum, maximum: schema.maximum })
      switch (schema.type) {
        case "string":
          if (schema.enum !== undefined) return fail(where, "an enumeration needs a name")
          if (schema.format === "date-time") return word(version.dateTime)
          if (schema.format === "uri") return word("uri")
          if (schema.format !== undefined) return fail(where, `unknown format ${schema.format}`)
          return schema.maxLength === undefined ? "Schema.String" : `${word("text")}(${schema.maxLength})`
        case "integer":
          return bounds === "" ? word("integer") : `${word("integerWithin")}(${bounds})`
        case "number":
          if (schema.multipleOf === 0.1 && bounds === "") return word("tenths")
          if (schema.multipleOf !== undefined) return fail(where, `unknown step ${schema.multipleOf}`)
          return bounds === "" ? word("number") : `${word("numberWithin")}(${bounds})`
        case "boolean":
          return "Schema.Boolean"
        case undefined:
          return "Schema.Unknown"
        default:
          return fail(where, `a type ${schema.type} needs a name`)
      }
    }

    const expression = (schema: JsonSchema, holder: string, property: string): string => {
      const where = `${holder}.${property}`
      if (schema.$ref !== undefined) {
        const name = schema.$ref.replace("#/definitions/", "")
        return named(name, definitions[name] ?? fail(where, `nothing defines ${schema.$ref}`))
      }
      for (const keyword of Object.keys(schema)) {
        if (!silent.includes(keyword) && !understood[schema.type ?? "any"]?.includes(keyword)) {
          fail(where, `unknown keyword ${keyword}`)
        }
      }
      if (schema.type === "array") {
        const item = expression(schema.items ?? fail(where, "an array needs items"), holder, property)
        const bounds = numbers({ minItems: schema.minItems, maxItems: schema.maxItems })
        return `${word("list")}(${bounds === "" ? item : `${item}, ${bounds}`})`
      }
      const name = version.nameOf(holder, property)
      return name === undefined ? simple(schema, where) : named(name, schema)
    }

    return object
  }

  const actions = byAction(schemas)
  for (const [action, { request, response }] of actions) {
    const sender = senderOf(version, action) ?? fail(action, "who sends it?")
    const parts = [`sender: "${sender}"`, `request: ${action}Request`]
    if (request === undefined) return fail(action, "has no request")
    messages.push(printerFor(request.definitions ?? {})(`${action}Request`, request))
    if (response !== undefined) {
      parts.push(`response: ${action}Response`)
      messages.push(printerFor(response.definitions ?? {})(`${action}Response`, response))
    } else if (!sends.has(action)) {
      return fail(action, "has no response")
    }
    messages.push(
      `export const ${action} = Action.${sends.has(action) ? "makeSend" : "make"}("${action}", {\n` +
        `${parts.map((part) => `  ${part},\n`).join("")}})\n`,
    )
  }

  const clash = [...actions.keys()].find((action) => sources.has(action))
  if (clash !== undefined) return fail(clash, "an action and a type have this name")

  return [
    `/**\n * ${version.title}\n *\n * Generated by scripts/generate-schemas.ts from the official JSON Schemas: do not edit.\n */\n` +
      'import * as Schema from "effect/Schema"\n' +
      'import * as Action from "../Action.ts"\n' +
      'import * as Protocol from "../Protocol.ts"\n' +
      list("import {", [...words].sort(), '} from "./payload.ts"', " "),
    ...[...simpleTypes.keys()].sort().map((name) => simpleTypes.get(name)),
    ...objectTypes,
    ...messages,
    list("const actions = [", [...actions.keys()], "] as const"),
    `/** The subprotocol \`${version.subprotocol}\`. */\nexport const ${version.protocol} = ` +
      `Protocol.make(${[`"${version.subprotocol}"`, "actions", ...(version.options ?? [])].join(", ")})\n`,
  ].join("\n")
}

const lineWidth = 120

/** A list on one line where it fits, else one item a line. `space` is what stands inside its brackets on one line. */
const list = (open: string, items: ReadonlyArray<string>, close: string, space = ""): string => {
  const line = `${open}${space}${items.join(", ")}${space}${close}\n`
  return line.length <= lineWidth + 1 ? line : `${open}\n${items.map((item) => `  ${item},\n`).join("")}${close}\n`
}

const typeOf = (name: string): string => `export type ${name} = typeof ${name}.Type\n`

const enumeration = (name: string, values: ReadonlyArray<string>): string =>
  list(
    `export const ${name} = Schema.Literals([`,
    values.map((value) => JSON.stringify(value)),
    "])",
  ) + typeOf(name)

/** An object literal of the entries that have a value; nothing when none has. */
const numbers = (entries: Readonly<Record<string, number | undefined>>): string => {
  const present = Object.entries(entries).filter(([, value]) => value !== undefined)
  return present.length === 0 ? "" : `{ ${present.map(([key, value]) => `${key}: ${value}`).join(", ")} }`
}

/** A schema without what binds nothing. */
const bindingOf = (schema: JsonSchema): JsonSchema => ({
  ...Object.fromEntries(Object.entries(schema).filter(([keyword]) => keyword === "type" || !silent.includes(keyword))),
  ...(schema.items && { items: bindingOf(schema.items) }),
  ...(schema.properties && {
    properties: Object.fromEntries(Object.entries(schema.properties).map(([name, value]) => [name, bindingOf(value)])),
  }),
})

const senderOf = (version: Version, action: string): "station" | "csms" | "both" | undefined =>
  action === "DataTransfer"
    ? "both"
    : version.senders.station.includes(action)
      ? "station"
      : version.senders.csms.includes(action)
        ? "csms"
        : undefined

/** The payloads by action, in alphabetical order. */
const byAction = (schemas: ReadonlyArray<JsonSchema>) => {
  const actions = new Map<string, { request?: JsonSchema; response?: JsonSchema }>()
  for (const schema of schemas) {
    const id = /^urn:(\w+?)(?:\.req|Request|(\.conf|Response))?$/.exec(schema.$id ?? "")
    if (id?.[1] === undefined) throw new Error(`unreadable $id ${schema.$id}`)
    actions.set(id[1], { ...actions.get(id[1]), [id[2] === undefined ? "request" : "response"]: schema })
  }
  return new Map([...actions].sort(([a], [b]) => (a < b ? -1 : 1)))
}

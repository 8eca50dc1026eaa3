/**
 * Offers of compression (RFC 7692): which of them a server takes.
 *
 * A client may make several, in its order of preference. A server declines those that it does not understand or cannot keep, takes
 * the first that is left, or goes on without compression. `ws` would refuse the whole handshake, so it is told of no more
 * than the offer that is taken.
 */

/** What a server can keep: the options of `ws`. `false`, of any, is "never". */
export interface Abilities {
  readonly serverNoContextTakeover?: boolean | undefined
  readonly serverMaxWindowBits?: number | boolean | undefined
  readonly clientMaxWindowBits?: number | boolean | undefined
}

/** An extension that is offered: its name, and its parameters in their order; a parameter without a value has `true`. */
interface Extension {
  readonly name: string
  readonly parameters: ReadonlyArray<readonly [name: string, value: string | true]>
}

/** An offer of permessage-deflate that is understood. */
interface Offer {
  readonly server_no_context_takeover?: true
  readonly client_no_context_takeover?: true
  readonly server_max_window_bits?: number
  readonly client_max_window_bits?: number | true
}

/**
 * What is left of a `Sec-WebSocket-Extensions` header: the first offer of permessage-deflate that can be taken, or `undefined` when
 * there is none. A header that is malformed is given back as it is: such a handshake must fail (RFC 6455 §9.1).
 */
export const takeOffer = (header: string, abilities: Abilities): string | undefined => {
  const extensions = parse(header)
  if (extensions === undefined) return header
  for (const extension of extensions) {
    const offer = extension.name === "permessage-deflate" ? understood(extension) : undefined
    if (offer !== undefined && canKeep(offer, abilities)) return format(offer)
  }
  return undefined
}

const parameter = /[ \t]*;[ \t]*([!#$%&'*+.^_`|~\w-]+)(?:[ \t]*=[ \t]*(?:([!#$%&'*+.^_`|~\w-]+)|"((?:[^"\\]|\\.)*)"))?/y
const name = /[ \t]*([!#$%&'*+.^_`|~\w-]+)/y
const end = /[ \t]*(,|$)/y

/** `permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate`; elements may be empty. */
const parse = (header: string): ReadonlyArray<Extension> | undefined => {
  const extensions: Array<Extension> = []
  let at = 0
  const next = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(header)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  for (;;) {
    const extension = next(name)?.[1]
    if (extension !== undefined) {
      const parameters: Array<Extension["parameters"][number]> = []
      for (let match = next(parameter); match !== null; match = next(parameter)) {
        const [, key = "", token, quoted] = match
        const value = token ?? quoted?.replace(/\\(.)/g, "$1") ?? true
        // Unquoted, a value has to be a token.
        if (typeof value === "string" && !/^[!#$%&'*+.^_`|~\w-]+$/.test(value)) return undefined
        parameters.push([key, value])
      }
      extensions.push({ name: extension, parameters })
    }
    const delimiter = next(end)?.[1]
    if (delimiter === undefined) return undefined
    if (delimiter === "") return extensions.length === 0 ? undefined : extensions
  }
}

/** The offer of these parameters; nothing where one is unknown, comes twice, or has a value that it may not have (RFC 7692 §7). */
const understood = ({ parameters }: Extension): Offer | undefined => {
  const offer: Record<string, number | true> = Object.create(null)
  for (const [key, text] of parameters) {
    const value = numberFor(key, text)
    if (value === undefined || offer[key] !== undefined) return undefined
    offer[key] = value
  }
  return offer
}

const numberFor = (key: string, text: string | true): number | true | undefined => {
  switch (key) {
    case "server_no_context_takeover":
    case "client_no_context_takeover":
      return text === true ? true : undefined
    case "client_max_window_bits":
      return text === true ? true : bitsOf(text)
    case "server_max_window_bits":
      return text === true ? undefined : bitsOf(text)
    default:
      return undefined
  }
}

const bitsOf = (text: string): number | undefined => (/^(?:[89]|1[0-5])$/.test(text) ? Number(text) : undefined)

/** Whether `ws` can do what the client asks, and the client what is asked of it. */
const canKeep = (offer: Offer, abilities: Abilities): boolean => {
  const { clientMaxWindowBits, serverMaxWindowBits, serverNoContextTakeover } = abilities
  if (offer.server_no_context_takeover && serverNoContextTakeover === false) return false
  const { client_max_window_bits: client, server_max_window_bits: server } = offer
  if (server !== undefined && serverMaxWindowBits === false) return false
  if (server !== undefined && typeof serverMaxWindowBits === "number" && serverMaxWindowBits > server) return false
  if (typeof clientMaxWindowBits !== "number") return true
  // Who does not say that it can have another window than 15 bits cannot be asked to.
  return client === true || (client !== undefined && clientMaxWindowBits <= client)
}

const format = (offer: Offer): string =>
  [
    "permessage-deflate",
    ...Object.entries(offer).map(([key, value]) => (value === true ? key : `${key}=${value}`)),
  ].join("; ")

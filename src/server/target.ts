/**
 * The target of an upgrade request (RFC 9112 §3.2): where a station connects, and who it says it is.
 *
 * Two forms are read: origin form, `/ocpp/CP1?x=1`, and absolute form, `http://host:9000/ocpp/CP1?x=1`, which a server has to
 * understand and some stations send. Paths may begin with several slashes, because an endpoint that ends in one is
 * common: `//CP1` is a path, its `CP1` never a host.
 */

/** A target, read. */
export interface Target {
  readonly _tag: "Target"
  /** The path before the identity, as it was sent; empty when there is none. */
  readonly endpoint: string
  /** The last segment of the path, decoded. */
  readonly identity: string
  /** The query as it was sent, with its question mark; empty when there is none. */
  readonly query: string
}

/** A target that cannot be read, and why, in words that quote none of it. */
export interface Fault {
  readonly _tag: "Fault"
  readonly reason: string
}

/** What may be in a target. */
export interface Options {
  /** Whether an identity may have slashes, which the station sends as `%2F`. Default `false`. */
  readonly allowSlash?: boolean
}

/** The longest identity that is accepted, in UTF-16 units. */
export const maxIdentityLength = 255

/** Reads a target. Never throws. */
export const read = (target: string, { allowSlash = false }: Options = {}): Target | Fault => {
  // Node's parser lets none through, but it is not the only one.
  if (/\p{Cc}/u.test(target)) return fault("the request target has a control character")
  const local = target.startsWith("/") ? target : behindAuthority(target)
  if (typeof local !== "string") return local
  const queryAt = local.indexOf("?")
  const path = queryAt === -1 ? local : local.slice(0, queryAt)
  const slash = path.lastIndexOf("/")
  const identity = decoded(path.slice(slash + 1))
  if (identity === undefined) return fault("the identity is not percent-encoded UTF-8")
  const wrong = faultOfIdentity(identity, allowSlash)
  if (wrong !== undefined) return fault(wrong)
  return {
    _tag: "Target",
    endpoint: path.slice(0, Math.max(0, slash)),
    identity,
    query: queryAt === -1 ? "" : local.slice(queryAt),
  }
}

const fault = (reason: string): Fault => ({ _tag: "Fault", reason })

/** The scheme and the authority of RFC 3986 §3.2, without the user information that RFC 9110 §4.2.4 warns of. */
const absolute = /^(?:https?|wss?):\/\/([^/?#]*)/i
const host = /^(?:\[[0-9a-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9a-f]{2})+)(?::(\d*))?$/i

/** What stands behind the authority of a target in absolute form. */
const behindAuthority = (target: string): string | Fault => {
  const [start, authority] = absolute.exec(target) ?? []
  if (start === undefined || authority === undefined)
    return fault("the request target must be a path or the URL of one")
  const [isHost, port = ""] = host.exec(authority) ?? []
  if (isHost === undefined || Number(port) > 65_535) return fault("the host in the request target is malformed")
  return target.slice(start.length)
}

const decoded = (encoded: string): string | undefined => {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

const faultOfIdentity = (identity: string, allowSlash: boolean): string | undefined => {
  if (identity === "") return "the path must end in the identity of a charging station"
  if (identity.length > maxIdentityLength) return `the identity is longer than ${maxIdentityLength} characters`
  if (allowSlash) return /\p{Cc}/u.test(identity) ? "the identity has a control character" : undefined
  return /[\p{Cc}/]/u.test(identity) ? "the identity has a slash or a control character" : undefined
}

/**
 * Where a station really is: IP addresses in one form, and the word of proxies, taken from those only that are trusted.
 *
 * A proxy adds to a header the address from which it was reached, at the right. So the header is read from right to left, as
 * long as whoever has written is trusted; what stands further left anybody may have made up.
 */
import type { IncomingHttpHeaders } from "node:http"
import { BlockList, isIPv4, isIPv6, SocketAddress } from "node:net"

/**
 * An IP address in the form in which two that are the same are the same text: IPv6 as RFC 5952 writes it, without a zone, and
 * IPv4 as such where it came mapped into IPv6 (`::ffff:127.0.0.1`). `undefined` for what is no IP address.
 */
export const plain = (address: string | undefined): string | undefined => {
  if (address === undefined || isIPv4(address)) return address
  if (!isIPv6(address)) return undefined
  const canonical = new SocketAddress({ address, family: "ipv6" }).address
  return canonical.startsWith(mapped) && isIPv4(canonical.slice(mapped.length))
    ? canonical.slice(mapped.length)
    : canonical
}

const mapped = "::ffff:"

/** Whether an address is one of those that were named. */
export type Trust = (address: string) => boolean

/** What can be named instead of its ranges. */
const named: ReadonlyMap<string, ReadonlyArray<string>> = new Map([
  ["loopback", ["127.0.0.0/8", "::1"]],
  ["linklocal", ["169.254.0.0/16", "fe80::/10"]],
  ["uniquelocal", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]],
])

/**
 * Trusts addresses (`10.0.0.7`, `2001:db8::7`), ranges (`10.0.0.0/8`, `2001:db8::/32`), and those of `loopback`, `linklocal` and
 * `uniquelocal`. A range of IPv6 has no addresses of IPv4 in it.
 *
 * @throws {RangeError} naming what is neither.
 */
export const trust = (addresses: ReadonlyArray<string>): Trust => {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const text of addresses.flatMap((text) => named.get(text) ?? [text])) {
    const { address, family, prefix } = rangeOf(text)
    lists[family].addSubnet(address, prefix, family)
  }
  return (text) => {
    const address = plain(text)
    if (address === undefined) return false
    const family = isIPv4(address) ? "ipv4" : "ipv6"
    return lists[family].check(address, family)
  }
}

/** @throws {RangeError} when the text is neither an address nor a range. */
const rangeOf = (text: string) => {
  const [, written = "", length] = /^([^/%]*)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const address = plain(written)
  if (address !== undefined) {
    const family = isIPv4(address) ? ("ipv4" as const) : ("ipv6" as const)
    const bits = family === "ipv4" ? 32 : 128
    // Of a mapped address the first 96 bits are always the same.
    const prefix = length === undefined ? bits : Number(length) - (isIPv6(written) && family === "ipv4" ? 96 : 0)
    if (prefix >= 0 && prefix <= bits) return { address, family, prefix }
  }
  const names = [...named.keys()].join(", ")
  throw new RangeError(`${JSON.stringify(text)} is no IP address, no range such as 10.0.0.0/8, and none of ${names}`)
}

/** Which proxies are believed, and where they write. */
export interface TrustedProxies {
  /** The addresses of the proxies: what {@link trust} takes. */
  readonly from: ReadonlyArray<string>
  /**
   * The header to which these proxies add: the other one is not looked at, because a proxy that does not know it hands on what
   * the client has written. Default `"x-forwarded-for"`.
   */
  readonly header?: "x-forwarded-for" | "forwarded"
}

/** The option `trustProxy`: {@link TrustedProxies}, or their addresses alone. */
export type TrustProxy = ReadonlyArray<string> | TrustedProxies

/** Finds the address of a client, given that of the socket's other end and the headers of the request. */
export type Resolve = (peer: string | undefined, headers: IncomingHttpHeaders) => string | undefined

/**
 * Resolves addresses as `trustProxy` says; without it, to that of the socket.
 *
 * The address is the first from the right that is none of a trusted proxy. Where a proxy does not tell from whom it has the request
 * (`unknown`, an obfuscated identifier, what is no address), or all are trusted, it is the last that is known. Ports are left out.
 *
 * @throws {RangeError} when the option makes no sense.
 */
export const resolver = (trustProxy: TrustProxy = []): Resolve => {
  const { from, header = "x-forwarded-for" } = "from" in trustProxy ? trustProxy : { from: trustProxy }
  const nodesOf = readers.get(header)
  if (nodesOf === undefined) {
    throw new RangeError(
      `trustProxy.header must be one of ${[...readers.keys()].join(", ")}; got ${JSON.stringify(header)}`,
    )
  }
  const trusts = trust(from)
  return (peer, headers) => {
    let nearest = plain(peer)
    if (nearest === undefined || !trusts(nearest)) return nearest
    for (const node of nodesOf([headers[header] ?? ""].flat().join(","))) {
      const address = addressOf(node)
      if (address === undefined) return nearest
      nearest = address
      if (!trusts(address)) return nearest
    }
    return nearest
  }
}

/** From whom a proxy has the request, for each proxy, the nearest first. */
type Reader = (value: string) => Iterable<string>

/** `X-Forwarded-For: client, proxy1, proxy2` */
function* fromXForwardedFor(value: string): Iterable<string> {
  for (let end = value.length; end >= 0; ) {
    const comma = value.slice(0, end).lastIndexOf(",")
    const node = value.slice(comma + 1, end).trim()
    if (node !== "") yield node
    end = comma
  }
}

/** `Forwarded: for=client, for="[2001:db8::1]:4711";by=proxy` (RFC 7239) */
function* fromForwarded(value: string): Iterable<string> {
  let end = value.length
  let isQuoted = false
  // From the right as well: a quote that a client has left open must not swallow what the proxies have added.
  for (let at = value.length - 1; at >= -1; at--) {
    if (value[at] === '"' && !isEscaped(value, at)) isQuoted = !isQuoted
    if (at >= 0 && (isQuoted || value[at] !== ",")) continue
    const element = value.slice(at + 1, end).trim()
    if (element !== "") yield forOf(element)
    end = at
  }
}

const isEscaped = (value: string, at: number): boolean => {
  let backslashes = 0
  while (value[at - 1 - backslashes] === "\\") backslashes++
  return backslashes % 2 === 1
}

const pair = /\s*([!#$%&'*+.^_`|~\w-]+)=(?:([!#$%&'*+.^_`|~\w:[\]-]+)|"((?:[^"\\]|\\.)*)")\s*(?:;|$)/y

/** The `for` of an element; empty when it has none, or more than one, or is malformed. */
const forOf = (element: string): string => {
  let found: string | undefined
  pair.lastIndex = 0
  while (pair.lastIndex < element.length) {
    const [, name, token, quoted] = pair.exec(element) ?? []
    if (name === undefined) return ""
    if (name.toLowerCase() !== "for") continue
    if (found !== undefined) return ""
    found = token ?? quoted?.replace(/\\(.)/g, "$1")
  }
  return found ?? ""
}

const readers: ReadonlyMap<string, Reader> = new Map([
  ["x-forwarded-for", fromXForwardedFor],
  ["forwarded", fromForwarded],
])

/** An address, in brackets where it is IPv6 and has a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`. */
const node = /^(?:\[([\da-f:.]+)\]|([\d.]+))(?::(?:\d{1,5}|_[\w.-]+))?$/i

/** The IP address of a node (RFC 7239 §6); nothing for one that is `unknown`, obfuscated or malformed. */
const addressOf = (text: string): string | undefined => {
  const unquoted = text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text
  const [, ipv6, ipv4] = node.exec(unquoted) ?? []
  if (ipv4 !== undefined) return isIPv4(ipv4) ? ipv4 : undefined
  const address = ipv6 ?? unquoted
  return isIPv6(address) && !address.includes("%") ? plain(address) : undefined
}

/**
 * The PROXY protocol, versions 1 and 2: a proxy that forwards TCP says in the first bytes of a connection from whom it has it.
 *
 * {@link parse} reads a header, {@link read} takes one from a socket.
 */
import { Buffer } from "node:buffer"
import { isIPv4, isIPv6, type Socket } from "node:net"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { plain } from "./addresses.ts"

/** One end of a connection. */
export interface Endpoint {
  readonly address: string
  readonly port: number
}

/** Something else that a proxy says (version 2 §2.2). */
export interface Tlv {
  readonly type: number
  readonly value: Uint8Array
}

/** What a proxy says of a connection. */
export interface Header {
  /** From where the proxy has the connection; `undefined` when it speaks for itself or does not know. */
  readonly source: Endpoint | undefined
  /** Where the client has connected to; `undefined` as `source` is. */
  readonly destination: Endpoint | undefined
  /** Empty in version 1. */
  readonly tlvs: ReadonlyArray<Tlv>
}

/** What the first bytes of a connection are. */
export type Reading =
  | { readonly _tag: "Header"; readonly header: Header; readonly length: number }
  /** So far it may be one. */
  | { readonly _tag: "Incomplete" }
  | { readonly _tag: "Fault"; readonly reason: string }

/** A connection that does not begin with a header, though it should. */
export class ProxyProtocolError extends Data.TaggedError("ProxyProtocolError")<{ readonly message: string }> {}

const incomplete: Reading = { _tag: "Incomplete" }
const fault = (reason: string): Reading => ({ _tag: "Fault", reason })

/** The longest header that is accepted, in bytes: of version 1 as it is specified, of version 2 with room for TLVs. */
export const maxLength = { v1: 107, v2: 4096 } as const

const start1 = Buffer.from("PROXY ")
const start2 = Buffer.from("\r\n\r\n\0\r\nQUIT\n")

/** Reads the header with which these bytes begin. Never throws. */
export const parse = (bytes: Uint8Array): Reading => {
  const begun = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (startsAlike(begun, start1)) return begun.length < start1.length ? incomplete : parse1(begun)
  if (startsAlike(begun, start2)) return begun.length < start2.length + 4 ? incomplete : parse2(begun)
  return fault("the connection does not begin with a header of the PROXY protocol")
}

const startsAlike = (begun: Buffer, start: Buffer): boolean => {
  const length = Math.min(begun.length, start.length)
  return begun.subarray(0, length).equals(start.subarray(0, length))
}

const nothing: Header = { source: undefined, destination: undefined, tlvs: [] }

/** `PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n` */
const parse1 = (begun: Buffer): Reading => {
  const end = begun.subarray(0, maxLength.v1).indexOf("\r\n")
  if (end === -1) return begun.length < maxLength.v1 ? incomplete : fault("the header of the proxy does not end")
  const [, family, ...others] = begun.toString("latin1", 0, end).split(" ")
  if (family === "UNKNOWN") return { _tag: "Header", header: nothing, length: end + 2 }
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : undefined
  const [from = "", to = "", fromPort = "", toPort = "", ...more] = others
  const addresses = [from, to].map((text) => (isAddress?.(text) && !text.includes("%") ? plain(text) : undefined))
  const ports = [fromPort, toPort].map(portOf)
  const [source, destination] = addresses.map((address, at) => endpointOf(address, ports[at]))
  if (source === undefined || destination === undefined || more.length > 0) {
    return fault("the header of the proxy is malformed")
  }
  return { _tag: "Header", header: { source, destination, tlvs: [] }, length: end + 2 }
}

const portOf = (text: string): number | undefined => {
  const port = /^(?:0|[1-9]\d{0,4})$/.test(text) ? Number(text) : undefined
  return port === undefined || port > 65_535 ? undefined : port
}

const endpointOf = (address: string | undefined, port: number | undefined): Endpoint | undefined =>
  address === undefined || port === undefined ? undefined : { address, port }

/** The lengths of the addresses of each family in version 2: both addresses, then both ports. */
const families: ReadonlyMap<number, { readonly address: number; readonly length: number }> = new Map([
  [0x11, { address: 4, length: 12 }],
  [0x21, { address: 16, length: 36 }],
  // A Unix socket has a name, but no IP address.
  [0x31, { address: 0, length: 216 }],
])

const parse2 = (begun: Buffer): Reading => {
  const [command = 0, family = 0] = begun.subarray(start2.length)
  const length = start2.length + 4 + begun.readUInt16BE(start2.length + 2)
  if (command !== 0x20 && command !== 0x21) return fault("the proxy speaks a version or command that is not known")
  if (length > maxLength.v2) return fault("the header of the proxy is too long")
  if (begun.length < length) return incomplete
  // The proxy itself, for instance to see whether we are well; and what it cannot describe.
  if (command === 0x20 || family === 0x00) return { _tag: "Header", header: nothing, length }
  const body = begun.subarray(start2.length + 4, length)
  const lengths = families.get(family)
  if (lengths === undefined) return fault("the proxy forwards what is no TCP")
  if (body.length < lengths.length) return fault("the header of the proxy is too short")
  const tlvs = tlvsOf(body.subarray(lengths.length))
  if (tlvs === undefined) return fault("the header of the proxy is malformed")
  const { address } = lengths
  if (address === 0) return { _tag: "Header", header: { ...nothing, tlvs }, length }
  const source = { address: ipOf(body.subarray(0, address)), port: body.readUInt16BE(2 * address) }
  const destination = { address: ipOf(body.subarray(address, 2 * address)), port: body.readUInt16BE(2 * address + 2) }
  return { _tag: "Header", header: { source, destination, tlvs }, length }
}

const ipOf = (bytes: Buffer): string => {
  if (bytes.length === 4) return bytes.join(".")
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16)).join(":")
  return plain(groups) ?? groups
}

const tlvsOf = (bytes: Buffer): ReadonlyArray<Tlv> | undefined => {
  const tlvs: Array<Tlv> = []
  for (let at = 0; at < bytes.length; ) {
    if (at + 3 > bytes.length) return undefined
    const end = at + 3 + bytes.readUInt16BE(at + 1)
    if (end > bytes.length) return undefined
    tlvs.push({ type: bytes.readUInt8(at), value: Uint8Array.from(bytes.subarray(at + 3, end)) })
    at = end
  }
  return tlvs
}

/**
 * Takes the header from a socket that nobody has read from. What comes behind it is there to be read.
 *
 * No more is kept than a header has. It waits for as long as the connection lasts: how long that may be is up to the caller.
 * Interrupted, or failing, it leaves the socket open, and what was read is lost.
 */
export const read = (socket: Socket): Effect.Effect<Header, ProxyProtocolError> =>
  Effect.callback((resume) => {
    let begun = Buffer.alloc(0)
    const stop = () => {
      socket.off("readable", onReadable)
      for (const event of ends) socket.off(event, onEnd)
    }
    const fail = (message: string) => {
      stop()
      resume(Exit.fail(new ProxyProtocolError({ message })))
    }
    const onEnd = () => fail("the connection has ended before the header of the proxy")
    const onReadable = () => {
      const chunk: Buffer | null = socket.read()
      if (chunk === null) return
      begun = Buffer.concat([begun, chunk])
      const reading = parse(begun)
      if (reading._tag === "Incomplete") return
      if (reading._tag === "Fault") return fail(reading.reason)
      stop()
      if (begun.length > reading.length) socket.unshift(begun.subarray(reading.length))
      resume(Exit.succeed(reading.header))
    }
    const ends = ["end", "close", "error"]
    for (const event of ends) socket.on(event, onEnd)
    socket.on("readable", onReadable)
    // What has come before is not told of again.
    onReadable()
    return Effect.sync(stop)
  })

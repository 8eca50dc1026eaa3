/** The opening handshake of a WebSocket as text (RFC 6455 §4), both sides of it. */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"

/** A Sec-WebSocket-Key. */
export const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

/** The lines of an upgrade request. */
export const upgradeLines = (
  path: string,
  headers: ReadonlyArray<string> = [],
  { key = sampleKey, version = 13 }: { readonly key?: string; readonly version?: number } = {},
): ReadonlyArray<string> => [
  `GET ${path} HTTP/1.1`,
  "Host: localhost",
  "Connection: Upgrade",
  "Upgrade: websocket",
  `Sec-WebSocket-Version: ${version}`,
  `Sec-WebSocket-Key: ${key}`,
  ...headers,
]

/** An upgrade request as text. */
export const upgradeOf = (...request: Parameters<typeof upgradeLines>): string =>
  [...upgradeLines(...request), "", ""].join("\r\n")

/** The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key. */
export const acceptOf = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

/** An answer that switches to WebSocket, with further headers. */
export const switching = (key: string, ...headers: ReadonlyArray<string>): string => {
  const lines = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${acceptOf(key)}`, ...headers]
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`
}

/** The value of an Authorization header. */
export const basic = (user: string, password: string | Uint8Array): string =>
  `Basic ${Buffer.concat([Buffer.from(`${user}:`), Buffer.from(password)]).toString("base64")}`

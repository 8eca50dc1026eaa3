/**
 * WebSocket frames, byte by byte: making them, reading them, and RFC 6455's word on what a server makes of a sequence of
 * them.
 */
import { Buffer, isUtf8 } from "node:buffer"

export const Opcode = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const

/** A frame as it is written, right or wrong. */
export interface RawFrame {
  readonly opcode: number
  readonly payload: Buffer
  readonly fin?: boolean
  /** The three reserved bits. */
  readonly rsv?: number
  readonly masked?: boolean
  /** The length that the head states, if it is not the payload's. */
  readonly claims?: bigint
}

export const encode = (
  { claims, fin = true, masked = true, opcode, payload, rsv = 0 }: RawFrame,
  key: Buffer,
): Buffer => {
  const length = claims ?? BigInt(payload.length)
  const head = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode])
  const body = masked ? payload.map((byte, i) => byte ^ (key[i % 4] as number)) : payload
  return Buffer.concat([head, lengthBytes(length, masked), masked ? key : Buffer.alloc(0), body])
}

const lengthBytes = (length: bigint, masked: boolean): Buffer => {
  const mask = masked ? 0x80 : 0
  if (length < 126n) return Buffer.from([mask | Number(length)])
  if (length < 65_536n) return Buffer.from([mask | 126, Number(length >> 8n), Number(length & 255n)])
  const bytes = Buffer.alloc(9)
  bytes[0] = mask | 127
  bytes.writeBigUInt64BE(length, 1)
  return bytes
}

/** A frame of the server's. */
export interface ReadFrame {
  readonly opcode: number
  readonly payload: Buffer
}

/** The complete frames at the beginning of what a server has sent. */
export const decodeAll = (bytes: Buffer): ReadonlyArray<ReadFrame> => {
  const frames: Array<ReadFrame> = []
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] as number) & 0x7f
    const extra = short === 126 ? 2 : short === 127 ? 8 : 0
    if (at + 2 + extra > bytes.length) break
    const length =
      extra === 0 ? short : extra === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    const start = at + 2 + extra
    if (start + length > bytes.length) break
    frames.push({ opcode: (bytes[at] as number) & 0x0f, payload: bytes.subarray(start, start + length) })
    at = start + length
  }
  return frames
}

/** What a server must make of some frames. */
export interface Reading {
  /** The messages that it gets to see. */
  readonly texts: ReadonlyArray<string>
  readonly pongs: ReadonlyArray<Buffer>
  /** The code of its close frame; 1005 for one without; `undefined` when the frames do not end the connection. */
  readonly close: number | undefined
  /** Whether the end comes before the last of the frames. */
  readonly isRushed: boolean
}

const maxPayload = 1024n * 1024n

export const read = (frames: ReadonlyArray<RawFrame>): Reading => {
  const texts: Array<string> = []
  const pongs: Array<Buffer> = []
  let fragments: Array<Buffer> | undefined
  for (const [index, frame] of frames.entries()) {
    const isRushed = index < frames.length - 1
    const close = violation(frame, fragments)
    if (close !== undefined) return { texts, pongs, close, isRushed }
    const { fin = true, opcode, payload } = frame
    if (opcode === Opcode.Close) return { texts, pongs, close: closeOf(payload), isRushed }
    if (opcode === Opcode.Ping) pongs.push(payload)
    if (opcode > Opcode.Binary) continue
    fragments = [...(fragments ?? []), payload]
    if (!fin) continue
    const message = Buffer.concat(fragments)
    if (!isUtf8(message)) return { texts, pongs, close: 1007, isRushed }
    texts.push(message.toString())
    fragments = undefined
  }
  return { texts, pongs, close: undefined, isRushed: false }
}

const violation = (frame: RawFrame, fragments: ReadonlyArray<Buffer> | undefined): number | undefined => {
  const { claims, fin = true, masked = true, opcode, payload, rsv = 0 } = frame
  const length = claims ?? BigInt(payload.length)
  if (rsv !== 0 || !masked) return 1002
  if (opcode > Opcode.Pong || (opcode > Opcode.Binary && opcode < Opcode.Close)) return 1002
  if (opcode >= Opcode.Close) return fin && length <= 125n ? undefined : 1002
  if ((opcode === Opcode.Continuation) !== (fragments !== undefined)) return 1002
  const sofar = (fragments ?? []).reduce((sum, fragment) => sum + fragment.length, 0)
  return length + BigInt(sofar) > maxPayload ? 1009 : undefined
}

const closeOf = (payload: Buffer): number => {
  if (payload.length === 0) return 1005
  if (payload.length === 1) return 1002
  const code = payload.readUInt16BE(0)
  if (!mayBeSent(code)) return 1002
  return isUtf8(payload.subarray(2)) ? code : 1007
}

const mayBeSent = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999)

/** WebSocket frames as bytes (RFC 6455 §5.2): right ones and wrong ones. */
import { Buffer } from "node:buffer"

export const Opcode = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const

export interface FrameOptions {
  /** Whether it is the last of its message. Default `true`. */
  readonly fin?: boolean
  /** The three reserved bits, as a number from 0 to 7. Default 0. */
  readonly rsv?: number
  /** Whether it is masked, as frames of a client must be. Default `true`. */
  readonly masked?: boolean
  /** The four bytes of the mask. Default zeros, which leave the payload as it is. */
  readonly mask?: Uint8Array
  /** The length that the head claims. Default that of the payload. */
  readonly claims?: bigint
}

const zeros = new Uint8Array(4)

/** Writes a frame, as a client does unless the options say otherwise. */
export const frame = (opcode: number, payload: Uint8Array | string = "", options: FrameOptions = {}): Buffer => {
  const { fin = true, mask = zeros, masked = true, rsv = 0 } = options
  const body = Buffer.from(payload)
  const length = options.claims ?? BigInt(body.length)
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  if (!masked) return Buffer.concat([head(first, 0, length), body])
  const maskedBody = mask === zeros ? body : body.map((byte, i) => byte ^ (mask[i % 4] as number))
  return Buffer.concat([head(first, 0x80, length), mask, maskedBody])
}

const head = (first: number, maskBit: number, length: bigint): Buffer => {
  if (length < 126n) return Buffer.from([first, maskBit | Number(length)])
  if (length < 65_536n) return Buffer.from([first, maskBit | 126, Number(length >> 8n), Number(length & 255n)])
  const bytes = Buffer.alloc(10)
  bytes[0] = first
  bytes[1] = maskBit | 127
  bytes.writeBigUInt64BE(length, 2)
  return bytes
}

/** Writes a message in one frame: a text as it is, anything else as JSON. */
export const text = (message: unknown): Buffer =>
  frame(Opcode.Text, typeof message === "string" ? message : JSON.stringify(message))

/** Writes a close frame, whether or not its code may be sent. */
export const closeFrame = (code: number, reason: Uint8Array | string = ""): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(code)
  return frame(Opcode.Close, Buffer.concat([bytes, Buffer.from(reason)]))
}

/** A frame of a server's. */
export interface ReadFrame {
  readonly opcode: number
  readonly fin: boolean
  readonly rsv: number
  readonly payload: Buffer
}

/** The first frame, and how many bytes it takes; `undefined` as long as it is not complete. */
export const readFrame = (bytes: Buffer): { readonly frame: ReadFrame; readonly size: number } | undefined => {
  if (bytes.length < 2) return undefined
  const first = bytes.readUInt8(0)
  const short = bytes.readUInt8(1) & 0x7f
  const start = short < 126 ? 2 : short === 126 ? 4 : 10
  if (bytes.length < start) return undefined
  const length = start === 2 ? short : start === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  const size = start + length
  if (bytes.length < size) return undefined
  const payload = bytes.subarray(start, size)
  return { frame: { opcode: first & 0x0f, fin: first >= 0x80, rsv: (first >> 4) & 7, payload }, size }
}

/** All complete frames at the beginning. */
export const readFrames = (bytes: Buffer): ReadonlyArray<ReadFrame> => {
  const frames: Array<ReadFrame> = []
  let rest = bytes
  for (let next = readFrame(rest); next !== undefined; next = readFrame(rest)) {
    frames.push(next.frame)
    rest = rest.subarray(next.size)
  }
  return frames
}

/** The code of a close frame: 1005 when it has none. */
export const codeOf = ({ payload }: Pick<ReadFrame, "payload">): number =>
  payload.length < 2 ? 1005 : payload.readUInt16BE(0)

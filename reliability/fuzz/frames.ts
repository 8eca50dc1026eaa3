/** Sequences of WebSocket frames, and RFC 6455's word on what a server makes of them. */
import { Buffer, isUtf8 } from "node:buffer"
import { codeOf, type FrameOptions, Opcode } from "../../test/support/frames.ts"

/** A frame as it is to be written, right or wrong. */
export interface RawFrame extends Omit<FrameOptions, "mask"> {
  readonly opcode: number
  readonly payload: Buffer
}

/** The reaction that a server owes to some frames. */
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
  const code = codeOf({ payload })
  if (!mayBeSent(code)) return 1002
  return isUtf8(payload.subarray(2)) ? code : 1007
}

const mayBeSent = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999)

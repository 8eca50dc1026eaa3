/**
 * Repairs of texts that are no JSON because of a known fault of a charger: for the option `repair` of a server or client, which
 * sees a text before it is read.
 *
 * {@link knownFaults} mends, alone or together:
 *
 * | the station sends | it becomes |
 * | --- | --- |
 * | a byte order mark before the text, also one that was encoded twice (`ï»¿`) | nothing |
 * | NULs behind the text, and what a buffer of fixed size holds behind them | nothing |
 * | `"transactionId":,` or `"transactionId":}`: a member without a value | no such member: OCPP leaves out what has no value |
 * | a control character as it is inside a string, for instance a line feed | its escape, `\\n` |
 *
 * What is JSON is given back as it came. So is what cannot be made JSON in this way: it is then reported as the station
 * sent it. Nothing throws, and the time is in proportion to the length of the text.
 */
import { maxDepth } from "./Frame.ts"

/** Makes another text of one that was received, before it is read. */
export type Repair = (text: string) => string

/** Mends the faults above. */
export const knownFaults: Repair = (text) => {
  if (isJson(text)) return text
  const repaired = new Mending(text).result
  return repaired !== undefined && isJson(repaired) ? repaired : text
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A part of the text that another text takes the place of. */
interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** An object or an array that has begun and not ended. */
interface Level {
  readonly isObject: boolean
  /** Where the last comma that stays is; -1 when there is none. */
  comma: number
}

/** A frame is an array around a payload. Deeper texts are refused anyway. */
const maxLevels = maxDepth + 1

const Code = {
  null: 0x00,
  space: 0x20,
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  backslash: 0x5c,
  openBracket: 0x5b,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
}

const byteOrderMarks = /^(?:\uFEFF|\u00EF\u00BB\u00BF)+/

const isBlank = (code: number) => code === Code.space || code === 0x0a || code === 0x0d || code === 0x09

/** One reading of a text, which notes what to change. */
class Mending {
  readonly #text: string
  readonly #edits: Array<Edit> = []
  readonly #levels: Array<Level> = []
  #at = 0
  /** What was read last and is not blank. */
  #last = 0
  /** Where the string has begun that was read last, if it may be the key of a member; else -1. */
  #key = -1

  constructor(text: string) {
    this.#text = text
  }

  /** The text with its faults mended, `undefined` where that makes no sense. Call it once. */
  get result(): string | undefined {
    const text = this.#text
    const [marks = ""] = byteOrderMarks.exec(text) ?? []
    this.#edit(0, marks.length, "")
    this.#at = marks.length
    while (this.#at < text.length) {
      const code = text.charCodeAt(this.#at)
      if (code === Code.null && this.#levels.length === 0) {
        this.#edit(this.#at, text.length, "")
        break
      }
      if (isBlank(code)) this.#at++
      else if (!this.#read(code)) return undefined
    }
    return this.#edited
  }

  /** Reads what begins here. Returns whether to go on. */
  #read(code: number): boolean {
    if (code === Code.quote) {
      this.#readString()
      return true
    }
    if (code === Code.colon && this.#key !== -1 && this.#readColon(this.#key)) return true
    if (code === Code.openBrace || code === Code.openBracket) {
      if (this.#levels.length === maxLevels) return false
      this.#levels.push({ isObject: code === Code.openBrace, comma: -1 })
    } else if (code === Code.closeBrace || code === Code.closeBracket) {
      this.#levels.pop()
    } else if (code === Code.comma) {
      const level = this.#levels.at(-1)
      if (level !== undefined) level.comma = this.#at
    }
    this.#note(code, this.#at + 1)
    return true
  }

  #note(code: number, next: number): void {
    this.#last = code
    this.#key = -1
    this.#at = next
  }

  /** Reads a string to its end, or to that of the text. */
  #readString(): void {
    const text = this.#text
    const start = this.#at
    const isKey = this.#levels.at(-1)?.isObject === true && (this.#last === Code.openBrace || this.#last === Code.comma)
    let at = start + 1
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code === Code.quote) break
      if (code === Code.backslash) at++
      else if (code < Code.space) this.#edit(at, at + 1, escapeOf(code))
    }
    this.#note(Code.quote, at + 1)
    if (isKey) this.#key = start
  }

  /** Takes the member of a key away, and one of the commas beside it, if it has no value. */
  #readColon(key: number): boolean {
    const text = this.#text
    let next = this.#at + 1
    while (isBlank(text.charCodeAt(next))) next++
    const code = text.charCodeAt(next)
    if (code === Code.comma) {
      this.#edit(key, next + 1, "")
      // As if it had never been there.
      this.#note(Code.comma, next + 1)
      return true
    }
    if (code !== Code.closeBrace) return false
    const comma = this.#levels.at(-1)?.comma ?? -1
    this.#edit(comma === -1 ? key : comma, next, "")
    this.#note(Code.comma, next)
    return true
  }

  /** Notes a change. Those behind its beginning are in what it takes away. */
  #edit(start: number, end: number, text: string): void {
    if (start === end) return
    while ((this.#edits.at(-1)?.start ?? -1) >= start) this.#edits.pop()
    this.#edits.push({ start, end, text })
  }

  get #edited(): string {
    let from = 0
    let edited = ""
    for (const { end, start, text } of this.#edits) {
      edited += this.#text.slice(from, start) + text
      from = end
    }
    return edited + this.#text.slice(from)
  }
}

const escapeOf = (code: number): string => JSON.stringify(String.fromCharCode(code)).slice(1, -1)

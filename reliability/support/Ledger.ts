/**
 * Who called whom with which number, and how it ended: found out while it happens, in constant memory.
 *
 * The calls to one peer are numbered. Each carries how the ones before it ended, so that the peer can say at once whether
 * that is true: what was answered has been handled, what was never sent has not, and nothing is handled twice.
 */

/** How a call ended: answered; refused by a CALLERROR; without an answer after it was sent; without being sent. */
export type Outcome = "A" | "R" | "S" | "U"

/** Strings of up to 12 characters are copied, not cut out of longer ones that would then be kept. */
const remembered = 12

/** The calls to one peer. */
export class Calls {
  #number = 0
  #history = ""
  /** Whether a call is under way; there is one at a time, so that the outcomes are in order. */
  busy = false

  begin(): { readonly number: number; readonly data: string } {
    this.busy = true
    return { number: ++this.#number, data: `${this.#number}:${this.#history}` }
  }

  end(outcome: Outcome): void {
    this.busy = false
    this.#history = (outcome + this.#history).slice(0, remembered)
  }
}

const window = 32

/** The calls that one peer has made to us, as far as they got here. */
export class Seen {
  #highest = 0
  /** Bit `i` is whether the number `highest - i` has been seen. */
  #bits = 0

  /** Notes a call; says what is wrong with it or with what its maker says of those before it. */
  note(data: string): { readonly number: number; readonly fault: string | undefined } {
    const colon = data.indexOf(":")
    const number = Number(data.slice(0, colon))
    const twice = this.#add(number) ? undefined : `call ${number} was handled twice, or ${window} calls late`
    return { number, fault: twice ?? this.#contradiction(number, data.slice(colon + 1)) }
  }

  #add(number: number): boolean {
    const ahead = number - this.#highest
    if (ahead <= 0) {
      if (this.#has(number) || -ahead >= window) return false
      this.#bits |= 1 << -ahead
      return true
    }
    this.#bits = ahead >= window ? 1 : (this.#bits << ahead) | 1
    this.#highest = number
    return true
  }

  #has(number: number): boolean {
    return ((this.#bits >>> (this.#highest - number)) & 1) === 1
  }

  #contradiction(number: number, history: string): string | undefined {
    for (const [i, outcome] of [...history].entries()) {
      const earlier = number - 1 - i
      if (this.#highest - earlier >= window) return undefined
      const handled = this.#has(earlier)
      if (outcome === "A" && !handled) return `call ${earlier} was answered, and never handled`
      if (outcome === "U" && handled) return `call ${earlier} was said not to be sent, and was handled`
      if (outcome === "R" && handled) return `call ${earlier} was refused, and was handled`
    }
    return undefined
  }
}

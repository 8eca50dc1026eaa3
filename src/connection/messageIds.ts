/**
 * Message ids: unique among all that this and any other process ever makes, 36 characters long, shaped as a UUID (OCPP-J 1.6
 * §4.1.4, 2.x part 4 §4.1.4). The random part is drawn once, and again when the counter behind it is exhausted; that is many times
 * faster than a random UUID for each call.
 */

const limit = 0x1_0000_0000_0000

let prefix = ""
let counter = limit

/** A message id that has never been used. */
export const next = (): string => {
  if (counter === limit) {
    prefix = crypto.randomUUID().slice(0, 24)
    counter = 0
  }
  return prefix + (counter++).toString(16).padStart(12, "0")
}

/** Passwords for stations, as each version of OCPP wants them (A00.FR.205). */
import { randomInt } from "node:crypto"
import { AuthorizationKey, keyLength } from "./AuthorizationKey.ts"

/** The passwordString of 2.x also allows `*-_=:+|@.`; stations cope best without. */
const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/** How many characters a BasicAuthPassword has. Later editions let a station allow more, up to 64. */
const stringLength = { least: 16, most: 40 } as const

/** How long a password is to be. */
export interface PasswordOptions {
  /** For 1.6 from 16 to 20 bytes, default 20; for 2.x from 16 to 40 characters, default 32. */
  readonly length?: number
}

/**
 * Makes a random password for a station.
 *
 * For `ocpp1.6` an {@link AuthorizationKey}, whose `hex` is the value to send with ChangeConfiguration: 20 random bytes, none of them
 * zero, at which the strings of some stations would end. For `ocpp2.0.1` and `ocpp2.1` a string, which is the value of
 * BasicAuthPassword as it is: 32 letters and digits, 190 bits. Either is what `hashPassword` takes.
 *
 * @param protocol the subprotocol that the station speaks, for instance `station.protocol`
 * @throws {RangeError} when the subprotocol is none of OCPP's, or the length is not one that it allows.
 */
export function generatePassword(protocol: "ocpp1.6", options?: PasswordOptions): AuthorizationKey
export function generatePassword(protocol: "ocpp2.0.1" | "ocpp2.1", options?: PasswordOptions): string
export function generatePassword(protocol: string, options?: PasswordOptions): AuthorizationKey | string
export function generatePassword(protocol: string, options: PasswordOptions = {}): AuthorizationKey | string {
  switch (protocol) {
    case "ocpp1.6": {
      const length = checked(options.length ?? keyLength.most, keyLength)
      return new AuthorizationKey(Array.from({ length }, () => randomInt(1, 256)))
    }
    case "ocpp2.0.1":
    case "ocpp2.1": {
      const length = checked(options.length ?? 32, stringLength)
      return Array.from({ length }, () => characters[randomInt(characters.length)]).join("")
    }
    default:
      throw new RangeError(`there are passwords for ocpp1.6, ocpp2.0.1 and ocpp2.1; got ${JSON.stringify(protocol)}`)
  }
}

const checked = (length: number, { least, most }: { readonly least: number; readonly most: number }): number => {
  if (Number.isInteger(length) && length >= least && length <= most) return length
  throw new RangeError(`the length of a password must be from ${least} to ${most}; got ${length}`)
}

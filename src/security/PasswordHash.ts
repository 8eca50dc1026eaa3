/**
 * Passwords as a program stores them: the text of a scrypt hash (RFC 7914) that says how it was made,
 * `$scrypt$ln=14,r=8,p=1$salt$hash`, with base64 that is not padded, as PHC strings have it.
 *
 * The work is done by Node's thread pool, in half of its threads at most: what compresses messages and reads files waits for
 * the same threads.
 */
import { Buffer } from "node:buffer"
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"
import { givenKey, isAuthorizationKey } from "./AuthorizationKey.ts"
import { bytesOf, revealed, type Secret } from "./Secret.ts"

/** How much work a hash is (RFC 7914 §2). It takes 128 · `cost` · `blockSize` bytes of memory while it is made. */
export interface Hashing {
  /**
   * CPU and memory cost: a power of two from 2 to 2^20. Default 2^14: 16 MiB and some 40 ms.
   *
   * A password that {@link generatePassword} has made cannot be guessed however cheap its hash is: where a large fleet has only
   * such, 2^10 (2 ms) is enough.
   */
  readonly cost?: number
  /** Default 8. */
  readonly blockSize?: number
  /** Default 1. */
  readonly parallelization?: number
}

/** {@link Hashing}, complete. */
interface Parameters {
  /** The binary logarithm of `cost`. */
  readonly ln: number
  readonly r: number
  readonly p: number
}

/** What a hash says of itself. */
interface Stored extends Parameters {
  /** Whether it is of an AuthorizationKey, which a station may also give as the text of its hexadecimal digits. */
  readonly isKey: boolean
  readonly salt: Buffer
  readonly hash: Buffer
}

const saltLength = 16
const hashLength = 32
const maxMemory = 1024 * 1024 * 1024

const isWithin = (value: number, least: number, most: number) =>
  Number.isInteger(value) && value >= least && value <= most

const memoryOf = ({ ln, r }: Parameters) => 128 * 2 ** ln * r

const areSensible = (parameters: Parameters): boolean =>
  isWithin(parameters.ln, 1, 20) &&
  isWithin(parameters.r, 1, 64) &&
  isWithin(parameters.p, 1, 64) &&
  memoryOf(parameters) <= maxMemory

/** @throws {RangeError} when the options make no sense. */
const parametersOf = ({ blockSize = 8, cost = 2 ** 14, parallelization = 1 }: Hashing): Parameters => {
  const parameters = { ln: Math.log2(cost), r: blockSize, p: parallelization }
  if (areSensible(parameters)) return parameters
  throw new RangeError(
    "cost must be a power of two from 2 to 2 ** 20, blockSize and parallelization integers from 1 to 64, " +
      `and all of it no more than 1 GiB; got ${cost}, ${blockSize} and ${parallelization}`,
  )
}

const half = Math.max(1, Math.floor((Number(process.env.UV_THREADPOOL_SIZE) || 4) / 2))
const threads = Semaphore.makeUnsafe(half)

const derive = (password: Uint8Array, salt: Uint8Array, parameters: Parameters, length: number) =>
  threads.withPermit(
    // What the pool has begun it ends: until then the thread is taken.
    Effect.uninterruptible(
      Effect.callback<Buffer>((resume) => {
        const { ln, p, r } = parameters
        const options = { N: 2 ** ln, r, p, maxmem: 2 * memoryOf(parameters) + 1024 * 1024 }
        scrypt(password, salt, length, options, (error, hash) => {
          resume(error === null ? Exit.succeed(hash) : Exit.die(error))
        })
      }),
    ),
  )

const encoded = (bytes: Buffer) => bytes.toString("base64").replace(/=+$/, "")

const format = ({ hash, isKey, ln, p, r, salt }: Stored): string =>
  `$scrypt$ln=${ln},r=${r},p=${p}${isKey ? ",key=hex" : ""}$${encoded(salt)}$${encoded(hash)}`

const pattern = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})(,key=hex)?\$([a-z\d+/]{11,86})\$([a-z\d+/]{22,86})$/i

/** @throws {TypeError} when a text is no hash. It does not quote it. */
const parse = (text: string): Stored => {
  const [, ln, r, p, key, salt = "", hash = ""] = pattern.exec(text) ?? []
  const parameters = { ln: Number(ln), r: Number(r), p: Number(p) }
  if (!areSensible(parameters)) throw new TypeError("what is stored is no hash that hashPassword has made")
  return {
    ...parameters,
    isKey: key !== undefined,
    salt: Buffer.from(salt, "base64"),
    hash: Buffer.from(hash, "base64"),
  }
}

/**
 * Makes the text under which a password can be stored: each time another one.
 *
 * The hash of an AuthorizationKey says that it is one (`key=hex`), so that {@link verifyPassword} takes its hexadecimal text, too.
 *
 * @throws {RangeError} when the options make no sense, or the password is none.
 */
export const hashPassword = (password: Secret, options: Hashing = {}): Effect.Effect<string> => {
  const parameters = parametersOf(options)
  const bytes = bytesOf(password)
  const isKey = isAuthorizationKey(revealed(password))
  return Effect.suspend(() => {
    const salt = randomBytes(saltLength)
    return Effect.map(derive(bytes, salt, parameters, hashLength), (hash) =>
      format({ ...parameters, isKey, salt, hash }),
    )
  })
}

/** What a password is compared with where none is stored. */
const noSalt = Buffer.alloc(saltLength)

/**
 * Whether a password is the one of which `hashPassword` has made this text.
 *
 * Where nothing is stored (`undefined`: the identity is not known) the answer is no, after the same work as for a hash that was
 * made with these options: how long it takes does not tell which identities there are. No password at all (`undefined`) is never
 * right, and costs no work. A text that is no hash is a defect.
 *
 * @param options how much work to do where nothing is stored: the options of your hashes
 */
export const verifyPassword = (
  password: Secret | undefined,
  stored: string | undefined,
  options: Hashing = {},
): Effect.Effect<boolean> => {
  const parameters = parametersOf(options)
  return Effect.suspend(() => {
    if (password === undefined) return Effect.succeed(false)
    const given = bytesOf(password)
    if (stored === undefined) return Effect.as(derive(given, noSalt, parameters, hashLength), false)
    const { hash, isKey, salt, ...made } = parse(stored)
    const derived = derive(isKey ? givenKey(given) : given, salt, made, hash.length)
    return Effect.map(derived, (bytes) => timingSafeEqual(bytes, hash))
  })
}

/**
 * Whether a stored hash was made with other options than these: time to make a new one, the next time the password is given and
 * right.
 *
 * @throws {TypeError} when the text is no hash.
 */
export const needsRehash = (stored: string, options: Hashing = {}): boolean => {
  const wanted = parametersOf(options)
  const { hash, ln, p, r } = parse(stored)
  return ln !== wanted.ln || r !== wanted.r || p !== wanted.p || hash.length !== hashLength
}

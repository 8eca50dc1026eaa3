/**
 * The legal answers to a message: the tables of OCPP-J, written down a second time.
 *
 * Nothing here knows the implementation. Payloads are judged by ajv with the official JSON Schemas.
 */
import { ajvFor, compile, type Message, messages } from "../../test/schemas/official.ts"

export type Subprotocol = Message["subprotocol"]

/** The state of the connection when a message arrives. */
export interface Situation {
  readonly subprotocol: Subprotocol
  readonly strict: boolean
  /** Whether something handles an action. */
  readonly handles: (action: string) => boolean
  /** Ids of the peer's calls that are being handled. */
  readonly handling: ReadonlySet<string>
  /** The receiver's own calls that have no answer yet: message id and action. */
  readonly pending: ReadonlyMap<string, string>
  /** Whether a message id is, or was, that of a call of the receiver's own. */
  readonly hasMade: (messageId: string) => boolean
}

/** An answer that may come. */
export interface Answer {
  readonly type: 3 | 4 | 5
  readonly messageId: string
  /** The error codes of which it has one. */
  readonly codes: ReadonlyArray<string>
}

/** The end of a call of the receiver's, by a message. */
export type Outcome =
  | { readonly messageId: string; readonly result: unknown }
  | { readonly messageId: string; readonly codes: ReadonlyArray<string> }

/** The legal reaction to one message. */
export interface Reaction {
  /** The answer that must come; `undefined`: none may. */
  readonly answer: Answer | undefined
  /** The payload that a handler is given, where it is. */
  readonly handled?: { readonly payload: unknown } | "maybe"
  readonly settles?: Outcome
  /** Whether it counts as a bad message; where nothing says so it may. An ignored one neither counts nor resets. */
  readonly bad: "yes" | "no" | "maybe" | "ignored"
}

/** The action that only a SEND may carry. */
export const sendAction = "NotifyPeriodicEventStream"

const unreadable = "-1"
const maxDepth = 64
const maxId = 36

export const react = (text: string, situation: Situation): Reaction => {
  if (text === "") return { answer: undefined, bad: "ignored" }
  const message = parse(text)
  if (!Array.isArray(message) || typeof message[0] !== "number") {
    return refused(unreadable, ["RpcFrameworkError"], "yes")
  }
  const [type, id] = message as ReadonlyArray<unknown>
  const isExtended = situation.subprotocol === "ocpp2.1"
  if (type === 2) return toCall(message, situation)
  if (type === 3) return toResult(message, situation)
  if (type === 4) return toError(message, situation)
  if (type === 5 && isExtended) return { answer: undefined, bad: "maybe" }
  if (type === 6 && isExtended) return toSend(message, situation)
  return refused(typeof id === "string" ? id : unreadable, ["MessageTypeNotSupported"], "yes")
}

/** The codes of everything that is wrong with a payload; `undefined` when nothing is known of such a payload. */
export const faultsOf = (
  { subprotocol }: Pick<Situation, "subprotocol">,
  action: string,
  part: Message["part"],
  payload: unknown,
): ReadonlyArray<string> | undefined => {
  const judge = judgeOf(subprotocol, part, action)
  if (judge === undefined) return undefined
  if (judge(payload === null ? {} : payload)) return []
  return [...new Set((judge.errors ?? []).map(({ keyword }) => spelt(codeOf.get(keyword) ?? "?", subprotocol)))]
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const refused = (messageId: string, codes: ReadonlyArray<string>, bad: Reaction["bad"]): Reaction => ({
  answer: { type: 4, messageId, codes },
  bad,
})

const toCall = ([, id, action, payload]: ReadonlyArray<unknown>, situation: Situation): Reaction => {
  const { handling, handles, strict, subprotocol } = situation
  if (typeof id !== "string") return refused(unreadable, ["RpcFrameworkError"], "yes")
  const format = spelt("FormatViolation", subprotocol)
  const isFrameBroken = typeof action !== "string" || (strict && Array.from(id).length > maxId) || handling.has(id)
  if (isFrameBroken && isUnreadable(payload)) return refused(id, ["RpcFrameworkError", format], "maybe")
  if (isFrameBroken) return refused(id, ["RpcFrameworkError"], "yes")
  if (isUnreadable(payload)) return refused(id, [format], "maybe")
  if (!handles(action)) return refused(id, [isKnown(subprotocol, action) ? "NotSupported" : "NotImplemented"], "no")
  if (strict && action === sendAction && subprotocol === "ocpp2.1") return toSendAsCall(id, payload, situation)
  const faults = strict ? callFaults(action, payload, situation) : []
  if (faults.length > 0) return refused(id, faults, "no")
  return { answer: { type: 3, messageId: id, codes: [] }, handled: { payload: payload ?? {} }, bad: "no" }
}

const callFaults = (action: string, payload: unknown, situation: Situation): ReadonlyArray<string> => {
  const format = spelt("FormatViolation", situation.subprotocol)
  return faultsOf(situation, action, "request", payload === undefined ? {} : payload) === undefined
    ? ["NotImplemented", ...(payload === undefined ? [format] : [])]
    : payload === undefined
      ? [format]
      : (faultsOf(situation, action, "request", payload) ?? [])
}

/** A call that can have no valid response. Nothing says with what it is refused, but a fault of ours it is not. */
const toSendAsCall = (id: string, payload: unknown, situation: Situation): Reaction => ({
  ...refused(id, ["ProtocolError", ...callFaults(sendAction, payload, situation)], "no"),
})

const toSend = ([, id, action, payload]: ReadonlyArray<unknown>, situation: Situation): Reaction => {
  const isBroken = typeof id !== "string" || typeof action !== "string" || isUnreadable(payload)
  if (isBroken) return { answer: undefined, bad: "yes" }
  const { handles, handling, strict } = situation
  if (handling.has(id) || (strict && Array.from(id).length > maxId)) return { answer: undefined, bad: "maybe" }
  const isValid = !strict || (payload !== undefined && callFaults(action, payload, situation).length === 0)
  return isValid && handles(action)
    ? {
        answer: undefined,
        ...(strict && action !== sendAction ? {} : { handled: { payload: payload ?? {} } }),
        bad: "maybe",
      }
    : { answer: undefined, bad: "maybe" }
}

const toResult = ([, id, payload]: ReadonlyArray<unknown>, situation: Situation): Reaction => {
  const action = typeof id === "string" ? situation.pending.get(id) : undefined
  if (typeof id !== "string") return { answer: undefined, bad: "yes" }
  if (isUnreadable(payload)) {
    const settles = { messageId: id, codes: ["FormatViolation"] }
    return { answer: undefined, bad: "yes", ...(action === undefined ? {} : { settles }) }
  }
  if (action === undefined) return stray(id, situation)
  const faults = situation.strict ? (faultsOf(situation, action, "response", payload) ?? []) : []
  if (faults.length === 0) {
    return { answer: undefined, settles: { messageId: id, result: payload ?? {} }, bad: "no" }
  }
  const answer: Answer = { type: 5, messageId: id, codes: faults }
  return {
    answer: situation.subprotocol === "ocpp2.1" ? answer : undefined,
    settles: { messageId: id, codes: faults },
    bad: "no",
  }
}

/** Whatever else an error frame holds, its call has ended. */
const toError = ([, id, code]: ReadonlyArray<unknown>, situation: Situation): Reaction => {
  if (typeof id !== "string") return { answer: undefined, bad: "yes" }
  if (!situation.pending.has(id)) return stray(id, situation)
  return { answer: undefined, settles: { messageId: id, codes: [typeof code === "string" ? code : "?"] }, bad: "no" }
}

/** An answer to a call that has ended may come late; one to no call at all is a bad message. */
const stray = (id: string, { hasMade }: Situation): Reaction => ({ answer: undefined, bad: hasMade(id) ? "no" : "yes" })

const isKnown = (subprotocol: Subprotocol, action: string): boolean => schemas.has(`${subprotocol} request ${action}`)

/** Nested too deeply, or with a number that is none. It must not overflow the stack itself. */
const isUnreadable = (root: unknown): boolean => {
  const open: Array<readonly [unknown, number]> = [[root, 1]]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [value, depth] = next
    if (typeof value === "number" && !Number.isFinite(value)) return true
    if (typeof value !== "object" || value === null) continue
    if (depth > maxDepth) return true
    for (const member of Object.values(value)) open.push([member, depth + 1])
  }
  return false
}

const codeOf: ReadonlyMap<string, string> = new Map([
  ["type", "TypeConstraintViolation"],
  ["required", "OccurrenceConstraintViolation"],
  ["minItems", "OccurrenceConstraintViolation"],
  ["maxItems", "OccurrenceConstraintViolation"],
  ["additionalProperties", "PropertyConstraintViolation"],
  ["enum", "PropertyConstraintViolation"],
  ["maxLength", "PropertyConstraintViolation"],
  ["minimum", "PropertyConstraintViolation"],
  ["maximum", "PropertyConstraintViolation"],
  ["multipleOf", "PropertyConstraintViolation"],
  ["format", "FormatViolation"],
])

const spelt = (code: string, subprotocol: Subprotocol): string => {
  if (subprotocol !== "ocpp1.6") return code
  if (code === "FormatViolation") return "FormationViolation"
  return code === "OccurrenceConstraintViolation" ? "OccurenceConstraintViolation" : code
}

/** The code as OCPP 2.x spells it, which is how a caller gets it; a code of nobody's is a generic error. */
export const received = (code: string): string => {
  if (code === "FormationViolation") return "FormatViolation"
  if (code === "OccurenceConstraintViolation") return "OccurrenceConstraintViolation"
  return known.has(code) ? code : "GenericError"
}

const known: ReadonlySet<string> = new Set([
  ...codeOf.values(),
  "NotImplemented",
  "NotSupported",
  "InternalError",
  "ProtocolError",
  "SecurityError",
  "GenericError",
  "MessageTypeNotSupported",
  "RpcFrameworkError",
])

type Judge = ReturnType<typeof compile>
const judges = new Map<string, Judge>()
const ajvs = new Map<Subprotocol, ReturnType<typeof ajvFor>>()
const schemas = new Map(
  messages.map((message) => [`${message.subprotocol} ${message.part} ${message.action}`, message.schema]),
)

/** Compiled when the first payload of its kind is judged. */
const judgeOf = (subprotocol: Subprotocol, part: Message["part"], action: string): Judge | undefined => {
  const name = `${subprotocol} ${part} ${action}`
  const schema = schemas.get(name)
  if (schema === undefined || judges.has(name)) return judges.get(name)
  const ajv = ajvs.get(subprotocol) ?? ajvFor(subprotocol, { allErrors: true })
  ajvs.set(subprotocol, ajv)
  const judge = compile(ajv, schema)
  judges.set(name, judge)
  return judge
}

/** Says what is wrong with the form of an answer, whatever it answers. */
export const malformation = (text: string, asked: string): string | undefined => {
  const answer = parse(text)
  if (!Array.isArray(answer)) return "is no JSON array"
  const [type, messageId, code, description, details] = answer as ReadonlyArray<unknown>
  if (typeof messageId !== "string") return "has no message id"
  if (type === 3) return answer.length === 3 && isPlainObject(code) ? undefined : "is no CALLRESULT"
  if (type !== 4 && type !== 5) return `is of type ${type}`
  if (answer.length !== 5) return "has not five elements"
  if (typeof code !== "string") return "has no code"
  if (typeof description !== "string" || Array.from(description).length > 255) return "has no description that fits"
  if (!isPlainObject(details)) return "has no object for details"
  return text.length > 6 * asked.length + 8_192 ? "says far more than it was asked" : undefined
}

const isPlainObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value)

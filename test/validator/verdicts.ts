/** Payloads of all messages, valid and broken, and the verdicts of our validator and of Effect's on them. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaParser from "effect/SchemaParser"
import type * as Protocol from "../../src/Protocol.ts"
import { Ocpp16 } from "../../src/schemas/ocpp16.ts"
import { Ocpp21 } from "../../src/schemas/ocpp21.ts"
import { Ocpp201 } from "../../src/schemas/ocpp201.ts"
import {
  generate,
  invalidDateTimes,
  isoDateTimes,
  messages,
  mutations,
  randomFrom,
  validDateTimes,
} from "../schemas/official.ts"

const protocols: ReadonlyArray<Protocol.Protocol> = [Ocpp16, Ocpp201, Ocpp21]

/** Of the broken payloads every so many, so that there are some 12,500 payloads. */
const every = 5

/** How many payloads there are, how many of them are valid, and on which the verdicts differ. */
export const compareVerdicts = (seed: number) => {
  const random = randomFrom(seed)
  const differences: Array<string> = []
  let count = 0
  let valid = 0
  let index = 0
  for (const { action, part, schema: official, subprotocol } of messages) {
    const protocol = protocols.find(({ name }) => name === subprotocol)
    const known = protocol?.actions.get(action)
    const ast = (part === "request" ? known?.request : known?.kind === "call" ? known.response : undefined)?.ast
    if (protocol === undefined || ast === undefined) throw new Error(`${subprotocol} has no ${part} of ${action}`)
    const schema = Schema.make<Schema.Codec<unknown>>(ast)
    const is = Schema.is(schema)
    const decode = SchemaParser.decodeUnknownResult(schema)
    const full = generate(official, { random, values: "typical", optional: 1, lists: "one" })
    const extreme = generate(official, {
      random,
      values: "extreme",
      optional: 0.5,
      lists: "any",
      dateTimes: [...validDateTimes, ...isoDateTimes],
    })
    const broken = [...mutations(official, full, [...isoDateTimes, ...invalidDateTimes])]
      .map(({ payload }) => payload)
      // We take a payload of null for an empty one.
      .filter((payload) => payload !== null && index++ % every === 0)
    for (const payload of [full, extreme, ...broken].map(asReceived)) {
      const verdicts = {
        ours: protocol.validator.check(action, part, payload) === undefined,
        is: is(payload),
        decoder: Result.isSuccess(decode(payload)),
      }
      count++
      if (verdicts.ours) valid++
      if (verdicts.ours !== verdicts.is || verdicts.ours !== verdicts.decoder) {
        differences.push(`${subprotocol} ${action} ${part} ${JSON.stringify(verdicts)}: ${JSON.stringify(payload)}`)
      }
    }
  }
  return { count, valid, differences }
}

const asReceived = (payload: unknown): unknown => JSON.parse(JSON.stringify(payload))

/**
 * The messages of the three versions as text.
 *
 * The promise face reads what it needs from here instead of loading Schemas, which take longer to load than everything else. In
 * the published package this module holds that text: `scripts/bundle.mjs` replaces it, when the package is built, by what it
 * evaluates to.
 */
import * as Protocol from "../Protocol.ts"
import { Ocpp16 } from "../schemas/ocpp16.ts"
import { Ocpp21 } from "../schemas/ocpp21.ts"
import { Ocpp201 } from "../schemas/ocpp201.ts"
import { type Packed, pack } from "../validator/Packed.ts"
import type { Shape } from "../validator/Shape.ts"

/** A subprotocol as data. */
export interface Messages {
  readonly extendedFrames: boolean
  readonly spelling: "1.6" | "2.x"
  /** The actions that are called, and those that are sent. */
  readonly calls: ReadonlyArray<string>
  readonly sends: ReadonlyArray<string>
  /** The shapes of all payloads, under names such as `request Heartbeat`. */
  readonly payloads: Packed
}

const write = (protocol: Protocol.Protocol): string => {
  const actions = [...protocol.actions.values()]
  const named = (kind: "call" | "send") => actions.filter((action) => action.kind === kind).map(({ name }) => name)
  const payloads = actions.flatMap((action) =>
    (["request", "response"] as const).flatMap((part): ReadonlyArray<readonly [string, Shape]> => {
      const shape = Protocol.shapeOf(action, part)
      return shape === undefined ? [] : [[`${part} ${action.name}`, shape]]
    }),
  )
  const messages: Messages = {
    extendedFrames: protocol.extendedFrames,
    spelling: protocol.spelling,
    calls: named("call"),
    sends: named("send"),
    payloads: pack(payloads),
  }
  return JSON.stringify(messages)
}

/** {@link Messages} of each version as JSON, by the names of the subprotocols. */
export const messages: Readonly<Record<string, () => string>> = {
  "ocpp1.6": () => write(Ocpp16),
  "ocpp2.0.1": () => write(Ocpp201),
  "ocpp2.1": () => write(Ocpp21),
}

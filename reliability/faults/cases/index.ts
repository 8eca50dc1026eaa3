/** Every case: each that a module here exports. */
import type { Case } from "../Case.ts"
import * as connections from "./a-connections.ts"
import * as frames from "./a-frames.ts"
import * as handshakes from "./a-handshakes.ts"
import * as answers from "./b-answers.ts"
import * as messages from "./b-messages.ts"
import * as calls from "./c-calls.ts"
import * as handlers from "./c-handlers.ts"
import * as admission from "./d-admission.ts"
import * as closing from "./d-closing.ts"
import * as reconnecting from "./d-reconnecting.ts"
import * as identities from "./e-identities.ts"
import * as texts from "./e-texts.ts"
import * as tls from "./e-tls.ts"
import * as endurance from "./f-endurance.ts"

const modules: ReadonlyArray<Readonly<Record<string, unknown>>> = [
  ...[connections, frames, handshakes],
  ...[answers, messages],
  ...[calls, handlers],
  ...[admission, closing, reconnecting],
  ...[identities, texts, tls],
  ...[endurance],
]

const isCase = (value: unknown): value is Case => typeof value === "object" && value !== null && "promise" in value

/** By section, then by number. */
const order = ({ id }: Case): number => 1_000 * id.charCodeAt(0) + Number(id.slice(1))

export const cases: ReadonlyArray<Case> = modules
  .flatMap((module) => Object.values(module).filter(isCase))
  .sort((a, b) => order(a) - order(b))

if (new Set(cases.map(({ id }) => id)).size < cases.length) throw new Error("two cases have the same id")

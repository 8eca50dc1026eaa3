/** What nodes are called: a name that people give, and behind it what makes this run of the process unique. */
import { randomBytes } from "node:crypto"

/** A new id. */
export const newId = (name: string): string => `${name}~${randomBytes(6).toString("hex")}`

/** The name in an id. */
export const nameOf = (id: string): string => id.slice(0, id.lastIndexOf("~"))

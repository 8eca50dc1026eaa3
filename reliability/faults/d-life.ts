import type { Case } from "./Case.ts"

export const cases: ReadonlyArray<Case> = []

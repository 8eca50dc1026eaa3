/** What something that was parsed may be. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const isString = (value: unknown): value is string => typeof value === "string"

/** A number that JSON can carry. */
export const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value)

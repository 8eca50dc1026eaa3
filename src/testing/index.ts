/** What programs that use this library import in their own tests. */
export * as arbitraries from "./arbitraries.ts"

/** The library as it is built: what users run. */
import type * as Library from "../../src/index.ts"

export const library: typeof Library = await import(new URL("../../dist/index.js", import.meta.url).href)

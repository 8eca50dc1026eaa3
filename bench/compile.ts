/** Makes JavaScript of what a measured process runs, so that neither time nor memory of a TypeScript loader is measured. */
import { rolldown } from "rolldown"

/** Writes `build/bench/<name>.js` of a script, and of everything in this repository that it imports by path. */
export const compile = async (script: URL): Promise<void> => {
  const bundle = await rolldown({
    input: script.pathname,
    external: (id) => !id.startsWith(".") && !id.startsWith("/"),
    platform: "node",
  })
  await bundle.write({ dir: new URL("../build/bench", import.meta.url).pathname, format: "esm" })
  await bundle.close()
}

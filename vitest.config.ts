import { defineConfig } from "vitest/config"

// vitest 5 prints failures with Map.groupBy, which Node 20 has not.
Map.groupBy ??= (items, key) => {
  const groups = new Map()
  let index = 0
  for (const item of items) {
    const group = key(item, index++)
    groups.set(group, [...(groups.get(group) ?? []), item])
  }
  return groups
}

const src = (path: string) => new URL(`./src/${path}`, import.meta.url).pathname

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-ocpp$/, replacement: src("index.ts") },
      { find: /^effect-ocpp\/(promise|testing)$/, replacement: src("$1/index.ts") },
      { find: /^effect-ocpp\/(.*)$/, replacement: src("$1.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    typecheck: { enabled: false },
    coverage: { include: ["src/**"], exclude: ["src/schemas/ocpp*.ts"], reporter: ["text-summary", "html"] },
  },
})

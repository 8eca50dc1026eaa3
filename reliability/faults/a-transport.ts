/** A. Transport and frames. */
import { type Case, canary, check, same } from "./Case.ts"
import { frame, Opcode } from "./raw.ts"

const tooBig: Case = {
  id: "A9",
  name: "a frame over the maximum, or one that claims a huge length, is refused with 1009 before its body arrives",
  fresh: true,
  run: async (context) => {
    const server = await context.serve()
    const before = await context.memory()
    for (const claims of [1024n * 1024n + 1n, 100_000_000n, 2n ** 62n, 2n ** 63n]) {
      const attacker = await context.attack(server)
      attacker.write(frame(Opcode.Text, canary, { claims }))
      const { code } = await attacker.ended
      same(code, 1009, `close code for ${claims} bytes`)
    }
    const after = await context.memory()
    const grown = after.heapUsed + after.external - before.heapUsed - before.external
    check(grown < 2_000_000, `memory grew by ${grown} bytes`)
    await server.event(/^SocketError .*Max payload|^SocketError .*frame/i, "ATTACKER")
  },
}

export const cases: ReadonlyArray<Case> = [tooBig]

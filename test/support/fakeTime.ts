/** Time that passes only when a test says so; sockets go on as ever. */
import { onTestFinished, vi } from "@effect/vitest"

/** Milliseconds that pass beyond those asked for: a timer that rings a little early is set again. */
export const lateness = 5

/** Stops time until the test ends. Make everything that keeps time after this. */
export const fakeTime = () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] })
  // Effect holds on to `process.hrtime` itself, so that is not replaced but what it says.
  const monotonic = vi.spyOn(process.hrtime, "bigint").mockImplementation(() => BigInt(Date.now()) * 1_000_000n)
  onTestFinished(() => {
    monotonic.mockRestore()
    vi.useRealTimers()
  })
  return {
    pass: async (millis: number): Promise<void> => {
      await vi.advanceTimersByTimeAsync(millis)
      for (let i = 0; i < lateness; i++) {
        await new Promise(setImmediate)
        await vi.advanceTimersByTimeAsync(1)
      }
    },
  }
}

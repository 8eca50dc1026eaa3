/** The aims of this library. The table marks each as met or missed; nothing fails by it. */
import type { Figure } from "./figures.ts"

export interface Target {
  /** The divisor of a face's figure; none where the figure is a ratio already. */
  readonly by?: "ocpp-rpc" | "raw"
  readonly atLeast?: number
  readonly atMost?: number
}

const atLeast = (ofOcppRpc: number, ofRaw: number): ReadonlyArray<Target> => [
  { by: "ocpp-rpc", atLeast: ofOcppRpc },
  { by: "raw", atLeast: ofRaw },
]

export const targets: { readonly [F in Figure]?: ReadonlyArray<Target> } = {
  oneStation: atLeast(2.5, 0.75),
  inFlight: atLeast(3.5, 0.9),
  strict: atLeast(3.5, 0.8),
  relaxed: atLeast(3.5, 0.9),
  accepted: atLeast(1.3, 0.85),
  heap: [{ by: "ocpp-rpc", atMost: 0.6 }],
  coldStart: [{ by: "ocpp-rpc", atMost: 0.75 }],
  growth: [{ atLeast: 0.9 }],
}

export const isMet = (
  { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY }: Target,
  value: number,
) => value >= atLeast && value <= atMost

/** Engines: what one has to do, and the one that is inside this process. */
import * as Layer from "effect/Layer"
import { Engine } from "./EnginePort.ts"
import { MemoryHub } from "./memory.ts"

export { EngineError } from "./EngineError.ts"
export * from "./EnginePort.ts"

/**
 * An engine inside this process: for a fleet of one node, for several in one process, and for tests. What there is in it ends with the
 * process.
 */
export const layerMemory: Layer.Layer<Engine> = Layer.effect(Engine, MemoryHub.make)

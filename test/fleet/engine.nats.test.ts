import * as Nats from "../../src/fleet/nats.ts"
import { conformanceOf } from "./support/realEngine.ts"

conformanceOf("nats", (port, prefix) => Nats.make({ connection: { servers: `nats://127.0.0.1:${port}` }, prefix }))

import * as Redis from "../../src/fleet/redis.ts"
import { conformanceOf } from "./support/realEngine.ts"

conformanceOf("redis", (port, prefix) => Redis.make({ connection: `redis://127.0.0.1:${port}`, prefix }))

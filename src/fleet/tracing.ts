/** One trace from a caller's span to the handling on the node of the station. */
import * as Effect from "effect/Effect"
import { isTraced } from "./core.ts"
import type { FleetFailure } from "./failures.ts"
import type { Request } from "./Outgoing.ts"

/** A call in a span of its own, whose parent is the caller's; the owner's node continues the trace. */
export const tracedCall = (
  request: Request,
  call: (request: Request) => Effect.Effect<unknown, FleetFailure>,
): Effect.Effect<unknown, FleetFailure> =>
  Effect.withFiber((fiber) => {
    if (!isTraced(fiber.context)) return call(request)
    const attributes = { "ocpp.identity": request.identity }
    return Effect.useSpan(request.action, { kind: "client", attributes }, ({ sampled, spanId, traceId }) =>
      call({ ...request, trace: { traceId, spanId, sampled } }),
    )
  })

/**
 * One span for each call, on both sides, and log lines that say to which call they belong.
 *
 * Spans are made only where a tracer is provided: without one nobody would see them.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import type { Call, Send } from "../Frame.ts"

/** Whose call it is. */
export interface Subject {
  readonly identity: string
  readonly protocol: string
}

/** Whether somebody sees spans. */
export const isTraced = (context: Context.Context<never>): boolean => context.mapUnsafe.has(Tracer.TracerKey)

const attributesOf = ({ identity, protocol }: Subject, messageId?: string) => ({
  "ocpp.identity": identity,
  "ocpp.protocol": protocol,
  ...(messageId === undefined ? undefined : { "ocpp.message_id": messageId }),
})

/**
 * A call of ours in a span of its own, whose parent is the caller's.
 *
 * @param call makes the call, and notes its message id once it has one
 */
export const calling = <A, E>(
  action: string,
  subject: Subject,
  call: (note: (messageId: string) => void) => Effect.Effect<A, E>,
): Effect.Effect<A, E> =>
  Effect.useSpan(action, { kind: "client", attributes: attributesOf(subject) }, (span) =>
    call((messageId) => span.attribute("ocpp.message_id", messageId)),
  )

/** The handling of a call of the peer's in a span of its own. */
export const handling = (
  { action, messageId }: Call | Send,
  subject: Subject,
  handle: Effect.Effect<unknown, unknown>,
): Effect.Effect<unknown, unknown> =>
  Effect.useSpan(action, { kind: "server", root: true, attributes: attributesOf(subject, messageId) }, (span) =>
    Effect.withParentSpan(handle, span),
  )

/** A context in which log lines say whose handlers they come from. */
export const annotated = (context: Context.Context<never>, { identity, protocol }: Subject): Context.Context<never> => {
  const annotations = Context.get(context, References.CurrentLogAnnotations)
  return Context.add(context, References.CurrentLogAnnotations, { ...annotations, identity, protocol })
}

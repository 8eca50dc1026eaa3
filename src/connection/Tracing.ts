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

/** What needs no more than a look: this is on the path of every handler that suspends. */
const harmless = /^[ -~]{0,64}$/

/** Text of outside origin, short enough for a log or a description, and without what would forge a line of either. */
export const clip = (text: string): string => {
  if (harmless.test(text)) return text
  const short = text.length <= 64 ? text : `${text.slice(0, 64)}…`
  return short.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}

/** To which call a log line belongs. */
export const annotationsOf = ({ action, messageId }: Call | Send) => ({
  action: clip(action),
  messageId: clip(messageId),
})

const attributesOf = ({ identity, protocol }: Subject, messageId?: string) => ({
  "ocpp.identity": clip(identity),
  "ocpp.protocol": clip(protocol),
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
  call: Call | Send,
  subject: Subject,
  handle: Effect.Effect<unknown, unknown>,
): Effect.Effect<unknown, unknown> => {
  const { action, messageId } = annotationsOf(call)
  return Effect.useSpan(action, { kind: "server", root: true, attributes: attributesOf(subject, messageId) }, (span) =>
    Effect.withParentSpan(handle, span),
  )
}

/** A context without the span and the annotations of the program that has made a server or a client: handlers start clean. */
export const detached = (context: Context.Context<never>): Context.Context<never> => {
  const services = new Map(context.mapUnsafe)
  for (const key of [Tracer.ParentSpan.key, References.CurrentLogAnnotations.key, References.CurrentLogSpans.key])
    services.delete(key)
  return Context.makeUnsafe(services)
}

/** A context in which log lines say whose handlers they come from. */
export const annotated = (context: Context.Context<never>, { identity, protocol }: Subject): Context.Context<never> => {
  const annotations = Context.get(context, References.CurrentLogAnnotations)
  return Context.add(context, References.CurrentLogAnnotations, {
    ...annotations,
    identity: clip(identity),
    protocol: clip(protocol),
  })
}

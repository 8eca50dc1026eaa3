/**
 * Generators of valid payloads and frames, for property tests.
 *
 * They are Effect `Arbitrary` values, derived from the Schemas of the actions: nothing beside `effect` is needed to run
 * them, and `it.prop` of `@effect/vitest` takes them as they are.
 *
 * ```ts
 * it.prop("any boot is answered", [request(Ocpp16.BootNotification)], ([boot]) => answers(boot))
 * ```
 *
 * Their values are what a peer reads from the wire: plain objects, no member that is `undefined`, no `-0`. So they come out
 * of `Codec.encode` and `Codec.decode` as they went in, by any deep equality.
 *
 * Other property testers draw samples by a seed, for instance fast-check:
 *
 * ```ts
 * fc.nat().map((seed) => sample(request(Ocpp16.BootNotification), { seed, count: 1 })[0])
 * ```
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type * as Action from "../Action.ts"
import type { Frame } from "../Frame.ts"
import type * as Protocol from "../Protocol.ts"
import { codes, maxDescriptionLength, wireCode } from "../RPCError.ts"
import { kinds } from "../validator/Constraint.ts"

/** Generates valid payloads of an action's CALL or SEND. */
export const request = <A extends Action.Any>(action: A): Arbitrary.Arbitrary<Action.Request<A>> =>
  valid<Action.Request<A>>(action.request)

/** Generates valid payloads of an action's CALLRESULT. */
export const response = <A extends Action.Call>(action: A): Arbitrary.Arbitrary<Action.Response<A>> =>
  valid<Action.Response<A>>(action.response)

/**
 * Generates frames of a subprotocol: its CALLs, their CALLRESULTs and CALLERRORs, and SENDs and CALLRESULTERRORs where it has
 * them. Payloads are valid, codes are those of OCPP as the subprotocol spells them.
 *
 * ```ts
 * it.prop("a frame is read as it was written", [frame(Ocpp201)], ([written]) => {
 *   const text = Codec.encode(written, Ocpp201.spelling)
 *   expect(Codec.decode(text, Ocpp201.extendedFrames)).toEqual(written)
 * })
 * ```
 */
export const frame = (protocol: Protocol.Protocol): Arbitrary.Arbitrary<Frame> => {
  const actions = [...protocol.actions.values()]
  const calls = actions.filter((action) => action.kind === "call")
  const sends = actions.filter((action) => action.kind === "send")
  const requestOf = (_tag: "Call" | "Send", action: Action.Any) =>
    Arbitrary.map(Arbitrary.all([id, request(action)]), ([messageId, payload]) => ({
      ...{ _tag, messageId, action: action.name },
      payload: payload as Schema.Json,
    }))
  const resultOf = (action: Action.Call) =>
    Arbitrary.map(Arbitrary.all([id, response(action)]), ([messageId, payload]) => ({
      ...{ _tag: "CallResult" as const, messageId },
      payload: payload as Schema.Json,
    }))
  const failureOf = (_tag: "CallError" | "CallResultError") =>
    Arbitrary.map(Arbitrary.all([failure, oneOf(codes)]), ([rest, code]) => ({
      ...rest,
      ...{ _tag, code: wireCode(code, protocol.spelling) },
    }))
  const kinds = [
    ...(calls.length === 0 ? [] : [Arbitrary.flatMap(oneOf(calls), (action) => requestOf("Call", action))]),
    ...(calls.length === 0 ? [] : [Arbitrary.flatMap(oneOf(calls), resultOf)]),
    ...(sends.length === 0 ? [] : [Arbitrary.flatMap(oneOf(sends), (action) => requestOf("Send", action))]),
    ...[failureOf("CallError"), ...(protocol.extendedFrames ? [failureOf("CallResultError")] : [])],
  ]
  return Arbitrary.map(
    Arbitrary.flatMap(oneOf<Arbitrary.Arbitrary<Frame>>(kinds), (kind) => kind),
    asRead,
  )
}

const shortText = (maxLength: number) => Schema.String.check(Schema.isMaxLength(maxLength))

/** Generates message ids that OCPP allows. */
const id = Arbitrary.schema(shortText(36).check(Schema.isMinLength(1)))

const failure = Arbitrary.schema(
  Schema.Struct({
    messageId: shortText(36).check(Schema.isMinLength(1)),
    description: shortText(maxDescriptionLength),
    details: Schema.Record(Schema.String, Schema.Json),
  }),
)

const oneOf = <A>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: values.length - 1 }))),
    (index) => values[index] as A,
  )

/**
 * Draws some values of an arbitrary: the same ones for the same seed.
 *
 * @throws when too few values could be generated.
 */
export const sample = <A>(arbitrary: Arbitrary.Arbitrary<A>, options?: Arbitrary.SampleOptions): ReadonlyArray<A> =>
  Effect.runSync(Arbitrary.sampleEffect(arbitrary, options))

const valid = <A>(schema: Schema.Schema<unknown>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(Arbitrary.schema(Schema.make<Schema.Codec<A>>(withTenths(schema.ast))), asRead)

/** The same value as a peer would read it; instances of classes stay as they are. */
const asRead = <A>(value: A): A => plain(value) as A

const plain = (value: unknown): unknown => {
  if (Object.is(value, -0)) return 0
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null || !isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => (member === undefined ? [] : [[key, plain(member)]])),
  )
}

const isRecord = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

/** A number with at most one decimal. Few of the numbers that Effect generates are, so it generates integers for them. */
const someTenths = Schema.declare((value): value is number => typeof value === "number", {
  toCodecArbitrary: () =>
    Schema.link<number>()(
      Schema.Int.check(Schema.isBetween({ minimum: -100_000, maximum: 1_000_000 })),
      SchemaTransformation.transform({ decode: (count) => count / 10, encode: (value) => Math.round(value * 10) }),
    ),
})

/** The same node with {@link someTenths} in the place of `tenths`. */
const withTenths = (ast: SchemaAST.AST): SchemaAST.AST => {
  switch (ast._tag) {
    case "Number": {
      const isTenths = ast.checks?.some((check) => check.annotations?.representation?.id === kinds.tenths.id)
      return isTenths === true ? withContext(someTenths.ast, ast.context) : ast
    }
    case "Arrays":
      return new SchemaAST.Arrays(
        ast.isMutable,
        ast.elements.map(withTenths),
        ast.rest.map(withTenths),
        ast.annotations,
        ast.checks,
        ast.encoding,
        ast.context,
      )
    case "Objects":
      return new SchemaAST.Objects(
        ast.propertySignatures.map(({ name, type }) => new SchemaAST.PropertySignature(name, withTenths(type))),
        ast.indexSignatures,
        ast.annotations,
        ast.checks,
        ast.encoding,
        ast.context,
      )
    default:
      return ast
  }
}

const withContext = (ast: SchemaAST.Declaration, context: SchemaAST.Context | undefined): SchemaAST.AST =>
  new SchemaAST.Declaration(ast.typeParameters, ast.run, ast.annotations, ast.checks, ast.encoding, context)

/**
 * Generators of valid payloads, for property tests.
 *
 * They are Effect `Arbitrary` values, derived from the Schemas of the actions: nothing beside `effect` is needed to run
 * them, and `it.prop` of `@effect/vitest` takes them as they are.
 *
 * ```ts
 * it.prop("any boot is answered", [request(Ocpp16.BootNotification)], ([boot]) => answers(boot))
 * ```
 *
 * Other property testers take them by a seed, for instance fast-check:
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
import { checkId } from "../schemas/payload.ts"

/** Valid payloads of an action's CALL or SEND. */
export const request = <A extends Action.Any>(action: A): Arbitrary.Arbitrary<Action.Request<A>> =>
  valid<Action.Request<A>>(action.request)

/** Valid payloads of an action's CALLRESULT. */
export const response = <A extends Action.Call>(action: A): Arbitrary.Arbitrary<Action.Response<A>> =>
  valid<Action.Response<A>>(action.response)

/**
 * Some values of an arbitrary: the same ones for the same seed.
 *
 * @throws when too few values could be generated.
 */
export const sample = <A>(arbitrary: Arbitrary.Arbitrary<A>, options?: Arbitrary.SampleOptions): ReadonlyArray<A> =>
  Effect.runSync(Arbitrary.sampleEffect(arbitrary, options))

const valid = <A>(schema: Schema.Schema<unknown>): Arbitrary.Arbitrary<A> =>
  Arbitrary.schema(Schema.make<Schema.Codec<A>>(withTenths(schema.ast)))

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
      const isTenths = ast.checks?.some((check) => check.annotations?.representation?.id === checkId.tenths)
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

/**
 * A case: its faults as input, the promise about them, and the check that it holds.
 *
 * ```ts
 * const badText = fault({
 *   id: "A13",
 *   promise: "invalid UTF-8 and surrogates are a 1007, and no handler runs",
 *   server: { handlers: { Heartbeat: "heartbeat", "*": "echo" } },
 *   inputs: { "an overlong sequence": Buffer.from([0xc3, 0x28]), "a surrogate": Buffer.from([0xed, 0xa0, 0x80]) },
 *   check: async ({ attack, input }) => {
 *     const attacker = await attack()
 *     attacker.write(frame(Opcode.Text, input))
 *     same((await attacker.ended).code, 1007, "the close code")
 *   },
 *   tells: [/^Close 1006 Invalid WebSocket frame: invalid UTF-8/],
 * })
 * ```
 *
 * It is added by its block: to a list in `cases/`. Code that has to run in the victim's process stands in
 * `victim/behaviours.ts` (handlers and auth, by name) or in a module of `victim/programs/`.
 */
import type { Context, Serving } from "./Context.ts"
import type { RawOptions, RawStation } from "./RawStation.ts"
import type { ServerSubject } from "./subjects.ts"
import type { Face } from "./victim/commands.ts"

/** The faces of the library. */
export const faces: ReadonlyArray<Face> = ["effect", "promise"]

/** One run of a check: on one face, with one input. */
export interface Scene<out Input = undefined> {
  readonly context: Context
  readonly face: Face
  readonly input: Input
  /** The server of the case; fails where the case declares none. */
  readonly server: ServerSubject
  /** Connects a station that is written out by hand to the server. It is called ATTACKER, unless its path says otherwise. */
  readonly attack: (options?: RawOptions) => Promise<RawStation>
}

export interface Declaration<Input = undefined> {
  /** Its row in the list of faults: the letter of its section and a number. */
  readonly id: string
  /** The promise, in words. */
  readonly promise: string
  /**
   * The faces that keep the promise; the case runs on one after the other. Default both. `"once"` runs it once, for cases
   * that need no face.
   */
  readonly faces?: ReadonlyArray<Face> | "once"
  /** The server under attack, with a bystander; made afresh for each face. Default none. */
  readonly server?: Omit<Serving, "face"> | ((face: Face) => Omit<Serving, "face">)
  /** Variants of the fault, by name; each is checked against the same server. Default one. */
  readonly inputs?: Readonly<Record<string, Input>>
  /** Provokes the fault, and fails unless the promise holds. */
  readonly check: (scene: Scene<Input>) => Promise<void>
  /** Runs once for each face, when all inputs have been checked. */
  readonly afterwards?: (scene: Scene<undefined>) => Promise<void>
  /** Events of the server that name the cause: of the station ATTACKER, or of the identity that stands beside. */
  readonly tells?: ReadonlyArray<RegExp | readonly [pattern: RegExp, identity: string | undefined]>
  /** Whether the victim must be fresh: the case measures memory, or uses it up. Default `false`. */
  readonly fresh?: boolean
  /** Milliseconds after which it has failed. Default 60,000; ten times that with `--full`. */
  readonly patience?: number
  /**
   * Says what happens instead, as long as the promise is not kept: the case is expected to fail, and is refused as soon as it
   * passes.
   */
  readonly open?: string
}

/** A case, as the runner takes it. */
export interface Case extends Pick<Declaration, "id" | "promise" | "fresh" | "patience" | "open"> {
  readonly run: (context: Context) => Promise<void>
}

/** Makes a case of its declaration. */
export const fault = <Input = undefined>(declared: Declaration<Input>): Case => ({
  ...declared,
  run: async (context) => {
    const some = declared.faces ?? faces
    for (const face of some === "once" ? (["effect"] as const) : some) {
      await labelled(some === "once" || some.length === 1 ? "" : face, () => runOn(context, face, declared))
    }
  },
})

const runOn = async <Input>(context: Context, face: Face, declared: Declaration<Input>): Promise<void> => {
  const setup = typeof declared.server === "function" ? declared.server(face) : declared.server
  const server = setup && (await context.serve({ face, ...setup }))
  const sceneOf = <I>(input: I): Scene<I> => ({
    context,
    face,
    input,
    get server() {
      if (server === undefined) throw new Error(`${declared.id} declares no server`)
      return server
    },
    attack: (options) => context.attack(server ?? { port: 0 }, options),
  })
  for (const [name, input] of Object.entries(declared.inputs ?? { "": undefined as Input })) {
    await labelled(name, () => declared.check(sceneOf(input)))
  }
  await declared.afterwards?.(sceneOf(undefined))
  for (const told of declared.tells ?? []) {
    const [pattern, identity] = told instanceof RegExp ? ([told, "ATTACKER"] as const) : told
    await sceneOf(undefined).server.event(pattern, identity)
  }
}

/** Puts a label in front of what is wrong. */
const labelled = async (label: string, work: () => Promise<void>): Promise<void> => {
  try {
    await work()
  } catch (error) {
    if (label !== "" && error instanceof Error) error.message = `${label}: ${error.message}`
    throw error
  }
}

/** Names inputs after themselves. */
export const each = <Input extends string | number>(inputs: ReadonlyArray<Input>): Readonly<Record<string, Input>> =>
  Object.fromEntries(inputs.map((input) => [`${input}`, input]))

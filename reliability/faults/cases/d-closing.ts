/** D. Closing, by either side, at any point; and timeouts at the edge of what a timer can do. */
import { frame, Opcode, text } from "../../../test/support/frames.ts"
import { pause, until } from "../../support/waiting.ts"
import { fault } from "../Case.ts"
import type { Context } from "../Context.ts"
import { check, same } from "../expect.ts"
import { allEnd, tagOf } from "../outcomes.ts"
import { upgrade } from "../RawStation.ts"
import { exchange, switching } from "../rawServers.ts"
import type { ServerSubject } from "../subjects.ts"
import type { Face, Options } from "../victim/commands.ts"
import { isAlive } from "./d-admission.ts"
import { refusalOf } from "./victimPrograms.ts"

const result = (id: unknown) => text([3, id, {}])

const closings: ReadonlyArray<Options> = [{}, { force: true }, { awaitPending: true }, { code: 3001, reason: "bye" }]

export const closeAnywhere = fault({
  id: "D9",
  promise: "a connection that ends at any point of a call, by either side, in any manner, ends the call once",
  server: { options: { callConcurrency: 2 } },
  check: async ({ context, server }) => {
    const length = result("x".repeat(36)).length
    for (let bytes = 0; bytes <= length; bytes += context.size(7, 1)) {
      for (const end of ["end", "reset", "close"] as const) await cutAnswer(context, server, bytes, end)
    }
  },
  afterwards: async ({ context, face }) => {
    const server = await context.serve({ face, handlers: { Heartbeat: "heartbeat", "*": "echo" } })
    for (const options of closings) {
      for (const isLater of [false, true]) {
        const station = await context.dial({ face, endpoint: server.endpoint, identity: "CLOSING" })
        const calls = station.call({ action: "DataTransfer", times: 3 })
        if (isLater) await until("a call is answered", async () => (await server.handledCount()) > 0)
        const [outcomes] = await Promise.all([calls, station.close(options)])
        allEnd(outcomes, options.awaitPending === true ? "ok" : ["ok", "DisconnectedError"], "the calls")
      }
    }
  },
  tells: [[/^Close/, "CUT"]],
})

/** Cuts the answer to the first of three calls after some bytes. */
const cutAnswer = async (context: Context, server: ServerSubject, bytes: number, end: "end" | "reset" | "close") => {
  const station = await context.attack(server, { path: "/CUT" })
  const calls = server.call({ action: "ClearCache", identity: "CUT", times: 3 })
  const [, id] = await station.receive()
  const answer = result(id)
  station.write(answer.subarray(0, bytes))
  if (end === "reset") station.socket.resetAndDestroy()
  else if (end === "end") station.socket.end()
  else station.socket.end(frame(Opcode.Close))
  const tags = (await calls).map(tagOf)
  // A reset may overtake what was sent before it.
  const isWhole = bytes === answer.length && end !== "reset"
  const expected = isWhole ? "ok" : "DisconnectedError"
  const first = bytes === answer.length && end === "reset" ? tags[0] : expected
  same(tags, [first, "DisconnectedError", "DisconnectedError"], `${bytes} bytes, then ${end}`)
  await station.ended
}

/** The promise face waits for calls no longer than its call timeout, the Effect face for its grace. */
const grace = 2_000

export const shutdown = fault({
  id: "D10",
  promise:
    "a server shuts down with half of its handlers hung: no new stations, its grace for the others, 1001, and the process ends",
  patience: 120_000,
  check: async ({ context, face }) => {
    const count = context.size(200, 5_000)
    const process = context.spawn()
    const options = face === "effect" ? { shutdownGrace: grace } : { callTimeoutMs: grace }
    const handlers = { Heartbeat: "heartbeat", Hung: "never", "*": "gated" }
    const { id, port } = await process.do("serve", { face, handlers, options })
    const endpoint = `ws://127.0.0.1:${port}`
    const tool = context.spawn()
    const halves = await Promise.all(
      ["HUNG", "GATED"].map((identity) => context.fleet({ process: tool, endpoint, identity, count: count / 2 })),
    )
    const [hung, gated] = halves.map((half, i) => half.callEach({ action: i === 0 ? "Hung" : "DataTransfer" }))
    const areHandled = async () => (await context.counters(process)).handlers === count
    await until("all are handled", areHandled, 60_000)
    const start = Date.now()
    const ended = process.do("shutdown", { on: id })
    await until("nobody is let in", async () => (await exchange(port, upgrade())).status !== 101)
    await context.release(process)
    same(await gated, { ok: count / 2 }, "calls that ended within the grace")
    check((await ended).ok, "the shutdown has failed")
    const took = Date.now() - start
    same(await hung, { DisconnectedError: count / 2 }, "calls whose handlers hung")
    check(took >= grace - 100 && took < grace + 2_000, `the shutdown took ${took} ms`)
    for (const half of halves) await closedWith1001(half)
    await process.end(5_000)
    same([process.ended, process.faults], ["exit 0", []], "how the process has ended, and its faults")
  },
})

const closedWith1001 = async (half: { events: ServerSubject["events"] }): Promise<void> => {
  await until("the stations are closed", async () => (await half.events()).some(({ tag }) => tag === "Close"))
  const codes = new Set((await half.events()).flatMap(({ tag, text }) => (tag === "Close" ? [text.slice(0, 4)] : [])))
  same([...codes], ["1001"], "the close codes that the stations got")
}

const isAfter = (millis: number, start: number, who: string): void => {
  const took = Date.now() - start
  check(took > millis - 100 && took < millis + 2_500, `${who} ended after ${took} ms`)
}

export const silentClose = fault({
  id: "D11",
  promise: "a peer that never answers the close frame is dropped after 5 s",
  faces: "once",
  check: async ({ context }) => {
    const faces = ["effect", "promise"] as const
    const closing = faces.flatMap((face) => [serverCloses(context, face), stationCloses(context, face)])
    // Five seconds are also the limit of `ws`; another shows ours.
    await Promise.all([...closing, serverCloses(context, "effect", 1_000)])
  },
})

const serverCloses = async (context: Context, face: Face, millis = 5_000): Promise<void> => {
  const options = millis === 5_000 ? {} : { closeTimeout: millis }
  const server = await context.serve({ face, options, bystander: false })
  const attacker = await context.attack(server, { polite: false })
  const start = Date.now()
  check((await server.close({})).ok, "close has failed")
  isAfter(millis, start, `the server (${face})`)
  await attacker.ended
  same(attacker.frames.at(-1)?.opcode, Opcode.Close, "the last frame")
}

const stationCloses = async (context: Context, face: Face): Promise<void> => {
  const server = await context.answering((request, socket) => {
    socket.write(switching(request, "Sec-WebSocket-Protocol: ocpp1.6"))
  })
  const station = await context.dial({ face, endpoint: server.endpoint })
  const start = Date.now()
  check((await station.close()).ok, "close has failed")
  isAfter(5_000, start, `the station (${face})`)
}

const common = ["callTimeout", "handlerTimeout", "pingInterval", "closeTimeout"]
const timeoutsOf = { server: [...common, "authTimeout", "shutdownGrace"], station: [...common, "handshakeTimeout"] }

/** On the promise face 0 is for ever, as documented. */
const endless = [Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 31 - 1, 1e15, Number.MAX_VALUE]

export const oddTimeouts = fault({
  id: "D17",
  promise: "timeouts of Infinity, 0, NaN or over 2^31 ms are refused by name or honoured, and never fire at once",
  check: async ({ context, face }) => {
    const refused = (role: "server" | "station", options: Options) => refusalOf(context.victim, { face, role, options })
    for (const role of ["server", "station"] as const) {
      for (const name of face === "effect" ? timeoutsOf[role] : []) {
        for (const value of [0, -1, Number.NaN]) {
          const refusal = await refused(role, { [name]: value })
          check(refusal?.includes(name), `${role}: ${name} ${value} is refused by name; got ${refusal}`)
        }
      }
      for (const name of face === "promise" ? ["callTimeoutMs", "pingIntervalMs"] : []) {
        check((await refused(role, { [name]: Number.NaN })) !== undefined, `${role}: ${name} NaN is refused`)
      }
    }
    for (const value of face === "effect" ? endless : [...endless, 0]) await neverFires(context, face, value)
  },
})

const neverFires = async (context: Context, face: Face, value: number): Promise<void> => {
  const options =
    face === "effect"
      ? { callTimeout: value, handlerTimeout: value, pingInterval: value, closeTimeout: value, authTimeout: value }
      : { callTimeoutMs: value, pingIntervalMs: value }
  const handlers = { Heartbeat: "heartbeat", "*": "gated" }
  const server = await context.serve({ face, auth: "gated", handlers, options })
  const connected = context.attack(server)
  await until("auth is asked", async () => (await server.authCount()) === 1)
  await context.release()
  const attacker = await connected
  attacker.send([2, "handled", "DataTransfer", {}])
  const calls = [
    server.call({ action: "ClearCache", identity: "ATTACKER" }),
    server.call({ action: "ClearCache", identity: "ATTACKER", timeout: value === 0 ? 60_000 : value }),
  ]
  const [, id] = await attacker.receive()
  // Two turns of the timers, of which the shortest would have fired in the first.
  await pause(30)
  await isAlive(attacker, `${value}`)
  same([attacker.frames.length, (await context.counters()).handlers], [2, 1], `${value}: frames, and handlers`)
  await context.release()
  same((await attacker.receive())[1], "handled", `${value}`)
  attacker.send([3, id, {}])
  attacker.send([3, (await attacker.receive())[1], {}])
  allEnd((await Promise.all(calls)).flat(), "ok", `${value}: the calls`)
}

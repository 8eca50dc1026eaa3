/**
 * Prints every frame that a server exchanges with its stations, a line each.
 * Used by demo.ts.
 */
import { styleText } from "node:util"
import type { Connection, Server } from "effect-ocpp"

const colors = {
  Call: "cyan",
  CallResult: "green",
  CallError: "red",
  CallResultError: "red",
  Send: "magenta",
  Malformed: "red",
} as const

const names = {
  Call: "CALL",
  CallResult: "CALLRESULT",
  CallError: "CALLERROR",
  CallResultError: "CALLRESULTERROR",
  Send: "SEND",
  Malformed: "?",
}

/** Text of the peer, without the control characters that would let it write to the terminal. */
const printable = (text: string) => text.replace(/\p{Cc}/gu, "·").slice(0, 500)

const line = (station: Server.Station, { frame, message, outbound }: Connection.FrameEvent): string => {
  const time = new Date().toISOString().slice(11, 23)
  const direction = outbound ? `CSMS → ${station.identity}` : `${station.identity} → CSMS`
  const type = styleText(colors[frame._tag], names[frame._tag].padEnd(10))
  return `${time}  ${direction.padEnd(14)}  ${type}  ${printable(message)}`
}

/** From now on, prints what is said. */
export const printFrames = (server: Server.Server): void => {
  server.subscribe((event) => {
    if (event._tag === "Disconnected") console.log(`${event.station.identity} has left (${event.code})`)
    if (event._tag === "UpgradeAborted") {
      const { error, identity = "somebody", request } = event
      const offered = request.headers["sec-websocket-protocol"] ?? "no subprotocol"
      console.log(`${printable(identity)} was not let in: ${error.message} (offered ${printable(offered)})`)
    }
    if (event._tag !== "Connected") return
    const { station } = event
    console.log(`${station.identity} has connected with ${station.protocol || "no subprotocol"}`)
    station.subscribe((happened) => {
      if (happened._tag === "Frame") console.log(line(station, happened))
      if (happened._tag === "ValidationFailure") console.log(`            not valid: ${happened.error.message}`)
    })
  })
}

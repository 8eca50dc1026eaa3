/** Prints every frame that a server exchanges with its stations, a line each. */
import { styleText } from "node:util"
import type { Connection, Server } from "effect-ocpp"

const colors = {
  Call: "cyan",
  CallResult: "green",
  CallError: "red",
  CallResultError: "red",
  Send: "magenta",
  Fault: "red",
} as const

const names = {
  Call: "CALL",
  CallResult: "CALLRESULT",
  CallError: "CALLERROR",
  CallResultError: "CALLRESULTERROR",
  Send: "SEND",
  Fault: "?",
}

/** Text of the peer, without the control characters that would let it write to the terminal. */
const printable = (text: string) => text.replace(/\p{Cc}/gu, "·").slice(0, 500)

/** What a frame says beside its type and id. */
const contentOf = (frame: Connection.FrameEvent["frame"]): string => {
  switch (frame._tag) {
    case "Call":
    case "Send":
      return `${frame.action} ${JSON.stringify(frame.payload ?? {})}`
    case "CallResult":
      return JSON.stringify(frame.payload ?? {})
    case "CallError":
    case "CallResultError":
      return `${frame.code}: ${frame.description} ${JSON.stringify(frame.details)}`
    case "Fault":
      return frame.error.message
  }
}

const line = (station: Server.Station, { frame, outbound }: Connection.FrameEvent): string => {
  const time = new Date().toISOString().slice(11, 23)
  const direction = outbound ? `CSMS → ${station.identity}` : `${station.identity} → CSMS`
  const type = styleText(colors[frame._tag], names[frame._tag].padEnd(10))
  const id = printable(frame.messageId.slice(0, 8)).padEnd(8)
  return `${time}  ${direction.padEnd(14)}  ${type}  ${id}  ${printable(contentOf(frame))}`
}

/** From now on, prints what is said. */
export const printFrames = (server: Server.Server): void => {
  server.subscribe((event) => {
    if (event._tag === "Disconnected") console.log(`${event.station.identity} has left (${event.code})`)
    if (event._tag !== "Connected") return
    const { station } = event
    console.log(`${station.identity} has connected with ${station.protocol || "no subprotocol"}`)
    station.subscribe((happened) => {
      if (happened._tag === "Frame") console.log(line(station, happened))
      if (happened._tag === "ValidationFailure") console.log(`            not valid: ${happened.error.message}`)
    })
  })
}

import library from "ocpp-rpc"
import { start } from "./start.mjs"

await start(library)

import { RPCClient, RPCServer } from "effect-ocpp/promise"
import { start } from "./start.mjs"

await start({ RPCClient, RPCServer })

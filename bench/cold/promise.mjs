import { RPCClient, RPCServer } from "../../dist/index.js"
import { start } from "./start.mjs"

await start({ RPCClient, RPCServer })

import { RPCClient, RPCServer } from "../../dist/promise/index.js"
import { start } from "./start.mjs"

await start({ RPCClient, RPCServer })

/**
 * Tools for the tests of your programs, with any test runner: a CSMS and stations in memory, peers that follow a script,
 * faults of the network, generators of messages. Nothing opens a socket, and all time is the Effect `Clock`.
 */
export * as arbitraries from "./arbitraries.ts"
export * as Faults from "./Faults.ts"
export * as Link from "./Link.ts"
export * as Network from "./Network.ts"
export * as Scripted from "./Scripted.ts"
export { settled } from "./settled.ts"

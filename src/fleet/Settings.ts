/** The options of a node: their defaults, and their refusal when they make no sense. */
import { hostname } from "node:os"
import type * as Duration from "effect/Duration"
import { type Checks, checkOptions, count, millis, whenRead } from "./core.ts"

/** What a node can be told. */
export interface Options {
  /**
   * The node's name in logs, metrics and {@link Station.node}: 1 to 100 characters of `A-Z a-z 0-9 . _ -`. Names need not be unique;
   * give each node its own all the same. Default: the host's name and the process id.
   */
  readonly node?: string
  /**
   * How long a call of a station of another node may take, where the call does not say. Give it what the servers have as their
   * `callTimeout`. Default 30 seconds; at most a day.
   */
  readonly callTimeout?: Duration.Input
  /** How long the fleet believes in a node that it does not hear of; the same on all nodes. Default 6 seconds. */
  readonly lease?: Duration.Input
  /** The longest message between nodes, in bytes; the engine may carry less. Default 4 MiB. */
  readonly maxMessageBytes?: number
  /** How many calls of others may run here at a time. One more fails with `CallQueueFullError`. Default 10,000. */
  readonly maxCalls?: number
  /** When the Scope closes: how long calls of others may go on. Default 5 seconds. */
  readonly shutdownGrace?: Duration.Input
}

/** {@link Options} with every default filled in and every duration in milliseconds. */
export interface Settings {
  readonly node: string
  readonly callTimeout: number
  readonly lease: number
  readonly maxMessageBytes: number
  readonly maxCalls: number
  readonly shutdownGrace: number
}

const checks: Checks<Options> = {
  node: whenRead,
  callTimeout: whenRead,
  lease: whenRead,
  maxMessageBytes: whenRead,
  maxCalls: whenRead,
  shutdownGrace: whenRead,
}

/** @throws {RangeError} naming the option whose value makes no sense. */
export const settings = (options: Options): Settings => {
  checkOptions(options, checks)
  const lease = millis("lease", options.lease ?? 6_000)
  if (!(lease >= 1_000 && lease <= 600_000)) {
    throw new RangeError(`lease must be from 1 second to 10 minutes; got ${lease} milliseconds`)
  }
  return {
    node: nodeName(options.node ?? defaultName()),
    callTimeout: millis("callTimeout", options.callTimeout ?? 30_000),
    lease,
    maxMessageBytes: count("maxMessageBytes", options.maxMessageBytes ?? 4 * 1024 * 1024, 1_024),
    maxCalls: count("maxCalls", options.maxCalls ?? 10_000, 1),
    shutdownGrace: millis("shutdownGrace", options.shutdownGrace ?? 5_000),
  }
}

const nodeName = (name: string): string => {
  if (/^[A-Za-z0-9._-]{1,100}$/.test(name)) return name
  throw new RangeError(`node must have 1 to 100 characters of A-Z a-z 0-9 . _ -; got ${JSON.stringify(name)}`)
}

const defaultName = (): string => {
  const host = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, "-")
    .slice(0, 80)
  return `${host || "node"}-${process.pid}`
}

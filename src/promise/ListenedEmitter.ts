/** An emitter that knows when its listeners change. */
import { EventEmitter } from "node:events"

type Listener = Parameters<EventEmitter["on"]>[1]

/** Node's own 'newListener' and 'removeListener' events would cost every emitter two listeners of its own. */
abstract class Listened extends EventEmitter {
  /** Listeners of an event have come or gone; of any event when no name is given. */
  protected abstract onListenersChanged(name?: string | symbol): void

  override on(name: string | symbol, listener: Listener): this {
    super.on(name, listener)
    this.onListenersChanged(name)
    return this
  }

  override addListener(name: string | symbol, listener: Listener): this {
    return this.on(name, listener)
  }

  override prependListener(name: string | symbol, listener: Listener): this {
    super.prependListener(name, listener)
    this.onListenersChanged(name)
    return this
  }

  override off(name: string | symbol, listener: Listener): this {
    return this.removeListener(name, listener)
  }

  override removeListener(name: string | symbol, listener: Listener): this {
    super.removeListener(name, listener)
    this.onListenersChanged(name)
    return this
  }

  override removeAllListeners(name?: string | symbol): this {
    super.removeAllListeners(name)
    this.onListenersChanged(name)
    return this
  }
}

/** Its methods have the types of Node's emitter of these events: the overrides above only pass their arguments on. */
export const ListenedEmitter = Listened as unknown as abstract new <
  Events extends Record<keyof Events, Array<unknown>>,
>() => EventEmitter<Events> & {
  onListenersChanged(name?: string | symbol): void
}

/**
 * Tells events to observers: synchronously, in the tick in which they happen, and to all observers in the same order. Nothing need be built for
 * an event that nobody observes.
 */
import { guarded } from "../Transport.ts"
import { type Event, isLife } from "./Event.ts"

/** Is called in the tick of the event. An error that it throws surfaces as an uncaught exception, and harms no connection. */
export type Observer<E = Event> = (event: E) => void

/**
 * The observers of one connection, of all the connections that one client has in its life, or of a server. The last event
 * is Close, unless a Connecting follows.
 */
export class Hub<E extends { readonly _tag: string } = Event> {
  #observers: ReadonlyArray<Observer<E>> = none
  #lifeObservers: ReadonlyArray<Observer<E>> = none
  #closed = false
  /** The event that is being told, then what observers have caused meanwhile. */
  #untold: Array<E | (() => void)> | undefined

  /** Whether Close was told, and no Connecting since. */
  get closed(): boolean {
    return this.#closed
  }

  /** Whether anybody listens to everything: what is frequent need not be built when nobody does. */
  get active(): boolean {
    return this.#observers.length > 0
  }

  emit(event: E): void {
    if (event._tag === "Close") this.#closed = true
    else if (event._tag === "Connecting") this.#closed = false
    if (this.#observers === none && this.#lifeObservers === none) return
    this.#untold ??= []
    this.#untold.push(event)
    if (this.#untold.length > 1) return
    // What an observer causes is told after what he was told: to everyone in the same order.
    for (let next: E | (() => void) | undefined = event; next !== undefined; next = this.#untold[0]) {
      if (typeof next === "function") guarded(next)
      else this.#tell(next)
      this.#untold.shift()
    }
  }

  #tell(event: E): void {
    if (isLife(event)) for (const observer of this.#lifeObservers) guarded(() => observer(event))
    for (const observer of this.#observers) guarded(() => observer(event))
  }

  /** Goes on once everybody has been told of what has been emitted so far. */
  afterwards(goOn: () => void): void {
    if (this.#untold === undefined || this.#untold.length === 0) goOn()
    else this.#untold.push(goOn)
  }

  /** Calls the observer for every event from now on, until the returned function is called. */
  subscribe(observer: Observer<E>): () => void {
    this.#observers = [...this.#observers, observer]
    return () => {
      this.#observers = this.#observers.filter((other) => other !== observer)
    }
  }

  /** As {@link subscribe}, for the events of the connection's life only, which are told whether or not anybody listens. */
  subscribeToLife(observer: Observer<E>): () => void {
    this.#lifeObservers = [...this.#lifeObservers, observer]
    return () => {
      this.#lifeObservers = this.#lifeObservers.filter((other) => other !== observer)
    }
  }
}

const none: ReadonlyArray<never> = []

/**
 * Which live connections have to go, and when. Whoever sees the table judges a connection anew on every change; this
 * counts down from the moment a cause was first seen, forgets causes that ended, and cuts. Clock and timer are injected.
 */
export interface Departure {
  /** What it is about: the same cause later goes on counting. */
  readonly cause: string
  /** From the moment the cause appeared; 0: at once, Infinity: never. */
  readonly afterMs: number
}

export interface DeparturesOptions {
  /** Monotonic. */
  readonly nowMs: () => number
  /** @returns how to call it off. */
  readonly setTimer: (callback: () => void, afterMs: number) => () => void
  readonly cut: (id: number, cause: string) => void
}

interface Leaving {
  readonly since: ReadonlyMap<string, number>
  readonly dueMs: number
  readonly cause: string
}

export class Departures {
  readonly #options: DeparturesOptions
  readonly #leaving = new Map<number, Leaving>()
  #dueMs = Infinity
  #cancel: (() => void) | null = null

  constructor(options: DeparturesOptions) {
    this.#options = options
  }

  /** Connections with a cause, those that stay with `keep` included. */
  get size(): number {
    return this.#leaving.size
  }

  /** All causes that hold for this connection now; none: it stays. */
  review(id: number, causes: readonly Departure[]): void {
    if (causes.length === 0) return this.forget(id)
    const nowMs = this.#options.nowMs()
    const before = this.#leaving.get(id)?.since
    const since = new Map(causes.map(({ cause }) => [cause, before?.get(cause) ?? nowMs]))
    let first: Leaving | null = null
    for (const { cause, afterMs } of causes) {
      const dueMs = (since.get(cause) ?? nowMs) + afterMs
      if (first === null || dueMs < first.dueMs) first = { since, dueMs, cause }
    }
    if (first === null) return
    if (first.dueMs <= nowMs) return this.#leave(id, first.cause)
    this.#leaving.set(id, first)
    this.#arm(first.dueMs)
  }

  /** It has ended, or nothing is held against it any more. */
  forget(id: number): void {
    this.#leaving.delete(id)
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = null
    this.#dueMs = Infinity
    this.#leaving.clear()
  }

  #leave(id: number, cause: string): void {
    this.#leaving.delete(id)
    this.#options.cut(id, cause)
  }

  #arm(dueMs: number): void {
    if (dueMs >= this.#dueMs) return
    this.#cancel?.()
    this.#dueMs = dueMs
    this.#cancel = this.#options.setTimer(() => this.#onTimer(), Math.max(0, Math.ceil(dueMs - this.#options.nowMs())))
  }

  #onTimer(): void {
    this.#cancel = null
    this.#dueMs = Infinity
    const nowMs = this.#options.nowMs()
    let nextMs = Infinity
    for (const [id, { dueMs, cause }] of this.#leaving) {
      if (dueMs <= nowMs) this.#leave(id, cause)
      else nextMs = Math.min(nextMs, dueMs)
    }
    if (nextMs < Infinity) this.#arm(nextMs)
  }
}

/** A timer that doesn't keep a program alive. */
export function quietTimer(callback: () => void, afterMs: number): () => void {
  const timer = setTimeout(callback, afterMs).unref()
  return () => clearTimeout(timer)
}

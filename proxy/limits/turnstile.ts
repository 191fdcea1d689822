/**
 * Where connections wait for their turn (admissions.ts): one timer, and a promise for each that waits. Reports each limit
 * that was hit, with the tenant.
 */
import type { AdmissionsSettings, HitLimit, Place } from './admissions.ts'
import { Admissions } from './admissions.ts'

export interface LimitHit {
  readonly place: Place
  /** Owner and id of the service. */
  readonly org: string
  readonly service: string
  readonly limit: HitLimit | 'open-connections'
  readonly outcome: 'waited' | 'refused'
}

export interface TurnstileOptions extends AdmissionsSettings {
  /** Milliseconds, monotonic. */
  readonly now: () => number
  readonly onHit: (hit: LimitHit) => void
}

export type Visitor = Place & Pick<LimitHit, 'org' | 'service'>

interface Waiter {
  readonly visitor: Visitor
  decided: boolean | null
  resolve: ((entered: boolean) => void) | null
}

export class Turnstile {
  readonly admissions: Admissions
  readonly #options: TurnstileOptions
  readonly #waiters = new Map<number, Waiter>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: TurnstileOptions) {
    this.#options = options
    this.admissions = new Admissions(options)
  }

  /** `waiting`: ask `turn`. */
  enter(id: number, visitor: Visitor): 'in' | 'waiting' | 'refused' {
    const entry = this.admissions.enter(id, visitor, this.#options.now())
    if (entry.state === 'refused') this.#hit(visitor, entry.limit, 'refused')
    if (entry.state === 'waiting') this.#waiters.set(id, { visitor, decided: null, resolve: null })
    this.#settle()
    return entry.state
  }

  /** Resolves with true when the connection is in, with false when it has to go. */
  turn(id: number): Promise<boolean> {
    const waiter = this.#waiters.get(id)
    if (waiter === undefined) return Promise.resolve(false)
    if (waiter.decided !== null) return Promise.resolve(waiter.decided)
    return new Promise((resolve) => {
      waiter.resolve = resolve
    })
  }

  leave(id: number): void {
    this.#waiters.get(id)?.resolve?.(false)
    this.#waiters.delete(id)
    this.admissions.leave(id, this.#options.now())
    this.#settle()
  }

  /** Limits have changed. */
  changed(): void {
    this.#settle()
  }

  close(): void {
    clearTimeout(this.#timer)
    for (const { resolve } of this.#waiters.values()) resolve?.(false)
    this.#waiters.clear()
  }

  #settle(): void {
    for (const { id, entered, limit } of this.admissions.turns(this.#options.now())) {
      const waiter = this.#waiters.get(id)
      if (waiter === undefined) continue
      waiter.decided = entered
      waiter.resolve?.(entered)
      this.#hit(waiter.visitor, limit, entered ? 'waited' : 'refused')
    }
    clearTimeout(this.#timer)
    const nextMs = this.admissions.nextMs(this.#options.now())
    if (nextMs === Infinity) return
    this.#timer = setTimeout(() => this.#settle(), Math.ceil(nextMs))
    this.#timer.unref()
  }

  #hit({ address, network, org, service }: Visitor, limit: LimitHit['limit'], outcome: LimitHit['outcome']): void {
    this.#options.onHit({ place: { address, network }, org, service, limit, outcome })
  }
}
